import { UnsupportedError } from '@freelunch/errors';
import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { MOVE_NS } from './slices.js';
import { layoutNumber, isQuantized, type QuantizedTensor } from './quantized-tensor.js';
import type { Tensor } from './tensor.js';

export interface MatmulArgs {
  a: Tensor;
  b: Tensor | QuantizedTensor;
  transposeA?: boolean;
  transposeB?: boolean;
  bias?: Tensor;
}

/**
 * Matrix product: `y = op(a) op(b) + bias`, where `op` transposes the last two axes if asked.
 *
 * @param a  `[..., m, k]`, with `transposeA` `[..., k, m]`; any number of leading axes
 * @param b  `[k, n]`, with `transposeB` `[n, k]`: the same for all matrices of `a`;
 *           or `[..., k, n]`, with `transposeB` `[..., n, k]`: one for each, leading axes as those of `a`;
 *           or a quantised `[n, k]`, with `transposeB` and without `transposeA`
 * @param bias  added to each row, `[n]`
 * @returns `[..., m, n]`
 * @throws ShapeError if a shape does not fit, UnsupportedError if one of a quantised product's factors lies otherwise
 * @see Goto & van de Geijn 2008, https://doi.org/10.1145/1356052.1356053 (how it is computed)
 */
export function matmul(context: Context, args: MatmulArgs): Tensor<'float32'> {
  const { a, b } = args;
  if (isQuantized(b)) return multiplyQuantized(context, args, b);
  const checked = checkArgs('matmul', context, args);
  const { batch, m, n, k, shared, transposeA, transposeB, bias } = checked;
  const y = context.empty(withLeading(checked.leading, checked.rows, n));
  // prettier-ignore
  multiply(
    context, y.pointer, a.pointer, b.pointer, bias,
    batch, m, n, k, m * n, m * k, shared ? 0 : k * n, transposeA, transposeB,
  );
  return y;
}

/** The product with a quantised `b`, `[n, k]`: all rows of `a` together. */
function multiplyQuantized(context: Context, args: MatmulArgs, b: QuantizedTensor): Tensor<'float32'> {
  const { a, bias, transposeA = false, transposeB = false } = args;
  if (transposeA || !transposeB) {
    throw new UnsupportedError(
      `matmul: a quantised b, [n, k], needs transposeB: true and a as it lies, got transposeA: ${transposeA}, transposeB: ${transposeB}`,
    );
  }
  const check = new Check('matmul', context);
  if (check.rank('a', a) < 2) check.shape('a', '[..., m, k]', a);
  const leading = a.shape.slice(0, -2);
  check.float32('a', a, withLeading(leading, 'm', 'k'));
  check.quantized('b', b, ['n', 'k']);
  const biasPointer = check.optional('bias', bias, ['n']);
  const { n, k } = check.sizes;
  const m = a.size / k;
  const y = context.empty([...a.shape.slice(0, -1), n]);
  const { wasm } = context;
  const few = m <= (b.dtype.endsWith('16') ? 4 : 8); // as in the kernel
  context.run(
    'quantizedMatmulForward',
    [y.pointer, a.pointer, b.pointer, biasPointer, m, n, k, layoutNumber(b)],
    {
      units: wasm.quantizedMatmulForwardUnits(n),
      nanoseconds: m * n * k * (few ? ROW_MADD_NS : MADD_NS) + (few ? 0 : n * k * MOVE_NS),
      scratchBytes: wasm.quantizedMatmulForwardScratchBytes(m, n, k),
      partsPerThread: few ? 4 : 1, // each part copies all of a into panels
    },
  );
  return y;
}

/** Arguments of {@link matmulBackward}. */
export interface MatmulBackwardArgs extends MatmulArgs {
  b: Tensor;
  dy: Tensor;
}

/**
 * Gradients of {@link matmul}: for `y = a b`, `da = dy b^T` and `db = a^T dy`; `dbias` is the sum of the rows of `dy`.
 *
 * @param args  the arguments of the forward call, and `dy`, the gradient of its output, `[..., m, n]`
 * @returns `da`, `db` and, if there was a `bias`, `dbias`, each shaped like its input; `db` of a shared `b` is the
 *          sum over all matrices
 * @throws ShapeError if a shape does not fit
 */
