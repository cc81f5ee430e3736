/**
 * Running sums modulo p and running maxima: the simplest problems whose every step needs the one before it.
 *
 *     sum  tokens  5 3 8 <sep> 5 8 6 <sep> 6 <eos>   (p = 10)      max  tokens  5 3 8 <sep> 5 5 8 <sep> 8 <eos>
 *          scored  . . .   .   * * *   *   *   *                        scored  . . .   .   * * *   *   *   *
 */
import type { DpOptions } from '../dp/definition.js';
import { defineDp } from '../dp/dp.js';
import type { DpTask } from '../dp/task.js';
import { type Arithmetic, number, type Quantity } from '../dp/transition.js';
import { checkInteger, checkSize, type Size, takeOptions } from '../options.js';
import { numberTokens } from '../vocabulary.js';

export interface PrefixOptions extends DpOptions {
  length: Size;
  /** Numbers are 0..p-1; sums are modulo p. */
  p: number;
}

export interface PrefixProblem {
  numbers: number[];
}

/** Running sums modulo p of uniform numbers. @throws TaskError if an option is out of range */
export function prefixSum(given?: Partial<PrefixOptions>): DpTask<PrefixProblem> {
  return prefix('prefixSum', 'prefix-sum', 'running sums', given, (p) => ({
    step: (before, own) => (before + own) % p,
    onQuantities: (on, before, own) => on.modulo(before.plus(own), p, 2 * p - 2),
  }));
}

/** Running maxima of uniform numbers. @throws TaskError if an option is out of range */
export function prefixMax(given?: Partial<PrefixOptions>): DpTask<PrefixProblem> {
  return prefix('prefixMax', 'prefix-max', 'running maxima', given, () => ({
    step: (before, own) => Math.max(before, own),
    onQuantities: (on, before, own) => on.maximum([before, own]),
  }));
}

interface Operation {
  step(before: number, own: number): number;
  /** The same as arithmetic, if it can be said so; `before` is 0 at first. */
  onQuantities?<Q extends Quantity<Q>>(on: Arithmetic<Q>, before: Q, own: Q): Q;
}

function prefix(
  where: string,
  name: string,
  summary: string,
  given: Partial<PrefixOptions> | undefined,
  operation: (p: number) => Operation,
): DpTask<PrefixProblem> {
  const options = takeOptions<PrefixOptions>(where, given, {
    length: [10, 20],
    p: 10,
    form: 'cot',
    inputs: 'prompt',
  });
  checkSize(where, 'length', options.length, 1, 2 ** 24);
  checkInteger(where, 'p', options.p, 2, 2 ** 20);
  return foldTask(name, summary, options, operation(options.p));
}

/** What runs along its input with one value in hand; numbers below `p`. */
export function foldTask<Options extends PrefixOptions>(
  name: string,
  summary: string,
  options: Options,
  { step, onQuantities }: Operation,
): DpTask<PrefixProblem> {
  const { p, length, form, inputs } = options;
  return defineDp<PrefixProblem>(
    {
      name,
      summary,
      options,
      symbols: numberTokens(0, p),
      size: length,
      range: [0, p - 1],
      random: (rng, n) => ({ numbers: Array.from({ length: n }, () => rng.integer(p)) }),
      input: ({ numbers }) => numbers,
      states: ({ numbers }) => numbers.map((_, i) => i),
      deps: (_, i) => (i === 0 ? [] : [i - 1]),
      reads: (_, i) => [i],
      transition:
        onQuantities &&
        (() => ({
          args: (_, i) => [i === 0 ? number(0) : { state: i - 1 }, { input: i }],
          step: (on, [before, own]) => onQuantities(on, before, own),
        })),
      step: (_, i, [before], [own]) => (i === 0 ? (own as number) : step(before, own as number)),
      answerStates: ({ numbers }) => [numbers.length - 1],
      aggregate: (_, [last]) => last,
    },
    { form, inputs },
  );
}
