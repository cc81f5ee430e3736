/**
 * Adds counters to a WASM binary. Code is gone through instruction by instruction; after those that count, an addition
 * to an exported global is put in, which leaves the stack as it was:
 *
 *   flops            + - * / and square roots of floats, one for each lane. Minima, maxima, signs, comparisons and
 *                    conversions are none.
 *   macs             multiply-adds, one for each lane: calls of madd and nmadd. Their two flops count as well.
 *   transcendentals  calls of exp and its like, one for each lane
 *   bytesLoaded, bytesStored   what the instructions move, caches and scratch memory included
 *
 * What is loaded and stored can be marked as well, a byte for each word of memory (1: loaded, 2: stored), from the
 * address `shadow` on for the first `shadowWords` words; so it can be told apart what was moved and what was moved
 * again and again.
 *
 * The binary must have a name section, and no function that takes a v128 may be one of the vectors-by-pointer kind.
 */
const I32 = 0x7f;
const I64 = 0x7e;
const V128 = 0x7b;

export const counters = ['flops', 'macs', 'transcendentals', 'bytesLoaded', 'bytesStored'];

class Reader {
  constructor(bytes, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  byte() {
    return this.bytes[this.at++];
  }

  /** Unsigned LEB128 up to 32 bits. */
  u32() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  skipLeb() {
    while (this.byte() >= 0x80);
  }

  take(length) {
    const part = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return part;
  }

  text() {
    return new TextDecoder().decode(this.take(this.u32()));
  }
}

const unsigned = (value) => {
  const out = [];
  do {
    const byte = value % 128;
    value = Math.floor(value / 128);
    out.push(value > 0 ? byte | 0x80 : byte);
  } while (value > 0);
  return out;
};

/** Signed LEB128 of a number from 0 up. */
const signed = (value) => {
  const out = [];
  for (;;) {
    const byte = value % 128;
    value = Math.floor(value / 128);
    if (value === 0 && byte < 64) return [...out, byte];
    out.push(byte | 0x80);
  }
};

const get = (local) => [0x20, local];
const extend = [0xad]; // i64.extend_i32_u

/** Pieces of code, one after another. */
const code = (...parts) => parts.flat();

const vector = (items) => [...unsigned(items.length), ...items.flat()];

/** Bytes moved by the loads 0x28..0x35 and stores 0x36..0x3e, in the order of their opcodes. */
const loadBytes = [4, 8, 4, 8, 1, 1, 2, 2, 1, 1, 2, 2, 4, 4];
const storeBytes = [4, 8, 4, 8, 1, 2, 1, 2, 4];
/** The same of the vector loads 0..10, and of the lanes at 84..87 (load) and 88..91 (store). */
const vectorLoadBytes = [16, 8, 8, 8, 8, 8, 8, 1, 2, 4, 8];
const laneBytes = [1, 2, 4, 8];

const scalarFlops = new Set([0x91, 0x92, 0x93, 0x94, 0x95, 0x9f, 0xa0, 0xa1, 0xa2, 0xa3]);

function vectorFlops(opcode) {
  if (opcode >= 227 && opcode <= 231) return 4; // f32x4 sqrt add sub mul div
  if (opcode >= 239 && opcode <= 243) return 2; // f64x2
  if (opcode === 261 || opcode === 262) return 8; // f32x4 relaxed madd, nmadd
  if (opcode === 263 || opcode === 264) return 4; // f64x2
  return 0;
}

/** Reads sections, types, imports, exports and names: what is needed to know where things are. */
function parse(bytes) {
  const sections = [];
  const reader = new Reader(bytes, 8);
  while (reader.at < bytes.length) {
    const id = reader.byte();
    const length = reader.u32();
    sections.push({ id, start: reader.at, end: reader.at + length });
    reader.at += length;
  }
  const section = (id) => {
    const found = sections.find((candidate) => candidate.id === id);
    return found && new Reader(bytes, found.start, found.end);
  };

  const types = [];
  const typeReader = section(1);
  for (let count = typeReader.u32(); count > 0; count--) {
    typeReader.byte(); // 0x60
    const parameters = [...typeReader.take(typeReader.u32())];
    const results = [...typeReader.take(typeReader.u32())];
    types.push({ parameters, results });
  }

  const functionTypes = [];
  let importedGlobals = 0;
  const imports = section(2);
  for (let count = imports?.u32() ?? 0; count > 0; count--) {
    imports.take(imports.u32());
    imports.take(imports.u32());
    const kind = imports.byte();
    if (kind === 0) functionTypes.push(imports.u32());
    else if (kind === 2) {
      const limits = imports.byte();
      imports.u32();
      if (limits & 1) imports.u32();
    } else if (kind === 3) {
      imports.take(2);
      importedGlobals++;
    } else throw new Error(`instrument: import of kind ${kind} is not handled`);
  }
  const importedFunctions = functionTypes.length;
  const functions = section(3);
  for (let count = functions.u32(); count > 0; count--) functionTypes.push(functions.u32());
  const globals = importedGlobals + (section(6)?.u32() ?? 0);

  const names = new Map();
  for (const { id, start, end } of sections) {
    if (id !== 0) continue;
    const custom = new Reader(bytes, start, end);
    if (custom.text() !== 'name') continue;
    while (custom.at < end) {
      const kind = custom.byte();
      const length = custom.u32();
      const after = custom.at + length;
      if (kind === 1)
        for (let count = custom.u32(); count > 0; count--) {
          const index = custom.u32();
          names.set(index, custom.text());
        }
      custom.at = after;
    }
  }
  if (names.size === 0) throw new Error('instrument: the binary must have a name section');
  return { sections, types, functionTypes, importedFunctions, globals, names };
}

/**
 * @param bytes   the binary
 * @param kindOf  what a function is, by its name: 'counted', 'transcendental', 'multiplyAdd' or 'inner'
 */
export function instrument(bytes, kindOf) {
  const { sections, types, functionTypes, importedFunctions, globals, names } = parse(bytes);
  const kinds = functionTypes.map((_, index) => kindOf(names.get(index) ?? ''));
  const global = Object.fromEntries(
    [...counters, 'shadow', 'shadowWords'].map((name, i) => [name, globals + i]),
  );
  // New functions come after all others, so no index changes.
  const markFunction = functionTypes.length;
  const copyFunction = markFunction + 1;
  const fillFunction = markFunction + 2;
  const markType = types.length;

  /** counter += amount */
  const add = (counter, amount) =>
    code(
      [0x23, ...unsigned(global[counter])],
      [0x42, ...signed(amount)],
      [0x7c, 0x24, ...unsigned(global[counter])],
    );
  const lanesOf = (index) => (types[functionTypes[index]].results[0] === V128 ? 4 : 1);

  /** Called with an address on the stack: marks `width` bytes from address + offset on. */
  const mark = (offset, width, bit) =>
    code(
      offset > 0 ? [0x41, ...signed(offset), 0x6a] : [],
      [0x41, ...signed(width), 0x41, bit],
      [0x10, ...unsigned(markFunction)],
    );

  function rewrite(reader, counted, locals) {
    const out = [];
    // Locals that hold an operand while an address below it is looked at.
    const spare = { i32: locals, i64: locals + 1, f32: locals + 2, f64: locals + 3, v128: locals + 4 };
    const copyFrom = (start) => {
      for (let i = start; i < reader.at; i++) out.push(reader.bytes[i]);
    };
    const memarg = () => {
      reader.u32();
      return reader.u32();
    };
    const load = (start, width, laneOperand = false) => {
      const offset = memarg();
      if (laneOperand) reader.byte();
      if (counted) {
        if (laneOperand) out.push(0x21, ...unsigned(spare.v128));
        out.push(0x22, ...unsigned(spare.i32)); // local.tee
        out.push(0x20, ...unsigned(spare.i32), ...mark(offset, width, 1));
        if (laneOperand) out.push(0x20, ...unsigned(spare.v128));
      }
      copyFrom(start);
      if (counted) out.push(...add('bytesLoaded', width));
    };
    const store = (start, width, type, lane = false) => {
      const offset = memarg();
      if (lane) reader.byte();
      if (counted) {
        out.push(0x21, ...unsigned(spare[type]), 0x22, ...unsigned(spare.i32));
        if (type === 'i32') {
          // The address needs a local of its own beside the operand.
          out.length -= 1 + unsigned(spare.i32).length;
          out.push(0x22, ...unsigned(locals + 5));
          out.push(0x20, ...unsigned(locals + 5), ...mark(offset, width, 2));
        } else out.push(0x20, ...unsigned(spare.i32), ...mark(offset, width, 2));
        out.push(0x20, ...unsigned(spare[type]));
      }
      copyFrom(start);
      if (counted) out.push(...add('bytesStored', width));
    };

    while (reader.at < reader.end) {
      const start = reader.at;
      const opcode = reader.byte();
      if (opcode === 0x02 || opcode === 0x03 || opcode === 0x04) reader.skipLeb();
      else if (opcode === 0x0c || opcode === 0x0d) reader.skipLeb();
      else if (opcode === 0x0e) for (let count = reader.u32(); count >= 0; count--) reader.skipLeb();
      else if (opcode === 0x10) {
        const callee = reader.u32();
        const kind = kinds[callee];
        if (counted && kind === 'transcendental') out.push(...add('transcendentals', lanesOf(callee)));
        if (counted && kind === 'multiplyAdd') out.push(...add('macs', 4), ...add('flops', 8));
      } else if (opcode === 0x11) {
        reader.skipLeb();
        reader.skipLeb();
      } else if (opcode === 0x1c) reader.take(reader.u32());
      else if (opcode >= 0x20 && opcode <= 0x26) reader.skipLeb();
      else if (opcode >= 0x28 && opcode <= 0x35) {
        load(start, loadBytes[opcode - 0x28]);
        continue;
      } else if (opcode >= 0x36 && opcode <= 0x3e) {
        const type =
          opcode === 0x38
            ? 'f32'
            : opcode === 0x39
              ? 'f64'
              : opcode === 0x37 || opcode >= 0x3c
                ? 'i64'
                : 'i32';
        store(start, storeBytes[opcode - 0x36], type);
        continue;
      } else if (opcode === 0x3f || opcode === 0x40) reader.byte();
      else if (opcode === 0x41 || opcode === 0x42) reader.skipLeb();
      else if (opcode === 0x43) reader.take(4);
      else if (opcode === 0x44) reader.take(8);
      else if (opcode === 0xfc) {
        const second = reader.u32();
        if (second === 10 || second === 11) {
          reader.take(second === 10 ? 2 : 1);
          if (counted) {
            out.push(0x10, ...unsigned(second === 10 ? copyFunction : fillFunction));
            continue;
          }
        } else if (second > 7) throw new Error(`instrument: opcode 0xfc ${second} is not handled`);
      } else if (opcode === 0xfd) {
        const second = reader.u32();
        if (second <= 10 || second === 92 || second === 93) {
          load(start, second <= 10 ? vectorLoadBytes[second] : second === 92 ? 4 : 8);
          continue;
        }
        if (second === 11) {
          store(start, 16, 'v128');
          continue;
        }
        if (second >= 84 && second <= 87) {
          load(start, laneBytes[second - 84], true);
          continue;
        }
        if (second >= 88 && second <= 91) {
          store(start, laneBytes[second - 88], 'v128', true);
          continue;
        }
        if (second === 12 || second === 13) reader.take(16);
        else if (second >= 21 && second <= 34) reader.byte();
        const flops = vectorFlops(second);
        if (counted && flops > 0) out.push(...add('flops', flops));
      } else if (counted && scalarFlops.has(opcode)) out.push(...add('flops', 1));
      copyFrom(start);
    }
    return out;
  }

  const bodies = [];
  const codeSection = sections.find(({ id }) => id === 10);
  const reader = new Reader(bytes, codeSection.start, codeSection.end);
  const count = reader.u32();
  for (let i = 0; i < count; i++) {
    const length = reader.u32();
    const end = reader.at + length;
    const index = importedFunctions + i;
    let locals = types[functionTypes[index]].parameters.length;
    const groups = [];
    for (let left = reader.u32(); left > 0; left--) {
      const size = reader.u32();
      groups.push([...unsigned(size), reader.byte()]);
      locals += size;
    }
    groups.push([1, I32], [1, I64], [1, 0x7d], [1, 0x7c], [1, V128], [1, I32]);
    const body = rewrite(new Reader(bytes, reader.at, end), kinds[index] === 'counted', locals);
    reader.at = end;
    const whole = [...vector(groups), ...body];
    bodies.push(Uint8Array.from([...unsigned(whole.length), ...whole]));
  }

  const addLength = (counter) =>
    code([0x23, ...unsigned(global[counter])], get(2), extend, [0x7c, 0x24, ...unsigned(global[counter])]);
  // mark(address, bytes, bit): each word of the range, if it lies within the shadow.
  const markBody = code(
    [1, 1, I32], // a local: the end
    [...get(0), ...get(1), 0x6a, 0x21, 3],
    [0x02, 0x40, 0x03, 0x40],
    [...get(0), ...get(3), 0x4f, 0x0d, 1], // address >= end: leave
    [...get(0), 0x41, 2, 0x76, 0x23, ...unsigned(global.shadowWords), 0x4f, 0x0d, 1], // beyond the shadow: leave
    [...get(0), 0x41, 2, 0x76, 0x23, ...unsigned(global.shadow), 0x6a, 0x22, 1], // its byte; `bytes` is free now
    [...get(1), 0x2d, 0, 0, ...get(2), 0x72, 0x3a, 0, 0],
    [...get(0), 0x41, 4, 0x6a, 0x21, 0, 0x0c, 0],
    [0x0b, 0x0b, 0x0b],
  );
  const callMark = (local, bit) => [...get(local), ...get(2), 0x41, bit, 0x10, ...unsigned(markFunction)];
  const operands = [...get(0), ...get(1), ...get(2)];
  const copyBody = code(
    [0, ...addLength('bytesLoaded'), ...addLength('bytesStored'), ...callMark(1, 1), ...callMark(0, 2)],
    [...operands, 0xfc, 10, 0, 0, 0x0b],
  );
  const fillBody = [0, ...addLength('bytesStored'), ...callMark(0, 2), ...operands, 0xfc, 11, 0, 0x0b];
  for (const body of [markBody, copyBody, fillBody])
    bodies.push(Uint8Array.from([...unsigned(body.length), ...body]));

  const parts = [bytes.subarray(0, 8)];
  const append = (id, chunks) => {
    const length = chunks.reduce((total, chunk) => total + chunk.length, 0);
    parts.push(Uint8Array.from([id, ...unsigned(length)]), ...chunks.map((chunk) => Uint8Array.from(chunk)));
  };
  /** A section with more items at its end. */
  const extended = ({ start, end }, items) => {
    const old = new Reader(bytes, start, end);
    const before = old.u32();
    return [unsigned(before + items.length), bytes.subarray(old.at, end), ...items];
  };
  for (const part of sections) {
    const { id, start, end } = part;
    if (id === 1) append(id, extended(part, [[0x60, 3, I32, I32, I32, 0]]));
    else if (id === 3)
      append(id, extended(part, [unsigned(markType), unsigned(markType), unsigned(markType)]));
    else if (id === 6)
      append(
        id,
        extended(part, [
          ...counters.map(() => [I64, 1, 0x42, 0, 0x0b]),
          [I32, 1, 0x41, 0, 0x0b],
          [I32, 1, 0x41, 0, 0x0b],
        ]),
      );
    else if (id === 7)
      append(
        id,
        extended(
          part,
          Object.entries(global).map(([name, index]) =>
            code(vector([...new TextEncoder().encode(name)]), [3], unsigned(index)),
          ),
        ),
      );
    else if (id === 10) append(id, [unsigned(bodies.length), ...bodies]);
    else if (id !== 0) append(id, [bytes.subarray(start, end)]);
  }
  const size = parts.reduce((total, chunk) => total + chunk.length, 0);
  const result = new Uint8Array(size);
  let at = 0;
  for (const chunk of parts) {
    result.set(chunk, at);
    at += chunk.length;
  }
  return result;
}
