import {
  ArgumentError,
  DisposedError,
  DTypeError,
  type Kernels,
  ShapeError,
  type Tensor,
} from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import {
  type HostArgs,
  type HostTensor,
  isTensor,
  normal,
  run,
  runReference,
  uniform,
} from './cases/case.ts';
import { expectClose, relativeError } from './compare.ts';
import { guarded } from './kernels.ts';

interface Sizes {
  batch: number;
  seqLen: number;
  dInner: number;
  dState: number;
}

/** All inputs, at random. */
function inputs({ batch, seqLen, dInner, dState }: Sizes): HostArgs {
  const rng = random(7);
  return {
    u: normal(rng, [batch, seqLen, dInner]),
    delta: normal(rng, [batch, seqLen, dInner]),
    A: uniform(rng, [dInner, dState], -2, -0.1),
    B: normal(rng, [batch, seqLen, dState]),
    C: normal(rng, [batch, seqLen, dState]),
    D: normal(rng, [dInner]),
    z: normal(rng, [batch, seqLen, dInner]),
    deltaBias: normal(rng, [dInner]),
    deltaSoftplus: true,
  };
}

/** The steps [from, to) of each tensor that has an axis of time, in a batch of one. */
function slice(args: HostArgs, seqLen: number, from: number, to: number): HostArgs {
  const cut = (x: HostTensor): HostTensor => {
    if (x.shape.length < 3 || x.shape[1] !== seqLen) return x;
    const row = x.data.length / seqLen;
    return {
      shape: [1, to - from, ...x.shape.slice(2)],
      data: x.data.slice(from * row, to * row),
    };
  };
  return Object.fromEntries(
    Object.entries(args).map(([name, value]) => [name, isTensor(value) ? cut(value) : value]),
  );
}

/** Row t of each sequence, one after the other. */
function stepOf({ shape, data }: HostTensor, t: number): HostTensor {
  const [batch, seqLen, row] = shape;
  const step = new Float32Array(batch * row);
  for (let b = 0; b < batch; b++) {
    const start = (b * seqLen + t) * row;
    step.set(data.subarray(start, start + row), b * row);
  }
  return { shape: [batch, row], data: step };
}

const one = (value: number, shape: number[]): HostTensor => ({ shape, data: Float32Array.of(value) });

const give = (k: Kernels, args: HostArgs) =>
  Object.fromEntries(
    Object.entries(args).map(([name, value]) => [
      name,
      isTensor(value) ? k.tensor(value.data as Float32Array, value.shape) : value,
    ]),
  ) as unknown as Parameters<Kernels['selectiveScan']>[0];

/** Most bytes in use at once while `fn` runs, beyond those before. */
function peakBytes(k: Kernels, fn: () => void): number {
  const before = k.memory.usedBytes;
  k.resetPeak();
  fn();
  return k.memory.peakBytes - before;
}

