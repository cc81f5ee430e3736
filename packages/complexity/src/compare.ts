import type { ModelConfig } from '@freelunch/config';
import { checkOptions } from '@freelunch/errors';
import { fail, oneOf, whole } from './check.js';
import { cost, type Cost, costOptions, type CostOptions, type Figure, figures } from './cost.js';
import type { Expression } from './expression.js';
import { algorithmGrain, grainOf } from './ops/op.js';

/** The leading order of a formula, such as `O(T^2)`: see {@link Expression.order}. */
export const order = (
  formula: Expression,
  growing: readonly string[],
  options: { descending?: boolean } = {},
): string => formula.order(growing, options.descending);

export interface CompareOptions extends Omit<CostOptions, 'promptLength'> {
  promptLength?: number;
  figure: Figure;
  /**
   * The variable that differs; if absent `seqLen` in training and prefill, `position` in decoding, `newTokens` in
   * generation. Any size of a model may be named, such as `dState`, but with `kernelGrain`, which knows no sizes by
   * name: there it is one of these three, or `batch`.
   */
  along?: string;
}

export interface Comparison {
  figure: Figure;
  along: string;
  /** What `along` is, column by column. */
  lengths: readonly number[];
  /** Formulas and orders are those of the algorithm; values of `kernelGrain` are above them, by what fills up tiles. */
  rows: { name: string; values: number[]; formula: Expression; order: string }[];
}

const compareOptions = [...costOptions, 'figure', 'along'];

/** A figure of a model as a function of a variable. */
interface Curve {
  at: (x: number) => number;
  formula: Expression;
  along: string;
  /** All variables that could be it. */
  names: readonly string[];
}

/** What differs must be a size of one of the models at least; those without it cost the same everywhere. */
function checkAlong(where: string, curves: readonly Curve[]): void {
  const names = [...new Set(curves.flatMap((one) => one.names))];
  const [first] = curves;
  if (first !== undefined && !names.includes(first.along))
    fail(where, 'along', `one of ${names.join(', ')}`, first.along);
}

function curve(
  where: string,
  config: ModelConfig,
  { from: _from, to: _to, ...given }: CrossoverOptions,
): Curve {
  const { figure: _figure, along: wanted, ...options } = given;
  const figure = oneOf(where, 'figure', given.figure, figures);
  const { mode } = options;
  const along = wanted ?? (mode === 'generate' ? 'newTokens' : mode === 'decode' ? 'position' : 'seqLen');
  // Sizes of the formula do not matter, but a size of 1 is one of its own.
  const all: CostOptions = { ...options, promptLength: options.promptLength ?? 1024 };
  const { formulas, values } = cost(config, { ...all, grain: algorithmGrain });
  const formula = formulas[figure];
  const names = Object.keys(values);
  if (!grainOf(where, options.grain).kernel)
    return { names, formula, along, at: (x) => formula.evaluate({ ...values, [along]: x }) };
  const length = mode === 'decode' ? 'position' : 'seqLen';
  const option = new Map<string, keyof CostOptions>([
    [length, 'promptLength'],
    ['batch', 'batch'],
    ...(mode === 'generate' ? [['newTokens', 'newTokens'] as const] : []),
  ]).get(along);
  if (option === undefined)
    fail(
      where,
      'along',
      `${length}${mode === 'generate' ? ', newTokens' : ''} or batch to count what kernels execute`,
      along,
    );
  return { names, formula, along, at: (x) => cost(config, { ...all, [option]: x })[figure] };
}

/**
 * A figure of several models at several lengths: rows of a table, or series of a plot.
 *
 *     compare({ mamba, gpt2 }, [256, 1024, 4096], { figure: 'flops', mode: 'decode' }).rows
 */
export function compare(
  configs: Readonly<Record<string, ModelConfig>>,
  lengths: readonly number[],
  options: CompareOptions,
): Comparison {
  if (options === undefined) fail('compare', 'options', 'an object with mode and figure', options);
  checkOptions('compare', options, compareOptions);
  if (!Array.isArray(lengths)) fail('compare', 'lengths', 'a list of whole numbers', lengths);
  lengths.forEach((length, i) => whole('compare', `lengths[${i}]`, length, 0, 2 ** 40));
  const curves = Object.entries(configs).map(([name, config]) => ({
    name,
    curve: curve('compare', config, options),
  }));
  checkAlong(
    'compare',
    curves.map((one) => one.curve),
  );
  const { figure } = options;
  return {
    figure,
    along: curves[0]?.curve.along ?? '',
    lengths,
    rows: curves.map(({ name, curve: { at, formula, along } }) => ({
      name,
      values: lengths.map(at),
      formula,
      order: formula.order([along]),
    })),
  };
}

