/**
 * Linear equations over the field of p elements, one eliminated column a step (Gauss-Jordan).
 *
 *     3 a + 10 b = 1 , 0 a + 7 b = 1 <sep> a + 7 b = 4 , 7 b = 1 <sep> a = 3 , b = 8      (p = 11)
 *
 * @see Feng et al. 2023, https://arxiv.org/abs/2305.15408
 */
import type { DpOptions, Token } from '../dp/definition.js';
import { defineDp } from '../dp/dp.js';
import type { DpTask } from '../dp/task.js';
import { filled } from '../lists.js';
import { checkPrime, inverses } from './field.js';
import { refuse } from '../errors.js';
import { checkSize, type Size, sizeBounds, takeOptions } from '../options.js';
import { letterTokens, numberTokens } from '../vocabulary.js';

export interface EquationOptions extends Pick<DpOptions, 'form'> {
  /** Number of unknowns. */
  length: Size;
  /** Size of the field, prime. */
  p: number;
}

export interface EquationProblem {
  /** `n` rows of `n` coefficients and the right side. */
  matrix: number[][];
}

/**
 * A uniform invertible matrix and a uniform right side.
 *
 * @throws TaskError if an option is out of range, or `p` is no prime
 */
export function equation(given?: Partial<EquationOptions>): DpTask<EquationProblem, number[][]> {
  const where = 'equation';
  const options = takeOptions<EquationOptions>(where, given, { length: 3, p: 11, form: 'cot' });
  const { length, p, form } = options;
  checkSize(where, 'length', length, 1, 26);
  checkPrime(where, p);
  const inverse = inverses(p);
  const unknowns = letterTokens(Math.max(5, sizeBounds(length)[1])); // five in the published vocabulary

  /** The matrix after elimination of column `j`; undefined if there is no pivot. */
  function eliminate(matrix: readonly number[][], j: number): number[][] | undefined {
    const rows = matrix.map((row) => [...row]);
    const pivot = rows.findIndex((row, i) => i >= j && row[j] !== 0);
    if (pivot < 0) return undefined;
    [rows[j], rows[pivot]] = [rows[pivot], rows[j]];
    const scale = inverse[rows[j][j]];
    rows[j] = rows[j].map((x) => (x * scale) % p);
    return rows.map((row, i) =>
      i === j || row[j] === 0 ? row : row.map((x, c) => (x + (p - row[j]) * rows[j][c]) % p),
    );
  }

  function invertible(matrix: number[][]): boolean {
    let rows: number[][] | undefined = matrix;
    for (let j = 0; j < matrix.length && rows; j++) rows = eliminate(rows, j);
    return rows !== undefined;
  }

  /** Eliminated columns leave out zeros, and ones before their letter. */
  function write(matrix: readonly number[][], eliminated: number): Token[] {
    const tokens: Token[] = [];
    matrix.forEach((row, i) => {
      if (i > 0) tokens.push(',');
      let first = true;
      for (let j = 0; j < row.length - 1; j++) {
        const short = j < eliminated;
        if (short && row[j] === 0) continue;
        if (!first) tokens.push('+');
        first = false;
        if (!short || row[j] !== 1) tokens.push(row[j]);
        tokens.push(unknowns[j]);
      }
      tokens.push('=', row[row.length - 1]);
    });
    return tokens;
  }

  /** The inverse of `write`; undefined for what it does not write. */
  function read(tokens: readonly string[], eliminated: number, n: number): number[][] | undefined {
    const rows = tokens
      .join(' ')
      .split(' , ')
      .map((text) => {
        const [left, right] = text.split(' = ');
        const row = filled(n + 1, 0);
        row[n] = Number(right);
        for (const term of left.split(' + ')) {
          const [letter, coefficient = '1'] = term.split(' ').toReversed();
          row[unknowns.indexOf(letter)] = Number(coefficient);
        }
        return row;
      });
    const same = write(rows, eliminated).join(' ') === tokens.join(' ') && rows.length === n;
    return same && rows.every((row) => row.length === n + 1) ? rows : undefined;
  }

  return defineDp<EquationProblem, number[][]>(
    {
      name: 'equation',
      summary: 'eliminate one unknown a step',
      options,
      vocabulary: ['<pad>', '=', '<eos>', '<sep>', '+', ',', ...unknowns, ...numberTokens(0, p)],
      size: length,
      random(rng, n) {
        checkSize(where, 'length', n, 1, unknowns.length);
        for (;;) {
          const matrix = Array.from({ length: n }, () => Array.from({ length: n + 1 }, () => rng.integer(p)));
          if (invertible(matrix)) return { matrix }; // at p = 2, the worst, 29 % of large matrices are
        }
      },
      input: ({ matrix }) => write(matrix, 0),
      states: ({ matrix }) => matrix.map((_, j) => j),
      deps: (_, j) => (j === 0 ? [] : [j - 1]),
      reads: ({ matrix }, j) =>
        j === 0 ? write(matrix, 0).flatMap((token, at) => (typeof token === 'number' ? [at] : [])) : [],
      step({ matrix }, j, [previous], inputs) {
        const n = matrix.length;
        const rows =
          j === 0
            ? Array.from({ length: n }, (_, i) => inputs.slice(i * (n + 1), (i + 1) * (n + 1)) as number[])
            : previous;
        return eliminate(rows, j) ?? refuse(where, 'matrix', 'invertible', rows);
      },
      aggregate: (_, values) => values[values.length - 1],
      encode: (value, j) => write(value, j! + 1),
      decode: (tokens, j, { matrix }) => read(tokens, j + 1, matrix.length),
      multiToken: true,
      layout: {
        answer: null,
        separator: (_problem, _state, j, count) => (j < count - 1 ? '<sep>' : undefined),
      },
    },
    { form },
  );
}