describe.each(guarded)('selectiveScan, %s', (_variant, k) => {
  it('gives in two parts what it gives in one', () => {
    const size = { batch: 1, seqLen: 150, dInner: 6, dState: 5 };
    const args = inputs(size);
    const whole = run(k, 'selectiveScan', args);
    const first = run(k, 'selectiveScan', slice(args, 150, 0, 67));
    const second = run(k, 'selectiveScan', {
      ...slice(args, 150, 67, 150),
      initialState: first.lastState,
    });
    const joined = { shape: whole.y.shape, data: Float32Array.from([...first.y.data, ...second.y.data]) };
    expectClose('y', joined, whole.y, 1e-6);
    expectClose('lastState', second.lastState, whole.lastState, 1e-6);
  });

  it.each([4, 16, 3])('gives step by step what it gives at once, at dState %i', (dState) => {
    const seqLen = 40;
    const args = inputs({ batch: 2, seqLen, dInner: 10, dState });
    const want = run(k, 'selectiveScan', args);
    k.scope(() => {
      const { A, D, deltaBias } = give(k, args);
      const state = k.zeros([2, 10, dState]);
      for (let t = 0; t < seqLen; t++) {
        const at = (name: string) => {
          const { shape, data } = stepOf(args[name] as HostTensor, t);
          return k.tensor(data as Float32Array, shape);
        };
        const y = k.selectiveScanStep({
          state,
          u: at('u'),
          delta: at('delta'),
          A,
          B: at('B'),
          C: at('C'),
          D,
          z: at('z'),
          deltaBias,
          deltaSoftplus: true,
        });
        const wanted = stepOf(want.y, t).data;
        expect(relativeError(y.data, wanted), `step ${t}`).toBeLessThanOrEqual(2e-6);
      }
      expect(relativeError(state.data, want.lastState.data)).toBeLessThanOrEqual(2e-6);
    });
  });

  it('takes every kind of B and C in a step, and reads [batch, dState] where batch = dInner', () => {
    const rng = random(3);
    const [batch, dInner, dState] = [4, 4, 4];
    const args: HostArgs = {
      state: normal(rng, [batch, dInner, dState]),
      u: normal(rng, [batch, dInner]),
      delta: uniform(rng, [batch, dInner], 0.1, 1),
      A: uniform(rng, [dInner, dState], -1, 0),
      C: normal(rng, [batch, 2, dState]),
    };
    const B = normal(rng, [batch, dState]);
    const step = (given: HostTensor) => run(k, 'selectiveScanStep', { ...args, B: given }, ['state']);
    const shared = step(B);
    const grouped = step({ ...B, shape: [batch, 1, dState] });
    expect(shared).toEqual(grouped);
  });

  it('keeps a state for ever where delta is 0, or A is too small to matter, and erases it where exp underflows', () => {
    const seqLen = 3000;
    const full = { shape: [1, seqLen, 3], data: new Float32Array(3 * seqLen) };
    const delta = new Float32Array(3 * seqLen);
    for (let t = 0; t < seqLen; t++) delta[3 * t + 1] = 1;
    delta[3 * 1500 + 2] = 128;
    const ones = { shape: [3, 1], data: Float32Array.of(1, 1, 1) };
    const { lastState, y } = run(k, 'selectiveScan', {
      u: full,
      delta: { shape: full.shape, data: delta },
      A: { shape: [3, 1], data: Float32Array.of(-1, -4.2e-18, -1) },
      B: ones,
      C: ones,
      initialState: { shape: [1, 3, 1], data: Float32Array.of(0.1, 0.2, 0.3) },
    });
    expect(lastState.data).toEqual(Float32Array.of(0.1, 0.2, 0));
    expect(y.data.slice(3 * 1499, 3 * 1500)).toEqual(Float32Array.of(0.1, 0.2, 0.3));
    expect(y.data.slice(3 * 1500, 3 * 1501)).toEqual(Float32Array.of(0.1, 0.2, 0));
  });

  /** y of one step of one channel from the state 1. */
  const scan = (delta: number, A: number, u = 1) =>
    run(k, 'selectiveScan', {
      u: one(u, [1, 1, 1]),
      delta: one(delta, [1, 1, 1]),
      A: one(A, [1, 1]),
      B: one(1, [1, 1, 1]),
      C: one(1, [1, 1, 1]),
      initialState: one(1, [1, 1, 1]),
    }).y.data[0];

  it('is right with growing states, and infinite or NaN only where the definition is', () => {
    expect(scan(1, 2)).toBeCloseTo(Math.exp(2) + 1, 5);
    expect(scan(-1, -2)).toBeCloseTo(Math.exp(2) - 1, 5);
    expect(scan(1, 85) / Math.exp(85)).toBeCloseTo(1, 5);
    expect(scan(1, 89)).toBe(Infinity);
    expect(scan(2, 1e30)).toBe(Infinity);
    expect(scan(1, -Infinity)).toBe(1);
    expect(scan(1, -87.5)).toBe(1);
    expect(scan(1e-30, -1e38, 0)).toBe(0);
    expect(scan(NaN, -1)).toBeNaN();
    expect(scan(1, NaN)).toBeNaN();
    expect(scan(1, -1, NaN)).toBeNaN();
  });

  it('has exact gradients where softplus, the gate and the decay are at their ends', () => {
    const size = { batch: 1, seqLen: 30, dInner: 5, dState: 4 };
    const args = inputs(size);
    const rng = random(11);
    for (const name of ['delta', 'z']) {
      const { data } = args[name] as HostTensor;
      for (let i = 0; i < data.length; i++)
        data[i] = rng.integer(3) === 0 ? 120 * (rng.float() - 0.5) : data[i];
    }
    const dy = normal(rng, [1, 30, 5]);
    const got = run(k, 'selectiveScanBackward', { ...args, dy });
    for (const [name, output] of [
      ['delta', 'ddelta'],
      ['z', 'dz'],
      ['u', 'du'],
    ] as const) {
      const x = args[name] as HostTensor;
      const scale = Math.max(...[...got[output].data].map(Math.abs));
      expect(Number.isFinite(scale)).toBe(true);
      for (let i = 0; i < x.data.length; i += 7) {
        const value = (shift: number) => {
          const moved = Float64Array.from(x.data);
          moved[i] += shift;
          const { y } = runReference('selectiveScan', args, { [name]: { shape: x.shape, data: moved } });
          return y.data.reduce((total, element, at) => total + element * dy.data[at], 0);
        };
        const slope = (value(1e-5) - value(-1e-5)) / 2e-5;
        expect(Math.abs(got[output].data[i] - slope), `${output}[${i}]`).toBeLessThanOrEqual(1e-5 * scale);
      }
    }
  });

  it('adds gradients of y and of the last state, each of which may be absent', () => {
    const args = inputs({ batch: 2, seqLen: 12, dInner: 6, dState: 3 });
    const rng = random(5);
    const dy = normal(rng, [2, 12, 6]);
    const dLastState = normal(rng, [2, 6, 3]);
    const both = run(k, 'selectiveScanBackward', { ...args, dy, dLastState });
    const first = run(k, 'selectiveScanBackward', { ...args, dy });
    const second = run(k, 'selectiveScanBackward', { ...args, dLastState });
    for (const [name, { shape, data }] of Object.entries(both)) {
      const total = Float32Array.from(data, (_, i) => first[name].data[i] + second[name].data[i]);
      expectClose(name, { shape, data: total }, both[name], 2e-6);
    }
    expect(second.dz.data.every((value) => value === 0)).toBe(true);
  });

  /** Bytes of working memory of one call. */
  const used = (seqLen: number, backward: boolean) =>
    k.scope(() => {
      const size = { batch: 2, seqLen, dInner: 128, dState: 16 };
      const args = give(k, inputs(size));
      const dy = k.zeros([2, seqLen, 128]);
      let results = 0;
      const peak = peakBytes(k, () => {
        const before = k.memory.usedBytes;
        const outputs = backward ? k.selectiveScanBackward({ ...args, dy }) : k.selectiveScan(args);
        for (const tensor of Object.values(outputs)) expect((tensor as Tensor).disposed).toBe(false);
        results = k.memory.usedBytes - before;
      });
      return peak - results;
    });

  it('needs working memory far below seqLen x dInner x dState, and none that grows with seqLen going forward', () => {
    expect(used(1024, false)).toBe(used(256, false));
    const expanded = 2 * 1024 * 128 * 16 * 4; // bytes of all states
    expect(used(1024, false)).toBeLessThan(expanded / 100);
    expect(used(1024, true)).toBeLessThan(expanded / 16);
    expect(used(2048, true) - used(1024, true)).toBeLessThan(expanded / 25);
  });

  it('refuses what does not fit, and allocates nothing then', () => {
    k.scope(() => {
      const args = give(k, inputs({ batch: 2, seqLen: 3, dInner: 6, dState: 4 }));
      const other = (shape: number[]) => k.zeros(shape);
      const wrong: [object, new (...a: never[]) => Error, RegExp][] = [
        [{ D: other([5]) }, ShapeError, /selectiveScan: D must be \[dInner\] = \[6\], got \[5\]/],
        [{ A: other([5, 4]) }, ShapeError, /A must be \[dInner, dState\]/],
        [{ B: other([2, 3, 4, 4]) }, ShapeError, /B must be .* nGroups divides dInner, got \[2, 3, 4, 4\]/],
        [{ B: other([2, 4, 4]) }, ShapeError, /B must be \[batch, seqLen, dState\]/],
        [{ C: other([4]) }, ShapeError, /C must be/],
        [{ C: other([4, 6]) }, ShapeError, /C must be \[dInner, dState\]/],
        [{ z: other([2, 3]) }, ShapeError, /z must be/],
        [{ initialState: other([2, 4, 6]) }, ShapeError, /initialState must be/],
        [{ delta: undefined }, DTypeError, /delta must be a float32 tensor, got nothing/],
        [{ u: k.zeros([2, 3, 6], 'int32') }, DTypeError, /u must be float32, got int32/],
        [{ deltaSoftplus: 1 }, ArgumentError, /deltaSoftplus must be true or false, got 1/],
      ];
      const held = k.memory.usedBytes;
      for (const [change, kind, message] of wrong) {
        const call = () => k.selectiveScan({ ...args, ...change } as typeof args);
        expect(call).toThrow(kind);
        expect(call).toThrow(message);
      }
      expect(() => k.selectiveScanBackward(args)).toThrow(/dy or dLastState must be given/);
      expect(k.memory.usedBytes).toBe(held);
      expect(() => k.selectiveScanBackward({ ...args, dy: other([2, 3, 5]) })).toThrow(
        /selectiveScanBackward: dy/,
      );
      const gone = k.zeros([6]);
      gone.dispose();
      expect(() => k.selectiveScan({ ...args, D: gone })).toThrow(DisposedError);
      const step = { ...args, state: other([2, 6, 4]), u: other([2, 6]), delta: other([2, 6]), z: undefined };
      expect(() => k.selectiveScanStep({ ...step, B: other([3, 4]), C: other([2, 4]) })).toThrow(
        /selectiveScanStep: B must be \[batch, dState\] = \[2, 4\]/,
      );
      expect(() => k.selectiveScanStep({ ...step, B: other([2, 4, 4]), C: other([2, 4]) })).toThrow(
        ShapeError,
      );
    });
  });

  it.each([
    { batch: 1, seqLen: 9, dInner: 3, dState: 4 },
    { batch: 2, seqLen: 6, dInner: 5, dState: 3 },
  ])('is its effective attention applied to delta u, at %o', (size) => {
    k.scope(() => {
      const host = inputs(size);
      delete host.z;
      const args = give(k, host);
      const { batch, seqLen, dInner } = size;
      const matrix = k.effectiveAttention('selectiveScan', args);
      expect(matrix.shape).toEqual([batch, dInner, seqLen, seqLen]);
      const { y } = k.selectiveScan(args);
      const got = new Float64Array(y.size);
      const M = matrix.data;
      const [u, delta, bias, D] = [args.u, args.delta, args.deltaBias!, args.D!].map(({ data }) => data);
      for (let b = 0; b < batch; b++) {
        for (let d = 0; d < dInner; d++) {
          for (let i = 0; i < seqLen; i++) {
            const at = (t: number) => (b * seqLen + t) * dInner + d;
            let total = D[d] * u[at(i)];
            for (let j = 0; j < seqLen; j++) {
              const element = M[((b * dInner + d) * seqLen + i) * seqLen + j];
              if (j > i) expect(element).toBe(0);
              total += element * Math.log1p(Math.exp(delta[at(j)] + bias[d])) * u[at(j)];
            }
            got[at(i)] = total;
          }
        }
      }
      expect(relativeError(got, y.data)).toBeLessThanOrEqual(2e-6);
    });
  });
});
