import type { Kernels, Tensor } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { loadKernels } from '@freelunch/kernels';
import * as references from '@freelunch/kernels/reference';
import { random } from '@freelunch/random';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type HostTensor, normal, runReference } from './cases/case.ts';
import { expectClose } from './compare.ts';
import { guarded } from './kernels.ts';

type Attention = Parameters<Kernels['softmaxAttention']>[0];
type Options = Omit<Attention, 'q' | 'k' | 'v'>;
type SparsePattern = NonNullable<Options['sparse']>;

const give = (k: Kernels, { data, shape }: HostTensor) => k.tensor(data as Float32Array, shape);
const host = (tensor: Tensor): HostTensor => ({ shape: tensor.shape, data: tensor.toArray() });

/** Random q, k, v `[1, qLen or kLen, nHeads, headDim]`. */
function tensors(k: Kernels, qLen: number, { kLen = qLen, nHeads = 1, headDim = 4 } = {}) {
  const rng = random(7);
  return {
    q: give(k, normal(rng, [1, qLen, nHeads, headDim])),
    k: give(k, normal(rng, [1, kLen, nHeads, headDim])),
    v: give(k, normal(rng, [1, kLen, nHeads, headDim])),
  };
}

const most = (values: Iterable<number>) => Math.max(...[...values].map(Math.abs));

/** Rows [from, to) of a `[1, length, ...]` tensor. */
function rows(k: Kernels, tensor: Tensor, from: number, to: number) {
  const width = tensor.size / tensor.shape[1];
  return k.tensor((tensor.toArray() as Float32Array).slice(from * width, to * width), [
    1,
    to - from,
    ...tensor.shape.slice(2),
  ]);
}

const closeTo = (name: string, got: Tensor, want: Tensor, tolerance: number) =>
  expectClose(name, host(got), host(want), tolerance);

const masks: [string, Options][] = [
  ['causal', {}],
  ['a window', { window: 9 }],
  ['the strided pattern', { sparse: { pattern: 'strided', stride: 6 } }],
  ['the fixed pattern', { sparse: { pattern: 'fixed', stride: 6, summary: 2 } }],
];

