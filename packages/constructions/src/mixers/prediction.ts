/** What theory says of the constructions in copy.ts, computed without running them. */
import { checkOptions } from '@freelunch/errors';
import { ArgumentError } from '@freelunch/kernels';
import { random } from '@freelunch/random';

export interface PredictAccuracyArgs {
  /** The symbols' vectors, `[vocabSize, dValue]`. */
  codebook: Float32Array;
  dValue: number;
  /** The sequence that is stored: symbols by number. */
  tokens: ArrayLike<number>;
}

/**
 * C1: the expected fraction of tokens that decode right when a sequence is stored under random unit keys, as a
 * function of the key width N.
 *
 * Reading a token of symbol s gives v_s + e, where e = sum_j (k_p . k_j) v_j runs over all other tokens. The products
 * of random unit keys have mean 0 and variance 1/N and are all but normal and independent, so e is normal with mean 0
 * and covariance S_s / N,
 *
 *     S_s = sum_r n_r v_r v_r^T      n_r: tokens of symbol r, the one that is read left out
 *
 * (its trace is T - 1: the variance (T - 1)/N for each unit of value variance). The nearest vector is the right one if
 * no other is nearer: |v_s + e - v_r|^2 > |e|^2, which is e . (v_r - v_s) < |v_r - v_s|^2 / 2, for all r != s.
 *
 * The probability of these vocabSize - 1 events at once is an integral over the normal distribution of e. Write
 * e = rho L w / sqrt(N), with L L^T = S_s, a direction w on the unit sphere and a length rho from the chi distribution
 * with dValue degrees of freedom. Along one direction, decoding is right up to the length sqrt(N) / m(w),
 *
 *     m(w) = max_r 2 (L w) . (v_r - v_s) / |v_r - v_s|^2
 *
 * so P = E_w[ F_chi(sqrt(N) / m(w)) ]: in closed form along each direction, the mean of seeded directions across (Deak's
 * method). All N share the directions, so the curve is smooth in N. Multiplying the pairwise probabilities instead, as
 * if the events were independent, gives far too little: they share e.
 *
 * @returns N -> probability
 * @see Deak 1980, https://doi.org/10.1007/BF01399021 (normal probabilities by directions)
 */
export function predictAccuracy(args: PredictAccuracyArgs): (dKey: number) => number {
  checkOptions('predictAccuracy', args, ['codebook', 'dValue', 'tokens']);
  const { codebook, dValue, tokens } = args;
  const vocabSize = codebook.length / dValue;
  const counts = new Float64Array(vocabSize);
  for (let t = 0; t < tokens.length; t++) counts[tokens[t]]++;
  const present = [...counts.keys()].filter((symbol) => counts[symbol] > 0);
  const slopes = present.map((symbol) => {
    // In proportion to the symbol's share: the standard error of the mean is then at most 0.5 / sqrt(16384) = 0.004.
    const directions = Math.max(16, Math.ceil((16384 * counts[symbol]) / tokens.length));
    counts[symbol]--;
    const found = failureSlopes(codebook, dValue, counts, symbol, directions);
    counts[symbol]++;
    return found;
  });
  return (dKey) => {
    let total = 0;
    present.forEach((symbol, i) => {
      let sum = 0;
      for (const slope of slopes[i]) sum += slope > 0 ? chiSquared(dKey / (slope * slope), dValue) : 1;
      total += (counts[symbol] / tokens.length) * (sum / slopes[i].length);
    });
    return total;
  };
}

/** m(w) for one symbol, over seeded directions. */
function failureSlopes(
  codebook: Float32Array,
  dValue: number,
  counts: Float64Array,
  symbol: number,
  directions: number,
): Float64Array {
  const vocabSize = codebook.length / dValue;
  const L = cholesky(covariance(codebook, dValue, counts), dValue);
  // Each other symbol's difference, scaled so that m(w) is the greatest product with L w.
  const normals: Float64Array[] = [];
  for (let r = 0; r < vocabSize; r++) {
    if (r === symbol) continue;
    const normal = new Float64Array(dValue);
    let squares = 0;
    for (let d = 0; d < dValue; d++) {
      normal[d] = codebook[r * dValue + d] - codebook[symbol * dValue + d];
      squares += normal[d] * normal[d];
    }
    normals.push(normal.map((element) => (2 * element) / squares));
  }

  const rng = random(0).split('directions').split(symbol);
  const slopes = new Float64Array(directions);
  const w = new Float64Array(dValue);
  const e = new Float64Array(dValue);
  for (let i = 0; i < directions; i++) {
    let squares = 0;
    for (let d = 0; d < dValue; d++) {
      w[d] = rng.normal();
      squares += w[d] * w[d];
    }
    const scale = 1 / Math.sqrt(squares);
    for (let row = 0; row < dValue; row++) {
      e[row] = 0;
      for (let column = 0; column <= row; column++) e[row] += L[row * dValue + column] * w[column] * scale;
    }
    let greatest = 0;
    for (const normal of normals) {
      let product = 0;
      for (let d = 0; d < dValue; d++) product += normal[d] * e[d];
      if (product > greatest) greatest = product;
    }
    slopes[i] = greatest;
  }
  return slopes;
}

