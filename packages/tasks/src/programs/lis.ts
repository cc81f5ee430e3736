/**
 * Longest strictly increasing subsequence: d_i = 1 + max d_k over k < i with x_k < x_i.
 *
 *     tokens  5 9 6 7 <sep> 1 2 2 3 <sep> 3 <eos>
 *     scored  . . . .   .   * * * *   *   *   *
 *
 * @see Feng et al. 2023, https://arxiv.org/abs/2305.15408
 */
import { chooseSorted } from '../draws.js';
import { filled, upTo } from '../lists.js';
import type { DpOptions } from '../dp/definition.js';
import { defineDp } from '../dp/dp.js';
import type { DpTask } from '../dp/task.js';
import { type FixedArg, number, type Transition } from '../dp/transition.js';
import { checkChoice, checkInteger, checkSize, type Size, sizeBounds, takeOptions } from '../options.js';
import type { Random } from '@freelunch/random';
import { numberTokens } from '../vocabulary.js';

export interface LisOptions extends DpOptions {
  /** Number of numbers. */
  length: Size;
  /** Numbers in the vocabulary; the inputs are above all lengths that an answer can have. */
  numberRange: number;
  /**
   * `numbers`: one state a number, which needs all before it. `pairs`: a state (i, k) for the best that ends at i and
   * comes from the first k numbers, which needs two others.
   */
  states: 'numbers' | 'pairs';
}

export interface LisProblem {
  numbers: number[];
}

/**
 * Up to three rising runs, scattered in order among uniform numbers.
 *
 * @throws TaskError if an option is out of range; `numberRange` must be above twice the length
 */
export function lis(given?: Partial<LisOptions>): DpTask<LisProblem> {
  const where = 'lis';
  const options = takeOptions<LisOptions>(where, given, {
    length: 20,
    numberRange: 250,
    states: 'numbers',
    form: 'cot',
    inputs: 'prompt',
  });
  const { length, numberRange, form, inputs } = options;
  checkSize(where, 'length', length, 3, 2 ** 16);
  checkChoice(where, 'states', options.states, ['numbers', 'pairs']);
  checkInteger(where, 'numberRange', numberRange, 2 * sizeBounds(length)[1] + 1, 2 ** 20);
  const pairs = options.states === 'pairs';

  const common = {
    name: 'lis',
    summary: 'longest increasing subsequence that ends at each number, then the longest',
    options,
    vocabulary: ['<pad>', '<sep>', '<eos>', ...numberTokens(0, numberRange)],
    size: length,
    range: [1, numberRange - 1] as const,
    random: (rng: Random, n: number) => drawNumbers(rng, n, numberRange),
    example: (n: number) => ({ numbers: filled(n, 0) }),
    input: ({ numbers }: LisProblem) => numbers,
    aggregate: (_: LisProblem, values: number[]) => Math.max(...values),
  };
  if (!pairs) {
    return defineDp<LisProblem>(
      {
        ...common,
        transition: numbersTransition,
        states: ({ numbers }) => numbers.map((_, i) => i),
        deps: (_, i) => upTo(i),
        reads: (_, i) => upTo(i + 1),
        inlineReads: (_, i) => [i],
        step(_problem, i, values, numbers) {
          let best = 0;
          for (let k = 0; k < i; k++) if (numbers[k] < numbers[i]) best = Math.max(best, values[k]);
          return best + 1;
        },
      },
      { form, inputs },
    );
  }
  // State (i, k), 0 <= k <= i, is i n + k; (i, i) is d_i.
  const split = ({ numbers }: LisProblem, state: number) => {
    const n = numbers.length;
    return { n, i: Math.floor(state / n), k: state % n };
  };
  return defineDp<LisProblem>(
    {
      ...common,
      transition: pairsTransition,
      states: ({ numbers }) => numbers.flatMap((_, i) => upTo(i + 1).map((k) => i * numbers.length + k)),
      deps(problem, state) {
        const { n, i, k } = split(problem, state);
        return k === 0 ? [] : [i * n + k - 1, (k - 1) * n + k - 1];
      },
      reads(problem, state) {
        const { i, k } = split(problem, state);
        return k === 0 ? [] : [k - 1, i];
      },
      step(problem, state, [best, candidate], [before, own]) {
        const { k } = split(problem, state);
        if (k === 0) return 1;
        return before < own ? Math.max(best, candidate + 1) : best;
      },
      answerStates: ({ numbers }) => numbers.map((_, i) => i * numbers.length + i),
    },
    { form, inputs },
  );
}

function drawNumbers(rng: Random, n: number, numberRange: number): LisProblem {
  checkInteger('lis', 'length', n, 3, Math.floor((numberRange - 1) / 2));
  const first = n + 1;
  const runs = 1 + rng.integer(3);
  const total = 3 + rng.integer(n - 2);
  const lengths: number[] = [];
  let rest = total;
  for (let parts = runs; parts > 1; parts--) {
    const part = 1 + rng.integer(Math.floor(rest / parts) + 1);
    lengths.push(part);
    rest -= part;
  }
  lengths.push(rest);
  const numbers = Array.from({ length: n }, () => first + rng.integer(numberRange - first));
  const rising = lengths.flatMap((part) => chooseSorted(rng, numberRange - first, part));
  chooseSorted(rng, n, total).forEach((place, i) => (numbers[place] = first + rising[i]));
  return { numbers };
}

/** d_i = 1 + max d_k over x_k < x_i; all earlier numbers at once. */
function numbersTransition(length: number): Transition<LisProblem, number> {
  const candidates = upTo(length - 1);
  return {
    args: (_, i) => [
      { input: i },
      ...candidates.flatMap((k): FixedArg<number>[] =>
        k < i ? [{ state: k }, { input: k }] : [number(0), number(0)],
      ),
    ],
    step(on, [own, ...earlier]) {
      const ends = candidates.map((k) =>
        on.gate(on.atLeast(own.minus(earlier[2 * k + 1]), 1), earlier[2 * k]),
      );
      return (ends.length === 0 ? on.number(0) : on.maximum(ends)).plus(1);
    },
    answerArgs: ({ numbers }) => [
      { state: numbers.length - 1 },
      ...candidates.flatMap((k): FixedArg<number>[] => [{ state: k }, number(0)]),
    ],
    answer: (on, [last, ...rest]) => on.maximum([last, ...candidates.map((k) => rest[2 * k])]),
  };
}

/** The same in pairs (i, k): the best so far, and one candidate. */
function pairsTransition(): Transition<LisProblem, number> {
  return {
    args({ numbers: { length: n } }, state) {
      const [i, k] = [Math.floor(state / n), state % n];
      if (k === 0) return [number(1), number(0), number(0), { input: i }];
      return [{ state: state - 1 }, { state: (k - 1) * n + k - 1 }, { input: k - 1 }, { input: i }];
    },
    step(on, [best, candidate, before, own]) {
      const rises = on.atLeast(own.minus(before), 1);
      // With k = 0 the candidate is 0: 0 + 1 does not exceed the best, which is 1.
      return on.maximum([best, on.gate(rises, candidate.plus(1))]);
    },
    answerArgs: ({ numbers: { length: n } }) => upTo(n).map((i) => ({ state: i * n + i })),
    answer: (on, args) => on.maximum(args),
  };
}