describe.each(guarded)('%s', (_variant, k) => {
  afterEach(() => vi.restoreAllMocks());

  it.each(masks)('gives in two parts what it gives in one: %s', (_title, options) => {
    k.scope(() => {
      const args = tensors(k, 40, { nHeads: 2 });
      const whole = k.softmaxAttention({ ...args, ...options, causal: true });
      const first = k.softmaxAttention({
        q: rows(k, args.q, 0, 23),
        k: rows(k, args.k, 0, 23),
        v: rows(k, args.v, 0, 23),
        ...options,
        causal: true,
      });
      const second = k.softmaxAttention({
        ...args,
        q: rows(k, args.q, 23, 40),
        ...options,
        causal: true,
        queryOffset: 23,
      });
      closeTo('first part', first.o, rows(k, whole.o, 0, 23), 1e-6);
      closeTo('second part', second.o, rows(k, whole.o, 23, 40), 1e-6);
    });
  });

  it.each(masks)('gives token by token what it gives in one: %s', (_title, options) => {
    k.scope(() => {
      const seqLen = 30;
      const args = tensors(k, seqLen, { nHeads: 2, headDim: 6 });
      const slopes = k.alibiSlopes({ nHeads: 2 });
      const whole = k.softmaxAttention({ ...args, ...options, causal: true, alibiSlopes: slopes });
      const kCache = k.zeros([1, seqLen, 2, 6]);
      const vCache = k.zeros([1, seqLen, 2, 6]);
      for (let length = 0; length < seqLen; length++) {
        const token = (x: Tensor) => rows(k, x, length, length + 1).reshape([1, 2, 6]);
        const o = k.softmaxAttentionStep({
          q: token(args.q),
          k: token(args.k),
          v: token(args.v),
          kCache,
          vCache,
          length,
          alibiSlopes: slopes,
          ...options,
        });
        closeTo(`token ${length}`, o.reshape([1, 1, 2, 6]), rows(k, whole.o, length, length + 1), 1e-6);
      }
      expect(kCache.toArray()).toEqual(args.k.toArray());
      expect(vCache.toArray()).toEqual(args.v.toArray());
    });
  });

  it('gives 0 and -Infinity to queries without keys, and no gradient', () => {
    // Position 20 and on with a window of 3 over 10 keys: nothing to see; from 9 to 11 some see, some do not.
    for (const [qLen, queryOffset] of [
      [2, 20],
      [9, 20],
      [9, 9],
    ]) {
      k.scope(() => {
        const args = { ...tensors(k, qLen, { kLen: 10 }), window: 3, queryOffset };
        const { o, logSumExp } = k.softmaxAttention(args);
        const sums = [...logSumExp.toArray()];
        const empty = sums.map((_, t) => queryOffset + t - 3 >= 9);
        expect(sums.map((sum) => sum === -Infinity)).toEqual(empty);
        const gradients = k.softmaxAttentionBackward({
          ...args,
          do: give(k, normal(random(1), o.shape)),
          dLogSumExp: give(k, normal(random(2), logSumExp.shape)),
        });
        for (let t = 0; t < qLen; t++) {
          if (!empty[t]) continue;
          expect([...rows(k, o, t, t + 1).data]).toEqual([0, 0, 0, 0]);
          expect([...rows(k, gradients.dq, t, t + 1).data]).toEqual([0, 0, 0, 0]);
        }
        for (const gradient of Object.values(gradients)) {
          expect(gradient.toArray().every(Number.isFinite)).toBe(true);
        }
        k.checkGuards();
      });
    }
  });

  it('does not read padding', () => {
    for (const qLen of [1, 12]) {
      k.scope(() => {
        const args = tensors(k, qLen, { kLen: 20, nHeads: 2 });
        const want = k.softmaxAttention({ ...args, k: rows(k, args.k, 0, 13), v: rows(k, args.v, 0, 13) });
        args.k.data.fill(Number.NaN, 13 * 8);
        args.v.data.fill(Number.NaN, 13 * 8);
        const got = k.softmaxAttention({ ...args, keyLengths: 13 });
        expect(got.o.toArray()).toEqual(want.o.toArray());
        const { dq } = k.softmaxAttentionBackward({ ...args, keyLengths: [13], do: got.o });
        expect(dq.toArray().every(Number.isFinite)).toBe(true);
      });
    }
  });

  it.each([1e3, 1e10, 1e30])('stays finite where scores reach %d', (size) => {
    for (const qLen of [3, 20]) {
      k.scope(() => {
        const args = tensors(k, qLen);
        for (let i = 0; i < args.q.size; i++) args.q.data[i] *= size;
        const { o, logSumExp } = k.softmaxAttention({ ...args, causal: true });
        const { dq, dk, dv } = k.softmaxAttentionBackward({ ...args, causal: true, o, logSumExp, do: o });
        for (const tensor of [o, logSumExp, dq, dk, dv]) {
          expect(tensor.toArray().every(Number.isFinite)).toBe(true);
        }
        expect(most(o.toArray())).toBeLessThanOrEqual(most(args.v.toArray()) * 1.000001);
      });
    }
  });

  it('has the same gradient whether o and logSumExp are given or computed again', () => {
    k.scope(() => {
      const args = { ...tensors(k, 21, { nHeads: 2 }), causal: true };
      const { o, logSumExp } = k.softmaxAttention(args);
      const given = k.softmaxAttentionBackward({ ...args, o, logSumExp, do: o });
      const again = k.softmaxAttentionBackward({ ...args, do: o });
      for (const name of ['dq', 'dk', 'dv'] as const) {
        expect(again[name].toArray()).toEqual(given[name].toArray());
      }
    });
  });

  it.each([...masks, ['no mask', { causal: false, keyLengths: [19] }] as [string, Options]])(
    'is its matrix times v: %s',
    (_title, options) => {
      k.scope(() => {
        const args = { ...tensors(k, 30, { nHeads: 2 }), causal: true, ...options };
        const { o } = k.softmaxAttention(args);
        const matrix = k.effectiveAttention('softmaxAttention', args);
        expect(matrix.shape).toEqual([1, 2, 30, 30]);
        const product = new Float32Array(o.size);
        for (let h = 0; h < 2; h++) {
          for (let t = 0; t < 30; t++) {
            for (let j = 0; j < 30; j++) {
              const m = matrix.data[(h * 30 + t) * 30 + j];
              if (args.causal && j > t) expect(m).toBe(0);
              for (let d = 0; d < 4; d++)
                product[(t * 2 + h) * 4 + d] += m * args.v.data[(j * 2 + h) * 4 + d];
            }
          }
        }
        expectClose('M v', { shape: o.shape, data: product }, host(o), 2e-6);
      });
    },
  );

  /** The number of scores that the kernel computes, summed over its calls: it leaves them in its working memory. */
  function scoresComputed(qLen: number, options: Options): number {
    return k.scope(() => {
      const { wasm, allocator } = internalsOf(k);
      const kernel = wasm.softmaxAttentionForward;
      let total = 0;
      vi.spyOn(wasm, 'softmaxAttentionForward').mockImplementation((...args) => {
        kernel(...args);
        const scratch = args.at(-3)!;
        total += new DataView(allocator.memory.buffer).getFloat64(Number(scratch), true);
      });
      k.softmaxAttention({ ...tensors(k, qLen, { headDim: 1 }), causal: true, ...options });
      vi.restoreAllMocks();
      return total;
    });
  }

  it('computes half of the matrix when causal, no more than the window with one, L sqrt(L) with a pattern', () => {
    for (const seqLen of [256, 1024, 4096]) {
      const root = Math.sqrt(seqLen);
      const half = (seqLen * (seqLen + 1)) / 2;
      const causal = scoresComputed(seqLen, {});
      expect(causal).toBeGreaterThanOrEqual(half);
      expect(causal).toBeLessThanOrEqual(half + 8 * seqLen); // tiles of 8 x 5 along the diagonal

      const windowed = scoresComputed(seqLen, { window: 32 });
      expect(windowed).toBeGreaterThanOrEqual(31 * seqLen);
      expect(windowed).toBeLessThanOrEqual((32 + 16) * seqLen);

      // Visible to a query in the mean: the last `root` keys, and one in each of t / root earlier strides.
      const strided = scoresComputed(seqLen, { sparse: { pattern: 'strided', stride: root } });
      expect(strided).toBeLessThanOrEqual((root + 16 + root / 2 + 16) * seqLen);
      const fixed = scoresComputed(seqLen, { sparse: { pattern: 'fixed', stride: root, summary: 2 } });
      expect(fixed).toBeLessThanOrEqual((root / 2 + 16 + root + 16) * seqLen);
    }
    // Four times the length at the same window: four times the work; at stride sqrt(L): about eight times, not sixteen.
    expect(scoresComputed(4096, { window: 32 }) / scoresComputed(1024, { window: 32 })).toBeLessThan(4.2);
    const strided = (seqLen: number) =>
      scoresComputed(seqLen, { sparse: { pattern: 'strided', stride: Math.sqrt(seqLen) } });
    expect(strided(16384) / strided(4096)).toBeLessThan(8.5);
  });

  it('refuses what does not fit, before anything is allocated', () => {
    const args = k.scope(() => tensors(k, 6, { nHeads: 2 }));
    const { q, k: keys, v } = args;
    const before = k.memory;
    const refuses = (options: object, message: string) => {
      for (const op of ['softmaxAttention', 'softmaxAttentionBackward'] as const) {
        const upstream = op === 'softmaxAttention' ? {} : { do: q };
        const all = { ...args, ...upstream, ...options } as Attention & { do: Tensor };
        expect(() => k[op](all)).toThrow(`${op}: ${message}`);
      }
    };
    const made = k.scope(() => ({
      threeHeads: k.zeros([1, 6, 3, 4]),
      shortValues: k.zeros([1, 5, 2, 4]),
      integers: k.zeros([1, 6, 2, 4], 'int32'),
      slopes: k.zeros([3]),
    }));
    refuses({ k: undefined }, 'k must be a float32 tensor, got nothing');
    refuses({ q: made.integers }, 'q must be float32, got int32');
    refuses({ q: made.threeHeads }, 'nHeads must be a multiple of nKvHeads = 2, got 3');
    refuses(
      { v: made.shortValues },
      'v must be [batch, kLen, nKvHeads, valueDim] = [1, 6, 2, valueDim], got',
    );
    refuses({ alibiSlopes: made.slopes }, 'alibiSlopes must be [nHeads] = [2], got [3]');
    refuses({ scale: Number.NaN }, 'scale must be a finite number, got NaN');
    refuses({ window: 0 }, 'window must be a whole number from 1');
    refuses({ window: 2.5 }, 'window must be a whole number from 1');
    refuses({ queryOffset: -1 }, 'queryOffset must be a whole number from 0');
    refuses({ causal: 1 }, 'causal must be true or false, got 1');
    refuses({ keyLengths: 7 }, 'keyLengths must be a whole number from 0 to 6, got 7');
    refuses({ keyLengths: [1, 2] }, 'keyLengths must be a number or [batch] = [1] numbers, got');
    refuses({ keyLengths: [Number.NaN] }, 'keyLengths[0] must be a whole number from 0 to 6, got NaN');
    const strided = { pattern: 'strided', stride: 2 };
    refuses({ sparse: strided }, 'causal must be true where sparse is given, got false');
    refuses({ causal: true, sparse: 'strided' }, "sparse must be an object, got 'strided'");
    refuses({ causal: true, sparse: { pattern: 'random', stride: 2 } }, 'sparse.pattern must be one of');
    refuses(
      { causal: true, sparse: { ...strided, stride: 0 } },
      'sparse.stride must be a whole number from 1',
    );
    refuses(
      { causal: true, sparse: { pattern: 'fixed', stride: 2, summary: 3 } },
      'sparse.summary must be a whole number from 1 to 2, got 3',
    );
    expect(() => k.softmaxAttentionBackward(args)).toThrow('do or dLogSumExp must be given, got');
    expect(() => k.softmaxAttentionBackward({ ...args, do: made.threeHeads })).toThrow('do must be');
    expect(() => k.alibiSlopes({ nHeads: 0 })).toThrow('alibiSlopes: nHeads must be a whole number from 1');

    const token = k.scope(() => ({ q: k.zeros([1, 2, 4]), k: k.zeros([1, 2, 4]), v: k.zeros([1, 2, 4]) }));
    const caches = { kCache: keys, vCache: v };
    expect(() => k.softmaxAttentionStep({ ...token, ...caches, length: 6 })).toThrow(
      'softmaxAttentionStep: length must be a whole number from 0 to 5, got 6',
    );
    expect(() =>
      k.softmaxAttentionStep({ ...token, ...caches, vCache: made.shortValues, length: 1 }),
    ).toThrow('softmaxAttentionStep: vCache must be');
    for (const tensor of [...Object.values(token), ...Object.values(made)]) tensor.dispose();
    expect(k.memory.usedBytes).toBe(before.usedBytes);
    q.dispose();
    expect(() => k.softmaxAttention(args)).toThrow('q, a tensor of shape [1, 6, 2, 4], was disposed of');
    keys.dispose();
    v.dispose();
  });
});