/** sum_r counts_r v_r v_r^T */
function covariance(codebook: Float32Array, dValue: number, counts: Float64Array): Float64Array {
  const S = new Float64Array(dValue * dValue);
  for (let r = 0; r < counts.length; r++) {
    if (counts[r] === 0) continue;
    for (let row = 0; row < dValue; row++)
      for (let column = 0; column < dValue; column++)
        S[row * dValue + column] += counts[r] * codebook[r * dValue + row] * codebook[r * dValue + column];
  }
  return S;
}

/** Lower triangular L with L L^T = S, for S that may be singular: a direction without variance gives a zero column. */
function cholesky(S: Float64Array, size: number): Float64Array {
  const L = new Float64Array(size * size);
  let trace = 0;
  for (let i = 0; i < size; i++) trace += S[i * size + i];
  for (let column = 0; column < size; column++) {
    for (let row = column; row < size; row++) {
      let rest = S[row * size + column];
      for (let i = 0; i < column; i++) rest -= L[row * size + i] * L[column * size + i];
      if (row === column) {
        if (rest <= 1e-9 * trace) break;
        L[row * size + row] = Math.sqrt(rest);
      } else L[row * size + column] = rest / L[column * size + column];
    }
  }
  return L;
}

/**
 * Probability that a chi-squared variable is below x: the regularised lower incomplete gamma function
 * P(degrees / 2, x / 2), by its power series.
 */
export function chiSquared(x: number, degrees: number): number {
  if (x <= 0) return 0;
  const a = degrees / 2;
  const y = x / 2;
  if (y > a + 40 + 12 * Math.sqrt(a)) return 1; // the rest is below 1e-15
  // P(a, y) = y^a e^-y / Gamma(a + 1) (1 + y/(a+1) + y^2/((a+1)(a+2)) + ..)
  let term = 1;
  let sum = 1;
  for (let i = 1; term > 1e-17 * sum; i++) {
    term *= y / (a + i);
    sum += term;
  }
  return Math.min(1, Math.exp(a * Math.log(y) - y - logGamma(degrees)) * sum);
}

/** ln Gamma(degrees / 2 + 1) for a whole number of degrees. */
function logGamma(degrees: number): number {
  let sum = degrees % 2 === 0 ? 0 : Math.log(Math.PI) / 2; // Gamma(1) = 1, Gamma(1/2) = sqrt(pi)
  for (let half = degrees % 2 === 0 ? 1 : 0.5; half <= degrees / 2; half++) sum += Math.log(half);
  return sum;
}

/**
 * The Welch bound: among `count` unit vectors in `width` dimensions, two have |a . b| of at least this; 0 if
 * count <= width, where all can be orthogonal.
 *
 * @see Welch 1974, https://doi.org/10.1109/TIT.1974.1055219
 */
export function welchBound(count: number, width: number): number {
  positive('welchBound', 'count', count);
  positive('welchBound', 'width', width);
  return count <= width ? 0 : Math.sqrt((count - width) / (width * (count - 1)));
}

/** Bits that a sequence of `seqLen` free choices out of `vocabSize` symbols has: no state with fewer can copy it. */
export function informationBits(seqLen: number, vocabSize: number): number {
  positive('informationBits', 'seqLen', seqLen);
  positive('informationBits', 'vocabSize', vocabSize);
  return seqLen * Math.log2(vocabSize);
}

/**
 * C3: the error of a copy whose value was scaled by e^(-rate delta distance) on the way, for values up to 1:
 * 1 - e^(-rate delta distance).
 */
export function decayError(args: { rate: number; delta?: number; distance: number }): number {
  checkOptions('decayError', args, ['rate', 'delta', 'distance']);
  const { rate, delta = 1, distance } = args;
  return -Math.expm1(-rate * delta * distance);
}

/** C3: the greatest distance at which {@link decayError} is at most `error`. */
export function decayReach(args: { rate: number; delta?: number; error: number }): number {
  checkOptions('decayReach', args, ['rate', 'delta', 'error']);
  const { rate, delta = 1, error } = args;
  if (!(error >= 0 && error < 1))
    throw new ArgumentError(`decayReach: error must be from 0 up and below 1, got ${error}`);
  return rate * delta === 0 ? Infinity : Math.floor(-Math.log1p(-error) / (rate * delta));
}

function positive(where: string, name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1)
    throw new ArgumentError(`${where}: ${name} must be a whole number from 1 up, got ${value}`);
}
