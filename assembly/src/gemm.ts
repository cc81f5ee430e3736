/**
 * Matrix product, for each matrix of a batch:
 *
 *   y = op(a) op(b) + bias,  op(x) = x or its transpose
 *
 *   y  [m, n]      a  [m, k], transposed [k, m]      b  [k, n], transposed [n, k]      bias  [n]
 *
 * The method is that of Goto & van de Geijn 2008 (doi:10.1145/1356052.1356053): blocks of both factors are copied
 * into scratch memory in panels, in the order in which a register tile reads them, so that one tile kernel serves
 * all transposes and sizes. A few rows (decoding) go past this: they read b as it lies, at the speed of memory.
 *
 * The caller gives scratch memory of matmulForwardScratchBytes(m, n, k).
 */
import { loadTail, madd, storeTail, sum } from './simd';

// A tile's accumulators, one step of its factors and a product must fit into the 15 vector registers that V8 hands out.
// With a fused madd 6x8 fits and reaches 97 % of the machine's peak; without, 6x8 spills (50 %) and 5x8 reaches 90 %.
// Two steps a round spill as well: binaryen interleaves them.
// prettier-ignore
const TILE_ROWS: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
const TILE_COLUMNS: i32 = 8;
const BLOCK_ROWS: i32 = 120; // of a: with BLOCK_DEPTH 120 KB, stays in the second-level cache
const BLOCK_COLUMNS: i32 = 512; // of b: 512 KB
const BLOCK_DEPTH: i32 = 256; // a panel of b is then 8 KB and stays in the first-level cache
const FEW_ROWS: i32 = 4;

const zeros: usize = memory.data<f32>([0, 0, 0, 0, 0, 0, 0, 0], 16);

/** Bytes of scratch memory that a product of these sizes needs. */
export function matmulForwardScratchBytes(m: i32, n: i32, k: i32): f64 {
  const depth = min(k, BLOCK_DEPTH);
  const floats =
    (TILE_ROWS + 1) * TILE_COLUMNS +
    roundUp(min(n, BLOCK_COLUMNS), TILE_COLUMNS) * depth +
    roundUp(min(m, BLOCK_ROWS), TILE_ROWS) * depth;
  return <f64>(floats << 2);
}

/**
 * The strides are floats from one matrix of the batch to the next; 0 for a or b: the same for all, 0 for y: the sum
 * over the batch. bias may be 0.
 */
// prettier-ignore
export function matmulForward(
  y: usize, a: usize, b: usize, bias: usize,
  batch: i32, m: i32, n: i32, k: i32, strideY: i32, strideA: i32, strideB: i32,
  transposeA: bool, transposeB: bool, scratch: usize,
): void {
  const rowY = <usize>n << 2;
  const rowA: usize = transposeA ? 4 : <usize>k << 2;
  const columnA: usize = transposeA ? <usize>m << 2 : 4;
  const rowB: usize = transposeB ? 4 : <usize>n << 2;
  const columnB: usize = transposeB ? <usize>k << 2 : 4;
  for (let i = 0; i < batch; i++) {
    const add = i > 0 && strideY == 0;
    if (n == 1) {
      if (!add) fillRows(y, bias, m, n);
      addVectorProducts(y, b, a, 1, m, k, !transposeA, scratch); // y^T = b^T a^T
    } else if (m <= FEW_ROWS && (m == 1 || !transposeA)) {
      if (!add) fillRows(y, bias, m, n);
      addVectorProducts(y, a, b, m, n, k, transposeB, scratch);
    } else {
      gemm(y, rowY, a, rowA, columnA, b, rowB, columnB, bias, m, n, k, add, scratch);
    }
    y += <usize>strideY << 2;
    a += <usize>strideA << 2;
    b += <usize>strideB << 2;
  }
}

