/**
 * Factors of a product as register tiles read them: panels, each of `width` lanes (rows of a or columns of b), step by
 * step along the inner dimension, [panel][step][width]. `panel` is the bytes from one panel to the next.
 */
import { loadTail, storeTail, storeTransposed } from '../simd';

/**
 * Copies a matrix into panels, of 5, 6 or 8 lanes: `lane` and `step` are the bytes from one lane and one step to the
 * next, one of them 4. Lanes that the last panel lacks become 0.
 */
// prettier-ignore
export function packPanels(
  target: usize, panel: usize, width: i32, source: usize, lane: usize, step: usize, lanes: i32, steps: i32,
): void {
  if (lane == 4) packAcross(target, panel, width, source, step, lanes, steps);
  else packAlong(target, panel, width, source, lane, lanes, steps);
}

/** Lanes that lie side by side. */
// prettier-ignore
function packAcross(
  target: usize, panel: usize, width: i32, source: usize, step: usize, lanes: i32, steps: i32,
): void {
  const row = <usize>width << 2;
  // Four panels at a time use up a cache line of a step before it is evicted: products of tall transposed matrices
  // take a seventh less time.
  while (lanes >= width) {
    const panels = min(lanes / width, 4);
    packWhole(target, panel, width, source, step, steps, panels);
    lanes -= panels * width;
    source += row * panels;
    target += panel * panels;
  }
  if (lanes == 0) return;
  for (; steps > 0; steps--, source += step, target += row) {
    v128.store(target, loadTail(source, lanes));
    storeTail(target + 16, loadTail(source + 16, max(lanes - 4, 0)), width - 4);
  }
}

// prettier-ignore
function packWhole(
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

/** Lanes whose steps lie side by side. */
// prettier-ignore
function packAlong(
  target: usize, panel: usize, width: i32, source: usize, lane: usize, lanes: i32, steps: i32,
): void {
  const row = <usize>width << 2;
  for (let first = 0; first < lanes; first += width) {
    for (let l = 0; l < width; l += 4) {
      const to = target + (<usize>l << 2);
      const from = source + <usize>l * lane;
      const wanted = min(width - l, 4);
      const present = min(lanes - first - l, wanted);
      if (present == 4) packFour(to, row, from, lane, steps);
      else if (present == 2 && wanted == 2) packTwo(to, row, from, lane, steps);
      else packSingly(to, row, from, lane, steps, present, wanted);
    }
    target += panel;
    source += <usize>width * lane;
  }
}

/** Four lanes: 4 x 4 transposes. */
function packFour(target: usize, row: usize, source: usize, lane: usize, steps: i32): void {
  let s0 = source;
  let s1 = s0 + lane;
  let s2 = s1 + lane;
  let s3 = s2 + lane;
  for (; steps >= 4; steps -= 4) {
    storeTransposed(target, row, v128.load(s0), v128.load(s1), v128.load(s2), v128.load(s3));
    target += 4 * row;
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

function packTwo(target: usize, row: usize, source: usize, lane: usize, steps: i32): void {
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

/** Lanes one by one: `present` of them, zeros up to `wanted`. */
// prettier-ignore
function packSingly(
  target: usize, row: usize, source: usize, lane: usize, steps: i32, present: i32, wanted: i32,
): void {
  for (let w = 0; w < wanted; w++, source += lane, target += 4) {
    let from = source;
    let to = target;
    if (w < present) for (let s = 0; s < steps; s++, from += 4, to += row) store<f32>(to, load<f32>(from));
    else for (let s = 0; s < steps; s++, to += row) store<f32>(to, 0);
  }
}

/** Panels of 8 lanes back into rows, `stride` bytes apart. */
// prettier-ignore
export function unpackPanels(
  target: usize, stride: usize, panels: usize, panel: usize, rows: i32, columns: i32,
): void {
  for (; columns > 0; columns -= 8, panels += panel, target += 32) {
    let to = target;
    for (let from = panels, end = from + ((<usize>rows) << 5); from < end; from += 32, to += stride) {
      storeTail(to, v128.load(from), columns);
      storeTail(to + 16, v128.load(from, 16), max(columns - 4, 0));
    }
  }
}

/** Multiplies the first `steps` steps of panels of 8 lanes by a factor each, factorStep bytes apart (0: all the same). */
// prettier-ignore
export function scalePanels(
  panels: usize, panel: usize, steps: i32, lanes: i32, factors: usize, factorStep: usize,
): void {
  for (; lanes > 0; lanes -= 8, panels += panel) {
    let factor = factors;
    for (let at = panels, end = at + ((<usize>steps) << 5); at < end; at += 32, factor += factorStep) {
      const f = v128.load32_splat(factor);
      v128.store(at, f32x4.mul(f, v128.load(at)));
      v128.store(at, f32x4.mul(f, v128.load(at, 16)), 16);
    }
  }
}