it('needs memory for the sequence, not for its square, forward and backward', async () => {
  const k = await loadKernels({ variant: 'simd' });
  const seqLen = 8192; // a square matrix would take 256 MiB
  const args = { ...tensors(k, seqLen, { headDim: 2 }), causal: true, window: 64 };
  const { o, logSumExp } = k.softmaxAttention(args);
  k.softmaxAttentionBackward({ ...args, o, logSumExp, do: o });
  expect(k.memory.totalBytes).toBeLessThan(4 * 2 ** 20);
});

describe.each(guarded)('a score that is NaN, %s', (_variant, k) => {
  it.each([
    ['by tiles', 20, {}],
    ['row by row', 3, {}],
    ['in two passes', 20, { sparse: { pattern: 'fixed', stride: 4, summary: 2 } }],
    ['row by row in two passes', 3, { sparse: { pattern: 'fixed', stride: 2, summary: 1 } }],
  ] as [string, number, Options][])(
    'makes logSumExp and o NaN where it is seen: %s',
    (_title, qLen, options) => {
      k.scope(() => {
        const args = { ...tensors(k, qLen), ...options, causal: true };
        args.k.data.fill(Number.NaN, 4, 8); // key 1, which later queries see in the second pass or not at all
        const { o, logSumExp } = k.softmaxAttention(args);
        const wanted = runReference('softmaxAttention', {
          ...args,
          q: host(args.q),
          k: host(args.k),
          v: host(args.v),
        });
        const isNaNs = (values: Iterable<number>) => [...values].map(Number.isNaN);
        expect(isNaNs(logSumExp.toArray())).toEqual(isNaNs(wanted.logSumExp.data));
        expect(isNaNs(o.toArray())).toEqual(isNaNs(wanted.o.data));
        expect(isNaNs(logSumExp.toArray())).toContain(true);
        expect(isNaNs(logSumExp.toArray())).toContain(false);
      });
    },
  );
});