/** dbias[j] = sum over rows of dy[row, j]. */
export function columnSums(dbias: usize, dy: usize, rows: i32, n: i32): void {
  const row = (<usize>n) << 2;
  fillRows(dbias, 0, 1, n);
  for (let first = 0; first < rows; first += 64) {
    const count = min(rows - first, 64);
    let j = 0;
    for (; j + 16 <= n; j += 16) {
      let s0 = f32x4.splat(0);
      let s1 = f32x4.splat(0);
      let s2 = f32x4.splat(0);
      let s3 = f32x4.splat(0);
      let at = dy + ((<usize>j) << 2);
      for (let i = 0; i < count; i++, at += row) {
        s0 = f32x4.add(s0, v128.load(at));
        s1 = f32x4.add(s1, v128.load(at, 16));
        s2 = f32x4.add(s2, v128.load(at, 32));
        s3 = f32x4.add(s3, v128.load(at, 48));
      }
      const to = dbias + ((<usize>j) << 2);
      v128.store(to, f32x4.add(v128.load(to), s0));
      v128.store(to, f32x4.add(v128.load(to, 16), s1), 16);
      v128.store(to, f32x4.add(v128.load(to, 32), s2), 32);
      v128.store(to, f32x4.add(v128.load(to, 48), s3), 48);
    }
    for (; j < n; j += 4) {
      let s = f32x4.splat(0);
      let at = dy + ((<usize>j) << 2);
      for (let i = 0; i < count; i++, at += row) s = f32x4.add(s, loadTail(at, n - j));
      const to = dbias + ((<usize>j) << 2);
      storeTail(to, f32x4.add(loadTail(to, n - j), s), n - j);
    }
    dy += row * 64;
  }
}

/**
 * y = a b + bias, or y += a b if `add`, for factors that lie in memory with any strides (in bytes; for each factor
 * one of the two is 4). Rows of y are rowY bytes apart.
 */
// prettier-ignore
export function gemm(
  y: usize, rowY: usize, a: usize, rowA: usize, columnA: usize, b: usize, rowB: usize, columnB: usize, bias: usize,
  m: i32, n: i32, k: i32, add: bool, scratch: usize,
): void {
  const edge = scratch; // a tile that does not go to y as it is, and a row of bias
  const panelsB = edge + (((TILE_ROWS + 1) * TILE_COLUMNS) << 2);
  const panelsA = panelsB + <usize>((roundUp(min(n, BLOCK_COLUMNS), TILE_COLUMNS) * min(k, BLOCK_DEPTH)) << 2);
  const blocks = (m + BLOCK_ROWS - 1) / BLOCK_ROWS;
  const blockRows = roundUp((m + blocks - 1) / blocks, TILE_ROWS); // all about as high: a low one wastes panels of b
  for (let j = 0; j < n; j += BLOCK_COLUMNS) {
    const columns = min(n - j, BLOCK_COLUMNS);
    for (let p = 0; p < k; p += BLOCK_DEPTH) {
      const depth = min(k - p, BLOCK_DEPTH);
      const adds = add || p > 0;
      pack(panelsB, TILE_COLUMNS, b + <usize>p * rowB + <usize>j * columnB, columnB, rowB, columns, depth);
      for (let i = 0; i < m; i += blockRows) {
        const rows = min(m - i, blockRows);
        pack(panelsA, TILE_ROWS, a + <usize>i * rowA + <usize>p * columnA, rowA, columnA, rows, depth);
        const target = y + <usize>i * rowY + (<usize>j << 2);
        block(target, rowY, panelsA, panelsB, bias ? bias + (<usize>j << 2) : 0, rows, columns, depth, adds, edge);
      }
    }
  }
}

