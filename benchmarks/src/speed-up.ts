import { type Kernels, loadKernels, type Variant } from '@freelunch/kernels';
import type { Benchmark } from './benchmark.js';

/** How much faster more threads are: of the same rounds, turn about. */
interface SpeedUp {
  title: string;
  /** Best milliseconds for each number of threads. */
  bestMs: number[];
  /** Best of the first over best of each. */
  best: number[];
  /** Median over the rounds of the same ratio. */
  median: number[];
}

const ROUNDS = 15;
const TURN_MS = 8;

/** The numbers of threads of `--threads 1,2`. @throws Error unless they are whole numbers from 1 up, or 'auto' */
export function threadCounts(text: string): (number | 'auto')[] {
  return text.split(',').map((part) => {
    const count = part === 'auto' ? part : Number(part);
    if (count !== 'auto' && !(Number.isInteger(count) && count >= 1))
      throw new Error(
        `--threads must be whole numbers from 1 up, or auto, with commas between, got '${text}'`,
      );
    return count;
  });
}

/** Kernels for each number of threads. */
export const kernelsFor = (counts: readonly (number | 'auto')[], variant: Variant): Promise<Kernels[]> =>
  Promise.all(counts.map((threads) => loadKernels({ variant, threads })));

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1];

/** Times one benchmark on all kernels, in turns whose order changes from round to round. */
export function measureSpeedUp({ op, pass, shape, prepare }: Benchmark, all: readonly Kernels[]): SpeedUp {
  const within = (i: number, calls: (() => void)[]): SpeedUp => {
    if (i < all.length) return all[i].scope(() => within(i + 1, [...calls, prepare(all[i])]));
    const time = (call: () => void, count: number): number => {
      const start = performance.now();
      for (let n = 0; n < count; n++) call();
      return (performance.now() - start) / count;
    };
    for (const call of calls) call();
    const counts = calls.map((call) => Math.max(1, Math.ceil(TURN_MS / time(call, 1))));
    const rounds = Array.from({ length: ROUNDS }, (_, round) => {
      const times: number[] = [];
      const order = calls.map((_, at) => (at + round) % calls.length);
      for (const at of order) times[at] = Math.min(time(calls[at], counts[at]), time(calls[at], counts[at]));
      return times;
    });
    const bestMs = calls.map((_, at) => Math.min(...rounds.map((times) => times[at])));
    return {
      title: `${op} ${pass} ${shape}`,
      bestMs,
      best: bestMs.map((ms) => bestMs[0] / ms),
      median: calls.map((_, at) => median(rounds.map((times) => times[0] / times[at]))),
    };
  };
  return within(0, []);
}

/** One line: best times, then how many times as fast as the first, of best times and in the median. */
export function speedUpRow({ title, bestMs, best, median }: SpeedUp): string {
  const times = bestMs.map(
    (ms) => `${ms < 1 ? (ms * 1e3).toFixed(1) : ms.toFixed(2)} ${ms < 1 ? 'us' : 'ms'}`,
  );
  const ratios = best.slice(1).map((ratio, i) => `${ratio.toFixed(2)} (${median[i + 1].toFixed(2)})`);
  return [
    title.padEnd(66),
    ...times.map((text) => text.padStart(11)),
    ...ratios.map((text) => text.padStart(12)),
  ].join(' ');
}

export const speedUpHead = (all: readonly Kernels[]): string =>
  [
    ''.padEnd(66),
    ...all.map(({ threads }) => `${threads} thread${threads === 1 ? '' : 's'}`.padStart(11)),
    ...all.slice(1).map(() => 'x (median)'.padStart(12)),
  ].join(' ');
