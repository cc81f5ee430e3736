/**
 * Rotary position embedding (Su et al. 2021, arXiv:2104.09864).
 *
 *   x, y  [batch, seqLen, nHeads, headDim]      positions  [seqLen]
 */
import type { Array64 } from './array64.js';

interface Scaling {
  type: 'linear' | 'llama3' | 'yarn' | 'dynamic';
  factor: number;
  originalMaxLength?: number;
  lowFreqFactor?: number;
  highFreqFactor?: number;
  betaFast?: number;
  betaSlow?: number;
  attentionFactor?: number;
  truncate?: boolean;
}

const unit = (x: number) => Math.min(Math.max(x, 0), 1);

/** The frequency of pair `i` at a position, changed by the rules that Transformers has under these names. */
function frequency(i: number, dim: number, base: number, position: number, scaling?: Scaling): number {
  const w = base ** ((-2 * i) / dim);
  if (scaling === undefined) return w;
  const {
    type,
    factor,
    originalMaxLength: length = 1,
    lowFreqFactor: low = 1,
    highFreqFactor: high = 4,
  } = scaling;
  const { betaFast = 32, betaSlow = 1, truncate = true } = scaling;
  const between = (kept: number) => (1 - unit(kept)) * (w / factor) + unit(kept) * w;
  switch (type) {
    case 'linear':
      return w / factor;
    case 'llama3':
      return between(((length * w) / (2 * Math.PI) - low) / (high - low));
    case 'dynamic': {
      const seen = Math.max(position + 1, length);
      return (base * ((factor * seen) / length - (factor - 1)) ** (dim / (dim - 2))) ** ((-2 * i) / dim);
    }
    case 'yarn': {
      const pair = (turns: number) => (dim * Math.log(length / (turns * 2 * Math.PI))) / (2 * Math.log(base));
      const first = Math.max(truncate ? Math.floor(pair(betaFast)) : pair(betaFast), 0);
      const last = Math.min(truncate ? Math.ceil(pair(betaSlow)) : pair(betaSlow), dim - 1);
      return between(1 - (i - first) / (last === first ? 0.001 : last - first));
    }
  }
}

/** What cosines and sines are multiplied by. */
const amplitudeOf = (scaling: Scaling | undefined): number =>
  scaling?.type === 'yarn'
    ? (scaling.attentionFactor ?? (scaling.factor > 1 ? 0.1 * Math.log(scaling.factor) + 1 : 1))
    : 1;

/** Turns pair `i` of each head by `position base^(-2 i / rotaryDim)`, or as `scaling` says. */
export function rope({
  x,
  convention = 'half',
  base = 10000,
  scaling,
  rotaryDim = x.shape[3],
  offset = 0,
  positions,
}: {
  x: Array64;
  convention?: 'half' | 'interleaved';
  base?: number;
  scaling?: Scaling;
  rotaryDim?: number;
  offset?: number;
  positions?: Array64;
}): Array64 {
  const [, seqLen, nHeads, headDim] = x.shape;
  const data = x.data.slice();
  const amplitude = amplitudeOf(scaling);
  for (let head = 0; head < data.length / headDim; head++) {
    const t = Math.floor(head / nHeads) % seqLen;
    const position = positions?.data[t] ?? offset + t;
    for (let i = 0; i < rotaryDim / 2; i++) {
      const angle = position * frequency(i, rotaryDim, base, position, scaling);
      const [cos, sin] = [amplitude * Math.cos(angle), amplitude * Math.sin(angle)];
      const first = head * headDim + (convention === 'half' ? i : 2 * i);
      const second = first + (convention === 'half' ? rotaryDim / 2 : 1);
      data[first] = x.data[first] * cos - x.data[second] * sin;
      data[second] = x.data[second] * cos + x.data[first] * sin;
    }
  }
  return { shape: x.shape, data };
}
