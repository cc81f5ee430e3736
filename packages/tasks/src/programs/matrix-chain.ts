/**
 * Matrix chain: M[i][j] = min over i <= k < j of M[i][k] + M[k+1][j] + p_i p_{k+1} p_{j+1}, spans from short to long.
 *
 *     tokens  2 3 4 5 <sep> 24 60 64 <sep> 64 <eos>      (matrices 2x3, 3x4, 4x5)
 *     scored  . . . .   .   *  *  *    *   *    *
 */
import type { DpOptions } from '../dp/definition.js';
import { defineDp } from '../dp/dp.js';
import type { DpTask } from '../dp/task.js';
import { FAR, type FixedArg, number, type Transition } from '../dp/transition.js';
import { upTo } from '../lists.js';
import { checkInteger, checkSize, type Size, sizeBounds, takeOptions } from '../options.js';
import { numberTokens } from '../vocabulary.js';

export interface MatrixChainOptions extends Pick<DpOptions, 'form'> {
  /** Number of matrices. */
  length: Size;
  /** Largest number of rows or columns. */
  maxDim: number;
}

export interface MatrixChainProblem {
  dims: number[];
}

/** Uniform dimensions. @throws TaskError if an option is out of range */
export function matrixChain(given?: Partial<MatrixChainOptions>): DpTask<MatrixChainProblem> {
  const where = 'matrixChain';
  const options = takeOptions<MatrixChainOptions>(where, given, { length: [4, 6], maxDim: 5, form: 'cot' });
  const { length, maxDim, form } = options;
  checkSize(where, 'length', length, 2, 2 ** 10);
  checkInteger(where, 'maxDim', maxDim, 1, 100);
  const largest = (sizeBounds(length)[1] - 1) * maxDim * maxDim * maxDim;
  checkInteger(where, 'length (matrices - 1) times maxDim cubed', largest, 1, 2 ** 22);
  const count = ({ dims }: MatrixChainProblem) => dims.length - 1;
  return defineDp<MatrixChainProblem>(
    {
      name: 'matrix-chain',
      summary: 'fewest multiplications for each span, then for all',
      options,
      symbols: numberTokens(0, Math.max(largest, maxDim) + 1),
      size: length,
      range: [0, largest],
      random: (rng, n) => ({ dims: Array.from({ length: n + 1 }, () => 1 + rng.integer(maxDim)) }),
      transition: (n) => transition(n, maxDim),
      input: ({ dims }) => dims,
      states(problem) {
        const n = count(problem);
        const states: number[] = [];
        for (let span = 1; span < n; span++) {
          for (let i = 0; i + span < n; i++) states.push(i * n + i + span);
        }
        return states;
      },
      deps(problem, state) {
        const n = count(problem);
        const [i, j] = [Math.floor(state / n), state % n];
        const deps: number[] = [];
        for (let k = i; k < j; k++) {
          if (k > i) deps.push(i * n + k);
          if (k + 1 < j) deps.push((k + 1) * n + j);
        }
        return deps;
      },
      reads(problem, state) {
        const n = count(problem);
        const [i, j] = [Math.floor(state / n), state % n];
        return Array.from({ length: j - i + 2 }, (_, k) => i + k);
      },
      step(problem, state, values, inputs) {
        const dims = inputs as number[];
        const span = (state % count(problem)) - Math.floor(state / count(problem));
        let best = Infinity;
        let next = 0; // values come split by split, spans of one matrix left out
        for (let k = 0; k < span; k++) {
          const left = k > 0 ? values[next++] : 0;
          const right = k + 1 < span ? values[next++] : 0;
          best = Math.min(best, left + right + dims[0] * dims[k + 1] * dims[span + 1]);
        }
        return best;
      },
      answerStates: (problem) => [count(problem) - 1],
      aggregate: (_, [last]) => last,
    },
    { form },
  );
}

/** All splits of a span at once; a span of one matrix costs nothing. */
function transition(length: number, maxDim: number): Transition<MatrixChainProblem, number> {
  const splits = upTo(length - 1);
  const dims = upTo(maxDim).map((d) => d + 1);
  const products = dims.flatMap((a) =>
    dims.flatMap((b) => dims.map((c) => ({ args: [a, b, c], value: a * b * c }))),
  );
  return {
    args({ dims: { length: count } }, state) {
      const n = count - 1;
      const [i, j] = [Math.floor(state / n), state % n];
      const span = (from: number, to: number) => (from === to ? number(0) : { state: from * n + to });
      return [
        { input: i },
        { input: j + 1 },
        ...splits.flatMap((s): FixedArg<number>[] =>
          i + s < j
            ? [span(i, i + s), span(i + s + 1, j), { input: i + s + 1 }]
            : [number(FAR), number(0), number(0)],
        ),
      ];
    },
    step(on, [first, last, ...rest]) {
      const ways = splits.map((s) =>
        rest[3 * s].plus(rest[3 * s + 1]).plus(on.tableOfMany([first, rest[3 * s + 2], last], products)),
      );
      return on.minimum(ways);
    },
  };
}
