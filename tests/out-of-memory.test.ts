import { createTape, type Differentiable, rules } from '@freelunch/autograd';
import { type Kernels, loadKernels, OutOfMemoryError, QuantizedTensor, Tensor } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { argsOf, give as giveTo, gradientName, type HostArgs, titleOf } from './cases/case.ts';
import { cases } from './cases/index.ts';

const k = await loadKernels({ variant: 'simd' });
const { allocator } = internalsOf(k);
const functions = k as unknown as Record<string, (args: object) => unknown>;

type Args = Record<string, unknown>;
const give = (args: HostArgs): Args => giveTo(k, args);

afterEach(() => {
  vi.restoreAllMocks();
  expect(k.memory.tensors).toBe(0);
});

/** Runs `fn` while the allocation of this number, counted from 0, fails. */
function failingAt<T>(n: number, fn: () => T): T {
  let count = 0;
  const allocate = allocator.allocate.bind(allocator);
  const spy = vi.spyOn(allocator, 'allocate').mockImplementation((bytes) => {
    if (count++ === n) throw new OutOfMemoryError(`allocate: ${bytes} bytes wanted, as a trial`);
    return allocate(bytes);
  });
  try {
    return fn();
  } finally {
    spy.mockRestore();
  }
}

/** All tensors in a result: alone, in a list or by name. */
const tensorsOf = (result: unknown): Tensor[] =>
  [result instanceof Tensor ? [result] : Object.values(result ?? {})]
    .flat()
    .filter((value): value is Tensor => value instanceof Tensor);
const disposeOf = (result: unknown): void => {
  if (result instanceof QuantizedTensor) result.dispose();
  else for (const tensor of tensorsOf(result)) tensor.dispose();
};

const inUse = () => ({ tensors: k.memory.tensors, bytes: k.memory.usedBytes });

/**
 * Lets each allocation of `run` fail in turn. Each time it must end in OutOfMemoryError and leave memory as it was; and
 * so must the run in which none fails, once its result is disposed of.
 */
function expectNothingLeft(run: () => unknown): void {
  const before = inUse();
  for (let n = 0; ; n++) {
    let result: unknown;
    try {
      result = failingAt(n, run);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      expect(inUse(), `after allocation ${n} failed`).toEqual(before);
      continue;
    }
    disposeOf(result);
    expect(inUse(), `after ${n} allocations`).toEqual(before);
    return;
  }
}

/** The arguments of a backward call: those of the forward call, and gradients of its outputs. */
function upstreamOf(op: string, outputs: string[], args: Args): Args {
  const result = functions[op](args);
  const named = (result instanceof Tensor ? { y: result } : result) as Record<string, Tensor>;
  const given: Args = { ...args };
  for (const name of outputs) given[gradientName(name)] = k.zeros(named[name].shape);
  for (const tensor of Object.values(named)) tensor.dispose();
  return given;
}

const covered = new Set<string>();