it('is plain causal attention where a pattern leaves nothing out', () => {
  const rng = random(3);
  const shape = [1, 20, 1, 3];
  const args = { q: normal(rng, shape), k: normal(rng, shape), v: normal(rng, shape), causal: true };
  const dense = runReference('softmaxAttention', args);
  for (const sparse of [
    { pattern: 'strided', stride: 1 },
    { pattern: 'strided', stride: 20 },
    { pattern: 'fixed', stride: 20, summary: 1 },
    { pattern: 'fixed', stride: 4, summary: 4 },
  ]) {
    expect(runReference('softmaxAttention', { ...args, sparse })).toEqual(dense);
  }
});

it('sees the keys of the published patterns', () => {
  // With equal scores, logSumExp is the logarithm of the number of visible keys.
  const zeros = { shape: [1, 9, 1, 1], data: new Float64Array(9) };
  const args = { q: zeros, k: zeros, v: zeros, causal: true };
  const counts = (sparse: SparsePattern) =>
    [...references.softmaxAttention({ ...args, sparse }).logSumExp.data].map((x) => Math.round(Math.exp(x)));
  expect(counts({ pattern: 'strided', stride: 3 })).toEqual([1, 2, 3, 4, 4, 4, 5, 5, 5]);
  expect(counts({ pattern: 'fixed', stride: 3, summary: 1 })).toEqual([1, 2, 3, 2, 3, 4, 3, 4, 5]);
});
