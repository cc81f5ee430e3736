/**
 * Moves and sums whole rows: what connects the kernels.
 *
 *   target  [rows, targetWidth]      source  [rows, sourceWidth]
 *
 * The caller guarantees that the columns lie within both, and that the buffers do not overlap.
 */

/** target[r, c] = source[r, c] for c < columns; both pointers stand at their first column. Widths in elements. */
// prettier-ignore
export function copyColumns(
  target: usize, source: usize,
  rows: i32, columns: i32, targetWidth: i32, sourceWidth: i32,
): void {
  const bytes = <usize>columns << 2;
  const targetRow = <usize>targetWidth << 2;
  const sourceRow = <usize>sourceWidth << 2;
  for (let r = 0; r < rows; r++, target += targetRow, source += sourceRow) memory.copy(target, source, bytes);
}

/** x = 0. */
export function clear(x: usize, size: i32): void {
  memory.fill(x, 0, (<usize>size) << 2);
}

/** target = source. @returns whether they differed in any bit */
export function refresh(target: usize, source: usize, size: i32): bool {
  const end = target + ((<usize>size) << 2);
  let changes = i32x4.splat(0);
  for (; target + 16 <= end; target += 16, source += 16) {
    const x = v128.load(source);
    changes = v128.or(changes, v128.xor(x, v128.load(target)));
    v128.store(target, x);
  }
  let change: i32 = v128.any_true(changes) ? 1 : 0;
  for (; target < end; target += 4, source += 4) {
    change |= load<i32>(target) ^ load<i32>(source);
    store<i32>(target, load<i32>(source));
  }
  return change != 0;
}

/** target += source */
export function accumulateForward(target: usize, source: usize, size: i32): void {
  const end = target + ((<usize>size) << 2);
  for (; target + 64 <= end; target += 64, source += 64) {
    v128.store(target, f32x4.add(v128.load(target), v128.load(source)));
    v128.store(target, f32x4.add(v128.load(target, 16), v128.load(source, 16)), 16);
    v128.store(target, f32x4.add(v128.load(target, 32), v128.load(source, 32)), 32);
    v128.store(target, f32x4.add(v128.load(target, 48), v128.load(source, 48)), 48);
  }
  for (; target < end; target += 4, source += 4) store<f32>(target, load<f32>(target) + load<f32>(source));
}