describe('when memory runs out, nothing is kept by', () => {
  describe.each(cases.map((c) => [titleOf(c), c] as const))('%s', (_title, c) => {
    it.each(c.sizes)('at %o', (size) => {
      k.scope(() => {
        const args = give(argsOf(c, size));
        expectNothingLeft(() => functions[c.op](args));
        covered.add(c.op);
        if (c.backward === undefined) return;
        const given = upstreamOf(c.op, c.backward.outputs, args);
        expectNothingLeft(() => functions[`${c.op}Backward`](given));
        covered.add(`${c.op}Backward`);
      });
    });
  });

  it('what has no case: concat, slopes, norms of gradients, matrices, and tensors themselves', () => {
    k.scope(() => {
      const x = k.zeros([2, 3, 4, 4]);
      const flat = k.zeros([2, 3, 4]);
      const rates = k.zeros([4]);
      expectNothingLeft(() => k.split({ x: flat, sizes: [1, 1, 2] }));
      expectNothingLeft(() => k.concat({ parts: [flat, flat] }));
      expectNothingLeft(() => k.alibiSlopes({ nHeads: 3 }));
      expectNothingLeft(() => k.quantizedTensor(new Uint8Array(68), [2, 32], 'int8'));
      expectNothingLeft(() => k.globalNorm({ tensors: [x] }));
      expectNothingLeft(() => k.clipGradNorm({ tensors: [x], maxNorm: 1 }));
      expectNothingLeft(() => k.accumulate({ target: x, source: x }));
      const attention = { q: x, k: x, v: x };
      const scan = { u: flat, delta: flat, A: k.zeros([4, 2]), B: k.zeros([2, 3, 2]), C: k.zeros([2, 3, 2]) };
      const ssd = { x, dt: flat, A: rates, B: x, C: x };
      expectNothingLeft(() => k.effectiveAttention('softmaxAttention', { ...attention, causal: true }));
      expectNothingLeft(() => k.effectiveAttention('linearAttention', attention));
      expectNothingLeft(() => k.effectiveAttention('deltaRule', { ...attention, beta: flat }));
      expectNothingLeft(() =>
        k.effectiveAttention('gatedDeltaRule', { ...attention, beta: flat, decay: flat }),
      );
      expectNothingLeft(() => k.effectiveAttention('selectiveScan', scan));
      expectNothingLeft(() => k.effectiveAttention('ssd', ssd));
      const wide = k.zeros([2, 3, 1, 4, 4]);
      const angles = k.zeros([2, 3, 4, 2]);
      const mamba3 = { dt: flat, A: flat, trap: flat, B: wide, C: wide, angles };
      expectNothingLeft(() => k.effectiveAttention('mamba3', mamba3));
      expectNothingLeft(() => k.tensor([1, 2, 3]));
      expectNothingLeft(() => k.zeros([5]));
      expectNothingLeft(() => k.empty([5]));
      expectNothingLeft(() => k.scope(() => [k.zeros([5]), k.zeros([5])]));
      expectNothingLeft(() => k.scope(() => k.alongside(x, () => [k.zeros([5]), k.zeros([5])])));
    });
    for (const op of ['split', 'concat', 'alibiSlopes', 'globalNorm', 'clipGradNorm', 'accumulate'])
      covered.add(op);
    for (const op of [
      'effectiveAttention',
      'tensor',
      'quantizedTensor',
      'zeros',
      'empty',
      'scope',
      'alongside',
    ])
      covered.add(op);
  });

  describe.each(Object.keys(rules) as Differentiable[])('the tape of %s', (op) => {
    const c = cases.find((one) => one.op === op && one.backward !== undefined)!;
    it('forward and backward', () => {
      k.scope(() => {
        const args = give(argsOf(c, c.sizes.at(-1)!));
        const tensors = Object.values(args).filter((value) => value instanceof Tensor);
        const floats = tensors.filter((tensor) => tensor.dtype === 'float32');
        const onTape = () => {
          const tape = createTape(k, floats);
          const result = (tape as unknown as typeof functions)[op](args);
          return { tape, outputs: tensorsOf(result) };
        };
        expectNothingLeft(() => onTape().outputs);
        const { tape, outputs } = onTape();
        const upstream = k.zeros(outputs[0].shape);
        expectNothingLeft(() => [...tape.backward(outputs[0], upstream).values()]);
      });
    });
  });

  it('the other functions of a tape', () => {
    k.scope(() => {
      const x = k.zeros([3, 4]);
      const recorded = (run: (tape: ReturnType<typeof createTape>) => Tensor | Tensor[]) => {
        expectNothingLeft(() => run(createTape(k, [x])));
        const tape = createTape(k, [x]);
        const [y] = [run(tape)].flat();
        const upstream = k.zeros(y.shape);
        expectNothingLeft(() => [...tape.backward(y, upstream).values()]);
      };
      recorded((tape) => tape.split({ x, sizes: [1, 3] }));
      recorded((tape) => tape.concat({ parts: [x, x] }));
      recorded((tape) => tape.reshape(x, [4, 3]));
      recorded((tape) => tape.checkpoint((inner) => inner.silu({ x: inner.silu({ x }) }), [x]));
    });
  });

  it('any public function: none was left out', () => {
    const others = new Set(['resetPeak', 'checkGuards', 'dispose', 'variant', 'threads', 'memory']);
    const missing = Object.keys(k).filter((name) => !covered.has(name) && !others.has(name));
    expect(missing).toEqual([]);
  });
});

it('a limit below what the binary needs is refused with the least that is possible, others are kept to', async () => {
  const least = 65536;
  await expect(loadKernels({ variant: 'simd', maximumBytes: least - 1 })).rejects.toThrow(
    /maximumBytes must be/,
  );
  for (const maximumBytes of [2 * 65536, 300_000, 2 ** 20, 2 ** 20 + 5]) {
    const small: Kernels = await loadKernels({ variant: 'simd', maximumBytes });
    expect(small.memory.totalBytes).toBeLessThanOrEqual(maximumBytes);
    expect(() => {
      for (;;) small.zeros([1000]);
    }).toThrow(OutOfMemoryError);
    expect(small.memory.totalBytes).toBeLessThanOrEqual(maximumBytes);
    expect(small.memory.usedBytes).toBeGreaterThan(0);
  }
});
