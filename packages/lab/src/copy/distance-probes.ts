/** What is read through the kernels at a distance: the error of a decayed copy, and the score that wins. */
import type { Kernels } from '@freelunch/kernels';

/** The error of a copy of the value 1 at each distance from 0 on: one scan shows them all. */
export function decayErrors(k: Kernels, rate: number, delta: number, distance: number): number[] {
  return k.scope(() => {
    const seqLen = distance + 1;
    const constant = (shape: number[], value: number) => {
      const tensor = k.empty(shape);
      tensor.data.fill(value);
      return tensor;
    };
    // Written by the first token, as delta u B = 1; the others write nothing.
    const u = k.zeros([1, seqLen, 1]);
    u.data[0] = 1 / delta;
    const { y } = k.selectiveScan({
      u,
      delta: constant([1, seqLen, 1], delta),
      A: constant([1, 1], -rate),
      B: constant([1, seqLen, 1], 1),
      C: constant([1, seqLen, 1], 1),
    });
    return Array.from(y.data, (value) => Math.abs(1 - value));
  });
}

/** Powers of two, and what lies half way: enough for a curve. */
export function shownDistances(greatest: number): number[] {
  const shown = new Set<number>();
  for (let l = 1; l < greatest; l *= Math.SQRT2) shown.add(Math.round(l));
  return [...shown.add(greatest)];
}

/**
 * The token at `distance` says +1, all nearer ones, the last included, say -1; the query gives the first `score`, the others 1
 * each: C = (score, 1), B = (1, 0) or (0, 1).
 */
function scanReads(k: Kernels, keep: number, distance: number, score: number): number {
  const seqLen = distance + 1;
  const u = k.tensor(
    Float32Array.from({ length: seqLen }, (_, t) => (t === 0 ? 1 : -1)),
    [1, seqLen, 1],
  );
  const delta = k.tensor(new Float32Array(seqLen).fill(1), [1, seqLen, 1]);
  const A = k.tensor(new Float32Array(2).fill(Math.log(keep)), [1, 2]);
  const B = k.tensor(
    Float32Array.from({ length: 2 * seqLen }, (_, i) => (i === 0 || (i > 2 && i % 2 === 1) ? 1 : 0)),
    [1, seqLen, 2],
  );
  const C = k.tensor(
    Float32Array.from({ length: 2 * seqLen }, (_, i) => (i % 2 === 0 ? score : 1)),
    [1, seqLen, 2],
  );
  return k.selectiveScan({ u, delta, A, B, C }).y.data[distance];
}

/** The same for softmax attention: the query's score is `score` with the wanted key, 0 with the others. */
function softmaxReads(k: Kernels, distance: number, score: number): number {
  const seqLen = distance + 1;
  const signs = (first: number, others: number) =>
    k.tensor(
      Float32Array.from({ length: seqLen }, (_, t) => (t === 0 ? first : others)),
      [1, seqLen, 1, 1],
    );
  const q = k.tensor([score], [1, 1, 1, 1]);
  return k.softmaxAttention({ q, k: signs(1, 0), v: signs(1, -1), scale: 1 }).o.data[0];
}

/**
 * What the sums say, in closed form: the scan's score a^l must outweigh 1 + a + .. + a^(l-1); softmax attention's e^score must
 * outweigh l.
 */
export function scoreNeeded(
  mixer: 'selectiveScan' | 'softmaxAttention',
  keep: number,
  distance: number,
): number {
  if (mixer === 'softmaxAttention') return Math.log(distance);
  return (1 - keep ** distance) / (1 - keep) / keep ** distance;
}

/** By bisection, to a part in 2^22 or 2^-20, which is finer than what float32 decides. */
function smallestScore(wins: (score: number) => boolean): number {
  if (wins(2 ** -20)) return 0;
  let high = 1;
  while (!wins(high)) high *= 2;
  let low = high === 1 ? 0 : high / 2;
  for (let step = 0; step < 22; step++) {
    const middle = (low + high) / 2;
    if (wins(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/** The smallest score with which the token at `distance` outweighs everything nearer, by bisection through the kernels. */
export function measuredScore(
  k: Kernels,
  mixer: 'selectiveScan' | 'softmaxAttention',
  keep: number,
  distance: number,
): number {
  return smallestScore(
    (score) =>
      k.scope(() =>
        mixer === 'selectiveScan' ? scanReads(k, keep, distance, score) : softmaxReads(k, distance, score),
      ) > 0,
  );
}
