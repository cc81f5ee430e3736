/**
 * Edit distance, the table of distances between beginnings of two strings.
 *
 *     tokens  a b | a c <sep> 0 1 , 1 1 , <sep> 1 <eos>      (unit costs)
 *     scored  . . . . .   .   * * * * * *   *   *   *
 *
 * @see Feng et al. 2023, https://arxiv.org/abs/2305.15408
 */
import type { DpOptions } from '../dp/definition.js';
import { defineDp } from '../dp/dp.js';
import type { DpTask } from '../dp/task.js';
import { filled, upTo } from '../lists.js';
import { refuse } from '../errors.js';
import {
  endsLine,
  GRID_ORDERS,
  type GridOrder,
  gridArgs,
  gridParts,
  type GridProblem,
  sameLetter,
} from './grid.js';
import { drawDistinct } from '../draws.js';
import {
  checkBoolean,
  checkChoice,
  checkInteger,
  checkSize,
  type Size,
  sizeBounds,
  takeOptions,
} from '../options.js';
import type { Random } from '@freelunch/random';
import { letterTokens, numberTokens } from '../vocabulary.js';

export interface EditCosts {
  insert: number;
  delete: number;
  substitute: number;
  /** The border counts one a letter, whatever the costs: not a true distance, but what the published data have. */
  unitBorder: boolean;
}

export interface EditDistanceOptions extends DpOptions {
  /** Letters in the first string that is drawn; the other has from 3 fewer to 2 more. */
  length: Size;
  /** Each instance uses 3 to `using + 2` different letters. */
  using: number;
  /** `unit`: all 1. `reference`: insert 2, delete 2, substitute 3, and the unit border. */
  costs: 'unit' | 'reference' | EditCosts;
  order: GridOrder;
  /** Numbers in the vocabulary: 60 or as many as the largest distance needs. */
  numbers: number;
}

const named: Record<string, EditCosts> = {
  unit: { insert: 1, delete: 1, substitute: 1, unitBorder: false },
  reference: { insert: 2, delete: 2, substitute: 3, unitBorder: true },
};

/**
 * Two strings over a small alphabet: in four of ten cases independent, else one is the other after random edits.
 *
 * @throws TaskError if an option is out of range
 */
export function editDistance(given?: Partial<EditDistanceOptions>): DpTask<GridProblem> {
  const where = 'editDistance';
  const options = takeOptions<EditDistanceOptions>(where, given, {
    length: 12,
    using: 8,
    costs: 'unit',
    order: 'row',
    numbers: 0,
    form: 'cot',
    inputs: 'prompt',
  });
  const { length, using, order, form, inputs } = options;
  checkSize(where, 'length', length, 1, 2 ** 12);
  checkInteger(where, 'using', using, 1, 24);
  checkChoice(where, 'order', order, GRID_ORDERS);
  if (typeof options.costs === 'string') checkChoice(where, 'costs', options.costs, Object.keys(named));
  const costs = typeof options.costs === 'string' ? named[options.costs] : options.costs;
  if (typeof costs !== 'object' || costs === null)
    refuse(where, 'costs', "'unit', 'reference' or costs", costs);
  for (const name of ['insert', 'delete', 'substitute'] as const) {
    checkInteger(where, `costs.${name}`, costs[name], 0, 2 ** 10);
  }
  checkBoolean(where, 'costs.unitBorder', costs.unitBorder);
  const pair = Math.min(costs.substitute, costs.insert + costs.delete);
  const single = Math.max(costs.insert, costs.delete, 1);
  const largest = (sizeBounds(length)[1] + 2) * Math.max(pair, single);
  if (options.numbers === 0) options.numbers = Math.max(60, largest + 1);
  checkInteger(where, 'numbers', options.numbers, 1, 2 ** 20);
  const letters = letterTokens(26);
  const border = costs.unitBorder ? { insert: 1, delete: 1 } : costs;

  return defineDp<GridProblem>(
    {
      name: 'edit-distance',
      summary: 'the table of distances, then the last',
      options,
      vocabulary: ['<pad>', '<sep>', '<eos>', '|', ',', ...letters, ...numberTokens(0, options.numbers)],
      size: length,
      range: [0, options.numbers - 1],
      random: (rng, n) => drawStrings(rng, n, using),
      example: (n) => ({ a: filled(n, 0), b: filled(n, 1) }),
      shapes: (n) =>
        upTo(n + 3 - Math.max(1, n - 3)).flatMap((more) => {
          const other = Math.max(1, n - 3) + more;
          const [short, long] = [Math.min(n, other), Math.max(n, other)];
          return [0, 2].map((letter) => ({ a: filled(short, letter), b: filled(long, letter + 1) }));
        }),
      transition: () => ({
        args: gridArgs((i, j) => j * border.insert + i * border.delete),
        step(on, [diagonal, up, left, a, b]) {
          const through = diagonal.plus(costs.substitute).minus(sameLetter(on, a, b).times(costs.substitute));
          return on.minimum([through, on.minimum([up.plus(costs.delete), left.plus(costs.insert)])]);
        },
      }),
      ...gridParts(
        order,
        (letter) => letters[letter],
        ({ i, j }, { diagonal, up, left }, same) => {
          const corner = diagonal ?? (i === 1 ? (j - 1) * border.insert : (i - 1) * border.delete);
          return Math.min(
            corner + (same ? 0 : costs.substitute),
            (up ?? j * border.insert) + costs.delete,
            (left ?? i * border.delete) + costs.insert,
          );
        },
      ),
      layout: {
        separator: (problem, state) => (endsLine(problem, state, order) ? ',' : undefined),
      },
    },
    { form, inputs },
  );
}

/** The shorter one first. */
function drawStrings(rng: Random, n: number, using: number): GridProblem {
  const alphabet = drawDistinct(rng, 0, 26, 3 + rng.integer(using));
  const letter = () => alphabet[rng.integer(alphabet.length)];
  const shortest = Math.max(1, n - 3);
  const first = Array.from({ length: n }, letter);
  let second: number[];
  if (rng.integer(5) < 2) {
    second = Array.from({ length: shortest + rng.integer(n + 3 - shortest) }, letter);
  } else {
    const edits = 1 + rng.integer(n);
    do second = edit(rng, first, edits, letter);
    while (second.length < shortest || second.length > n + 2 || second.join() === first.join());
  }
  return second.length < n ? { a: second, b: first } : { a: first, b: second };
}

function edit(rng: Random, string: readonly number[], edits: number, letter: () => number): number[] {
  const edited = [...string];
  for (let i = 0; i < edits; i++) {
    const kind = rng.integer(3);
    if (kind === 0 && edited.length > 2) edited.splice(rng.integer(edited.length), 1);
    else if (kind === 1) edited[rng.integer(edited.length)] = letter();
    else edited.splice(rng.integer(edited.length + 1), 0, letter());
  }
  return edited;
}
