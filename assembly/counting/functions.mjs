/**
 * What a call of a function counts as, where its inside is not counted.
 *
 * - A transcendental function is one call for each of its lanes, however many additions its polynomial takes.
 * - A fused helper is one multiply-add for each of its lanes.
 */
const transcendental = new Set([
  'simd/exp/exp',
  'simd/exp/expNegative',
  'simd/exp/exp2',
  'simd/exp/log1pUnit',
  'simd/tanh/expMinus1',
  'simd/angle/cosine',
  'simd/angle/sine',
  'activation/normalTail', // the tail of the normal distribution
]);
const multiplyAdd = new Set(['simd/madd/madd', 'simd/madd/maddWhere', 'simd/madd/nmadd']);
/** Called by the above alone. */
const inner = new Set(['simd/exp/expNormal']);

/** Sizes and places of working memory, which are floats but no work. */
const scratch =
  /Bytes$|(lanes|Partial|\/sums)Floats$|\/layOut(Shared|Head|States)?$|^matrix\/scratch\/|^mamba3\/\w+\/take(Steps|Angles|Rows)$|\/roundUpLarge$|\/padded(Steps|Rows)Large$/;

/** @param name as asc names functions inside: the path of the file, a slash, the function's name */
export function kindOf(name) {
  if (name.startsWith('~lib/math/')) return 'transcendental';
  const own = name.replace(/^(assembly\/)?src\//, '');
  if (transcendental.has(own)) return 'transcendental';
  if (multiplyAdd.has(own)) return 'multiplyAdd';
  if (inner.has(own) || scratch.test(own)) return 'inner';
  return 'counted';
}
