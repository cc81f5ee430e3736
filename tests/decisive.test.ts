import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { fill, type HostArgs, type HostTensor, normal, run, runReference } from './cases/case.ts';
import { expectClose } from './compare.ts';
import { guarded } from './kernels.ts';

// A reduction goes through a row in several accumulators, lanes and a rest. If one of them takes the wrong element, only
// a row in which the element at that place decides shows it: here each does in turn, in rows of every length.
const LENGTHS = [...Array.from({ length: 40 }, (_, i) => i + 1), 63, 64, 65, 130];

/** e to this, and to its negative, is beyond float32. */
const HUGE = 200;

/** `length` rows in which row i has `value` at place i, and random numbers elsewhere. */
const diagonal = (length: number, value: number): HostTensor => {
  const rng = random(length);
  return fill([length, length], (at) => (at % (length + 1) === 0 ? value : rng.normal()));
};
const ones = (shape: number[]): HostTensor => fill(shape, () => 1);
const reshaped = ({ data }: HostTensor, shape: number[]): HostTensor => ({ shape, data });

/** Sequences of one head, of which query i alone meets key i: their score is huge, all others are small. */
function meeting(length: number, queries: number[], keys: number[]): HostArgs {
  const rng = random(length).split('meeting');
  const unit = (value: number) => (at: number) => (at % (length + 1) === 0 ? value : 0);
  const valueDim = 5;
  return {
    q: reshaped(fill([length, length], unit(HUGE)), [...queries, 1, length]),
    k: reshaped(fill([length, length], unit(1)), [...keys, 1, length]),
    v: normal(rng, [...keys, 1, valueDim]),
    scale: 1,
  };
}

/** The keys of `meeting`, once for each of its queries. */
function repeated({ shape, data }: HostTensor, times: number): HostTensor {
  const copies = new Float32Array(times * data.length);
  for (let i = 0; i < times; i++) copies.set(data, i * data.length);
  return { shape: [times, ...shape.slice(1)], data: copies };
}

/** Every query of `meeting` as a sequence of its own over all keys. */
function queriesAlone(length: number): { q: HostTensor; k: HostTensor; v: HostTensor } {
  const { q, k, v } = meeting(length, [length, 1], [1, length]) as Record<'q' | 'k' | 'v', HostTensor>;
  return { q, k: repeated(k, length), v: repeated(v, length) };
}

const reductions: [name: string, op: string, args: (length: number) => HostArgs, tolerance: number][] = [
  ...[HUGE, -HUGE, 1e4].map((value): (typeof reductions)[number] => [
    `crossEntropy of one logit of ${value}`,
    'crossEntropy',
    (length) => ({
      logits: diagonal(length, value),
      targets: { shape: [length], data: Int32Array.from({ length }, (_, i) => (i + 1) % length) },
      reduction: 'none',
    }),
    1e-6,
  ]),
  ...[false, true].map((causal): (typeof reductions)[number] => [
    `softmaxAttention, ${causal ? 'causal' : 'full'}, where one key decides`,
    'softmaxAttention',
    (length) => ({ ...meeting(length, [1, length], [1, length]), causal }),
    1e-6,
  ]),
  [
    'softmaxAttention of one query, where one key decides',
    'softmaxAttention',
    (length) => ({ ...queriesAlone(Math.min(length, 40)), scale: 1 }),
    1e-6,
  ],
  [
    'softmaxAttentionStep, where one key decides',
    'softmaxAttentionStep',
    (length) => {
      const n = Math.min(length, 40);
      const { q, k, v } = queriesAlone(n);
      return {
        q: reshaped(q, [n, 1, n]),
        // The new key and value are those of the last place, which the caches do not hold yet.
        k: fill([n, 1, n], (at) => (at % n === n - 1 ? 1 : 0)),
        v: normal(random(n), [n, 1, 5]),
        kCache: k,
        vCache: v,
        length: n - 1,
        scale: 1,
      };
    },
    1e-6,
  ],
  ['rmsNorm', 'rmsNorm', (length) => ({ x: diagonal(length, 1e4) }), 1e-6],
  ['layerNorm', 'layerNorm', (length) => ({ x: diagonal(length, 1e4), eps: 0.1 }), 1e-6],
  ...[false, true].map((normBeforeGate): (typeof reductions)[number] => [
    `gatedRmsNorm, ${normBeforeGate ? 'norm' : 'gate'} first`,
    'gatedRmsNorm',
    (length) => ({ x: diagonal(length, 1e4), z: ones([length, length]), normBeforeGate }),
    1e-6,
  ]),
];

describe.each(guarded)('%s', (_variant, k) => {
  it.each(reductions)('finds the element that decides at every place: %s', (_name, op, argsAt, tolerance) => {
    for (const length of LENGTHS) {
      const args = argsAt(length);
      const got = run(k, op, args, op === 'softmaxAttentionStep' ? ['kCache', 'vCache'] : []);
      for (const [name, want] of Object.entries(runReference(op, args)))
        expectClose(`${name} at length ${length}`, got[name], want, tolerance);
    }
  });

  it.each([false, true])(
    'finds the logit that decides at every place in the gradient of crossEntropy, logSumExp given: %s',
    (given) => {
      for (const length of LENGTHS) {
        for (const value of [HUGE, -HUGE, 12]) {
          const logits = diagonal(length, value);
          const targets = {
            shape: [length],
            data: Int32Array.from({ length }, (_, i) => (i + 1) % length),
          };
          const args = { logits, targets, reduction: 'none' };
          const logSumExp = runReference('crossEntropy', args).logSumExp.data;
          const got = run(k, 'crossEntropyBackward', {
            ...args,
            dloss: ones([length]),
            ...(given && { logSumExp: { shape: [length], data: Float32Array.from(logSumExp) } }),
          });
          const errors = Float64Array.from(logits.data, (logit, at) => {
            const row = Math.floor(at / length);
            const want = Math.exp(logit - logSumExp[row]) - Number(at % length === targets.data[row]);
            return Math.abs(got.dlogits.data[at] - want);
          });
          expect(Math.max(...errors), `error of dlogits at length ${length}`).toBeLessThan(2e-6);
        }
      }
    },
  );
});
