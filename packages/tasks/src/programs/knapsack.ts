/**
 * 0/1 knapsack: d[i][w] = max(d[i-1][w], d[i-1][w - weight_i] + value_i if it fits), w = 0..capacity.
 *
 *     tokens  2 3 1 2 | 3 <sep> 0 0 3 3 0 2 3 5 <sep> 5 <eos>      (weight and value of each item, capacity)
 *     scored  . . . . . .   .   * * * * * * * *   *   *   *
 */
import type { DpOptions } from '../dp/definition.js';
import { defineDp } from '../dp/dp.js';
import type { DpTask } from '../dp/task.js';
import { FAR, type FixedArg, number } from '../dp/transition.js';
import { filled } from '../lists.js';
import { checkInteger, checkSize, type Size, sizeBounds, takeOptions } from '../options.js';
import { numberTokens } from '../vocabulary.js';

export interface KnapsackOptions extends DpOptions {
  /** Number of items. */
  length: Size;
  capacity: number;
  maxWeight: number;
  maxValue: number;
}

export interface KnapsackProblem {
  weights: number[];
  values: number[];
  capacity: number;
}

/** Uniform weights and values. @throws TaskError if an option is out of range */
export function knapsack(given?: Partial<KnapsackOptions>): DpTask<KnapsackProblem> {
  const where = 'knapsack';
  const options = takeOptions<KnapsackOptions>(where, given, {
    length: [4, 6],
    capacity: 10,
    maxWeight: 8,
    maxValue: 20,
    form: 'cot',
    inputs: 'prompt',
  });
  const { length, capacity, maxWeight, maxValue, form, inputs } = options;
  checkSize(where, 'length', length, 1, 2 ** 12);
  checkInteger(where, 'capacity', capacity, 1, 2 ** 16);
  checkInteger(where, 'maxWeight', maxWeight, 1, 2 ** 16);
  checkInteger(where, 'maxValue', maxValue, 1, 2 ** 10);
  const largest = sizeBounds(length)[1] * maxValue;
  const split = ({ capacity: W }: KnapsackProblem, state: number) => ({
    item: Math.floor(state / (W + 1)),
    room: state % (W + 1),
  });
  return defineDp<KnapsackProblem>(
    {
      name: 'knapsack',
      summary: 'the best value for the first items in each room, then the last',
      options,
      symbols: ['|', ...numberTokens(0, Math.max(largest, capacity, maxWeight) + 1)],
      size: length,
      range: [0, largest],
      random: (rng, n) => ({
        weights: Array.from({ length: n }, () => 1 + rng.integer(maxWeight)),
        values: Array.from({ length: n }, () => 1 + rng.integer(maxValue)),
        capacity,
      }),
      example: (n) => ({
        weights: filled(n, Math.min(maxWeight, capacity)),
        values: filled(n, 1),
        capacity,
      }),
      // Which state holds the rest of the room depends on the weight.
      transition: () => ({
        args(problem, state) {
          const { item, room } = split(problem, state);
          const at = (before: number, space: number): FixedArg<number> =>
            before < 0 ? number(0) : { state: before * (capacity + 1) + space };
          const cases = new Map<number, FixedArg<number>>();
          for (let weight = 1; weight <= maxWeight; weight++)
            cases.set(weight, weight <= room ? at(item - 1, room - weight) : number(-FAR));
          return [at(item - 1, room), { by: 2 * item, cases }, { input: 2 * item + 1 }];
        },
        step: (on, [without, rest, value]) => on.maximum([without, rest.plus(value)]),
      }),
      input: ({ weights, values, capacity: W }) => [
        ...weights.flatMap((weight, i) => [weight, values[i]]),
        '|',
        W,
      ],
      states: ({ weights, capacity: W }) => Array.from({ length: weights.length * (W + 1) }, (_, k) => k),
      deps(problem, state) {
        const { item, room } = split(problem, state);
        if (item === 0) return [];
        const above = state - problem.capacity - 1;
        const weight = problem.weights[item];
        return weight <= room ? [above, above - weight] : [above];
      },
      reads(problem, state) {
        const { item } = split(problem, state);
        return [2 * item, 2 * item + 1];
      },
      step(problem, state, values, [weight, value]) {
        const { item, room } = split(problem, state);
        const fits = (weight as number) <= room;
        if (item === 0) return fits ? (value as number) : 0;
        return fits ? Math.max(values[0], values[1] + (value as number)) : values[0];
      },
      answerStates: ({ weights, capacity: W }) => [weights.length * (W + 1) - 1],
      aggregate: (_, [last]) => last,
    },
    { form, inputs },
  );
}
