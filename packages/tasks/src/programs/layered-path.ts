/**
 * Shortest path through layers: d[l][v] = min over u of d[l-1][u] + weight[l-1][u][v]; the answer is the least of the
 * last layer.
 *
 *     tokens  1 4 | 2 5 3 1 <sep> 1 4 3 5 <sep> 3 <eos>      (start, then the weights from u to v)
 *     scored  . . . . . . .   .   * * * *   *   *   *
 */
import type { DpOptions } from '../dp/definition.js';
import { defineDp } from '../dp/dp.js';
import type { DpTask } from '../dp/task.js';
import { FAR, type FixedArg, number } from '../dp/transition.js';
import { checkInteger, checkSize, type Size, sizeBounds, takeOptions } from '../options.js';
import { numberTokens } from '../vocabulary.js';

export interface LayeredPathOptions extends DpOptions {
  /** Number of layers. */
  length: Size;
  /** Nodes in a layer. */
  width: number;
  /** Weights and starts are 0..maxWeight. */
  maxWeight: number;
}

export interface LayeredPathProblem {
  start: number[];
  weights: number[][][];
}

/** Uniform starts and weights. @throws TaskError if an option is out of range */
export function layeredPath(given?: Partial<LayeredPathOptions>): DpTask<LayeredPathProblem> {
  const where = 'layeredPath';
  const options = takeOptions<LayeredPathOptions>(where, given, {
    length: [3, 5],
    width: 3,
    maxWeight: 9,
    form: 'cot',
    inputs: 'prompt',
  });
  const { length, width, maxWeight, form, inputs } = options;
  checkSize(where, 'length', length, 1, 2 ** 12);
  checkInteger(where, 'width', width, 1, 2 ** 10);
  checkInteger(where, 'maxWeight', maxWeight, 1, 2 ** 10);
  const largest = sizeBounds(length)[1] * maxWeight;
  const nodes = Array.from({ length: width }, (_, v) => v);
  return defineDp<LayeredPathProblem>(
    {
      name: 'layered-path',
      summary: 'the shortest way to each node, then the shortest of all',
      options,
      symbols: ['|', ...numberTokens(0, largest + 1)],
      size: length,
      range: [0, largest],
      random(rng, layers) {
        const row = () => nodes.map(() => rng.integer(maxWeight + 1));
        return { start: row(), weights: Array.from({ length: layers - 1 }, () => nodes.map(row)) };
      },
      transition: () => ({
        args(_, state) {
          const [layer, v] = [Math.floor(state / width), state % width];
          if (layer === 0)
            return nodes.flatMap((u): FixedArg<number>[] =>
              u === 0 ? [number(0), { input: v }] : [number(FAR), number(0)],
            );
          const first = width + 1 + (layer - 1) * width * width;
          return nodes.flatMap((u) => [{ state: (layer - 1) * width + u }, { input: first + u * width + v }]);
        },
        step: (on, args) => on.minimum(nodes.map((u) => args[2 * u].plus(args[2 * u + 1]))),
        answerArgs: ({ weights }) =>
          nodes.flatMap((v): FixedArg<number>[] => [{ state: weights.length * width + v }, number(0)]),
        answer: (on, args) => on.minimum(nodes.map((v) => args[2 * v])),
      }),
      input: ({ start, weights }) => [...start, '|', ...weights.flat(2)],
      states: ({ weights }) => Array.from({ length: (weights.length + 1) * width }, (_, k) => k),
      deps(_, state) {
        const layer = Math.floor(state / width);
        return layer === 0 ? [] : nodes.map((u) => (layer - 1) * width + u);
      },
      reads(_, state) {
        const [layer, v] = [Math.floor(state / width), state % width];
        if (layer === 0) return [v];
        const first = width + 1 + (layer - 1) * width * width;
        return nodes.map((u) => first + u * width + v);
      },
      step(_, state, values, read) {
        const weights = read as number[];
        if (state < width) return weights[0];
        return Math.min(...weights.map((weight, u) => values[u] + weight));
      },
      answerStates: ({ weights }) => nodes.map((v) => weights.length * width + v),
      aggregate: (_, last) => Math.min(...last),
    },
    { form, inputs },
  );
}
