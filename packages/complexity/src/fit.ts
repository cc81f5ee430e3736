import type { Machine } from './compare.js';
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

/**
 * The machine that fits measured times best: seconds of a FLOP, a byte, an exp and a call of an op, none below 0, by least
 * squares of the relative errors. What samples cannot tell (no exp in any of them, say) costs nothing.
 *
 *     const attention = fitMachine(samplesOfAttentionAlone);
 *     const machine = (op: Cost) => (op.name === 'softmax_attention' ? attention : undefined);
 *     const rest = fitMachine(samplesOfModels, machine);
 *     predict(tree, (op) => machine(op) ?? rest); // seconds
 *
 * @param known  machines of ops whose times are known, and taken off: attention reads its cache at another speed than
 *   products read weights
 */
export function fitMachine(
  samples: readonly Sample[],
  known: (op: Cost) => Machine | undefined = () => undefined,
): Machine {
  const rows = samples.flatMap(({ tree, seconds }) => {
    const row = [0, 0, 0, 0];
    let left = seconds;
    for (const op of leavesOf(tree)) {
      const machine = known(op);
      if (machine === undefined) partsOf(op).forEach((part, i) => (row[i] += part));
      else left -= predict(op, machine);
    }
    // Where next to nothing is left, it is the errors of the known times.
    return left < seconds / 50 ? [] : [row.map((part) => part / left)];
  });
  // Four columns have fifteen subsets: the best fit that has no negative part is one of them.
  let best = { error: Infinity, parts: [0, 0, 0, 0] };
  for (let subset = 1; subset < 16; subset++) {
    const columns = [0, 1, 2, 3].filter((column) => subset & (1 << column));
    const solution = leastSquares(rows.map((row) => columns.map((column) => row[column])));
    if (solution === undefined || solution.some((x) => !(x >= 0))) continue;
    const parts = [0, 0, 0, 0];
    columns.forEach((column, i) => (parts[column] = solution[i]));
    const error = rows.reduce((total, row) => total + (dot(row, parts) - 1) ** 2, 0);
    if (error < best.error) best = { error, parts };
  }
  const [flop, byte, exp, perOp] = best.parts;
  return { flops: 1 / flop, bytes: 1 / byte, transcendentals: 1 / exp, perOp };
}

/**
 * Seconds on a fitted machine, where all that is done takes its time one after the other.
 *
 * @param machine one for all ops, or for each its own: products with one row run at the speed of memory, others do not
 */
export function predict(tree: Cost, machine: Machine | ((op: Cost) => Machine)): number {
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

/** x of least squares of rows x - 1, by the normal equations of columns of one size; undefined if they are dependent. */
function leastSquares(rows: readonly (readonly number[])[]): number[] | undefined {
  const n = rows[0]?.length ?? 0;
  const column = (i: number) => rows.map((row) => row[i]);
  const sizes = Array.from({ length: n }, (_, i) => Math.hypot(...column(i)));
  if (sizes.some((size) => !(size > 0))) return undefined;
  const unit = (i: number) => column(i).map((value) => value / sizes[i]);
  const a = sizes.map((_, i) => [
    ...sizes.map((__, j) => dot(unit(i), unit(j))),
    unit(i).reduce((total, x) => total + x, 0),
  ]);
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
  return a.map((row, i) => row[n] / row[i] / sizes[i]);
}
