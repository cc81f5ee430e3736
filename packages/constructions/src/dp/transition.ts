/**
 * What a step of each dynamic program does, as arithmetic that ReLU layers do exactly: which numbers it needs, in a
 * fixed number and order, and what it makes of them.
 */
import type {
  CykOptions,
  CykProblem,
  DpTask,
  EditDistanceOptions,
  GridProblem,
  KnapsackProblem,
  LayeredPathProblem,
  LisOptions,
  LisProblem,
  MatrixChainProblem,
  PrefixOptions,
  PrefixProblem,
  RecurrenceOptions,
  RecurrenceProblem,
} from '@freelunch/tasks';
import { grammars } from '@freelunch/tasks';
import { atLeast, equals, fold, gate, maximum, minimum, modulo, tableOfMany } from '../program/integers.js';
import { Expr, type Program } from '../program/program.js';

/** Something that a step needs: a number, the value of an earlier state, or the input at a place. */
export type FixedArg<State> = { number: number } | { state: State } | { input: number };

/** Also: which one, as the token of the input at a place says. Tokens that are not listed never stand there. */
export type Arg<State> = FixedArg<State> | { by: number; cases: ReadonlyMap<number, FixedArg<State>> };

export interface Transition<Problem, State> {
  /** Equally many for every state; numbers depend on the state and on the sizes of the problem only. */
  args(problem: Problem, state: State): Arg<State>[];
  /** Which of several ways of computing the state takes; all 0 if absent. */
  kind?(problem: Problem, state: State): number;
  /** What the step computes: tokens of numbers come as numbers, others as numbers that differ from token to token. */
  step(p: Program, args: readonly Expr[], kind: number): Expr;
  /** What the answer needs, and what it is of them; if absent, they follow from the task's `aggregate`. */
  answerArgs?(problem: Problem): Arg<State>[];
  answer?(p: Program, args: readonly Expr[]): Expr;
}

const number = (value: number): FixedArg<never> => ({ number: value });

/** Where a minimum must not find the least: above all sums of numbers that vocabularies here have. */
const FAR = 2 ** 14;

const sum = (exprs: readonly Expr[]): Expr => exprs.reduce((total, expr) => total.plus(expr), Expr.of(0));

/** d_i = 1 + max d_k over x_k < x_i; all earlier numbers at once. */
function lisNumbers(length: number): Transition<LisProblem, number> {
  const candidates = Array.from({ length: length - 1 }, (_, k) => k);
  return {
    args: (_, i) => [
      { input: i },
      ...candidates.flatMap((k): FixedArg<number>[] =>
        k < i ? [{ state: k }, { input: k }] : [number(0), number(0)],
      ),
    ],
    step(p, [own, ...earlier]) {
      const ends = candidates.map((k) =>
        gate(p, atLeast(p, own.minus(earlier[2 * k + 1]), 1), earlier[2 * k]),
      );
      return (ends.length === 0 ? Expr.of(0) : fold(ends, (a, b) => maximum(p, a, b))).plus(1);
    },
    answerArgs: ({ numbers }) => [
      { state: numbers.length - 1 },
      ...candidates.flatMap((k): FixedArg<number>[] => [{ state: k }, number(0)]),
    ],
    answer: (p, [last, ...rest]) =>
      fold([last, ...candidates.map((k) => rest[2 * k])], (a, b) => maximum(p, a, b)),
  };
}

/** The same in pairs (i, k): the best so far, and one candidate. */
function lisPairs(): Transition<LisProblem, number> {
  const largest = (p: Program, args: readonly Expr[]) => fold(args, (a, b) => maximum(p, a, b));
  return {
    args({ numbers: { length: n } }, state) {
      const [i, k] = [Math.floor(state / n), state % n];
      if (k === 0) return [number(1), number(0), number(0), { input: i }];
      return [{ state: state - 1 }, { state: (k - 1) * n + k - 1 }, { input: k - 1 }, { input: i }];
    },
    step(p, [best, candidate, before, own]) {
      const rises = atLeast(p, own.minus(before), 1);
      // With k = 0 the candidate is 0: 0 + 1 does not exceed the best, which is 1.
      return maximum(p, best, gate(p, rises, candidate.plus(1)));
    },
    answerArgs: ({ numbers: { length: n } }) => Array.from({ length: n }, (_, i) => ({ state: i * n + i })),
    answer: largest,
  };
}