export interface CrossoverOptions extends CompareOptions {
  /** Where to look; 1 to 2^40 if absent, with `kernelGrain`, which is computed anew at each place, 2^16, or 2^9 new tokens. */
  from?: number;
  to?: number;
}

export interface Crossover {
  /** The least value from which on `cheaper` is the cheaper one; absent if that never changes. */
  at?: number;
  /** Which is cheaper at the end: from `at` on, or all along. `equal` if they cost the same. */
  cheaper: 'first' | 'second' | 'equal';
  /** All places where the cheaper one changes. */
  crossings: { at: number; cheaper: 'first' | 'second' | 'equal' }[];
}

/**
 * Where one of two models becomes cheaper than the other for good.
 *
 *     crossover(mamba, gpt2, { figure: 'flops', mode: 'decode' }) // from which position on a step of Mamba is cheaper
 */
export function crossover(first: ModelConfig, second: ModelConfig, options: CrossoverOptions): Crossover {
  if (options === undefined) fail('crossover', 'options', 'an object with mode and figure', options);
  checkOptions('crossover', options, [...compareOptions, 'from', 'to']);
  const [a, b] = [curve('crossover', first, options), curve('crossover', second, options)];
  checkAlong('crossover', [a, b]);
  const { from, to = options.grain?.kernel ? (a.along === 'newTokens' ? 2 ** 9 : 2 ** 16) : undefined } =
    options;
  return crossing(a.at, b.at, { from, to });
}

/** The same of any two functions of whole numbers, such as fits of measured times. */
export function crossing(
  first: (x: number) => number,
  second: (x: number) => number,
  options: { from?: number; to?: number } = {},
): Crossover {
  checkOptions('crossing', options, ['from', 'to']);
  const { from = 1, to = 2 ** 40 } = options;
  whole('crossing', 'from', from, 0, 2 ** 40);
  whole('crossing', 'to', to, from, 2 ** 40);
  const cheaperAt = (x: number): Crossover['cheaper'] => {
    const difference = first(x) - second(x);
    return difference < 0 ? 'first' : difference > 0 ? 'second' : 'equal';
  };
  const crossings: Crossover['crossings'] = [];
  let low = from;
  let before = cheaperAt(low);
  const start = before;
  while (low < to) {
    // Steps of a sixteenth: two crossings nearer to each other than that are not seen.
    const high = Math.min(to, Math.max(low + 1, Math.floor(low * 1.0625)));
    const after = cheaperAt(high);
    if (after !== before) {
      let [left, right] = [low, high];
      while (right - left > 1) {
        const middle = Math.floor((left + right) / 2);
        if (cheaperAt(middle) === before) left = middle;
        else right = middle;
      }
      before = cheaperAt(right);
      crossings.push({ at: right, cheaper: before });
      low = right;
    } else low = high;
  }
  const last = crossings.at(-1);
  return { ...(last && { at: last.at }), cheaper: last?.cheaper ?? start, crossings };
}

/** What a machine can do in a second. */
export interface Machine {
  flops: number;
  bytes: number;
  /** exps and the like; as many as FLOPs if absent. */
  transcendentals?: number;
  /** Seconds that a call of an op takes beside; 0 if absent. */
  perOp?: number;
}

const machineFields = ['flops', 'bytes', 'transcendentals', 'perOp'];

/** @throws ArgumentError for a field that machines do not have */
export const checkMachine = (where: string, machine: Machine): void =>
  checkOptions(`${where}: machine`, machine, machineFields);

export interface Roofline {
  name: string;
  seconds: number;
  /** What most of the time goes by. */
  bound: 'compute' | 'memory';
  children: Roofline[];
}

/** The least time that a machine needs: of each op the longer of its arithmetic and its traffic with memory. */
export function roofline(tree: Cost, machine: Machine): Roofline {
  checkMachine('roofline', machine);
  return rooflineOf(tree, machine);
}

function rooflineOf(tree: Cost, machine: Machine): Roofline {
  const children = tree.children.map((child) => rooflineOf(child, machine));
  const compute =
    tree.flops / machine.flops + tree.transcendentals / (machine.transcendentals ?? machine.flops);
  const memory = (tree.bytesRead + tree.bytesWritten) / machine.bytes;
  if (children.length === 0) {
    return {
      name: tree.name,
      seconds: Math.max(compute, memory) + (machine.perOp ?? 0),
      bound: compute > memory ? 'compute' : 'memory',
      children,
    };
  }
  const seconds = children.reduce((total, child) => total + child.seconds, 0);
  const computing = children.reduce(
    (total, child) => total + (child.bound === 'compute' ? child.seconds : 0),
    0,
  );
  return { name: tree.name, seconds, bound: 2 * computing > seconds ? 'compute' : 'memory', children };
}
