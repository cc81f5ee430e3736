/** Products of packed matrices, whole and triangular: panels of 5 rows on the left, of 8 columns on the right. */
import { COLUMNS, tile5x8, tileRow, zeros } from '../matrix/tile';

// Also where six rows would fit the registers (see tile.ts): 5 and 8 both divide the usual chunk of 40 steps.
export const ROWS: i32 = 5;
/** Bytes from one step of a panel to the next. */
export const LEFT_STEP: usize = ROWS << 2;
export const RIGHT_STEP: usize = COLUMNS << 2;

/** As scale: out stays as it is, and the product is added. */
export const ones: usize = memory.data<f32>([1, 1, 1, 1, 1], 16);

// Which operand of a product is triangular.
export const LOWER_LEFT: i32 = 1;
export const UPPER_LEFT: i32 = 2;

/** out = diag(scale) out + a b on one tile; a b alone if scale is 0. */
// prettier-ignore
function multiplyTile(out: usize, outRow: usize, a: usize, b: usize, depth: i32, scale: usize): void {
  if (scale == 0) {
    tile5x8(out, outRow, zeros, 0, a, LEFT_STEP, b, RIGHT_STEP, depth);
    return;
  }
  if (scale != ones) scaleTile(out, outRow, scale);
  tile5x8(out, outRow, out, outRow, a, LEFT_STEP, b, RIGHT_STEP, depth);
}

function scaleTile(out: usize, outRow: usize, scale: usize): void {
  for (let row = 0; row < ROWS; row++) {
    const factor = v128.load32_splat(scale + ((<usize>row) << 2));
    v128.store(out, f32x4.mul(factor, v128.load(out)));
    v128.store(out, f32x4.mul(factor, v128.load(out, 16)), 16);
    out += outRow;
  }
}

/**
 * out = diag(scale) out + a b, or a b if scale is 0, on whole tiles: rows and columns are rounded up.
 * outPanel, aPanel and bPanel are the bytes from one panel to the next; scaleStep those from one panel's scales to the
 * next panel's (0: all have the same).
 */
// prettier-ignore
export function multiply(
  out: usize, outRow: usize, outPanel: usize, rows: i32, columns: i32,
  a: usize, aPanel: usize, b: usize, bPanel: usize, depth: i32, scale: usize, scaleStep: usize,
): void {
  for (let column = 0; column < columns; column += COLUMNS) {
    let target = out;
    let left = a;
    let factors = scale;
    for (let row = 0; row < rows; row += ROWS) {
      multiplyTile(target, outRow, left, b, depth, factors);
      target += <usize>ROWS * outRow;
      left += aPanel;
      factors += scaleStep;
    }
    out += outPanel;
    b += bPanel;
  }
}

/**
 * out = a b on and below the diagonal: tiles wholly above it are not written. out has panels of 32 bytes. The diagonal is
 * one of squares of `block` steps, which are computed whole.
 */
// prettier-ignore
export function multiplyPairs(
  out: usize, outRow: usize, steps: i32, a: usize, aPanel: usize, b: usize, bPanel: usize, depth: i32, block: i32,
): void {
  for (let column = 0; column < steps; column += COLUMNS) {
    const skipped = startOfBlock(column, block) / ROWS;
    let target = out + <usize>(skipped * ROWS) * outRow;
    let left = a + <usize>skipped * aPanel;
    for (let row = skipped * ROWS; row < steps; row += ROWS) {
      multiplyTile(target, outRow, left, b, depth, 0);
      target += <usize>ROWS * outRow;
      left += aPanel;
    }
    out += RIGHT_STEP;
    b += bPanel;
  }
}

/** Of the block that a step is in, the first step. */
function startOfBlock(step: i32, block: i32): i32 {
  return block == 1 ? step : step - (step % block);
}

/**
 * As `multiply`, for `steps` rows of a square left operand of which `part` says what is there, with a diagonal as in
 * `multiplyPairs`.
 */
// prettier-ignore
export function multiplyTriangle(
  out: usize, outRow: usize, steps: i32, columns: i32, a: usize, b: usize,
  scale: usize, scaleStep: usize, part: i32, block: i32,
): void {
  const aPanel = LEFT_STEP * <usize>steps;
  const bPanel = RIGHT_STEP * <usize>steps;
  for (let column = 0; column < columns; column += COLUMNS) {
    let target = out;
    let left = a;
    let factors = scale;
    for (let row = 0; row < steps; row += ROWS) {
      // The tile on the diagonal, row by row.
      const own = min(ROWS, steps - row);
      if (part == LOWER_LEFT) {
        const ownLeft = left + <usize>row * LEFT_STEP;
        const ownRight = b + <usize>row * RIGHT_STEP;
        multiplyTile(target, outRow, left, b, row, factors);
        for (let i = 0; i < own; i++) {
          const end = min(startOfBlock(row + i, block) + block, steps) - row;
          tileRow(target + <usize>i * outRow, ownLeft + ((<usize>i) << 2), LEFT_STEP, ownRight, RIGHT_STEP, end);
        }
      } else {
        startTile(target, outRow, factors);
        for (let i = 0; i < own; i++) {
          const first = startOfBlock(row + i, block);
          const ownStep = left + <usize>first * LEFT_STEP + ((<usize>i) << 2);
          const right = b + <usize>first * RIGHT_STEP;
          tileRow(target + <usize>i * outRow, ownStep, LEFT_STEP, right, RIGHT_STEP, row + own - first);
        }
        const next = <usize>(row + own);
        multiplyTile(
          target, outRow, left + next * LEFT_STEP, b + next * RIGHT_STEP, steps - <i32>next, ones,
        );
      }
      target += <usize>ROWS * outRow;
      left += aPanel;
      factors += scaleStep;
    }
    out += RIGHT_STEP;
    b += bPanel;
  }
}

function startTile(out: usize, outRow: usize, scale: usize): void {
  if (scale == 0) multiplyTile(out, outRow, 0, 0, 0, 0);
  else if (scale != ones) scaleTile(out, outRow, scale);
}
