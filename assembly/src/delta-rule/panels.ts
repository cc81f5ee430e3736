/** Panels of 8 columns of the state, and their way through a block of steps; see ../delta-rule. */
import { loadTail, madd, nmadd, storeTail } from '../simd';
import { padded, zeroRows } from '../state/rows';

/**
 * A state [dKey, dValue], or some of its columns, rows `stride` bytes apart, as panels of 8 columns,
 * [panels, padded dKey, 8]; zeros if `source` is 0.
 */
export function packPanels(target: usize, source: usize, stride: usize, dKey: i32, dValue: i32): void {
  const panel = (<usize>padded(dKey)) << 5;
  zeroRows(target, padded(dKey) * padded(dValue));
  if (source == 0) return;
  for (let i = 0; i < dKey; i++, target += 32, source += stride) {
    let cell = target;
    let from = source;
    for (let rest = dValue; rest > 0; rest -= 8, cell += panel, from += 32) {
      v128.store(cell, loadTail(from, rest));
      if (rest > 4) v128.store(cell, loadTail(from + 16, rest - 4), 16);
    }
  }
}

export function unpackPanels(target: usize, stride: usize, source: usize, dKey: i32, dValue: i32): void {
  const panel = (<usize>padded(dKey)) << 5;
  for (let i = 0; i < dKey; i++, source += 32, target += stride) {
    let cell = source;
    let to = target;
    for (let rest = dValue; rest > 0; rest -= 8, cell += panel, to += 32) {
      storeTail(to, v128.load(cell), rest);
      if (rest > 4) storeTail(to + 16, v128.load(cell, 16), rest - 4);
    }
  }
}

/**
 * A panel of the state goes through a block. q and k have one more row, which may hold anything. With ownValues 0
 * the outputs leave out what the step itself writes of v. e may be o, which is written after it, where errors are not wanted.
 */
// prettier-ignore
export function deltaPanel(
  o: usize, e: usize, panel: usize,
  q: usize, k: usize, v: usize, beta: usize, forget: usize, qk: usize,
  steps: i32, keySize: i32, laneRow: usize, ownValues: f32,
): void {
  const row = (<usize>keySize) << 2;
  const end = panel + ((<usize>keySize) << 5);
  const own = f32x4.splat(ownValues);
  let r0 = f32x4.splat(0), r1 = r0; // S^T k
  let p0 = r0, p1 = r0; // S^T q
  for (let cell = panel, i: usize = 0; cell < end; cell += 32, i += 4) {
    const s0 = v128.load(cell), s1 = v128.load(cell, 16);
    const x = v128.load32_splat(k + i), y = v128.load32_splat(q + i);
    r0 = madd(x, s0, r0); r1 = madd(x, s1, r1);
    p0 = madd(y, s0, p0); p1 = madd(y, s1, p1);
  }
  for (let t = 0; t < steps; t++) {
    const f = v128.load32_splat(forget), b = v128.load32_splat(beta), own0 = v128.load32_splat(qk);
    r0 = f32x4.mul(f, r0); r1 = f32x4.mul(f, r1);
    const v0 = v128.load(v), v1 = v128.load(v, 16);
    const e0 = f32x4.sub(v0, r0), e1 = f32x4.sub(v1, r1);
    v128.store(e, e0); v128.store(e, e1, 16);
    const c = f32x4.mul(own0, b);
    v128.store(o, madd(c, f32x4.sub(f32x4.mul(own, v0), r0), f32x4.mul(f, p0)));
    v128.store(o, madd(c, f32x4.sub(f32x4.mul(own, v1), r1), f32x4.mul(f, p1)), 16);
    const u0 = f32x4.mul(b, e0), u1 = f32x4.mul(b, e1);
    r0 = f32x4.splat(0); r1 = r0; p0 = r0; p1 = r0;
    for (let cell = panel; cell < end; cell += 64) {
      let w = v128.load32_splat(k);
      let s0 = madd(w, u0, f32x4.mul(f, v128.load(cell))), s1 = madd(w, u1, f32x4.mul(f, v128.load(cell, 16)));
      v128.store(cell, s0); v128.store(cell, s1, 16);
      w = v128.load32_splat(k + row);
      r0 = madd(w, s0, r0); r1 = madd(w, s1, r1);
      w = v128.load32_splat(q + row);
      p0 = madd(w, s0, p0); p1 = madd(w, s1, p1);
      w = v128.load32_splat(k, 4);
      s0 = madd(w, u0, f32x4.mul(f, v128.load(cell, 32))); s1 = madd(w, u1, f32x4.mul(f, v128.load(cell, 48)));
      v128.store(cell, s0, 32); v128.store(cell, s1, 48);
      w = v128.load32_splat(k + row, 4);
      r0 = madd(w, s0, r0); r1 = madd(w, s1, r1);
      w = v128.load32_splat(q + row, 4);
      p0 = madd(w, s0, p0); p1 = madd(w, s1, p1);
      k += 8; q += 8;
    }
    o += laneRow; e += laneRow; v += laneRow;
    beta += 4; forget += 4; qk += 4;
  }
}

