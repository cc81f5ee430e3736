/** Symbols as vectors: what a mixer stores for each token, and how what comes back is read. */
import { ArgumentError, type Kernels, ShapeError, type Tensor } from '@freelunch/kernels';
import type { Random } from '@freelunch/random';

/**
 * A unit vector for each symbol, its elements +-1/sqrt(dValue), no two alike.
 *
 * @returns `[vocabSize, dValue]`, row-major
 * @throws ArgumentError unless 2^dValue >= vocabSize
 */
export function signCodebook(rng: Random, vocabSize: number, dValue: number): Float32Array {
  if (!Number.isInteger(vocabSize) || vocabSize < 1)
    throw new ArgumentError(`signCodebook: vocabSize must be a whole number from 1 up, got ${vocabSize}`);
  if (!Number.isInteger(dValue) || dValue < 1 || 2 ** dValue < vocabSize) {
    throw new ArgumentError(
      `signCodebook: dValue must be a whole number with 2^dValue >= vocabSize = ${vocabSize}, got ${dValue}`,
    );
  }
  const codebook = new Float32Array(vocabSize * dValue);
  const element = 1 / Math.sqrt(dValue);
  const taken = new Set<string>();
  while (taken.size < vocabSize) {
    const signs = Array.from({ length: dValue }, () => (rng.integer(2) === 1 ? 1 : -1));
    const name = signs.join();
    if (taken.has(name)) continue;
    for (let d = 0; d < dValue; d++) codebook[taken.size * dValue + d] = signs[d] * element;
    taken.add(name);
  }
  return codebook;
}

/**
 * Random unit keys: elements +-1/sqrt(dKey), each sign a random bit. The product of two has mean 0 and variance
 * exactly 1/dKey, as for points drawn evenly from the unit sphere.
 *
 * @returns `[count, dKey]`
 */
export function randomUnitKeys(k: Kernels, rng: Random, count: number, dKey: number): Tensor<'float32'> {
  const keys = k.empty([count, dKey]);
  const { data } = keys;
  const element = 1 / Math.sqrt(dKey);
  let bits = 0;
  for (let i = 0; i < data.length; i++) {
    bits = i % 32 === 0 ? rng.uint32() : bits >>> 1;
    data[i] = bits & 1 ? element : -element;
  }
  return keys;
}

/** The values of a sequence of symbols, `[tokens, dValue]`. */
export function encode(
  k: Kernels,
  tokens: ArrayLike<number>,
  codebook: Float32Array,
  dValue: number,
): Tensor<'float32'> {
  const values = k.empty([tokens.length, dValue]);
  const { data } = values;
  for (let t = 0; t < tokens.length; t++)
    for (let d = 0; d < dValue; d++) data[t * dValue + d] = codebook[tokens[t] * dValue + d];
  return values;
}

/**
 * The symbol whose vector is nearest to each row; -1 for a row of zeros, where a mixer gave nothing back.
 * Of vectors equally near, the first counts.
 *
 * @param o  `[tokens, dValue]`
 * @throws ShapeError if the codebook does not consist of rows as long as those of `o`
 */
export function decode(o: Tensor, codebook: Float32Array): Int32Array {
  const [count, dValue] = o.shape;
  if (o.shape.length !== 2 || codebook.length % dValue !== 0) {
    throw new ShapeError(
      `decode: o must be [tokens, dValue] with ${codebook.length} a multiple of dValue, got [${o.shape.join(', ')}]`,
    );
  }
  const { data } = o;
  const symbols = new Int32Array(count);
  const vocabSize = codebook.length / dValue;
  for (let t = 0; t < count; t++) {
    const row = data.subarray(t * dValue, (t + 1) * dValue);
    symbols[t] = -1;
    if (row.every((element) => element === 0)) continue;
    let least = Infinity;
    for (let s = 0; s < vocabSize; s++) {
      let distance = 0;
      for (let d = 0; d < dValue; d++) distance += (row[d] - codebook[s * dValue + d]) ** 2;
      if (distance < least) {
        least = distance;
        symbols[t] = s;
      }
    }
  }
  return symbols;
}
