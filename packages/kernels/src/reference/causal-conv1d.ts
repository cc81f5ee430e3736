/**
 * Causal depthwise convolution, as in Mamba (Gu & Dao 2023, section 3.4, arXiv:2312.00752).
 *
 *   x, y     [batch, seqLen, channels]      in a step [batch, channels]
 *   weight   [channels, width]              bias  [channels]
 *   state    [batch, width - 1, channels], the inputs before the first step, oldest first; absent where width = 1
 */
import type { Array64 } from './array64.js';

interface CausalConv1dReferenceArgs {
  x: Array64;
  weight: Array64;
  bias?: Array64;
  activation?: 'none' | 'silu';
}

/** `y[t] = bias + sum_k weight[k] x[t - (width - 1) + k]`, channel by channel, then SiLU if asked. */
export function causalConv1d(args: CausalConv1dReferenceArgs & { initialState?: Array64 }): {
  y: Array64;
  lastState?: Array64;
} {
  const { x, weight, bias, activation, initialState } = args;
  const [batch, seqLen, channels] = x.shape;
  const width = weight.shape[1];
  const kept = width - 1;
  const y = new Float64Array(x.data.length);
  const lastState = new Float64Array(batch * kept * channels);
  for (let b = 0; b < batch; b++) {
    for (let c = 0; c < channels; c++) {
      const input = (t: number) => {
        if (t >= 0) return x.data[(b * seqLen + t) * channels + c];
        return initialState ? initialState.data[(b * kept + kept + t) * channels + c] : 0;
      };
      for (let t = 0; t < seqLen; t++) {
        let sum = bias ? bias.data[c] : 0;
        for (let k = 0; k < width; k++) sum += weight.data[c * width + k] * input(t - kept + k);
        y[(b * seqLen + t) * channels + c] = activation === 'silu' ? sum / (1 + Math.exp(-sum)) : sum;
      }
      for (let i = 0; i < kept; i++) lastState[(b * kept + i) * channels + c] = input(seqLen - kept + i);
    }
  }
  const result = { y: { shape: x.shape, data: y } };
  return kept === 0 ? result : { ...result, lastState: { shape: [batch, kept, channels], data: lastState } };
}

/** One step of {@link causalConv1d}: its `lastState` is the state. */
export function causalConv1dStep(args: CausalConv1dReferenceArgs & { state?: Array64 }): {
  y: Array64;
  state?: Array64;
} {
  const { state, x } = args;
  const [batch, channels] = x.shape;
  const { y, lastState } = causalConv1d({
    ...args,
    x: { shape: [batch, 1, channels], data: x.data },
    initialState: state,
  });
  const result = { y: { shape: x.shape, data: y.data } };
  return lastState === undefined ? result : { ...result, state: lastState };
}