/** The product of packed blocks, tile by tile; a panel of b stays in the first-level cache over all rows. */
// prettier-ignore
function block(
  y: usize, rowY: usize, panelsA: usize, panelsB: usize, bias: usize,
  rows: i32, columns: i32, depth: i32, add: bool, edge: usize,
): void {
  const panelA = <usize>(TILE_ROWS * depth) << 2;
  const panelB = <usize>(TILE_COLUMNS * depth) << 2;
  const edgeRow: usize = TILE_COLUMNS << 2;
  const edgeBias = edge + TILE_ROWS * edgeRow;
  for (let j = 0; j < columns; j += TILE_COLUMNS, y += edgeRow) {
    const width = columns - j;
    let start = zeros;
    if (bias && !add) {
      start = bias + (<usize>j << 2);
      if (width < TILE_COLUMNS) {
        v128.store(edgeBias, loadTail(start, width));
        v128.store(edgeBias, loadTail(start + 16, max(width - 4, 0)), 16);
        start = edgeBias;
      }
    }
    let a = panelsA;
    let to = y;
    for (let i = 0; i < rows; i += TILE_ROWS, a += panelA, to += rowY * TILE_ROWS) {
      const height = min(rows - i, TILE_ROWS);
      if (!add && width >= TILE_COLUMNS && height == TILE_ROWS) {
        tile(to, rowY, start, a, panelsB, depth);
      } else {
        tile(edge, edgeRow, start, a, panelsB, depth);
        if (width >= TILE_COLUMNS) takeRows(to, rowY, edge, height, add);
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

/**
 * y = start + a b: one panel of a times one panel of b.
 *
 * The sums are stored as they leave the loop. Anything else done with them makes V8 load all operands of a step
 * first and spill: adding what y held here halved the speed.
 */
// prettier-ignore
function tile(y: usize, rowY: usize, start: usize, a: usize, b: usize, depth: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) tile6x8(y, rowY, start, a, b, depth);
  else tile5x8(y, rowY, start, a, b, depth);
}

// prettier-ignore
function tile5x8(y: usize, rowY: usize, start: usize, a: usize, b: usize, depth: i32): void {
  const start0 = v128.load(start), start1 = v128.load(start, 16);
  let c00 = start0, c01 = start1;
  let c10 = start0, c11 = start1;
  let c20 = start0, c21 = start1;
  let c30 = start0, c31 = start1;
  let c40 = start0, c41 = start1;
  for (; depth > 0; depth--) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let s = v128.load32_splat(a); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
    s = v128.load32_splat(a, 4); c10 = madd(s, b0, c10); c11 = madd(s, b1, c11);
    s = v128.load32_splat(a, 8); c20 = madd(s, b0, c20); c21 = madd(s, b1, c21);
    s = v128.load32_splat(a, 12); c30 = madd(s, b0, c30); c31 = madd(s, b1, c31);
    s = v128.load32_splat(a, 16); c40 = madd(s, b0, c40); c41 = madd(s, b1, c41);
    a += 20; b += 32;
  }
  v128.store(y, c00); v128.store(y, c01, 16); y += rowY;
  v128.store(y, c10); v128.store(y, c11, 16); y += rowY;
  v128.store(y, c20); v128.store(y, c21, 16); y += rowY;
  v128.store(y, c30); v128.store(y, c31, 16); y += rowY;
  v128.store(y, c40); v128.store(y, c41, 16);
}

// prettier-ignore
function tile6x8(y: usize, rowY: usize, start: usize, a: usize, b: usize, depth: i32): void {
  const start0 = v128.load(start), start1 = v128.load(start, 16);
  let c00 = start0, c01 = start1;
  let c10 = start0, c11 = start1;
  let c20 = start0, c21 = start1;
  let c30 = start0, c31 = start1;
  let c40 = start0, c41 = start1;
  let c50 = start0, c51 = start1;
  for (; depth > 0; depth--) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let s = v128.load32_splat(a); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
    s = v128.load32_splat(a, 4); c10 = madd(s, b0, c10); c11 = madd(s, b1, c11);
    s = v128.load32_splat(a, 8); c20 = madd(s, b0, c20); c21 = madd(s, b1, c21);
    s = v128.load32_splat(a, 12); c30 = madd(s, b0, c30); c31 = madd(s, b1, c31);
    s = v128.load32_splat(a, 16); c40 = madd(s, b0, c40); c41 = madd(s, b1, c41);
    s = v128.load32_splat(a, 20); c50 = madd(s, b0, c50); c51 = madd(s, b1, c51);
    a += 24; b += 32;
  }
  v128.store(y, c00); v128.store(y, c01, 16); y += rowY;
  v128.store(y, c10); v128.store(y, c11, 16); y += rowY;
  v128.store(y, c20); v128.store(y, c21, 16); y += rowY;
  v128.store(y, c30); v128.store(y, c31, 16); y += rowY;
  v128.store(y, c40); v128.store(y, c41, 16); y += rowY;
  v128.store(y, c50); v128.store(y, c51, 16);
}

/**
 * Copies a block into panels of `width` lanes (rows of a or columns of b): panel by panel, step by step along the
 * inner dimension, `width` floats a step. Lanes that the block does not have become 0.
 */
// prettier-ignore
function pack(
  target: usize, width: i32, source: usize, lane: usize, step: usize, lanes: i32, steps: i32,
): void {
  const row = <usize>width << 2;
  const panel = row * steps;
  if (lane == 4) {
    // Four panels at a time use up a cache line of a step before it is evicted: products of tall transposed
    // matrices take a seventh less time.
    while (lanes >= width) {
      const panels = min(lanes / width, 4);
      packAcross(target, panel, width, source, step, steps, panels);
      lanes -= panels * width;
      source += row * panels;
      target += panel * panels;
    }
  }
  for (let first = 0; first < lanes; first += width) {
    for (let l = 0; l < width; l += 4) {
      const to = target + (<usize>l << 2);
      const from = source + <usize>l * lane;
      const wanted = min(width - l, 4);
      const present = min(lanes - first - l, wanted);
      if (present == 4 && lane != 4) packFourAlong(to, row, from, lane, steps);
      else if (present == 2 && wanted == 2 && lane != 4) packTwoAlong(to, row, from, lane, steps);
      else packSingly(to, row, from, lane, step, steps, present, wanted);
    }
    target += panel;
    source += <usize>width * lane;
  }
}

/** Whole panels (5, 6 or 8 wide) of lanes that lie side by side. */
// prettier-ignore
function packAcross(
  target: usize, panel: usize, width: i32, source: usize, step: usize, steps: i32, panels: i32,
): void {
  const row = <usize>width << 2;
  for (let s = 0; s < steps; s++, target += row, source += step) {
    let from = source;
    let to = target;
    for (let q = 0; q < panels; q++, from += row, to += panel) {
      v128.store(to, v128.load(from));
      if (width == 8) v128.store(to, v128.load(from, 16), 16);
      else if (width == 6) store<u64>(to, load<u64>(from, 16), 16);
      else store<f32>(to, load<f32>(from, 16), 16);
    }
  }
}

/** Lanes one by one: `present` of them, zeros up to `wanted`. */
// prettier-ignore
function packSingly(
  target: usize, row: usize, source: usize, lane: usize, step: usize, steps: i32, present: i32, wanted: i32,
): void {
  for (let w = 0; w < wanted; w++, source += lane, target += 4) {
    let from = source;
    let to = target;
    if (w < present) for (let s = 0; s < steps; s++, from += step, to += row) store<f32>(to, load<f32>(from));
    else for (let s = 0; s < steps; s++, to += row) store<f32>(to, 0);
  }
}

/** Four lanes `lane` bytes apart, whose steps lie side by side: 4x4 transposes. */
function packFourAlong(target: usize, row: usize, source: usize, lane: usize, steps: i32): void {
  let s0 = source;
  let s1 = s0 + lane;
  let s2 = s1 + lane;
  let s3 = s2 + lane;
  for (; steps >= 4; steps -= 4) {
    const x0 = v128.load(s0);
    const x1 = v128.load(s1);
    const x2 = v128.load(s2);
    const x3 = v128.load(s3);
    const low01 = v128.shuffle<f32>(x0, x1, 0, 4, 1, 5);
    const low23 = v128.shuffle<f32>(x2, x3, 0, 4, 1, 5);
    const high01 = v128.shuffle<f32>(x0, x1, 2, 6, 3, 7);
    const high23 = v128.shuffle<f32>(x2, x3, 2, 6, 3, 7);
    v128.store(target, v128.shuffle<f64>(low01, low23, 0, 2));
    target += row;
    v128.store(target, v128.shuffle<f64>(low01, low23, 1, 3));
    target += row;
    v128.store(target, v128.shuffle<f64>(high01, high23, 0, 2));
    target += row;
    v128.store(target, v128.shuffle<f64>(high01, high23, 1, 3));
    target += row;
    s0 += 16;
    s1 += 16;
    s2 += 16;
    s3 += 16;
  }
  for (; steps > 0; steps--) {
    store<f32>(target, load<f32>(s0));
    store<f32>(target, load<f32>(s1), 4);
    store<f32>(target, load<f32>(s2), 8);
    store<f32>(target, load<f32>(s3), 12);
    target += row;
    s0 += 4;
    s1 += 4;
    s2 += 4;
    s3 += 4;
  }
}

function packTwoAlong(target: usize, row: usize, source: usize, lane: usize, steps: i32): void {
  let s0 = source;
  let s1 = s0 + lane;
  for (; steps >= 4; steps -= 4) {
    const x0 = v128.load(s0);
    const x1 = v128.load(s1);
    const low = v128.shuffle<f32>(x0, x1, 0, 4, 1, 5);
    const high = v128.shuffle<f32>(x0, x1, 2, 6, 3, 7);
    v128.store_lane<f64>(target, low, 0);
    target += row;
    v128.store_lane<f64>(target, low, 1);
    target += row;
    v128.store_lane<f64>(target, high, 0);
    target += row;
    v128.store_lane<f64>(target, high, 1);
    target += row;
    s0 += 16;
    s1 += 16;
  }
  for (; steps > 0; steps--) {
    store<f32>(target, load<f32>(s0));
    store<f32>(target, load<f32>(s1), 4);
    target += row;
    s0 += 4;
    s1 += 4;
  }
}

/**
 * y += a op(b) for few rows of a. Pieces of b come from memory once and serve all rows from the cache.
 *
 *   y  [rows, n]      a  [rows, k]      b  [k, n], transposed [n, k]
 */
// prettier-ignore
function addVectorProducts(
  y: usize, a: usize, b: usize, rows: i32, n: i32, k: i32, transposed: bool, scratch: usize,
): void {
  const rowY = <usize>n << 2;
  const rowA = <usize>k << 2;
  if (transposed) {
    // Rows a quarter of b apart are four long streams, which the machine fetches ahead; of four neighbours it reads
    // 14 GB/s instead of 33 from memory.
    const quarter = n >> 2;
    for (let j = 0; j < quarter; j++, y += 4, b += rowA) {
      for (let i = 0; i < rows; i++) addFourDots(y + <usize>i * rowY, a + <usize>i * rowA, b, k, quarter, scratch);
    }
    y += <usize>(quarter * 3) << 2;
    b += rowA * (quarter * 3);
    for (let j = quarter * 4; j < n; j++, y += 4, b += rowA) {
      for (let i = 0; i < rows; i++) {
        const at = y + <usize>i * rowY;
        store<f32>(at, load<f32>(at) + dot(a + <usize>i * rowA, b, k));
      }
    }
  } else {
    let p = 0;
    for (; p + 8 <= k; p += 8) {
      for (let i = 0; i < rows; i++) addEightRows(y + <usize>i * rowY, a + <usize>i * rowA, b, n);
      a += 32;
      b += rowY * 8;
    }
    for (; p < k; p++) {
      for (let i = 0; i < rows; i++) addRow(y + <usize>i * rowY, a + <usize>i * rowA, b, n);
      a += 4;
      b += rowY;
    }
  }
}

/**
 * y[j] += x . b[j] for four rows of b that are `apart` rows from each other: j = 0, apart, 2 apart, 3 apart.
 *
 * The sums go through memory after the loop: V8 spills in the loop if they are added up at once (see `tile`).
 * Exported, so that it is not inlined into the loops of its caller, where V8 spills too: 1.6 times as fast.
 */
export function addFourDots(y: usize, x: usize, b: usize, k: i32, apart: i32, scratch: usize): void {
  const row = (<usize>k * apart) << 2;
  const rest = k & 7;
  let b1 = b + row;
  let b2 = b1 + row;
  let b3 = b2 + row;
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let t0 = f32x4.splat(0);
  let t1 = f32x4.splat(0);
  let t2 = f32x4.splat(0);
  let t3 = f32x4.splat(0);
  for (; k >= 8; k -= 8) {
    const u = v128.load(x);
    s0 = madd(u, v128.load(b), s0);
    s1 = madd(u, v128.load(b1), s1);
    s2 = madd(u, v128.load(b2), s2);
    s3 = madd(u, v128.load(b3), s3);
    const v = v128.load(x, 16);
    t0 = madd(v, v128.load(b, 16), t0);
    t1 = madd(v, v128.load(b1, 16), t1);
    t2 = madd(v, v128.load(b2, 16), t2);
    t3 = madd(v, v128.load(b3, 16), t3);
    x += 32;
    b += 32;
    b1 += 32;
    b2 += 32;
    b3 += 32;
  }
  v128.store(scratch, s0);
  v128.store(scratch, t0, 16);
  v128.store(scratch, s1, 32);
  v128.store(scratch, t1, 48);
  v128.store(scratch, s2, 64);
  v128.store(scratch, t2, 80);
  v128.store(scratch, s3, 96);
  v128.store(scratch, t3, 112);
  for (let j = 0; j < 4; j++, y += (<usize>apart) << 2, b += row, scratch += 32) {
    const both = f32x4.add(v128.load(scratch), v128.load(scratch, 16));
    store<f32>(y, load<f32>(y) + (sum(both) + dot(x, b, rest)));
  }
}

function dot(x: usize, b: usize, k: i32): f32 {
  let s = f32x4.splat(0);
  for (; k > 0; k -= 4, x += 16, b += 16) s = madd(loadTail(x, k), loadTail(b, k), s);
  return sum(s);
}

/** y += x[0] b[0] + ... + x[7] b[7], rows of b, [8, n]. */
function addEightRows(y: usize, x: usize, b: usize, n: i32): void {
  const row = (<usize>n) << 2;
  const x0 = v128.load32_splat(x);
  const x1 = v128.load32_splat(x, 4);
  const x2 = v128.load32_splat(x, 8);
  const x3 = v128.load32_splat(x, 12);
  const x4 = v128.load32_splat(x, 16);
  const x5 = v128.load32_splat(x, 20);
  const x6 = v128.load32_splat(x, 24);
  const x7 = v128.load32_splat(x, 28);
  const half = row * 4;
  for (; n >= 4; n -= 4, y += 16, b += 16) {
    const b4 = b + half;
    let s = f32x4.mul(x0, v128.load(b));
    let t = f32x4.mul(x4, v128.load(b4));
    s = madd(x1, v128.load(b + row), s);
    t = madd(x5, v128.load(b4 + row), t);
    s = madd(x2, v128.load(b + 2 * row), s);
    t = madd(x6, v128.load(b4 + 2 * row), t);
    s = madd(x3, v128.load(b + 3 * row), s);
    t = madd(x7, v128.load(b4 + 3 * row), t);
    v128.store(y, f32x4.add(v128.load(y), f32x4.add(s, t)));
  }
  for (; n > 0; n--, y += 4, b += 4) {
    let s: f32 = 0;
    for (let p: usize = 0; p < 8; p++) s += load<f32>(x + (p << 2)) * load<f32>(b + p * row);
    store<f32>(y, load<f32>(y) + s);
  }
}

/** y += x[0] b, one row of b. */
function addRow(y: usize, x: usize, b: usize, n: i32): void {
  const x0 = v128.load32_splat(x);
  for (; n > 0; n -= 4, y += 16, b += 16) storeTail(y, madd(x0, loadTail(b, n), loadTail(y, n)), n);
}

/** Each of `rows` rows of y becomes bias, or 0 without one. */
function fillRows(y: usize, bias: usize, rows: i32, n: i32): void {
  const row = (<usize>n) << 2;
  if (bias) for (let i = 0; i < rows; i++, y += row) memory.copy(y, bias, row);
  else memory.fill(y, 0, row * rows);
}

function roundUp(size: i32, multiple: i32): i32 {
  return ((size + multiple - 1) / multiple) * multiple;
}
