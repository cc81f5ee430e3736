import type { ResolvedGatedDeltaNet, ResolvedLinearAttention, ResolvedDeltaRule } from '@freelunch/config';
import { Expression, product, sum } from '../expression.js';
import { copy } from '../ops/activation.js';
import { causalConv1d, causalConv1dBackward } from '../ops/causal-conv1d.js';
import { deltaRule, deltaRuleBackward, deltaRuleStep } from '../ops/delta-rule.js';
import { linearAttention, linearAttentionBackward, linearAttentionStep } from '../ops/linear-attention.js';
import { gatedRmsNorm, gatedRmsNormBackward } from '../ops/norm.js';
import type { Layer } from './layer.js';
import { heads } from './softmax-attention.js';

/** Projections to queries, keys and values, each with its convolution, if any. */
function addHeads(
  layer: Layer,
  { width, valueWidth, dConv }: { width: Expression; valueWidth: Expression; dConv: number },
): void {
  for (const [name, size] of [
    ['q', width],
    ['k', width],
    ['v', valueWidth],
  ] as const) {
    layer.linear(`${name}_proj`, size, layer.situation.dModel);
    if (dConv > 0) layer.convolve(size, dConv, false, `${name}_conv1d`);
  }
}

export function addLinearAttention(layer: Layer, config: ResolvedLinearAttention): number {
  const { situation, rows } = layer;
  const { grain, batch, seqLen, dModel, phase } = situation;
  const initialState = phase === 'prefill';
  const step = phase === 'decode';
  const { featureMap, normalize, forget } = config;
  const { nHeads, headDim, valueDim, width, valueWidth } = heads(layer, config);
  addHeads(layer, { width, valueWidth, dConv: config.dConv });
  const gates = forget === 'token' ? nHeads : width;
  const gated = forget === 'token' || forget === 'channel';
  if (gated) {
    layer.linear('g_proj', gates, dModel, true);
    layer.pointwise('forget', 'logSigmoid', product(rows, gates));
  }
  const widths = { headDim, valueDim };
  const shape = { batch, seqLen, nHeads, ...widths, featureMap, normalize, forget, initialState };
  const state = product(batch, nHeads, sum(product(headDim, valueDim), normalize ? headDim : 0));
  layer.add('linear_attention', step ? linearAttentionStep(grain, shape) : linearAttention(grain, shape), {
    tensors: forget === 'retention' ? [nHeads] : [],
    backward: () => linearAttentionBackward(grain, shape),
    outputs: sum(product(rows, valueWidth), step ? 0 : state),
    state,
  });
  layer.linear('o_proj', dModel, valueWidth);
  return gated ? 4 : 3;
}

export function addDeltaRule(layer: Layer, config: ResolvedDeltaRule): number {
  const { situation, rows } = layer;
  const { grain, batch, seqLen, dModel, phase } = situation;
  const initialState = phase === 'prefill';
  const step = phase === 'decode';
  const { gated } = config;
  const { nHeads, headDim, width } = heads(layer, { ...config, valueDim: config.headDim });
  layer.linear('b_proj', nHeads, dModel);
  layer.pointwise('beta', 'sigmoid', product(rows, nHeads));
  addHeads(layer, { width, valueWidth: width, dConv: config.dConv });
  if (gated) {
    layer.linear('g_proj', nHeads, dModel, true);
    layer.pointwise('forget', 'logSigmoid', product(rows, nHeads));
  }
  const shape = { batch, seqLen, nHeads, headDim, gated, initialState };
  const state = product(batch, nHeads, headDim, headDim);
  layer.add('delta_rule', step ? deltaRuleStep(grain, shape) : deltaRule(grain, shape), {
    backward: () => deltaRuleBackward(grain, shape),
    outputs: sum(product(rows, width), step ? 0 : state),
    state,
  });
  layer.linear('o_proj', dModel, width);
  return gated ? 5 : 4;
}

export function addGatedDeltaNet(layer: Layer, config: ResolvedGatedDeltaNet): number {
  const { situation, rows } = layer;
  const { grain, sizes, batch, seqLen, dModel, phase } = situation;
  const step = phase === 'decode';
  const nKeyHeads = sizes.size('nKeyHeads', config.nKeyHeads);
  const nHeads =
    config.nValueHeads === config.nKeyHeads ? nKeyHeads : sizes.size('nHeads', config.nValueHeads);
  const headDim = sizes.size('headDim', config.headDim);
  const valueDim = config.valueDim === config.headDim ? headDim : sizes.size('valueDim', config.valueDim);
  const keyWidth = nKeyHeads.times(headDim);
  const valueWidth = nHeads.times(valueDim);
  for (const [name, width] of [
    ['q', keyWidth],
    ['k', keyWidth],
    ['v', valueWidth],
  ] as const) {
    layer.linear(`${name}_proj`, width, dModel);
    layer.convolve(width, config.dConv, false, `${name}_conv1d`);
  }
  layer.linear('a_proj', nHeads, dModel, true); // its bias is dt_bias
  const shared = config.nValueHeads / config.nKeyHeads;
  for (const name of ['q', 'k']) {
    if (shared === 1) continue;
    const size = product(rows, nHeads, headDim);
    layer.add(`${name}.repeat`, copy(size), { backward: () => copy(size), outputs: size });
    layer.used(`${name}.shared`, shared, product(rows, keyWidth));
  }
  layer.linear('b_proj', nHeads, dModel);
  layer.pointwise('beta', 'sigmoid', product(rows, nHeads));
  layer.pointwise('dt', 'softplus', product(rows, nHeads));
  layer.decayRates(nHeads);
  const decay = { batch: 1, seqLen: rows, channels: nHeads, width: 1, bias: false, silu: false };
  layer.add('decay', causalConv1d(grain, decay), {
    tensors: [nHeads], // A_log
    backward: () => causalConv1dBackward(grain, decay),
    outputs: product(rows, nHeads),
  });
  const shape = { batch, seqLen, nHeads, headDim, valueDim, gated: true, initialState: phase === 'prefill' };
  const state = product(batch, nHeads, headDim, valueDim);
  layer.add('delta_rule', step ? deltaRuleStep(grain, shape) : deltaRule(grain, shape), {
    backward: () => deltaRuleBackward(grain, shape),
    outputs: sum(product(rows, valueWidth), step ? 0 : state),
    state,
  });
  layer.linear('z_proj', valueWidth, dModel);
  const norm = { rows: product(rows, nHeads), groups: 1, dim: valueDim, normBeforeGate: true };
  layer.add('norm', gatedRmsNorm(grain, norm), {
    tensors: [valueDim],
    backward: () => gatedRmsNormBackward(grain, norm),
    outputs: product(rows, valueWidth),
  });
  layer.linear('out_proj', dModel, valueWidth);
  return 6;
}
