import { fail } from './check.js';
import { checkMachine, type Machine } from './compare.js';
import type { Cost } from './cost.js';

/** What a run did and how long it took. */
export interface Sample {
  tree: Cost;
  seconds: number;
}

const leavesOf = (tree: Cost): Cost[] =>
  tree.children.length === 0 ? [tree] : tree.children.flatMap(leavesOf);

/** What takes time: FLOPs, bytes, exps, calls. */
const partsOf = (op: Cost): number[] => [op.flops, op.bytesRead + op.bytesWritten, op.transcendentals, 1];

/** {@link fitMachines} with one machine for all ops. */
export const fitMachine = (samples: readonly Sample[]): Machine => fitMachines(samples, () => '')[''];

/**
 * The machines that fit measured times best, one for each class of ops: products with one row run at the speed of memory,
 * others do not, and a scan is neither. A machine has seconds of a FLOP, a byte, an exp and a call of an op, none below 0;
 * all are found together, by least squares of the relative errors of the whole times. What samples cannot tell (no exp in
 * any of them, say) costs nothing.
 *
 *     const classOf = (op: Cost) => (op.name === 'softmax_attention' ? 'attention' : 'rest');
 *     const machines = fitMachines(samplesOfSmallModels, classOf);
 *     predict(treeOfAnotherModel, (op) => machines[classOf(op)]); // seconds
 *
 * @param classOf  the class of an op; ops of one name may differ from sample to sample
 * @throws ArgumentError if a sample took no time
 * @see Lawson & Hanson 1974, Solving Least Squares Problems, chapter 23
 */
export function fitMachines<S extends Sample>(
  samples: readonly S[],
  classOf: (op: Cost, sample: S) => string,
): Record<string, Machine> {
  const parts = samples.map((sample) => {
    const { tree, seconds } = sample;
    if (!(seconds > 0 && seconds < Infinity)) fail('fitMachines', 'seconds', 'above 0 and finite', seconds);
    const own: Record<string, number[]> = {};
    for (const op of leavesOf(tree)) {
      const total = (own[classOf(op, sample)] ??= [0, 0, 0, 0]);
      partsOf(op).forEach((part, i) => (total[i] += part / seconds));
    }
    return own;
  });
  const classes = [...new Set(parts.flatMap(Object.keys))];
  const rows = parts.map((own) => classes.flatMap((name) => own[name] ?? [0, 0, 0, 0]));
  const x = leastSquaresFromZeroUp(rows);
  return Object.fromEntries(
    classes.map((name, i) => {
      const [flop, byte, exp, perOp] = x.slice(4 * i);
      return [name, { flops: 1 / flop, bytes: 1 / byte, transcendentals: 1 / exp, perOp }];
    }),
  );
}

/**
 * Seconds on a fitted machine, where all that is done takes its time one after the other.
 *
 * @param machine one for all ops, or for each its own: see {@link fitMachines}
 */
export function predict(tree: Cost, machine: Machine | ((op: Cost) => Machine)): number {
  if (typeof machine !== 'function') checkMachine('predict', machine);
  if (tree.children.length > 0)
    return tree.children.reduce((total, child) => total + predict(child, machine), 0);
  const {
    flops,
    bytes,
    transcendentals = flops,
    perOp = 0,
  } = typeof machine === 'function' ? machine(tree) : machine;
  return (
    tree.flops / flops +
    (tree.bytesRead + tree.bytesWritten) / bytes +
    tree.transcendentals / transcendentals +
    perOp
  );
}

/** The power by which times grow with lengths, and their factor: seconds = factor length^exponent. */
export function fitExponent(
  lengths: readonly number[],
  seconds: readonly number[],
): { exponent: number; factor: number } {
  const [x, y] = [lengths.map(Math.log), seconds.map(Math.log)];
  const [meanX, meanY] = [mean(x), mean(y)];
  const exponent =
    x.reduce((total, value, i) => total + (value - meanX) * (y[i] - meanY), 0) /
    x.reduce((total, value) => total + (value - meanX) ** 2, 0);
  return { exponent, factor: Math.exp(meanY - exponent * meanX) };
}

const mean = (values: readonly number[]) => values.reduce((total, value) => total + value, 0) / values.length;
const dot = (a: readonly number[], b: readonly number[]) => a.reduce((total, x, i) => total + x * b[i], 0);

/** x, none below 0, of least squares of rows x - 1: the method of active sets of Lawson and Hanson. */
function leastSquaresFromZeroUp(rows: readonly (readonly number[])[]): number[] {
  const all = (rows[0] ?? []).map((_, i) => i);
  const sizes = all.map((i) => Math.hypot(...rows.map((row) => row[i])));
  // Columns of one size, and of those only products are needed.
  const unit = rows.map((row) => row.map((value, i) => (sizes[i] > 0 ? value / sizes[i] : 0)));
  const products = all.map((i) => all.map((j) => unit.reduce((total, row) => total + row[i] * row[j], 0)));
  const goal = all.map((i) => unit.reduce((total, row) => total + row[i], 0));
  const x = all.map(() => 0);
  let free: number[] = [];
  const dependent = new Set<number>();
  for (let round = 0; round < 3 * all.length; round++) {
    const slope = all.map((i) => goal[i] - dot(products[i], x));
    const candidates = all.filter((i) => !free.includes(i) && !dependent.has(i) && slope[i] > 1e-9);
    if (candidates.length === 0) break;
    const next = candidates.reduce((most, i) => (slope[i] > slope[most] ? i : most));
    free.push(next);
    while (free.length > 0) {
      const solution = solve(
        free.map((i) => free.map((j) => products[i][j])),
        free.map((i) => goal[i]),
      );
      // A column that others make up is left alone from here on.
      if (solution === undefined || (x[next] === 0 && solution[free.indexOf(next)] <= 0)) {
        dependent.add(next);
        free = free.filter((i) => i !== next);
        break;
      }
      // As far towards the solution as none falls below 0; what gets there is held at 0.
      const reach = free.map((i, at) => (solution[at] > 0 ? Infinity : x[i] / (x[i] - solution[at])));
      const step = Math.min(1, ...reach);
      free.forEach((i, at) => (x[i] = reach[at] <= step ? 0 : x[i] + step * (solution[at] - x[i])));
      if (reach.every((value) => value === Infinity)) break;
      free = free.filter((_, at) => reach[at] > step);
    }
  }
  return x.map((value, i) => (sizes[i] > 0 ? value / sizes[i] : 0));
}

/** x of a x = b, by elimination; undefined if rows are dependent. */
function solve(matrix: readonly (readonly number[])[], b: readonly number[]): number[] | undefined {
  const n = b.length;
  const a = matrix.map((row, i) => [...row, b[i]]);
  for (let i = 0; i < n; i++) {
    const pivot = a
      .slice(i)
      .reduce((most, row, k) => (Math.abs(row[i]) > Math.abs(a[most][i]) ? k + i : most), i);
    [a[i], a[pivot]] = [a[pivot], a[i]];
    if (Math.abs(a[i][i]) < 1e-10) return undefined;
    for (let k = 0; k < n; k++) {
      if (k === i) continue;
      const factor = a[k][i] / a[i][i];
      for (let j = i; j <= n; j++) a[k][j] -= factor * a[i][j];
    }
  }
  return a.map((row, i) => row[n] / row[i]);
}
