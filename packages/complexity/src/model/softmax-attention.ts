import type { ResolvedConfig, ResolvedSoftmaxAttention } from '@freelunch/config';
import { Expression, minimum, product, sum } from '../expression.js';
import { rmsNorm, rmsNormBackward } from '../ops/norm.js';
import { rope } from '../ops/rope.js';
import {
  softmaxAttention,
  softmaxAttentionBackward,
  softmaxAttentionStep,
} from '../ops/softmax-attention.js';
import type { Layer } from './layer.js';

/** Whether q, k and v are one projection and weights lie as `[in, out]`: GPT-2. */
export const isFused = ({ naming }: ResolvedConfig): boolean => naming === 'gpt2';

/** Heads of a mixer, and the width of all. */
export function heads(layer: Layer, config: { nHeads: number; headDim: number; valueDim: number }) {
  const { sizes } = layer.situation;
  const nHeads = sizes.size('nHeads', config.nHeads);
  const headDim = sizes.size('headDim', config.headDim);
  const valueDim = config.valueDim === config.headDim ? headDim : sizes.size('valueDim', config.valueDim);
  return { nHeads, headDim, valueDim, width: nHeads.times(headDim), valueWidth: nHeads.times(valueDim) };
}

/** @param adapt  adds what a layer adds to projections that it shares with others, from an input of width `inWidth` */
export function addAttention(
  layer: Layer,
  config: ResolvedSoftmaxAttention,
  model: ResolvedConfig,
  inWidth: Expression = layer.situation.dModel,
  adapt?: (name: string, width: Expression) => void,
): number {
  const { situation, rows } = layer;
  const { grain, sizes, batch, seqLen, position, dModel, phase } = situation;
  const { bias, qkvBias } = config;
  const fused = isFused(model);
  const { nHeads, headDim, valueDim, width, valueWidth } = heads(layer, config);
  const nKvHeads = config.nKvHeads === config.nHeads ? nHeads : sizes.size('nKvHeads', config.nKvHeads);
  const kvWidth = nKvHeads.times(sum(headDim, valueDim));
  if (fused) {
    layer.linear('c_attn', sum(width, kvWidth), dModel, qkvBias, false);
    layer.split('split', sum(width, kvWidth));
  } else {
    for (const [name, outWidth] of [
      ['q', width],
      ['k', nKvHeads.times(headDim)],
      ['v', nKvHeads.times(valueDim)],
    ] as const) {
      layer.linear(`${name}_proj`, outWidth, inWidth, qkvBias);
      adapt?.(name, outWidth);
    }
  }
  if (config.dConv > 0)
    for (const [name, channels] of [
      ['q_conv1d', width],
      ['k_conv1d', nKvHeads.times(headDim)],
      ['v_conv1d', nKvHeads.times(valueDim)],
    ] as const)
      layer.convolve(channels, config.dConv, true, name, false);
  if (config.qkNorm)
    for (const [name, count] of [
      ['q_norm', nHeads],
      ['k_norm', nKvHeads],
    ] as const) {
      const shape = { rows: product(rows, count), dim: headDim };
      if (model.norm.zeroCentered) layer.scale(`${name}.weight`, [headDim], 1);
      layer.add(name, rmsNorm(grain, shape), {
        tensors: [headDim],
        backward: () => rmsNormBackward(grain, shape),
        outputs: product(rows, count, headDim),
      });
    }
  layer.multiplied('key_multiplier', config.keyMultiplier, nKvHeads.times(headDim));
  const positions = config.position ?? model.position;
  if (positions.type === 'rope') {
    const { rotaryDim, convention, scaling } = positions;
    for (const [name, count] of [
      ['rope.q', nHeads],
      ['rope.k', nKvHeads],
    ] as const) {
      const shape = {
        batch,
        seqLen,
        nHeads: count,
        headDim,
        rotaryDim:
          rotaryDim === undefined || rotaryDim === config.headDim
            ? headDim
            : sizes.size('rotaryDim', rotaryDim),
        interleaved: convention === 'interleaved',
        scaling: scaling?.type === 'longrope' ? 'linear' : scaling?.type,
      };
      layer.add(name, rope(grain, shape), {
        backward: () => rope(grain, shape),
        outputs: product(rows, count, headDim),
      });
    }
  }
  const shape = {
    batch,
    seqLen,
    nHeads,
    nKvHeads,
    headDim,
    valueDim,
    window: config.window === undefined ? undefined : sizes.size('window', config.window),
    sparse: config.sparse,
    stride: config.sparse === undefined ? undefined : sizes.size('stride', config.sparse.stride),
    alibi: positions.type === 'alibi',
  };
  // A window forgets; block-sparse patterns look far back.
  const length = phase === 'decode' ? position.plus(1) : seqLen;
  const held =
    config.window === undefined || config.sparse !== undefined ? length : minimum(length, shape.window!);
  const step = phase === 'decode';
  layer.add(
    'softmax_attention',
    step ? softmaxAttentionStep(grain, shape, position) : softmaxAttention(grain, shape, phase === 'prefill'),
    {
      backward: () => softmaxAttentionBackward(grain, shape),
      outputs: sum(product(rows, valueWidth), step ? 0 : product(batch, nHeads, seqLen)),
      state: product(batch, held, kvWidth),
    },
  );
  if (config.outputGate) {
    layer.linear('gate_proj', valueWidth, dModel, qkvBias);
    layer.pointwise('gate.sigmoid', 'sigmoid', product(rows, valueWidth));
    layer.pointwise('gate', 'multiply', product(rows, valueWidth));
  }
  layer.linear(fused ? 'c_proj' : 'o_proj', dModel, valueWidth, bias, !fused);
  return (fused ? 1 : 3) + (config.outputGate ? 1 : 0);
}
