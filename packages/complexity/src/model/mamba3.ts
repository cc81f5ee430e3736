import type { ResolvedMamba3 } from '@freelunch/config';
import { product, sum } from '../expression.js';
import { mamba3Gate, mamba3GateBackward } from '../ops/mamba3-gate.js';
import { mamba3, mamba3Backward, mamba3Step } from '../ops/mamba3.js';
import { rmsNorm, rmsNormBackward } from '../ops/norm.js';
import { DEFAULT_CHUNK } from '../ops/sizes.js';
import type { Layer } from './layer.js';

export function addMamba3(layer: Layer, config: ResolvedMamba3): number {
  const { situation, rows } = layer;
  const { grain, sizes, batch, seqLen, dModel, phase } = situation;
  const step = phase === 'decode';
  const { mimo } = config;
  const dState = sizes.size('dState', config.dState);
  const dInner = sizes.size('dInner', config.dInner);
  const headDim = sizes.size('headDim', config.headDim);
  const nHeads = sizes.size('nHeads', config.dInner / config.headDim);
  const nGroups = sizes.size('nGroups', config.nGroups);
  const nAngles = sizes.size('nAngles', config.nAngles);
  const nRanks = sizes.size('nRanks', config.nRanks);
  const dGroups = product(nRanks, nGroups, dState);
  const projected = sum(product(2, dInner), product(2, dGroups), product(3, nHeads), nAngles);
  layer.linear('in_proj', projected, dModel);
  layer.split('split', projected);
  const norm = { rows: product(rows, nRanks, nGroups), dim: dState };
  for (const name of ['B_norm', 'C_norm'])
    layer.add(name, rmsNorm(grain, norm), {
      tensors: [dState],
      backward: () => rmsNormBackward(grain, norm),
      outputs: product(rows, dGroups),
    });
  const ranked = product(nHeads, nRanks, headDim);
  const biases = product(nHeads, nRanks, dState);
  const chunkSize = config.chunkSize ?? Math.max(1, Math.floor(DEFAULT_CHUNK / config.nRanks));
  const shape = {
    batch,
    seqLen,
    nHeads,
    headDim,
    nRanks,
    nGroups,
    dState,
    nAngles,
    mimo,
    chunkSize: sizes.size('chunkSize', chunkSize),
    initialState: phase === 'prefill',
  };
  const state = product(
    batch,
    nHeads,
    sum(nAngles, product(headDim, dState), product(nRanks, dState), headDim),
  );
  layer.add('mamba3', step ? mamba3Step(grain, shape) : mamba3(grain, shape), {
    tensors: [nHeads, nHeads, biases, biases, ...(mimo ? [ranked] : [])], // D, dt_bias, B_bias, C_bias, mimo_x
    backward: () => mamba3Backward(grain, shape),
    outputs: sum(product(rows, ranked), step ? 0 : state),
    state,
  });
  const gate = { rows, nHeads, nRanks, headDim, norm: config.outputNorm, mimo };
  layer.add('gate', mamba3Gate(grain, gate), {
    tensors: [...(config.outputNorm ? [dInner] : []), ...(mimo ? [ranked, ranked] : [])],
    backward: () => mamba3GateBackward(grain, gate),
    outputs: product(rows, dInner),
  });
  layer.linear('out_proj', dModel, dInner);
  return 1;
}
