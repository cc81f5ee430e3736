/**
 * The register tile that all products of matrices go through:
 *
 *   out[i][j] = start[i][j] + sum_d a[d][i] b[d][j],  i < ROWS,  j < COLUMNS
 *
 * The caller lays out its factors so that a step along d finds the elements of a side by side, and those of b: in
 * panels (panels.ts), or in any rows. outRow, startRow, aStep and bStep are bytes; startRow is 0 where all rows start
 * alike, and `out` may be `start`.
 */
import { madd } from '../simd';

// A tile's accumulators, one step of its factors and a product must fit into the 15 vector registers that V8 hands out.
// With a fused madd 6 x 8 fits and reaches 97 % of the machine's peak; without, 6 x 8 spills (50 %) and 5 x 8 reaches
// 90 %. Two steps a round spill as well: binaryen interleaves them.
// prettier-ignore
export const ROWS: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
export const COLUMNS: i32 = 8;

/** A row of a tile to start from. */
export const zeros: usize = memory.data<f32>([0, 0, 0, 0, 0, 0, 0, 0], 16);

// prettier-ignore
export function tile(
  out: usize, outRow: usize, start: usize, startRow: usize, a: usize, aStep: usize, b: usize, bStep: usize, depth: i32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) tile6x8(out, outRow, start, startRow, a, aStep, b, bStep, depth);
  else tile5x8(out, outRow, start, startRow, a, aStep, b, bStep, depth);
}

/**
 * The sums are stored as they leave the loop, and nothing else is done here. With a branch beside the loop, loops
 * around it, or what `out` held added to the sums, V8 loads all operands of a step first and keeps accumulators in
 * memory, which halves the speed. Several callers keep the compiler from inlining it.
 */
// prettier-ignore
export function tile5x8(
  out: usize, outRow: usize, start: usize, startRow: usize, a: usize, aStep: usize, b: usize, bStep: usize, depth: i32,
): void {
  let c00 = v128.load(start), c01 = v128.load(start, 16); start += startRow;
  let c10 = v128.load(start), c11 = v128.load(start, 16); start += startRow;
  let c20 = v128.load(start), c21 = v128.load(start, 16); start += startRow;
  let c30 = v128.load(start), c31 = v128.load(start, 16); start += startRow;
  let c40 = v128.load(start), c41 = v128.load(start, 16);
  for (; depth > 0; depth--) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let x = v128.load32_splat(a); c00 = madd(x, b0, c00); c01 = madd(x, b1, c01);
    x = v128.load32_splat(a, 4); c10 = madd(x, b0, c10); c11 = madd(x, b1, c11);
    x = v128.load32_splat(a, 8); c20 = madd(x, b0, c20); c21 = madd(x, b1, c21);
    x = v128.load32_splat(a, 12); c30 = madd(x, b0, c30); c31 = madd(x, b1, c31);
    x = v128.load32_splat(a, 16); c40 = madd(x, b0, c40); c41 = madd(x, b1, c41);
    a += aStep; b += bStep;
  }
  v128.store(out, c00); v128.store(out, c01, 16); out += outRow;
  v128.store(out, c10); v128.store(out, c11, 16); out += outRow;
  v128.store(out, c20); v128.store(out, c21, 16); out += outRow;
  v128.store(out, c30); v128.store(out, c31, 16); out += outRow;
  v128.store(out, c40); v128.store(out, c41, 16);
}

/** The same with six rows, for a fused madd. */
// prettier-ignore
function tile6x8(
  out: usize, outRow: usize, start: usize, startRow: usize, a: usize, aStep: usize, b: usize, bStep: usize, depth: i32,
): void {
  let c00 = v128.load(start), c01 = v128.load(start, 16); start += startRow;
  let c10 = v128.load(start), c11 = v128.load(start, 16); start += startRow;
  let c20 = v128.load(start), c21 = v128.load(start, 16); start += startRow;
  let c30 = v128.load(start), c31 = v128.load(start, 16); start += startRow;
  let c40 = v128.load(start), c41 = v128.load(start, 16); start += startRow;
  let c50 = v128.load(start), c51 = v128.load(start, 16);
  for (; depth > 0; depth--) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let x = v128.load32_splat(a); c00 = madd(x, b0, c00); c01 = madd(x, b1, c01);
    x = v128.load32_splat(a, 4); c10 = madd(x, b0, c10); c11 = madd(x, b1, c11);
    x = v128.load32_splat(a, 8); c20 = madd(x, b0, c20); c21 = madd(x, b1, c21);
    x = v128.load32_splat(a, 12); c30 = madd(x, b0, c30); c31 = madd(x, b1, c31);
    x = v128.load32_splat(a, 16); c40 = madd(x, b0, c40); c41 = madd(x, b1, c41);
    x = v128.load32_splat(a, 20); c50 = madd(x, b0, c50); c51 = madd(x, b1, c51);
    a += aStep; b += bStep;
  }
  v128.store(out, c00); v128.store(out, c01, 16); out += outRow;
  v128.store(out, c10); v128.store(out, c11, 16); out += outRow;
  v128.store(out, c20); v128.store(out, c21, 16); out += outRow;
  v128.store(out, c30); v128.store(out, c31, 16); out += outRow;
  v128.store(out, c40); v128.store(out, c41, 16); out += outRow;
  v128.store(out, c50); v128.store(out, c51, 16);
}

/**
 * One row of a tile, added to out: out[j] += sum_d a[d] b[d][j]. On the edges of triangles and masks rows have their
 * own ends: to multiply what is beyond by 0 would be no mask, since 0 times NaN or infinity is NaN.
 */
export function tileRow(out: usize, a: usize, aStep: usize, b: usize, bStep: usize, depth: i32): void {
  let low = v128.load(out);
  let high = v128.load(out, 16);
  for (; depth > 0; depth--, a += aStep, b += bStep) {
    const x = v128.load32_splat(a);
    low = madd(x, v128.load(b), low);
    high = madd(x, v128.load(b, 16), high);
  }
  v128.store(out, low);
  v128.store(out, high, 16);
}
