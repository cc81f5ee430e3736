/** Sums over a row, and over the rows of a column. */
import { loadTail, madd, storeTail, sum } from '../simd';

export const ones: usize = memory.data<f32>([1, 1, 1, 1], 16);
export const zeros: usize = memory.data<f32>([0, 0, 0, 0], 16);
export const laneMasks: usize = memory.data<i32>([-1, -1, -1, -1, 0, 0, 0, 0], 16);

/** Rows whose gradients of weight and bias are added up in float32; these sums are added up in float64. */
export const BLOCK = 32;

/** Whether a sum did not overflow and holds no NaN. */
export function fits(sum: f32): bool {
  return abs<f32>(sum) <= f32.MAX_VALUE;
}

/** Sum of the floats in `bytes` bytes. */
export function rowSum(x: usize, bytes: usize): f32 {
  let a = v128.load(zeros),
    b = a,
    c = a,
    d = a;
  let i: usize = 0;
  for (; i + 64 <= bytes; i += 64) {
    a = f32x4.add(a, v128.load(x + i));
    b = f32x4.add(b, v128.load(x + i, 16));
    c = f32x4.add(c, v128.load(x + i, 32));
    d = f32x4.add(d, v128.load(x + i, 48));
  }
  for (; i < bytes; i += 16) a = f32x4.add(a, loadTail(x + i, <i32>((bytes - i) >> 2)));
  return sum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
}

/** Sum of their squares. */
export function squareSum(x: usize, bytes: usize): f32 {
  let a = v128.load(zeros),
    b = a,
    c = a,
    d = a;
  let i: usize = 0;
  for (; i + 64 <= bytes; i += 64) {
    const x0 = v128.load(x + i),
      x1 = v128.load(x + i, 16),
      x2 = v128.load(x + i, 32),
      x3 = v128.load(x + i, 48);
    a = madd(x0, x0, a);
    b = madd(x1, x1, b);
    c = madd(x2, x2, c);
    d = madd(x3, x3, d);
  }
  for (; i < bytes; i += 16) {
    const x0 = loadTail(x + i, <i32>((bytes - i) >> 2));
    a = madd(x0, x0, a);
  }
  return sum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
}

/** x in the first `count` lanes, 0 in the others. */
export function firstLanes(x: v128, count: i32): v128 {
  return v128.and(x, v128.load(laneMasks + ((<usize>(4 - min(count, 4))) << 2)));
}

/** Bytes of the sums of `columns` columns: float64 totals, then float32 sums, both padded to whole vectors. */
export function columnSumBytes(columns: f64): f64 {
  return ceil<f64>(columns / 4) * 48;
}

/** Clears them. Returns the address of the float32 sums. */
export function startColumnSums(scratch: usize, columns: i32): usize {
  memory.fill(scratch, 0, <usize>columnSumBytes(<f64>columns));
  return scratch + <usize>((columns + 3) & ~3) * 8;
}

/** Adds the float32 sums to the totals, and clears them. */
export function foldColumnSums(scratch: usize, columns: i32): void {
  const sums = scratch + <usize>((columns + 3) & ~3) * 8;
  const end = (<usize>columns) << 2;
  const zero = v128.load(zeros);
  for (let i: usize = 0; i < end; i += 16) {
    const s = v128.load(sums + i);
    const total = scratch + (i << 1);
    const high = i8x16.shuffle(s, s, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    v128.store(total, f64x2.add(v128.load(total), f64x2.promote_low_f32x4(s)));
    v128.store(total, f64x2.add(v128.load(total, 16), f64x2.promote_low_f32x4(high)), 16);
    v128.store(sums + i, zero);
  }
}

/** Adds up the totals that `parts` runs of rows left, `apart` bytes from each other, and writes them as float32. */
export function writeColumnSums(target: usize, totals: usize, columns: i32, parts: i32, apart: usize): void {
  for (; columns > 0; columns -= 4, target += 16, totals += 32) {
    let low = v128.load(totals),
      high = v128.load(totals, 16);
    for (let i = 1; i < parts; i++) {
      const at = totals + <usize>i * apart;
      low = f64x2.add(low, v128.load(at));
      high = f64x2.add(high, v128.load(at, 16));
    }
    const narrow = f32x4.demote_f64x2_zero(low);
    storeTail(
      target,
      i8x16.shuffle(
        narrow,
        f32x4.demote_f64x2_zero(high),
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        16,
        17,
        18,
        19,
        20,
        21,
        22,
        23,
      ),
      columns,
    );
  }
}
