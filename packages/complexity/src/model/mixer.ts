import type { ResolvedConfig, ResolvedMixer, ResolvedShortConv } from '@freelunch/config';
import { product } from '../expression.js';
import type { Layer } from './layer.js';
import { addLinearAttention, addDeltaRule, addGatedDeltaNet } from './linear-attention.js';
import { addMamba, addMamba2 } from './mamba.js';
import { addMamba3 } from './mamba3.js';
import { addAttention } from './softmax-attention.js';

/** A mixer in the order of its forward pass. @returns how many times it uses its input */
export function addMixer(
  layer: Layer,
  config: Exclude<ResolvedMixer, { type: 'none' }>,
  model: ResolvedConfig,
): number {
  switch (config.type) {
    case 'mamba':
      return addMamba(layer, config);
    case 'mamba2':
      return addMamba2(layer, config);
    case 'mamba3':
      return addMamba3(layer, config);
    case 'linear-attention':
      return addLinearAttention(layer, config);
    case 'delta-rule':
      return addDeltaRule(layer, config);
    case 'gated-delta-net':
      return addGatedDeltaNet(layer, config);
    case 'short-conv':
      return addShortConv(layer, config);
    case 'softmax-attention':
      return addAttention(layer, config, model);
    case 'parallel':
      return addParallel(layer, config, model);
  }
}

function addShortConv(layer: Layer, config: ResolvedShortConv): number {
  const { situation, rows } = layer;
  const { dModel } = situation;
  layer.linear('in_proj', product(3, dModel), dModel, config.bias);
  layer.split('split', product(3, dModel));
  layer.pointwise('gate.in', 'multiply', product(rows, dModel));
  layer.convolve(dModel, config.dConv, config.bias, 'conv1d', false);
  layer.pointwise('gate.out', 'multiply', product(rows, dModel));
  layer.linear('out_proj', dModel, dModel, config.bias);
  return 1;
}

function addParallel(
  layer: Layer,
  config: Extract<ResolvedMixer, { type: 'parallel' }>,
  model: ResolvedConfig,
): number {
  const { situation, rows } = layer;
  const { dModel } = situation;
  const size = product(rows, dModel);
  const uses = config.branches.map(({ mixer, inMultiplier, outMultiplier }) => {
    layer.multiplied(`${mixer.type}.in`, inMultiplier, dModel);
    const inside = addMixer(layer, mixer, model);
    layer.multiplied(`${mixer.type}.out`, outMultiplier, dModel);
    if (inMultiplier === 1) return inside;
    layer.used(`${mixer.type}.x`, inside, size);
    return 1;
  });
  for (let i = 1; i < uses.length; i++) layer.pointwise('sum', 'add', size);
  return uses.reduce((total, count) => total + count, 0);
}
