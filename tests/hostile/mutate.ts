/** Seeded mutations of bytes and of JSON. */
import type { Random } from '@freelunch/random';

const pick = <T>(rng: Random, items: readonly T[]): T => items[rng.integer(items.length)];

/** Lengths and offsets that go wrong: 0, 1, around powers of two, and the largest of each width. */
const numbers = [0, 1, 2, 7, 8, 63, 64, 127, 128, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

/** One to four changes: flips, replaced and repeated and lost spans, wild lengths, pieces of another sample, an early end. */
export function mutateBytes(rng: Random, samples: readonly Uint8Array[]): Uint8Array {
  let bytes: Uint8Array = pick(rng, samples).slice();
  const changes = 1 + rng.integer(4);
  for (let change = 0; change < changes; change++) {
    const at = rng.integer(bytes.length + 1);
    const span = Math.min(bytes.length - at, 1 + rng.integer(16));
    switch (rng.integer(8)) {
      case 0:
        if (at < bytes.length) bytes[at] ^= 1 << rng.integer(8);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = rng.integer(256);
        break;
      case 2:
        bytes = joined(bytes.subarray(0, at), bytes.subarray(at + span));
        break;
      case 3:
        bytes = joined(bytes.subarray(0, at + span), bytes.subarray(at));
        break;
      case 4:
        if (at + 8 <= bytes.length)
          new DataView(bytes.buffer).setBigUint64(at, BigInt(pick(rng, numbers)), true);
        break;
      case 5: {
        const other = pick(rng, samples);
        bytes = joined(bytes.subarray(0, at), other.subarray(rng.integer(other.length + 1)));
        break;
      }
      case 6:
        bytes = bytes.slice(0, at);
        break;
      default:
        bytes = joined(
          bytes.subarray(0, at),
          Uint8Array.from({ length: span }, () => rng.integer(256)),
          bytes.subarray(at),
        );
    }
  }
  return bytes;
}

const joined = (...parts: Uint8Array[]): Uint8Array => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
};

const deep = (depth: number): unknown => {
  let value: unknown = 0;
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
};

/** What JSON can hold that a reader may not expect. */
const hostile: readonly (() => unknown)[] = [
  () => null,
  () => true,
  () => false,
  () => '',
  () => 'x',
  () => '0',
  () => '1e9',
  () => 'constructor',
  () => '__proto__',
  () => '\u0000\u001b[31m',
  () => '=1+1',
  () => '<script>alert(1)</script>',
  () => 'a'.repeat(5000),
  () => [],
  () => {},
  () => ({}),
  () => [[]],
  () => [null],
  () => deep(200),
  () => ({ __float__: 'Infinity' }),
  () => ({ length: 1e9 }),
  () => JSON.parse('{"__proto__":{"polluted":1}}'),
  () => ({ constructor: 1, toString: 2, hasOwnProperty: 3 }),
  () => -1,
  () => -0,
  () => 0,
  () => 1,
  () => 2,
  () => 0.5,
  () => -0.5,
  () => 1e-320,
  () => 1e15,
  () => 2 ** 31,
  () => 2 ** 32,
  () => 2 ** 53,
  () => 1e308,
];

/** One to three places of a value changed: another value, a field lost, renamed, doubled or moved. */
export function mutateJson(rng: Random, samples: readonly unknown[]): unknown {
  let value: unknown = structuredClone(pick(rng, samples));
  const changes = 1 + rng.integer(3);
  for (let change = 0; change < changes; change++) value = mutated(rng, value, samples);
  return value;
}

function mutated(rng: Random, value: unknown, samples: readonly unknown[]): unknown {
  if (typeof value !== 'object' || value === null || rng.integer(12) === 0) {
    if (typeof value === 'number' && rng.integer(2) === 0)
      return pick(rng, [value + 1, value - 1, -value, value * 2, value / 2, value * 1e6, String(value)]);
    if (typeof value === 'string' && rng.integer(2) === 0)
      return pick(rng, [value.slice(1), value.toUpperCase(), `${value} `, value + value, [value]]);
    return pick(rng, hostile)();
  }
  const keys = Object.keys(value);
  if (keys.length === 0) return pick(rng, hostile)();
  const holder = value as Record<string, unknown>;
  const key = pick(rng, keys);
  switch (rng.integer(8)) {
    case 0:
      if (Array.isArray(value)) value.splice(Number(key), 1);
      else delete holder[key];
      break;
    case 1:
      if (Array.isArray(value)) value.push(...value.slice(0, 3));
      else holder[pick(rng, ['__proto__x', `${key}s`, key.toUpperCase(), 'constructor', ''])] = holder[key];
      break;
    case 2: {
      const other = pick(rng, samples);
      if (typeof other === 'object' && other !== null) {
        const from = pick(rng, Object.keys(other));
        holder[key] = structuredClone((other as Record<string, unknown>)[from]);
      }
      break;
    }
    default:
      holder[key] = mutated(rng, holder[key], samples);
  }
  return value;
}