/**
 * A panel of P goes through a block backwards in time. k has one more row before its first, which may hold anything;
 * forget is that of the next step.
 */
// prettier-ignore
export function deltaPanelBackward(
  w: usize, dvPast: usize, panel: usize,
  q: usize, k: usize, dO: usize, beta: usize, forget: usize, qk: usize,
  steps: i32, keySize: i32, laneRow: usize,
): void {
  const row = (<usize>keySize) << 2;
  const end = panel + ((<usize>keySize) << 5);
  const last = <usize>(steps - 1);
  q += last * row; k += last * row; dO += last * laneRow; w += last * laneRow; dvPast += last * laneRow;
  beta += last << 2; forget += last << 2; qk += last << 2;
  let r0 = f32x4.splat(0), r1 = r0; // P^T k
  for (let cell = panel, i: usize = 0; cell < end; cell += 32, i += 4) {
    const x = v128.load32_splat(k + i);
    r0 = madd(x, v128.load(cell), r0); r1 = madd(x, v128.load(cell, 16), r1);
  }
  for (let t = 0; t < steps; t++) {
    const f = v128.load32_splat(forget), b = v128.load32_splat(beta), own = v128.load32_splat(qk);
    const d0 = v128.load(dO), d1 = v128.load(dO, 16);
    r0 = f32x4.mul(f, r0); r1 = f32x4.mul(f, r1);
    v128.store(dvPast, f32x4.mul(b, r0)); v128.store(dvPast, f32x4.mul(b, r1), 16);
    r0 = madd(own, d0, r0); r1 = madd(own, d1, r1);
    v128.store(w, r0); v128.store(w, r1, 16);
    const dv0 = f32x4.mul(b, r0), dv1 = f32x4.mul(b, r1);
    r0 = f32x4.splat(0); r1 = r0;
    for (let cell = panel; cell < end; cell += 64) {
      let x = v128.load32_splat(q);
      let p0 = madd(x, d0, f32x4.mul(f, v128.load(cell))), p1 = madd(x, d1, f32x4.mul(f, v128.load(cell, 16)));
      x = v128.load32_splat(k);
      p0 = nmadd(x, dv0, p0); p1 = nmadd(x, dv1, p1);
      v128.store(cell, p0); v128.store(cell, p1, 16);
      x = v128.load32_splat(k - row);
      r0 = madd(x, p0, r0); r1 = madd(x, p1, r1);
      x = v128.load32_splat(q, 4);
      p0 = madd(x, d0, f32x4.mul(f, v128.load(cell, 32))); p1 = madd(x, d1, f32x4.mul(f, v128.load(cell, 48)));
      x = v128.load32_splat(k, 4);
      p0 = nmadd(x, dv0, p0); p1 = nmadd(x, dv1, p1);
      v128.store(cell, p0, 32); v128.store(cell, p1, 48);
      x = v128.load32_splat(k - row + 4);
      r0 = madd(x, p0, r0); r1 = madd(x, p1, r1);
      q += 8; k += 8;
    }
    q -= 2 * row; k -= 2 * row; dO -= laneRow; w -= laneRow; dvPast -= laneRow;
    beta -= 4; forget -= 4; qk -= 4;
  }
}