/** The neighbours of a cell, above left, above and left, or the border; then its two letters. */
const gridArgs =
  (border: (i: number, j: number) => number) =>
  ({ a, b }: GridProblem, state: number): Arg<number>[] => {
    const width = b.length + 1;
    const [i, j] = [Math.floor(state / width), state % width];
    const at = (row: number, column: number) =>
      row === 0 || column === 0 ? number(border(row, column)) : { state: row * width + column };
    return [at(i - 1, j - 1), at(i - 1, j), at(i, j - 1), { input: i - 1 }, { input: a.length + j }];
  };

/** Letters of a text are tokens, so they are equal where their numbers are. */
const same = (p: Program, a: Expr, b: Expr): Expr => equals(p, a.minus(b), 0);

function editDistance(options: EditDistanceOptions): Transition<GridProblem, number> {
  const costs =
    typeof options.costs === 'object'
      ? options.costs
      : options.costs === 'unit'
        ? { insert: 1, delete: 1, substitute: 1, unitBorder: false }
        : { insert: 2, delete: 2, substitute: 3, unitBorder: true };
  const border = costs.unitBorder ? { insert: 1, delete: 1 } : costs;
  return {
    args: gridArgs((i, j) => j * border.insert + i * border.delete),
    step(p, [corner, up, left, a, b]) {
      const through = corner.plus(costs.substitute).minus(same(p, a, b).times(costs.substitute));
      return minimum(p, through, minimum(p, up.plus(costs.delete), left.plus(costs.insert)));
    },
  };
}

const lcs: Transition<GridProblem, number> = {
  args: gridArgs(() => 0),
  // Where letters are equal, corner + 1 is at least as much as both others.
  step: (p, [corner, up, left, a, b]) =>
    maximum(p, gate(p, same(p, a, b), corner.plus(1)), maximum(p, up, left)),
};

/** Which state holds the rest of the room depends on the weight. */
function knapsack(
  maxWeight: number,
  tokenOf: (value: number) => number,
): Transition<KnapsackProblem, number> {
  return {
    args({ capacity }, state) {
      const [item, room] = [Math.floor(state / (capacity + 1)), state % (capacity + 1)];
      const at = (before: number, space: number): FixedArg<number> =>
        before < 0 ? number(0) : { state: before * (capacity + 1) + space };
      const cases = new Map<number, FixedArg<number>>();
      for (let weight = 1; weight <= maxWeight; weight++)
        cases.set(tokenOf(weight), weight <= room ? at(item - 1, room - weight) : number(-FAR));
      return [at(item - 1, room), { by: 2 * item, cases }, { input: 2 * item + 1 }];
    },
    step: (p, [without, rest, value]) => maximum(p, without, rest.plus(value)),
  };
}

function recurrence({
  p: modulus,
  m,
  coefficients,
  driven,
}: RecurrenceOptions): Transition<RecurrenceProblem, number> {
  const factors = coefficients ?? Array.from({ length: m }, () => 1);
  return {
    args(_, t) {
      const before = Array.from({ length: m }, (_value, k) => t - 1 - k);
      return [
        ...before.map((at) => (at < m ? { input: at } : { state: at })),
        ...(driven ? [{ input: t }] : []),
      ];
    },
    step(p, args) {
      const total = sum(args.map((arg, k) => arg.times(k < m ? factors[k] : 1)));
      const most = (modulus - 1) * (factors.reduce((all, factor) => all + factor, 0) + (driven ? 1 : 0));
      return modulo(p, total, modulus, most);
    },
  };
}

const running = (combine: (p: Program, a: Expr, b: Expr) => Expr): Transition<PrefixProblem, number> => ({
  args: (_, i) => [i === 0 ? number(0) : { state: i - 1 }, { input: i }],
  step: (p, [before, own]) => combine(p, before, own),
});

function layeredPath(width: number): Transition<LayeredPathProblem, number> {
  const nodes = Array.from({ length: width }, (_, u) => u);
  const least = (p: Program, ways: readonly Expr[]) => fold(ways, (a, b) => minimum(p, a, b));
  return {
    args(_, state) {
      const [layer, v] = [Math.floor(state / width), state % width];
      if (layer === 0)
        return nodes.flatMap((u): FixedArg<number>[] =>
          u === 0 ? [number(0), { input: v }] : [number(FAR), number(0)],
        );
      const first = width + 1 + (layer - 1) * width * width;
      return nodes.flatMap((u) => [{ state: (layer - 1) * width + u }, { input: first + u * width + v }]);
    },
    step: (p, args) =>
      least(
        p,
        nodes.map((u) => args[2 * u].plus(args[2 * u + 1])),
      ),
    answerArgs: ({ weights }) =>
      nodes.flatMap((v): FixedArg<number>[] => [{ state: weights.length * width + v }, number(0)]),
    answer: (p, args) =>
      least(
        p,
        nodes.map((v) => args[2 * v]),
      ),
  };
}