export function matmulBackward(
  context: Context,
  args: MatmulBackwardArgs,
): { da: Tensor<'float32'>; db: Tensor<'float32'>; dbias?: Tensor<'float32'> } {
  const { a, b, bias, dy } = args;
  const { check, leading, batch, m, n, k, shared, transposeA, transposeB } = checkArgs(
    'matmulBackward',
    context,
    args,
  );
  check.float32('dy', dy, [...leading, 'm', 'n']);
  const strideB = shared ? 0 : k * n;
  const da = context.empty(a.shape);
  const db = context.empty(b.shape);
  const dbias = bias && context.empty(bias.shape);
  // da [m, k] = dy op(b)^T, transposed [k, m] = op(b) dy^T
  const rowsDa = transposeA ? k : m;
  const columnsDa = transposeA ? m : k;
  // prettier-ignore
  multiply(
    context, da.pointer, (transposeA ? b : dy).pointer, (transposeA ? dy : b).pointer, 0,
    batch, rowsDa, columnsDa, n, m * k, transposeA ? strideB : m * n, transposeA ? m * n : strideB,
    transposeA && transposeB, transposeA || !transposeB,
  );
  // db [k, n] = op(a)^T dy, transposed [n, k] = dy^T op(a)
  const rowsDb = transposeB ? n : k;
  const columnsDb = transposeB ? k : n;
  // prettier-ignore
  multiply(
    context, db.pointer, (transposeB ? dy : a).pointer, (transposeB ? a : dy).pointer, 0,
    batch, rowsDb, columnsDb, m, strideB, transposeB ? m * n : m * k, transposeB ? m * k : m * n,
    transposeB || !transposeA, transposeA && transposeB,
  );
  if (dbias) sumColumns(context, dbias.pointer, dy.pointer, batch * m, n);
  return dbias ? { da, db, dbias } : { da, db };
}

/** Sizes as the kernel takes them: with a shared `b` and `a` as it lies, the batch is nothing but more rows. */
function checkArgs(where: string, context: Context, args: MatmulArgs) {
  const { a, b, bias, transposeA = false, transposeB = false } = args;
  const check = new Check(where, context);
  const rank = check.rank('a', a);
  if (rank < 2) check.shape('a', transposeA ? '[..., k, m]' : '[..., m, k]', a);
  const leading = rank === 2 ? [] : a.shape.slice(0, -2);
  check.float32('a', a, transposeA ? withLeading(leading, 'k', 'm') : withLeading(leading, 'm', 'k'));
  const shared = check.rank('b', b) === 2;
  const leadingB = shared ? [] : leading;
  check.float32('b', b, transposeB ? withLeading(leadingB, 'n', 'k') : withLeading(leadingB, 'k', 'n'));
  const biasPointer = check.optional('bias', bias, ['n']);
  const { m, n, k } = check.sizes;
  const batch = leading.reduce((product, extent) => product * extent, 1);
  const folded = shared && !transposeA;
  return {
    check,
    leading,
    batch: folded ? 1 : batch,
    rows: m,
    m: folded ? batch * m : m,
    n,
    k,
    shared,
    transposeA,
    transposeB,
    bias: biasPointer,
  };
}

/** A shape; most have no leading axes, and spreading them costs more than a small product. */
function withLeading<T>(leading: readonly number[], rows: T, columns: T): (number | T)[] {
  return leading.length === 0 ? [rows, columns] : [...leading, rows, columns];
}

/** Nanoseconds per multiplication and addition, of blocks and of a row that is read from memory. */
const MADD_NS = 0.06;
const ROW_MADD_NS = 0.1;
/** Nanoseconds per element that is added up. */
const SUM_NS = 0.1;

/** The kernel, with its strides in floats: see `assembly/src/matmul.ts`. */
// prettier-ignore
function multiply(
  context: Context, y: number, a: number, b: number, bias: number,
  batch: number, m: number, n: number, k: number, strideY: number, strideA: number, strideB: number,
  transposeA: boolean, transposeB: boolean,
): void {
  const { wasm } = context;
  const few = m <= 4 || n <= 4;
  context.run('matmulForward', [
    y, a, b, bias, batch, m, n, k, strideY, strideA, strideB, Number(transposeA), Number(transposeB),
  ], {
    units: wasm.matmulForwardUnits(batch, m, n, strideY, transposeA, transposeB),
    nanoseconds: batch * m * n * k * (few ? ROW_MADD_NS : MADD_NS),
    scratchBytes: wasm.matmulForwardScratchBytes(m, n, k),
    partsPerThread: few ? 4 : 1, // each part copies all of one factor into panels
  });
}

/** The sum of each column of `x`, `[rows, n]`; both are addresses. */
export function sumColumns(context: Context, sums: number, x: number, rows: number, n: number): void {
  context.run('columnSums', [sums, x, rows, n], {
    units: Math.ceil(n / 16),
    nanoseconds: rows * n * SUM_NS,
  });
}

const shared = { a: 'tensor', b: 'tensor', transposeA: 'flag', transposeB: 'flag', bias: 'tensor' } as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  matmul: op(matmul, shared),
  matmulBackward: op(matmulBackward, { ...shared, dy: 'tensor' }),
};
