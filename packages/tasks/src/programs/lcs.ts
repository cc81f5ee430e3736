/**
 * Longest common subsequence: L[i][j] = L[i-1][j-1] + 1 if the letters match, else max(L[i-1][j], L[i][j-1]).
 *
 *     tokens  a b | b a <sep> 0 1 1 1 <sep> 1 <eos>
 *     scored  . . . . .   .   * * * *   *   *   *
 */
import type { DpOptions } from '../dp/definition.js';
import { defineDp } from '../dp/dp.js';
import type { DpTask } from '../dp/task.js';
import { filled } from '../lists.js';
import { GRID_ORDERS, gridArgs, type GridOrder, gridParts, type GridProblem, sameLetter } from './grid.js';
import {
  checkChoice,
  checkInteger,
  checkSize,
  drawSize,
  type Size,
  sizeBounds,
  takeOptions,
} from '../options.js';
import { letterTokens, numberTokens } from '../vocabulary.js';

export interface LcsOptions extends DpOptions {
  /** Letters in each string, drawn apart. */
  length: Size;
  /** Number of letters. */
  alphabet: number;
  order: GridOrder;
}

/** Two uniform strings. @throws TaskError if an option is out of range */
export function lcs(given?: Partial<LcsOptions>): DpTask<GridProblem> {
  const where = 'lcs';
  const options = takeOptions<LcsOptions>(where, given, {
    length: [6, 10],
    alphabet: 4,
    order: 'row',
    form: 'cot',
    inputs: 'prompt',
  });
  const { length, alphabet, order, form, inputs } = options;
  checkSize(where, 'length', length, 1, 2 ** 12);
  checkInteger(where, 'alphabet', alphabet, 1, 2 ** 16);
  checkChoice(where, 'order', order, GRID_ORDERS);
  const letters = letterTokens(alphabet);
  const longest = sizeBounds(length)[1];
  return defineDp<GridProblem>(
    {
      name: 'lcs',
      summary: 'the table of lengths, then the last',
      options,
      symbols: ['|', ...letters, ...numberTokens(0, longest + 1)],
      size: length,
      range: [0, longest],
      random(rng, n) {
        const string = (size: number) => Array.from({ length: size }, () => rng.integer(alphabet));
        return { a: string(n), b: string(typeof length === 'number' ? n : drawSize(length, rng)) };
      },
      example: (n) => ({ a: filled(n, 0), b: filled(n, 0) }),
      transition: () => ({
        args: gridArgs(() => 0),
        // Where letters are equal, diagonal + 1 is at least as much as both others.
        step: (on, [diagonal, up, left, a, b]) =>
          on.maximum([on.gate(sameLetter(on, a, b), diagonal.plus(1)), on.maximum([up, left])]),
      }),
      ...gridParts(
        order,
        (letter) => letters[letter],
        (_, { diagonal = 0, up = 0, left = 0 }, same) => (same ? diagonal + 1 : Math.max(up, left)),
      ),
    },
    { form, inputs },
  );
}
