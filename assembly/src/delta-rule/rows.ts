/** Rows of a block of steps: keys and queries, which may be normalised, and one number per step. */
import { loadTail, madd, sum } from '../simd';
import { dot, IDENTITY, packDecay, packRows, padded, shifted, unpackRows, zeroRows } from '../state/rows';

/** x . x + eps of an unpadded row. */
function squareNorm(x: usize, size: i32, eps: f32): f32 {
  let acc = f32x4.splat(0);
  for (; size >= 4; size -= 4, x += 16) acc = madd(v128.load(x), v128.load(x), acc);
  const rest = loadTail(x, size);
  return sum(madd(rest, rest, acc)) + eps;
}

/** Whether x . x + eps neither overflows nor loses digits to underflow; else the row is normalised in float64. */
function isOrdinary(square: f32): bool {
  return square > 1e-30 && square < f32.MAX_VALUE;
}

function inverseNorm64(x: usize, size: i32, eps: f32): f64 {
  let total = <f64>eps;
  const end = (<usize>size) << 2;
  for (let i: usize = 0; i < end; i += 4) total += <f64>load<f32>(x + i) * <f64>load<f32>(x + i);
  return 1 / sqrt<f64>(total);
}

/** Queries or keys as padded rows, normalised if so wanted, times a factor. */
// prettier-ignore
export function packKeys(target: usize, source: usize, steps: i32, stride: usize, size: i32, l2Normalize: i32, eps: f32, factor: f32): void {
  if (!l2Normalize) {
    packRows(target, source, steps, stride, size, IDENTITY, factor);
    return;
  }
  for (let t = 0; t < steps; t++) {
    const square = squareNorm(source, size, eps);
    if (isOrdinary(square)) packRows(target, source, 1, stride, size, IDENTITY, factor * (1 / sqrt<f32>(square)));
    else {
      const f = <f64>factor * inverseNorm64(source, size, eps);
      zeroRows(target, padded(size));
      for (let i: usize = 0; i < (<usize>size) << 2; i += 4) store<f32>(target + i, <f32>(<f64>load<f32>(source + i) * f));
    }
    target += (<usize>padded(size)) << 2;
    source += stride;
  }
}

/** The gradients of such rows, times a factor: y = n x, dx = n (dy - y (y . dy)). Changes the padded rows. */
// prettier-ignore
export function unpackKeys(target: usize, rows: usize, x: usize, steps: i32, stride: usize, size: i32, l2Normalize: i32, eps: f32, factor: f32): void {
  if (!l2Normalize) {
    unpackRows(target, rows, 0, steps, stride, size, IDENTITY, factor);
    return;
  }
  const end = (<usize>size) << 2;
  for (let t = 0; t < steps; t++) {
    const square = squareNorm(x, size, eps);
    if (isOrdinary(square)) {
      const n: f32 = 1 / sqrt<f32>(square);
      let along: f32 = 0;
      for (let i: usize = 0; i < end; i += 4) along += load<f32>(x + i) * load<f32>(rows + i);
      along *= n * n;
      for (let i: usize = 0; i < end; i += 4) store<f32>(rows + i, load<f32>(rows + i) - load<f32>(x + i) * along);
      unpackRows(target, rows, 0, 1, stride, size, IDENTITY, factor * n);
    } else {
      const n = inverseNorm64(x, size, eps);
      let along: f64 = 0;
      for (let i: usize = 0; i < end; i += 4) along += <f64>load<f32>(x + i) * n * <f64>load<f32>(rows + i);
      for (let i: usize = 0; i < end; i += 4) {
        const y = <f64>load<f32>(x + i) * n;
        store<f32>(target + i, <f32>(<f64>factor * n * (<f64>load<f32>(rows + i) - y * along)));
      }
    }
    target += stride; x += stride;
    rows += (<usize>padded(size)) << 2;
  }
}

/** Copies one number a step. */
export function packNumbers(target: usize, source: usize, steps: i32, stride: usize): void {
  for (let t = 0; t < steps; t++, target += 4, source += stride) store<f32>(target, load<f32>(source));
}

/** target[t] = x[t] . y[t], padded rows. */
export function dots(target: usize, x: usize, y: usize, steps: i32, size: i32): void {
  const row = (<usize>size) << 2;
  for (let t = 0; t < steps; t++, target += 4, x += row, y += row) store<f32>(target, dot(x, y, size));
}

/** Forget factors of steps, one each; 1 where decay is 0. */
export function packForgets(target: usize, decay: usize, steps: i32, stride: usize, row: usize): void {
  for (let t = 0; t < steps; t++, target += 4) {
    store<f32>(target, 1);
    if (decay == 0) continue;
    packDecay(row, decay, 1, 0, 1);
    store<f32>(target, load<f32>(row));
    decay += stride;
  }
}

/** Rows of do from a step's row on; zeros if it is absent. */
export function packUpstream(
  target: usize,
  dO: usize,
  step: usize,
  steps: i32,
  stride: usize,
  dValue: i32,
): void {
  if (dO == 0) zeroRows(target, steps * padded(dValue));
  else packRows(target, dO + step * ((<usize>dValue) << 2), steps, stride, dValue, IDENTITY, 1);
}

/** Forget factors of the steps after steps t and on; after the last one 1. */
// prettier-ignore
export function packNextForgets(
  target: usize, decay: usize, step: usize, t: i32, steps: i32, seqLen: i32, stride: usize, row: usize,
): void {
  const inside = t + steps < seqLen ? steps : steps - 1;
  packForgets(target, shifted(decay, (step << 2) + stride), inside, stride, row);
  if (inside < steps) store<f32>(target + ((<usize>inside) << 2), 1);
}
