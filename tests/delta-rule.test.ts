import { ArgumentError, DTypeError, loadKernels, ShapeError } from '@freelunch/kernels';
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