/** All splits of a span at once; a span of one matrix costs nothing. */
function matrixChain(length: number, maxDim: number): Transition<MatrixChainProblem, number> {
  const splits = Array.from({ length: length - 1 }, (_, k) => k);
  const dims = Array.from({ length: maxDim }, (_, d) => d + 1);
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
    step(p, [first, last, ...rest]) {
      const ways = splits.map((s) =>
        rest[3 * s].plus(rest[3 * s + 1]).plus(tableOfMany(p, [first, rest[3 * s + 2], last], products)),
      );
      return fold(ways, (a, b) => minimum(p, a, b));
    },
  };
}

/** All splits of a span at once, a bit for each nonterminal. */
function cyk(
  { grammar }: CykOptions,
  length: number,
  vocabulary: { id(token: string): number },
  offset: number,
): Transition<CykProblem, number> {
  const { terminals, start, unary, binary } = typeof grammar === 'string' ? grammars[grammar] : grammar;
  const nonterminals = [...new Set([start, ...unary.map(([A]) => A), ...binary.flat()])];
  const masks = Array.from({ length: 2 ** (Math.max(...nonterminals) + 1) }, (_, mask) => mask);
  const splits = Array.from({ length: length - 1 }, (_, k) => k + 1);
  return {
    args({ word: { length: n } }, state) {
      const [span, at] = [Math.floor(state / n) + 1, state % n];
      return [
        span === 1 ? { input: at } : number(-FAR),
        ...splits.flatMap((k): FixedArg<number>[] =>
          k < span
            ? [{ state: (k - 1) * n + at }, { state: (span - k - 1) * n + at + k }]
            : [number(0), number(0)],
        ),
      ];
    },
    step(p, [letter, ...spans]) {
      const derives = nonterminals.map((A) => {
        const own = terminals.flatMap((terminal, t) =>
          unary.some(([B, u]) => B === A && u === t)
            ? [equals(p, letter, vocabulary.id(terminal) - offset)]
            : [],
        );
        const rules = binary.filter(([B]) => B === A);
        const pairs = masks.flatMap((left) =>
          masks.flatMap((right) =>
            rules.some(([, B, C]) => (left >> B) & 1 && (right >> C) & 1)
              ? [{ args: [left, right], value: 1 }]
              : [],
          ),
        );
        const split = splits.map((_, k) => tableOfMany(p, [spans[2 * k], spans[2 * k + 1]], pairs));
        return atLeast(p, sum([...own, ...split]), 1).times(2 ** A);
      });
      return sum(derives);
    },
    answerArgs: ({ word: { length: n } }) => [{ state: (n - 1) * n }],
    answer: (p, [mask]) => {
      const with_ = masks.filter((value) => (value >> start) & 1);
      return sum(with_.map((value) => equals(p, mask, value)));
    },
  };
}

/**
 * The transition of a task of @freelunch/tasks at a size, if it has one written down.
 *
 * @param offset of the tokens of numbers: number n is token n + offset
 */
export function transitionOf<Problem, State extends number | string>(
  task: DpTask<Problem, number, State>,
  size: number,
  offset: number,
): Transition<Problem, State> | undefined {
  const { options, vocabulary } = task;
  // Which problem and state a task has, its name tells; the compiler cannot know.
  const find = (): unknown => {
    switch (task.name) {
      case 'lis':
        return (options as LisOptions).states === 'pairs' ? lisPairs() : lisNumbers(size);
      case 'edit-distance':
        return editDistance(options as EditDistanceOptions);
      case 'lcs':
        return lcs;
      case 'knapsack':
        return knapsack((options as { maxWeight: number }).maxWeight, (value) => value + offset);
      case 'recurrence':
        return recurrence(options as RecurrenceOptions);
      case 'prefix-sum':
        return running((p, a, b) =>
          modulo(p, a.plus(b), (options as PrefixOptions).p, 2 * (options as PrefixOptions).p - 2),
        );
      case 'prefix-max':
        return running(maximum);
      case 'layered-path':
        return layeredPath((options as { width: number }).width);
      case 'matrix-chain':
        return matrixChain(size, (options as { maxDim: number }).maxDim);
      case 'cyk':
        return cyk(options as CykOptions, size, vocabulary, offset);
      default:
        return undefined;
    }
  };
  return find() as Transition<Problem, State> | undefined;
}
