import type { DpDefinition } from '../dp/definition.js';
import { type Arg, type Arithmetic, number, type Quantity } from '../dp/transition.js';

/** In which order a table is written. */
export type GridOrder = 'row' | 'column' | 'anti-diagonal';

export const GRID_ORDERS: readonly GridOrder[] = ['row', 'column', 'anti-diagonal'];

export interface GridProblem {
  a: number[];
  b: number[];
}

/** A cell of the table: i of 1..|a|, j of 1..|b|. As a state its name is i (|b| + 1) + j. */
export interface Cell {
  i: number;
  j: number;
}

export function cellOf({ b }: GridProblem, state: number): Cell {
  const width = b.length + 1;
  return { i: Math.floor(state / width), j: state % width };
}

function gridStates({ a, b }: GridProblem, order: GridOrder): number[] {
  const [n, m] = [a.length, b.length];
  const states: number[] = [];
  const add = (i: number, j: number) => states.push(i * (m + 1) + j);
  if (order === 'row') {
    for (let i = 1; i <= n; i++) for (let j = 1; j <= m; j++) add(i, j);
  } else if (order === 'column') {
    for (let j = 1; j <= m; j++) for (let i = 1; i <= n; i++) add(i, j);
  } else {
    for (let sum = 2; sum <= n + m; sum++) {
      for (let i = Math.max(1, sum - m); i <= Math.min(n, sum - 1); i++) add(i, sum - i);
    }
  }
  return states;
}

/** Whether a row, column or diagonal ends with this cell. */
export function endsLine(problem: GridProblem, state: number, order: GridOrder): boolean {
  const { i, j } = cellOf(problem, state);
  if (order === 'row') return j === problem.b.length;
  if (order === 'column') return i === problem.a.length;
  return j === 1 || i === problem.a.length;
}

/**
 * The part of a definition that all tables over two texts share: a cell needs its neighbours above left, above and
 * left, as far as they are in the table, and a letter of each text.
 */
export function gridParts(
  order: GridOrder,
  letter: (index: number) => string,
  cell: (at: Cell, above: { diagonal?: number; up?: number; left?: number }, same: boolean) => number,
): Pick<
  DpDefinition<GridProblem>,
  'input' | 'states' | 'deps' | 'reads' | 'step' | 'answerStates' | 'aggregate'
> {
  return {
    input: ({ a, b }) => [...a.map(letter), '|', ...b.map(letter)],
    states: (problem) => gridStates(problem, order),
    deps(problem, state) {
      const { i, j } = cellOf(problem, state);
      const width = problem.b.length + 1;
      const deps: number[] = [];
      if (i > 1 && j > 1) deps.push(state - width - 1);
      if (i > 1) deps.push(state - width);
      if (j > 1) deps.push(state - 1);
      return deps;
    },
    reads(problem, state) {
      const { i, j } = cellOf(problem, state);
      return [i - 1, problem.a.length + j];
    },
    step(problem, state, values, inputs) {
      const at = cellOf(problem, state);
      const { i, j } = at;
      const diagonal = i > 1 && j > 1 ? values[0] : undefined;
      const up = i > 1 ? values[values.length - (j > 1 ? 2 : 1)] : undefined;
      const left = j > 1 ? values[values.length - 1] : undefined;
      return cell(at, { diagonal, up, left }, inputs[0] === inputs[1]);
    },
    answerStates: ({ a, b }) => [a.length * (b.length + 1) + b.length],
    aggregate: (_, [last]) => last,
  };
}

/** The neighbours of a cell, diagonal, up and left, or the border; then its two letters. */
export const gridArgs =
  (border: (i: number, j: number) => number) =>
  ({ a, b }: GridProblem, state: number): Arg<number>[] => {
    const width = b.length + 1;
    const [i, j] = [Math.floor(state / width), state % width];
    const at = (row: number, column: number) =>
      row === 0 || column === 0 ? number(border(row, column)) : { state: row * width + column };
    return [at(i - 1, j - 1), at(i - 1, j), at(i, j - 1), { input: i - 1 }, { input: a.length + j }];
  };

/** Letters of a text are tokens, so they are equal where their numbers are. */
export const sameLetter = <Q extends Quantity<Q>>(on: Arithmetic<Q>, a: Q, b: Q): Q =>
  on.equals(a.minus(b), 0);
