/**
 * Rows of which a sum of squares or products overflows in float32, one number at a time in float64. One function serves
 * all norms: v = x inner is what is normalised, n = (v - mean) r, and y = n w outer + b, where the gate silu(z), if there
 * is one, is inner (gate first) or outer (norm first), and the other one is 1.
 *
 * `weight` and `bias` are the addresses of their first numbers and 1, or of ones or zeros and 0.
 */

/** The mean is taken from x. */
export const CENTRED = 1;
/** There is a gate, which acts before or after the norm. */
export const GATE_FIRST = 2;
export const NORM_FIRST = 4;

function at(row: usize, i: usize): f64 {
  return <f64>load<f32>(row + i);
}

/** z, or the largest finite number of its sign: then 0 times it is 0. */
function gateAt(z: usize, i: usize): f64 {
  return max<f64>(min<f64>(at(z, i), <f64>f32.MAX_VALUE), -(<f64>f32.MAX_VALUE));
}

/** Mean of x; 0 unless it is to be taken from x. */
function meanOf(x: usize, row: usize, kind: i32): f64 {
  if (!(kind & CENTRED)) return 0;
  let total: f64 = 0;
  for (let i: usize = 0; i < row; i += 4) total += at(x, i);
  return total / <f64>(row >> 2);
}

/** y. `gate` holds silu(z) where there is a gate; it may be y itself. */
// prettier-ignore
export function wideRowForward(
  y: usize, x: usize, gate: usize,
  weight: usize, weightStride: usize, bias: usize, biasStride: usize,
  row: usize, eps: f64, kind: i32,
): void {
  const mean = meanOf(x, row, kind);
  let squares: f64 = 0;
  for (let i: usize = 0; i < row; i += 4) {
    const v = (kind & GATE_FIRST ? at(x, i) * at(gate, i) : at(x, i)) - mean;
    squares += v * v;
  }
  const r = 1 / sqrt<f64>(squares / <f64>(row >> 2) + eps);
  for (let i: usize = 0; i < row; i += 4) {
    const open = kind & (GATE_FIRST | NORM_FIRST) ? at(gate, i) : 1;
    store<f32>(y + i, <f32>((at(x, i) * open - mean * open) * r * at(weight, i * weightStride) + at(bias, i * biasStride)));
  }
}

function add(sums: usize, value: f64): void {
  store<f32>(sums, <f32>(<f64>load<f32>(sums) + value));
}

/**
 * With g = dy w outer: dn = r (g - mean(g) - n mean(g n)), mean(g) only if CENTRED; dx = dn inner. Adds dy n outer to
 * `sums`, and dy to `biasSums` if CENTRED. dz holds sigmoid(z) before, where there is a gate.
 */
// prettier-ignore
export function wideRowBackward(
  dx: usize, dz: usize, sums: usize, biasSums: usize,
  dy: usize, x: usize, z: usize, weight: usize, weightStride: usize,
  row: usize, eps: f64, kind: i32,
): void {
  const dim = <f64>(row >> 2);
  const mean = meanOf(x, row, kind);
  let squares: f64 = 0, gradients: f64 = 0, dots: f64 = 0;
  for (let i: usize = 0; i < row; i += 4) {
    let v = at(x, i) - mean;
    let g = at(dy, i) * at(weight, i * weightStride);
    if (kind & GATE_FIRST) v *= gateAt(z, i) * at(dz, i);
    if (kind & NORM_FIRST) g *= gateAt(z, i) * at(dz, i);
    squares += v * v;
    gradients += g;
    dots += g * v;
  }
  const r = 1 / sqrt<f64>(squares / dim + eps);
  const push = kind & CENTRED ? gradients / dim : 0, pull = (dots / dim) * r;
  for (let i: usize = 0; i < row; i += 4) {
    const up = at(dy, i), g = up * at(weight, i * weightStride);
    let n = (at(x, i) - mean) * r;
    if (!(kind & (GATE_FIRST | NORM_FIRST))) {
      store<f32>(dx + i, <f32>(r * (g - push - n * pull)));
      add(sums + i, up * n);
      if (kind & CENTRED) add(biasSums + i, up);
      continue;
    }
    const s = at(dz, i), open = gateAt(z, i) * s;
    const slope = s + open * (1 - s); // of silu
    if (kind & GATE_FIRST) {
      n *= open;
      const dn = r * (g - n * pull);
      store<f32>(dx + i, <f32>(dn * open));
      store<f32>(dz + i, <f32>(dn * slope * at(x, i)));
      add(sums + i, up * n);
    } else {
      store<f32>(dx + i, <f32>(r * (g * open - n * pull)));
      store<f32>(dz + i, <f32>(g * slope * n));
      add(sums + i, up * n * open);
    }
  }
}
