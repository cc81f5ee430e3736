import {
  ArgumentError,
  DisposedError,
  DTypeError,
  loadKernels,
  ShapeError,
  type Tensor,
} from '@freelunch/kernels';
import { linearAttention } from '@freelunch/kernels/reference';
import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { normal, uniform } from './cases/case.ts';
import { relativeError } from './compare.ts';
import { guarded } from './kernels.ts';

const wide = ({ shape, data }: Tensor) => ({ shape, data: Float64Array.from(data) });

describe.each(guarded)('%s', (_variant, k) => {
  const [batch, seqLen, nHeads, dKey, dValue] = [2, 70, 3, 5, 9];
  const rng = random(0);
  const tensor = (shape: number[], low?: number, high?: number) => {
    const { data } = low === undefined ? normal(rng, shape) : uniform(rng, shape, low, high!);
    return k.tensor(data, shape);
  };
  const steps = [batch, seqLen, nHeads];
  const q = tensor([...steps, dKey]);
  const key = tensor([...steps, dKey]);
  const v = tensor([...steps, dValue]);
  const options = { featureMap: 'elu1', normalize: true } as const;
  const decay = tensor(steps, -0.5, 0);
  const gate = tensor([...steps, dKey], -0.5, 0);
  const forms = [
    ['plain', {}],
    ['decay by head', { decay: tensor([nHeads], -0.2, 0) }],
    ['decay by step', { decay }],
    ['gate', { gate }],
    ['plain, in chunks', { form: 'chunked' }],
    ['decay by step, in chunks', { decay, form: 'chunked' }],
  ] as const;

  /** Steps [from, to) of each tensor that has steps. */
  function part<T extends object>(args: T, from: number, to: number): T {
    const cut = Object.entries(args).map(([name, value]) => {
      if (typeof value !== 'object' || value.shape.length === 1) return [name, value];
      const [, length, ...rest] = value.shape;
      const row = value.size / batch / length;
      const data = [...Array(batch).keys()].flatMap((b) =>
        Array.from(value.data.subarray((b * length + from) * row, (b * length + to) * row) as Float32Array),
      );
      return [name, k.tensor(data, [batch, to - from, ...rest])];
    });
    return Object.fromEntries(cut) as T;
  }

  it.each(forms)('gives in two parts what it gives in one: %s', (_title, form) => {
    k.scope(() => {
      const args = { q, k: key, v, ...form, ...options };
      const whole = k.linearAttention(args);
      const first = k.linearAttention(part(args, 0, 41));
      const second = k.linearAttention({
        ...part(args, 41, seqLen),
        initialState: first.lastState,
        initialNormalizer: first.lastNormalizer,
      });
      const wanted = part({ o: whole.o }, 41, seqLen).o;
      expect(relativeError(second.o.data, wanted.data)).toBeLessThan(1e-6);
      expect(relativeError(second.lastState.data, whole.lastState.data)).toBeLessThan(1e-6);
      expect(relativeError(second.lastNormalizer!.data, whole.lastNormalizer!.data)).toBeLessThan(1e-6);
    });
  });

  it.each(forms)('gives step by step what it gives at once: %s', (_title, form) => {
    k.scope(() => {
      const args = { q, k: key, v, ...form, ...options };
      const whole = k.linearAttention(args);
      const state = k.zeros([batch, nHeads, dKey, dValue]);
      const normalizer = k.zeros([batch, nHeads, dKey]);
      for (let t = 0; t < seqLen; t++) {
        const given = Object.entries(part(args, t, t + 1)).filter(([name]) => name !== 'form');
        const step = given.map(([name, value]) => [
          name,
          typeof value === 'object' && value.shape.length > 1
            ? value.reshape([batch, ...value.shape.slice(2)])
            : value,
        ]);
        const o = k.linearAttentionStep({ ...Object.fromEntries(step), state, normalizer });
        expect(relativeError(o.data, part({ o: whole.o }, t, t + 1).o.data)).toBeLessThan(2e-6);
      }
      expect(relativeError(state.data, whole.lastState.data)).toBeLessThan(1e-6);
      expect(relativeError(normalizer.data, whole.lastNormalizer!.data)).toBeLessThan(1e-6);
    });
  });

  it.each(forms)('has an effective attention matrix that times v gives o: %s', (_title, form) => {
    k.scope(() => {
      const args = { q, k: key, ...form, ...options };
      const { data: matrix, shape } = k.effectiveAttention('linearAttention', args);
      expect(shape).toEqual([batch, nHeads, seqLen, seqLen]);
      const got = new Float64Array(v.size);
      for (let b = 0; b < batch; b++) {
        for (let h = 0; h < nHeads; h++) {
          for (let i = 0; i < seqLen; i++) {
            for (let j = 0; j < seqLen; j++) {
              const weight = matrix[((b * nHeads + h) * seqLen + i) * seqLen + j];
              if (j > i) expect(weight).toBe(0);
              for (let n = 0; n < dValue; n++) {
                got[((b * seqLen + i) * nHeads + h) * dValue + n] +=
                  weight * v.data[((b * seqLen + j) * nHeads + h) * dValue + n];
              }
            }
          }
        }
      }
      expect(relativeError(got, k.linearAttention({ ...args, v }).o.data)).toBeLessThan(2e-6);
    });
  });

  it('has weights that sum to one where it normalises without eps', () => {
    k.scope(() => {
      const matrix = k.effectiveAttention('linearAttention', { q, k: key, ...options, eps: 0 });
      for (let row = 0; row < matrix.size; row += seqLen) {
        const sum = matrix.data.subarray(row, row + seqLen).reduce((a, b) => a + b, 0);
        expect(sum).toBeCloseTo(1, 5);
      }
    });
  });

  it('stays finite for features that underflow and for those that are large', () => {
    k.scope(() => {
      const extreme = (values: number[]) =>
        k.tensor(
          Array.from({ length: 4 * 6 }, (_, i) => values[i % values.length]),
          [1, 4, 1, 6],
        );
      const args = { q: extreme([-200, 1e4, -90, 3]), k: extreme([1e4, -1e4, -88]), v: extreme([1, -2, 3]) };
      const { o } = k.linearAttention({ ...args, ...options });
      const [host] = [args].map(({ q: x, k: y, v: z }) => {
        return linearAttention({ q: wide(x), k: wide(y), v: wide(z), ...options });
      });
      expect(relativeError(o.data, host.o.data)).toBeLessThan(1e-6);
      const gradients = k.linearAttentionBackward({ ...args, ...options, do: args.v });
      for (const gradient of Object.values(gradients))
        expect(gradient.data.every(Number.isFinite)).toBe(true);
    });
  });

  it('takes the slope of relu at 0 as 0', () => {
    k.scope(() => {
      // Every query and key has its other numbers above 0, so that a slope of 1 would show; rows of 7 have a rest.
      const shape = [1, 3, 1, 7];
      const positive = (zeros: number[]) => {
        const { data } = uniform(rng, shape, 0.5, 1);
        for (const i of zeros) data[i] = i % 2 === 0 ? 0 : -0;
        return k.tensor(data, shape);
      };
      const zeros = [0, 3, 6, 8, 13, 14, 19, 20];
      const rest = positive([]);
      const backward = (args: { q: Tensor; k: Tensor }) =>
        k.linearAttentionBackward({ ...args, v: rest, do: rest, featureMap: 'relu' });
      const { dq } = backward({ q: positive(zeros), k: rest });
      const { dk } = backward({ q: rest, k: positive(zeros) });
      for (const gradient of [dq, dk])
        gradient.data.forEach((value, i) => {
          if (zeros.includes(i)) expect(value).toBeCloseTo(0, 30);
          else expect(value).toBeGreaterThan(0);
        });
    });
  });

  it.each([
    ['recurrent', -Infinity],
    ['chunked', -Infinity],
    ['chunked', -1e38],
  ] as const)('forgets all of the past, %s, where the log of the decay is %d', (form, log) => {
    k.scope(() => {
      const none = k.tensor(
        Array.from({ length: batch * seqLen * nHeads }, () => log),
        steps,
      );
      const { o } = k.linearAttention({ q, k: key, v, decay: none, form });
      for (let row = 0; row < batch * seqLen * nHeads; row++) {
        let score = 0;
        for (let n = 0; n < dKey; n++) score += q.data[row * dKey + n] * key.data[row * dKey + n];
        for (let n = 0; n < dValue; n++)
          expect(o.data[row * dValue + n]).toBeCloseTo(score * v.data[row * dValue + n], 4);
      }
    });
  });

  it('keeps in chunks the digits of small decays that follow a huge one', () => {
    k.scope(() => {
      const logs = Array.from({ length: seqLen }, (_, t) => (t % 7 === 0 ? -1e30 : -0.01));
      const one = (size: number) => k.tensor(normal(rng, [1, seqLen, 1, size]).data, [1, seqLen, 1, size]);
      const args = { q: one(dKey), k: one(dKey), v: one(dValue) };
      const want = linearAttention({
        q: wide(args.q),
        k: wide(args.k),
        v: wide(args.v),
        decay: { shape: [1, seqLen, 1], data: Float64Array.from(logs) },
      });
      const given = k.tensor(logs, [1, seqLen, 1]);
      const { o, lastState } = k.linearAttention({ ...args, decay: given, form: 'chunked' });
      expect(relativeError(o.data, want.o.data)).toBeLessThan(1e-6);
      expect(relativeError(lastState.data, want.lastState.data)).toBeLessThan(1e-6);
    });
  });

  /** Arguments with keys and values of the same size. */
  function square(length: number, width: number, forget: 'decay' | 'gate' | 'none') {
    const shape = [1, length, 1, width];
    const normals = () => k.tensor(normal(rng, shape).data, shape);
    const args = { q: normals(), k: normals(), v: normals() };
    if (forget === 'decay') return { ...args, decay: tensor([1, length, 1], -1, 0) };
    return forget === 'gate' ? { ...args, gate: tensor(shape, -1, 0) } : args;
  }

  it('takes the form that suits the sizes, if not told which', () => {
    k.scope(() => {
      const computed = (args: ReturnType<typeof square>, form?: 'recurrent' | 'chunked') =>
        k.linearAttention({ ...args, form }).o.toArray();
      for (const [length, width, forget, form] of [
        [40, 64, 'decay', 'chunked'],
        [40, 256, 'none', 'chunked'],
        [7, 64, 'decay', 'recurrent'],
        [40, 31, 'decay', 'recurrent'],
        [40, 64, 'none', 'recurrent'],
      ] as const) {
        const args = square(length, width, forget);
        const other = form === 'chunked' ? 'recurrent' : 'chunked';
        expect(computed(args)).toEqual(computed(args, form));
        expect(computed(args)).not.toEqual(computed(args, other)); // they round differently
      }
      const gated = square(40, 64, 'gate');
      expect(computed(gated)).toEqual(computed(gated, 'recurrent'));
    });
  });

  it.each(['recurrent', 'chunked'] as const)('needs working memory that does not grow, %s', async (form) => {
    const fresh = await loadKernels({ variant: k.variant });
    const [short, long] = [100, 3000].map((length) => {
      const make = () => fresh.zeros([1, length, 2, 8]);
      const args = { q: make(), k: make(), v: make(), decay: fresh.zeros([2]), form };
      const before = fresh.memory.usedBytes;
      fresh.resetPeak();
      const { o, lastState } = fresh.linearAttention(args);
      return fresh.memory.peakBytes - before - 4 * (o.size + lastState.size);
    });
    expect(short).toBeGreaterThan(0);
    expect(long).toBeLessThanOrEqual(short + 128); // blocks are rounded up
  });

  it('computes the gradient without a state for every step', async () => {
    const fresh = await loadKernels({ variant: k.variant });
    const shape = [1, 8192, 1, 32];
    const make = () => fresh.tensor(normal(rng, shape).data, shape);
    const args = { q: make(), k: make(), v: make(), do: make(), gate: fresh.zeros(shape) };
    const before = fresh.memory.usedBytes;
    const gradients = fresh.linearAttentionBackward(args);
    const own = Object.values(gradients).reduce((bytes, { size }) => bytes + 4 * size, 0);
    const stateBytes = 4 * 8192 * 32 * 32;
    expect(fresh.memory.totalBytes - before - own).toBeLessThan(stateBytes / 4);
  });

  it('refuses arguments that do not fit', () => {
    k.scope(() => {
      const args = { q, k: key, v };
      const bad = tensor([2, 3]);
      expect(() => k.linearAttention({ ...args, k: v })).toThrow(
        'linearAttention: k must be [batch, seqLen, nHeads, dKey] = [2, 70, 3, 5], got [2, 70, 3, 9]',
      );
      expect(() => k.linearAttention({ ...args, decay: bad })).toThrow(ShapeError);
      expect(() => k.linearAttention({ ...args, gate: v })).toThrow(ShapeError);
      expect(() => k.linearAttention({ ...args, initialState: bad })).toThrow(ShapeError);
      expect(() => k.linearAttention({ ...args, ...forms[1][1], ...forms[3][1] })).toThrow(
        'gate must be absent',
      );
      expect(() => k.linearAttention({ ...args, eps: NaN })).toThrow('linearAttention: eps must be a finite');
      expect(() => k.linearAttention({ ...args, eps: -1 })).toThrow(ArgumentError);
      expect(() => k.linearAttention({ ...args, scale: Infinity })).toThrow(ArgumentError);
      expect(() => k.linearAttention({ ...args, featureMap: 'elu' as 'elu1' })).toThrow(
        "linearAttention: featureMap must be one of identity, relu, elu1, got 'elu'",
      );
      expect(() => k.linearAttention({ ...args, form: 'fast' as 'auto' })).toThrow(
        "linearAttention: form must be one of auto, recurrent, chunked, got 'fast'",
      );
      expect(() => k.linearAttention({ ...args, gate, form: 'chunked' })).toThrow(
        "linearAttention: form must be 'auto' or 'recurrent' where gate is given, got 'chunked'",
      );
      expect(() => k.linearAttention({ ...args, normalize: 1 as unknown as boolean })).toThrow(ArgumentError);
      expect(() => k.linearAttention({ ...args, initialNormalizer: tensor([batch, nHeads, dKey]) })).toThrow(
        'initialNormalizer must be absent where normalize is false',
      );
      expect(() => k.linearAttentionBackward(args)).toThrow('linearAttentionBackward: do must be given');
      expect(() => k.linearAttentionBackward({ ...args, do: q })).toThrow(ShapeError);
      const integers = k.tensor(new Int32Array(q.size), q.shape);
      expect(() => k.linearAttention({ ...args, q: integers })).toThrow(DTypeError);
      const gone = tensor([...steps, dValue]);
      gone.dispose();
      expect(() => k.linearAttention({ ...args, v: gone })).toThrow(DisposedError);
    });
  });
});
