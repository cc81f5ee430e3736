/** Arguments of any kind: a call of a kernel computes, or is refused before anything reaches WASM. */
import { FreelunchError } from '@freelunch/errors';
import { type Kernels, loadKernels, Tensor as TensorClass, type Tensor } from '@freelunch/kernels';
import { random, type Random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import {
  argsOf,
  type Case,
  give,
  type HostArgs,
  type HostTensor,
  isQuantizedArray,
  isTensor,
  runReference,
  upstream,
} from '../cases/case.ts';
import { cases } from '../cases/index.ts';
import { fuzz } from './fuzz.ts';

const k = await loadKernels({ variant: 'simd', guard: true, maximumBytes: 2 ** 28 });
const other = await loadKernels({ variant: 'simd' });
const kernels = k as unknown as Record<string, (args: unknown) => unknown>;

/** By op, the cheapest sizes of its cases: those with the fewest elements. */
const calls = cases.flatMap((c): { op: string; c: Case; size: Case['sizes'][number] }[] => {
  const elements = (size: Case['sizes'][number]) =>
    Object.values(argsOf(c, size)).reduce(
      (sum: number, arg) =>
        sum + (isTensor(arg) ? arg.data.length : isQuantizedArray(arg) ? arg.bytes.length : 0),
      0,
    );
  const sizes = [...c.sizes].sort((a, b) => elements(a) - elements(b)).slice(0, 3);
  return sizes.flatMap((size) => [
    { op: c.op, c, size },
    ...(c.backward === undefined ? [] : [{ op: `${c.op}Backward`, c, size }]),
  ]);
});

const pick = <T>(rng: Random, items: readonly T[]): T => items[rng.integer(items.length)];
const place = (on: Kernels, { data, shape }: HostTensor): Tensor => on.tensor(data as Float32Array, shape);

/** Things that are not what an argument should be. */
const strange: readonly ((rng: Random) => unknown)[] = [
  () => undefined,
  () => null,
  () => 0,
  () => -1,
  () => 0.5,
  () => Number.NaN,
  () => Infinity,
  () => 2 ** 31,
  () => 2 ** 53,
  () => 1n,
  () => '',
  () => 'x',
  () => '4',
  () => true,
  () => [],
  () => [1, 2],
  () => [Infinity, -Infinity],
  () => ({}),
  () => ({ type: 'strided', stride: 0 }),
  () => ({ shape: [1], pointer: 0, dtype: 'float32' }),
  () => () => 1,
  () => Symbol('s'),
  () => new Float32Array(4),
  (rng) => k.zeros([1 + rng.integer(3)]),
  (rng) => k.zeros([1 + rng.integer(3), 1 + rng.integer(3), 1 + rng.integer(3), 1 + rng.integer(3)]),
  () => k.zeros([2], 'int32'),
  (rng) =>
    k.quantize({ x: k.zeros([1 + rng.integer(3), 32]), dtype: pick(rng, ['float16', 'int8', 'int4']) }),
  () => other.quantize({ x: other.zeros([2, 32]), dtype: 'int8' }),
  () => other.zeros([2]),
  () => {
    const gone = k.zeros([2]);
    gone.dispose();
    return gone;
  },
  () =>
    new Proxy(k.zeros([2]), {
      get: (tensor, name) => (name === 'shape' ? [1e9] : Reflect.get(tensor, name)),
    }),
  () => Object.create(Object.getPrototypeOf(k.zeros([2]))) as unknown,
];

const upstreams = new Map<(typeof calls)[number], HostArgs>();

/** The gradients that a backward is given, worked out once. */
function upstreamOf(call: (typeof calls)[number]): HostArgs {
  const { op, c, size } = call;
  let found = upstreams.get(call);
  if (found === undefined) {
    found = op.endsWith('Backward') ? upstream(c, size, runReference(c.op, argsOf(c, size))) : {};
    upstreams.set(call, found);
  }
  return found;
}

function hostileArgs(rng: Random, call: (typeof calls)[number]): unknown {
  const { c, size } = call;
  const args = give(k, argsOf(c, size));
  for (const [name, value] of Object.entries(upstreamOf(call)))
    if (isTensor(value)) args[name] = place(k, value);
  const changes = rng.integer(3);
  for (let change = 0; change < changes; change++) {
    const name = pick(rng, [...Object.keys(args), 'initialState', 'window', 'scale', 'extra', '__proto__']);
    switch (rng.integer(5)) {
      case 0:
        delete args[name];
        break;
      case 1: {
        // Another answer every time it is asked.
        const answers = [args[name], pick(rng, strange)(rng), pick(rng, strange)(rng)];
        let asked = 0;
        Object.defineProperty(args, name, {
          get: () => answers[asked++ % answers.length],
          enumerable: true,
          configurable: true,
        });
        break;
      }
      case 2: {
        const tensor = args[name];
        if (tensor instanceof TensorClass) {
          const { shape } = tensor;
          if (Array.isArray(shape)) {
            const value = k.zeros(shape.map((extent) => Math.max(1, extent + rng.integer(3) - 1)));
            Object.defineProperty(args, name, {
              value,
              enumerable: true,
              configurable: true,
              writable: true,
            });
          }
        }
        break;
      }
      default:
        Object.defineProperty(args, name, {
          value: pick(rng, strange)(rng),
          enumerable: true,
          configurable: true,
          writable: true,
        });
    }
  }
  return rng.integer(50) === 0 ? pick(rng, strange)(rng) : args;
}

describe('calls of kernels', () => {
  it('with any arguments compute or are refused, and write nowhere else', async () => {
    const before = k.memory.tensors;
    const tried = await fuzz<number>({
      name: 'arguments of kernels',
      make: (rng) => rng.integer(2 ** 32),
      run(seed) {
        const rng = random(seed);
        const call = pick(rng, calls);
        // What a call makes is freed with what it was given: only refusals leave the scope.
        const refusal = k.scope(() => {
          try {
            kernels[call.op](hostileArgs(rng, call));
            return undefined;
          } catch (error) {
            if (!(error instanceof FreelunchError))
              throw new Error(`${call.op}: ${String(error)}`, { cause: error });
            return { error };
          } finally {
            k.checkGuards();
          }
        });
        if (refusal !== undefined) throw refusal.error;
      },
    });
    expect(tried.taken).toBeGreaterThan(tried.inputs / 20);
    expect(tried.refused).toBeGreaterThan(tried.inputs / 20);
    expect(k.memory.tensors).toBe(before);
  });

  it('that make and split tensors take any values or refuse them', async () => {
    const functions = ['tensor', 'zeros', 'empty', 'scope', 'split', 'concat', 'accumulate'];
    const tried = await fuzz<number>({
      name: 'tensors',
      make: (rng) => rng.integer(2 ** 32),
      run(seed) {
        const rng = random(seed);
        const refusal = k.scope(() => {
          const name = pick(rng, functions);
          const args = Array.from({ length: rng.integer(4) }, () =>
            rng.integer(4) === 0
              ? { x: k.zeros([2, 4]), sizes: pick(rng, [[1, 3], [4], [2, 2, 1], 4, [Number.NaN]]) }
              : pick(rng, strange)(rng),
          );
          try {
            (k as unknown as Record<string, (...all: unknown[]) => unknown>)[name](...args);
            return undefined;
          } catch (error) {
            if (!(error instanceof FreelunchError))
              throw new Error(`${name}: ${String(error)}`, { cause: error });
            return { error };
          }
        });
        if (refusal !== undefined) throw refusal.error;
      },
    });
    expect(tried.refused).toBeGreaterThan(tried.inputs / 4);
  });
});
