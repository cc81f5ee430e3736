import type { ModelConfig } from './config.js';
import { cost, type Cost, type CostOptions, type Figure } from './cost.js';
import type { Expression } from './expression.js';

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
   * generation. Any size of a model may be named, such as `dState`, but with the kind `kernel`, which knows no sizes by
   * name: there it is one of these three, or `batch`.
   */
  along?: string;
}

export interface Comparison {
  figure: Figure;
  along: string;
  /** What `along` is, column by column. */
  lengths: readonly number[];
  /** Formulas and orders are those of the algorithm; values of the kind `kernel` are above them, by what fills up tiles. */
  rows: { name: string; values: number[]; formula: Expression; order: string }[];
}

/** A figure of one model as a function of a variable. */
function curve(
  config: ModelConfig,
  options: CompareOptions,
): { at: (x: number) => number; formula: Expression; along: string } {
  const {
    figure,
    mode,
    along = mode === 'generate' ? 'newTokens' : mode === 'decode' ? 'position' : 'seqLen',
  } = options;
  // Sizes of the formula do not matter, but a size of 1 is one of its own.
  const all: CostOptions = { ...options, promptLength: options.promptLength ?? 1024 };
  const { formulas, values } = cost(config, { ...all, kind: 'algorithm' });
  const formula = formulas[figure];
  if (options.kind !== 'kernel')
    return { formula, along, at: (x) => formula.evaluate({ ...values, [along]: x }) };
  const length = mode === 'decode' ? 'position' : 'seqLen';
  const option = new Map<string, keyof CostOptions>([
    [length, 'promptLength'],
    ['batch', 'batch'],
    ...(mode === 'generate' ? [['newTokens', 'newTokens'] as const] : []),
  ]).get(along);
  if (option === undefined)
    throw new RangeError(
      `compare: along must be ${length}${mode === 'generate' ? ', newTokens' : ''} or batch with kind kernel, got ${JSON.stringify(along)}`,
    );
  return { formula, along, at: (x) => cost(config, { ...all, [option]: x })[figure] };
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
  const curves = Object.entries(configs).map(([name, config]) => ({ name, curve: curve(config, options) }));
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
  /** Where to look; 1 to 2^40 if absent, with the kind `kernel`, which is computed anew at each place, 2^16, or 2^9 new tokens. */
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
  const [a, b] = [curve(first, options), curve(second, options)];
  const {
    kind,
    from,
    to = kind === 'kernel' ? (a.along === 'newTokens' ? 2 ** 9 : 2 ** 16) : undefined,
  } = options;
  return crossing(a.at, b.at, { from, to });
}

/** The same of any two functions of whole numbers, such as fits of measured times. */
export function crossing(
  first: (x: number) => number,
  second: (x: number) => number,
  { from = 1, to = 2 ** 40 }: { from?: number; to?: number } = {},
): Crossover {
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

export interface Roofline {
  name: string;
  seconds: number;
  /** What most of the time goes by. */
  bound: 'compute' | 'memory';
  children: Roofline[];
}

/** The least time that a machine needs: of each op the longer of its arithmetic and its traffic with memory. */
export function roofline(tree: Cost, machine: Machine): Roofline {
  const children = tree.children.map((child) => roofline(child, machine));
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
