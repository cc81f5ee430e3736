import { ArgumentError, DTypeError, loadKernels, ShapeError, type Tensor } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { normal, uniform } from './cases/case.ts';
import { relativeError } from './compare.ts';
import { guarded } from './kernels.ts';

describe.each(guarded)('%s', (_variant, k) => {
  const [seqLen, nHeads, dKey, dValue] = [70, 2, 6, 9];
  const rng = random(0);
  const tensor = (shape: number[]) => k.tensor(normal(rng, shape).data, shape);
  const steps = [1, seqLen, nHeads];
  const args = {
    q: tensor([...steps, dKey]),
    k: tensor([...steps, dKey]),
    v: tensor([...steps, dValue]),
    beta: k.tensor(uniform(rng, steps, 0, 1).data, steps),
    l2Normalize: true,
  };
  const decay = k.tensor(uniform(rng, steps, -0.3, 0).data, steps);

  /** Steps [from, to) of the only batch. */
  const part = <T extends object>(given: T, from: number, to: number): T =>
    Object.fromEntries(
      Object.entries(given).map(([name, value]) => {
        if (typeof value !== 'object') return [name, value];
        const row = value.size / seqLen;
        const data = value.data.slice(from * row, to * row) as Float32Array;
        return [name, k.tensor(data, [1, to - from, ...value.shape.slice(2)])];
      }),
    ) as T;

  it.each([2 ** 70, 2 ** 120, 2 ** -70, 2 ** -140])(
    'normalises queries and keys times %f as it does those of length 1',
    (factor) => {
      k.scope(() => {
        const scaled = (x: Tensor) =>
          k.tensor(
            x.toArray().map((value) => value * factor),
            x.shape,
          );
        // Few digits remain below the normal range of float32, so that these are whole.
        const whole = (x: Tensor) =>
          k.tensor(
            x.toArray().map((value) => Math.round(value * 4) + 0.5),
            x.shape,
          );
        const ordinary = { ...args, q: whole(args.q), k: whole(args.k), eps: 0 };
        const extreme = { ...ordinary, q: scaled(ordinary.q), k: scaled(ordinary.k) };
        const want = k.deltaRule(ordinary);
        const got = k.deltaRule(extreme);
        expect(relativeError(got.o.data, want.o.data)).toBeLessThan(2e-6);
        expect(relativeError(got.lastState.data, want.lastState.data)).toBeLessThan(2e-6);
        const step = ({ q, k: key, v, beta }: typeof args) =>
          k.deltaRuleStep({
            state: k.zeros([1, nHeads, dKey, dValue]),
            q: part({ q }, 0, 1).q.reshape([1, nHeads, dKey]),
            k: part({ key }, 0, 1).key.reshape([1, nHeads, dKey]),
            v: part({ v }, 0, 1).v.reshape([1, nHeads, dValue]),
            beta: part({ beta }, 0, 1).beta.reshape([1, nHeads]),
            l2Normalize: true,
            eps: 0,
          });
        expect(relativeError(step(extreme).data, step(ordinary).data)).toBeLessThan(2e-6);
        if (factor < 2 ** -100) return; // gradients, 1 / factor times as large, would overflow

        const upstream = { do: args.v };
        const wanted = k.deltaRuleBackward({ ...ordinary, ...upstream });
        const gradients = k.deltaRuleBackward({ ...extreme, ...upstream });
        expect(relativeError(gradients.dv.data, wanted.dv.data)).toBeLessThan(2e-6);
        for (const name of ['dq', 'dk'] as const) {
          const expected = k.tensor(
            wanted[name].toArray().map((value) => value / factor),
            wanted[name].shape,
          );
          expect(relativeError(gradients[name].data, expected.data), name).toBeLessThan(
            factor > 2 ** 100 ? 1e-3 : 1e-5,
          );
        }
      });
    },
  );

  it('gives in two parts, and step by step, what it gives at once', () => {
    k.scope(() => {
      const whole = k.gatedDeltaRule({ ...args, decay });
      const first = k.gatedDeltaRule(part({ ...args, decay }, 0, 41));
      const second = k.gatedDeltaRule({
        ...part({ ...args, decay }, 41, seqLen),
        initialState: first.lastState,
      });
      expect(relativeError(second.o.data, part({ o: whole.o }, 41, seqLen).o.data)).toBeLessThan(1e-6);
      expect(relativeError(second.lastState.data, whole.lastState.data)).toBeLessThan(1e-6);

      const state = k.zeros([1, nHeads, dKey, dValue]);
      for (let t = 0; t < seqLen; t++) {
        const step = Object.entries(part({ ...args, decay }, t, t + 1)).map(([name, value]) => [
          name,
          typeof value === 'object' ? value.reshape([1, ...value.shape.slice(2)]) : value,
        ]);
        const o = k.gatedDeltaRuleStep({ ...Object.fromEntries(step), state });
        expect(relativeError(o.data, part({ o: whole.o }, t, t + 1).o.data)).toBeLessThan(3e-6);
      }
      expect(relativeError(state.data, whole.lastState.data)).toBeLessThan(1e-6);
    });
  });

  it('is the gated form with no decay', () => {
    k.scope(() => {
      const zeros = k.zeros(steps);
      const plain = k.deltaRule(args);
      const gated = k.gatedDeltaRule({ ...args, decay: zeros });
      expect(gated.o.toArray()).toEqual(plain.o.toArray());
    });
  });

  it('replaces the value under a key that it has seen', () => {
    k.scope(() => {
      const values = [3, -1, 7, 2];
      const shape = [1, 2, 1, 2];
      const keys = k.tensor([0, 1, 0, 1], shape); // the same key twice
      const { o } = k.deltaRule({
        q: keys,
        k: keys,
        v: k.tensor(values, shape),
        beta: k.tensor([1, 1], [1, 2, 1]),
      });
      expect(Array.from(o.data)).toEqual(values);
    });
  });

  it.each(['plain', 'gated'])('has an effective attention matrix that times v gives o: %s', (form) => {
    k.scope(() => {
      const gated = form === 'gated';
      const matrix = gated
        ? k.effectiveAttention('gatedDeltaRule', { ...args, decay })
        : k.effectiveAttention('deltaRule', args);
      const { o } = gated ? k.gatedDeltaRule({ ...args, decay }) : k.deltaRule(args);
      expect(matrix.shape).toEqual([1, nHeads, seqLen, seqLen]);
      const got = new Float64Array(o.size);
      for (let h = 0; h < nHeads; h++) {
        for (let i = 0; i < seqLen; i++) {
          for (let j = 0; j < seqLen; j++) {
            const weight = matrix.data[(h * seqLen + i) * seqLen + j];
            if (j > i) expect(weight).toBe(0);
            for (let n = 0; n < dValue; n++)
              got[(i * nHeads + h) * dValue + n] += weight * args.v.data[(j * nHeads + h) * dValue + n];
          }
        }
      }
      expect(relativeError(got, o.data)).toBeLessThan(2e-6);
    });
  });

  it('computes the gradient without a state for every step', async () => {
    const fresh = await loadKernels({ variant: k.variant });
    const shape = [1, 8192, 1, 32];
    const make = (like: number[]) => fresh.tensor(normal(rng, like).data, like);
    const long = { q: make(shape), k: make(shape), v: make(shape), do: make(shape) };
    const beta = fresh.zeros([1, 8192, 1]);
    const before = fresh.memory.usedBytes;
    const gradients = fresh.gatedDeltaRuleBackward({ ...long, beta, decay: beta });
    const own = Object.values(gradients).reduce((bytes, { size }) => bytes + 4 * size, 0);
    const stateBytes = 4 * 8192 * 32 * 32;
    expect(fresh.memory.totalBytes - before - own).toBeLessThan(stateBytes / 4);
  });

  it('refuses arguments that do not fit', () => {
    k.scope(() => {
      expect(() => k.deltaRule({ ...args, beta: tensor([1, seqLen, 3]) })).toThrow(
        'deltaRule: beta must be [batch, seqLen, nHeads] = [1, 70, 2], got [1, 70, 3]',
      );
      expect(() => k.deltaRule({ ...args, v: tensor([1, 3, nHeads, dValue]) })).toThrow(ShapeError);
      expect(() => k.deltaRule({ ...args, initialState: args.q })).toThrow(ShapeError);
      expect(() => k.deltaRule({ ...args, eps: NaN })).toThrow(ArgumentError);
      expect(() => k.deltaRule({ ...args, scale: NaN })).toThrow(ArgumentError);
      expect(() => k.deltaRule({ ...args, l2Normalize: 'yes' as unknown as boolean })).toThrow(ArgumentError);
      expect(() => k.deltaRuleBackward(args)).toThrow('deltaRuleBackward: do must be given');
      expect(() => k.gatedDeltaRule(args as never)).toThrow(DTypeError);
      expect(() => k.gatedDeltaRule({ ...args, decay: args.q })).toThrow(ShapeError);
    });
  });
});
