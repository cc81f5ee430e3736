/** One step of the scan, for decoding; see ../selective-scan. */
import { exp2, exp2Constants, loadTail, madd, silu, softplus, storeTail } from '../simd';
import { BLOCK, blocksOf, sumEach, VECTOR } from './layout';
import { LOG2E } from './steps';

/** Two rows of channels, padded to whole vectors, and four vectors. */
export function selectiveScanStepScratchBytes(dInner: i32): f64 {
  return 32 * ceil<f64>(<f64>dInner / 4) + 64;
}

/**
 * One step of each sequence, h in place. Units are those of the forward pass. Here h and A are read once, so nothing is
 * laid out anew: lanes run along dState, which must be a multiple of 4 (others take a forward pass of one step).
 *
 *   y, u, delta, z  [batch, dInner]      B, C  [batch, nGroups, dState], or [dInner, dState] where nGroups is 0
 */
// prettier-ignore
export function selectiveScanStep(
  y: usize, h: usize,
  u: usize, delta: usize, A: usize, B: usize, C: usize, D: usize, z: usize, deltaBias: usize,
  dInner: i32, dState: i32, nGroupsB: i32, nGroupsC: i32, deltaSoftplus: bool,
  scratch: usize, first: i32, count: i32,
): void {
  const magic = v128.load(exp2Constants);
  const c5 = v128.load(exp2Constants, 16);
  const c4 = v128.load(exp2Constants, 32);
  const c3 = v128.load(exp2Constants, 48);
  const c2 = v128.load(exp2Constants, 64);
  const c1 = v128.load(exp2Constants, 80);
  const one = v128.load(exp2Constants, 96);
  const stateBytes = <usize>dState << 2;
  const rowBytes = <usize>dInner << 2;
  const perB = nGroupsB === 0 ? 1 : dInner / nGroupsB;
  const perC = nGroupsC === 0 ? 1 : dInner / nGroupsC;
  const exponents = scratch; // [dInner], as inputs, both padded to whole vectors
  const inputs = exponents + ((rowBytes + 15) & ~15);
  const sums = inputs + ((rowBytes + 15) & ~15);
  const blocks = blocksOf(dInner);
  const b = first / blocks;
  let begin = (first - b * blocks) * BLOCK;
  y += <usize>b * rowBytes; u += <usize>b * rowBytes; delta += <usize>b * rowBytes;
  if (z !== 0) z += <usize>b * rowBytes;
  B += <usize>(b * nGroupsB) * stateBytes; C += <usize>(b * nGroupsC) * stateBytes;
  h += <usize>(b * dInner + begin) * stateBytes;
  while (count > 0) {
    const end = min(dInner, begin + count * BLOCK);
    // In a pass of its own: the states of a channel would wait for its softplus (27 us, now 21, at [1536, 16]).
    for (let d = begin; d < end; d += 4) {
      const at = <usize>d << 2;
      const lanes = dInner - d;
      let step = loadTail(delta + at, lanes);
      if (deltaBias !== 0) step = f32x4.add(step, loadTail(deltaBias + at, lanes));
      if (deltaSoftplus) step = softplus(step);
      v128.store(exponents + at, f32x4.mul(step, v128.load(LOG2E)));
      v128.store(inputs + at, f32x4.mul(step, loadTail(u + at, lanes)));
    }
    let rowA = A + <usize>begin * stateBytes;
    let rowB = B + <usize>(begin / perB) * stateBytes;
    let rowC = C + <usize>(begin / perC) * stateBytes;
    let leftB = perB - begin % perB; // channels that still read rowB
    let leftC = perC - begin % perC;
    for (let d = begin; d < end; d += 4) {
      const at = <usize>d << 2;
      const lanes = min(4, dInner - d);
      for (let lane = 0; lane < lanes; lane++) {
        const e = v128.load32_splat(exponents + at + (<usize>lane << 2));
        const input = v128.load32_splat(inputs + at + (<usize>lane << 2));
        let acc = f32x4.splat(0);
        for (let n: usize = 0; n < stateBytes; n += VECTOR) {
          const a = v128.load(rowA + n);
          let x = f32x4.pmax(f32x4.mul(e, a), v128.load(exp2Constants, 112));
          x = f32x4.pmin(x, v128.load(exp2Constants, 128));
          const decay = exp2(x, magic, c5, c4, c3, c2, c1, one);
          const state = madd(decay, v128.load(h + n), f32x4.mul(input, v128.load(rowB + n)));
          v128.store(h + n, state);
          acc = madd(v128.load(rowC + n), state, acc);
        }
        v128.store(sums + (<usize>lane << 4), acc);
        rowA += stateBytes; h += stateBytes;
        if (--leftB === 0) { rowB += stateBytes; leftB = perB; }
        if (--leftC === 0) { rowC += stateBytes; leftC = perC; }
      }
      let out = sumEach(v128.load(sums), v128.load(sums, 16), v128.load(sums, 32), v128.load(sums, 48));
      if (D !== 0) out = madd(loadTail(D + at, lanes), loadTail(u + at, lanes), out);
      if (z !== 0) out = f32x4.mul(out, silu(loadTail(z + at, lanes)));
      storeTail(y + at, out, lanes);
    }
    count -= (end - begin + BLOCK - 1) / BLOCK;
    begin = 0;
    y += rowBytes; u += rowBytes; delta += rowBytes;
    if (z !== 0) z += rowBytes;
    B += <usize>nGroupsB * stateBytes; C += <usize>nGroupsC * stateBytes;
  }
}
