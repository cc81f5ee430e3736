/** Rows and sums of the backward pass. */
import { madd, sum } from '../simd';

/** Rows of z before each step's own update, decayed; z moves over the block. */
export function normalizerRows(rows: usize, z: usize, k: usize, forget: usize, steps: i32, size: i32): void {
  const row = (<usize>size) << 2;
  for (let t = 0; t < steps; t++) {
    for (let i: usize = 0; i < row; i += 16) {
      let zi = v128.load(z + i);
      if (forget != 0) zi = f32x4.mul(zi, v128.load(forget + i));
      v128.store(rows + i, zi);
      v128.store(z + i, f32x4.add(zi, v128.load(k + i)));
    }
    rows += row;
    k += row;
    if (forget != 0) forget += row;
  }
}

/**
 * Gradient of the forget factors' logs at the last step, from the upstream of the last state:
 * out = f (sum over values of dS S, + dz z), states transposed and as they were before that step.
 */
// prettier-ignore
export function lastProducts(out: usize, dState: usize, state: usize, dz: usize, z: usize, forget: usize, key: i32, value: i32): void {
  const row = (<usize>key) << 2;
  for (let i: usize = 0; i < row; i += 16) {
    let acc = f32x4.mul(v128.load(dz + i), v128.load(z + i));
    const end = <usize>value * row + i;
    for (let j = i; j < end; j += row) acc = madd(v128.load(dState + j), v128.load(state + j), acc);
    v128.store(out + i, f32x4.mul(acc, v128.load(forget + i)));
  }
}

/** out = x factor + y factorY, padded rows in place of x. */
export function mixRow(x: usize, factor: f32, y: usize, factorY: f32, size: i32): void {
  const fx = f32x4.splat(factor);
  const fy = f32x4.splat(factorY);
  for (const end = x + ((<usize>size) << 2); x < end; x += 16, y += 16) {
    v128.store(x, madd(fy, v128.load(y), f32x4.mul(fx, v128.load(x))));
  }
}

/** out += x y (sign 1) or -= x y (sign -1), padded rows, element by element. */
export function addProducts(out: usize, x: usize, y: usize, sign: f32, size: i32): void {
  const s = f32x4.splat(sign);
  for (const end = out + ((<usize>size) << 2); out < end; out += 16, x += 16, y += 16) {
    v128.store(out, madd(f32x4.mul(s, v128.load(x)), v128.load(y), v128.load(out)));
  }
}

/** sums += row, then row = sums: suffix sums kept in double. */
export function accumulate(sums: usize, row: usize, size: i32): void {
  for (const end = row + ((<usize>size) << 2); row < end; row += 8, sums += 16) {
    const total = f64x2.add(v128.load(sums), f64x2.promote_low_f32x4(v128.load64_zero(row)));
    v128.store(sums, total);
    v128.store_lane<f64>(row, f32x4.demote_f64x2_zero(total), 0);
  }
}

/** x *= y, padded rows, element by element. */
export function scaleElements(x: usize, y: usize, size: i32): void {
  for (const end = x + ((<usize>size) << 2); x < end; x += 16, y += 16) {
    v128.store(x, f32x4.mul(v128.load(x), v128.load(y)));
  }
}

export function oneRow(x: usize, size: i32): void {
  for (const end = x + ((<usize>size) << 2); x < end; x += 4) store<f32>(x, 1);
}

/** Sum of a padded row. */
export function rowSum(x: usize, size: i32): f32 {
  let acc = f32x4.splat(0);
  for (const end = x + ((<usize>size) << 2); x < end; x += 16) acc = f32x4.add(acc, v128.load(x));
  return sum(acc);
}
