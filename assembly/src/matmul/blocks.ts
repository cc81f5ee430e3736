/**
 * A product of matrices by blocks: blocks of both factors are copied into scratch memory in panels, in the order in
 * which a register tile reads them, so that one tile serves all transposes and sizes.
 */
import { packPanels } from '../matrix/panels';
import { roundUp } from '../matrix/rows';
import { COLUMNS, ROWS, tile, zeros } from '../matrix/tile';
import { rowBytes } from '../quantization/formats';
import { unpackRows } from '../quantization/unpack';
import { loadTail, storeTail } from '../simd';

const BLOCK_ROWS: i32 = 120; // of a: with BLOCK_DEPTH 120 KB, stays in the second-level cache
const BLOCK_COLUMNS: i32 = 512; // of b: 512 KB
export const BLOCK_DEPTH: i32 = 256; // a panel of b is then 8 KB and stays in the first-level cache

/** Bytes of scratch memory: blocks are at most so large, whatever the matrices. */
export function blockScratchBytes(m: i32, n: i32, k: i32): f64 {
  const depth = min(k, BLOCK_DEPTH);
  const floats =
    (ROWS + 1) * COLUMNS +
    roundUp(min(n, BLOCK_COLUMNS), COLUMNS) * depth +
    roundUp(min(m, BLOCK_ROWS), ROWS) * depth;
  return <f64>(floats << 2);
}

/**
 * y = a b + bias, or y += a b if `add`, for factors that lie in memory with any strides (in bytes; for each factor
 * one of the two is 4). Rows of y are rowY bytes apart. With a `dtype` other than 0, b is quantised and transposed, and scratch
 * memory has room for COLUMNS x BLOCK_DEPTH floats more.
 */
// prettier-ignore
export function multiplyBlocks(
  y: usize, rowY: usize, a: usize, rowA: usize, columnA: usize, b: usize, rowB: usize, columnB: usize, bias: usize,
  m: i32, n: i32, k: i32, add: bool, dtype: i32, scratch: usize,
): void {
  const edge = scratch; // a tile that does not go to y as it is, and a row of bias
  const panelsB = edge + (((ROWS + 1) * COLUMNS) << 2);
  const panelsA = panelsB + <usize>((roundUp(min(n, BLOCK_COLUMNS), COLUMNS) * min(k, BLOCK_DEPTH)) << 2);
  const unpacked = panelsA + <usize>((roundUp(min(m, BLOCK_ROWS), ROWS) * min(k, BLOCK_DEPTH)) << 2);
  const blocks = (m + BLOCK_ROWS - 1) / BLOCK_ROWS;
  const blockRows = roundUp((m + blocks - 1) / blocks, ROWS); // all about as high: a low one wastes panels of b
  for (let j = 0; j < n; j += BLOCK_COLUMNS) {
    const columns = min(n - j, BLOCK_COLUMNS);
    for (let p = 0; p < k; p += BLOCK_DEPTH) {
      const depth = min(k - p, BLOCK_DEPTH);
      const adds = add || p > 0;
      if (dtype) {
        packQuantized(panelsB, b + rowBytes(dtype, k) * j, dtype, k, p, depth, columns, unpacked);
      } else {
        packPanels(
          panelsB, <usize>(COLUMNS * depth) << 2, COLUMNS, b + <usize>p * rowB + <usize>j * columnB, columnB, rowB,
          columns, depth,
        );
      }
      for (let i = 0; i < m; i += blockRows) {
        const rows = min(m - i, blockRows);
        packPanels(
          panelsA, <usize>(ROWS * depth) << 2, ROWS, a + <usize>i * rowA + <usize>p * columnA, rowA, columnA, rows, depth,
        );
        const target = y + <usize>i * rowY + (<usize>j << 2);
        block(target, rowY, panelsA, panelsB, bias ? bias + (<usize>j << 2) : 0, rows, columns, depth, adds, edge);
      }
    }
  }
}

/** Columns of a quantised factor as panels, one by one through `unpacked`, which stays in the first-level cache. */
// prettier-ignore
function packQuantized(
  panels: usize, b: usize, dtype: i32, k: i32, from: i32, depth: i32, columns: i32, unpacked: usize,
): void {
  const panel = <usize>(COLUMNS * depth) << 2;
  const rows = rowBytes(dtype, k) * COLUMNS;
  for (; columns > 0; columns -= COLUMNS, panels += panel, b += rows) {
    const width = min(columns, COLUMNS);
    unpackRows(unpacked, b, dtype, k, from, depth, width);
    packPanels(panels, panel, COLUMNS, unpacked, <usize>depth << 2, 4, width, depth);
  }
}

/** The product of packed blocks, tile by tile; a panel of b stays in the first-level cache over all rows. */
// prettier-ignore
function block(
  y: usize, rowY: usize, panelsA: usize, panelsB: usize, bias: usize,
  rows: i32, columns: i32, depth: i32, add: bool, edge: usize,
): void {
  const panelA = <usize>(ROWS * depth) << 2;
  const panelB = <usize>(COLUMNS * depth) << 2;
  const aStep: usize = ROWS << 2;
  const bStep: usize = COLUMNS << 2;
  const edgeRow = bStep;
  const edgeBias = edge + ROWS * edgeRow;
  for (let j = 0; j < columns; j += COLUMNS, y += edgeRow) {
    const width = columns - j;
    let start = zeros;
    if (bias && !add) {
      start = bias + (<usize>j << 2);
      if (width < COLUMNS) {
        v128.store(edgeBias, loadTail(start, width));
        v128.store(edgeBias, loadTail(start + 16, max(width - 4, 0)), 16);
        start = edgeBias;
      }
    }
    let a = panelsA;
    let to = y;
    for (let i = 0; i < rows; i += ROWS, a += panelA, to += rowY * ROWS) {
      const height = min(rows - i, ROWS);
      if (!add && width >= COLUMNS && height == ROWS) {
        tile(to, rowY, start, 0, a, aStep, panelsB, bStep, depth);
      } else {
        tile(edge, edgeRow, start, 0, a, aStep, panelsB, bStep, depth);
        if (width >= COLUMNS) takeRows(to, rowY, edge, height, add);
        else takeParts(to, rowY, edge, height, width, add);
      }
    }
    panelsB += panelB;
  }
}

/** y = the first rows of a tile, or y += them. */
function takeRows(y: usize, rowY: usize, edge: usize, rows: i32, add: bool): void {
  for (; rows > 0; rows--, y += rowY, edge += 32) {
    let c0 = v128.load(edge);
    let c1 = v128.load(edge, 16);
    if (add) {
      c0 = f32x4.add(c0, v128.load(y));
      c1 = f32x4.add(c1, v128.load(y, 16));
    }
    v128.store(y, c0);
    v128.store(y, c1, 16);
  }
}

/** The same with the first columns of each row alone. */
function takeParts(y: usize, rowY: usize, edge: usize, rows: i32, columns: i32, add: bool): void {
  for (; rows > 0; rows--, y += rowY, edge += 32) {
    for (let c = 0; c < columns; c += 4) {
      const at = y + ((<usize>c) << 2);
      let result = v128.load(edge + ((<usize>c) << 2));
      if (add) result = f32x4.add(result, loadTail(at, columns - c));
      storeTail(at, result, columns - c);
    }
  }
}
