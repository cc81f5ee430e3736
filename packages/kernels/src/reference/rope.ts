/**
 * Rotary position embedding (Su et al. 2021, arXiv:2104.09864).
 *
 *   x, y  [batch, seqLen, nHeads, headDim]      positions  [seqLen]
 */
import type { Array64 } from './array64.js';

/** Turns pair `i` of each head by `position base^(-2 i / rotaryDim)`. */
export function rope({
  x,
  convention = 'half',
  base = 10000,
  rotaryDim = x.shape[3],
  offset = 0,
  positions,
}: {
  x: Array64;
  convention?: 'half' | 'interleaved';
  base?: number;
  rotaryDim?: number;
  offset?: number;
  positions?: Array64;
}): Array64 {
  const [, seqLen, nHeads, headDim] = x.shape;
  const data = x.data.slice();
  for (let head = 0; head < data.length / headDim; head++) {
    const t = Math.floor(head / nHeads) % seqLen;
    const position = positions?.data[t] ?? offset + t;
    for (let i = 0; i < rotaryDim / 2; i++) {
      const angle = position * base ** ((-2 * i) / rotaryDim);
      const first = head * headDim + (convention === 'half' ? i : 2 * i);
      const second = first + (convention === 'half' ? rotaryDim / 2 : 1);
      data[first] = x.data[first] * Math.cos(angle) - x.data[second] * Math.sin(angle);
      data[second] = x.data[second] * Math.cos(angle) + x.data[first] * Math.sin(angle);
    }
  }
  return { shape: x.shape, data };
}
