import type { ResolvedMamba, ResolvedMamba2 } from '@freelunch/config';
import { product, sum } from '../expression.js';
import { gatedRmsNorm, gatedRmsNormBackward, rmsNorm, rmsNormBackward } from '../ops/norm.js';
import { selectiveScan, selectiveScanBackward, selectiveScanStep } from '../ops/selective-scan.js';
import { ssd, ssdBackward, ssdStep } from '../ops/ssd.js';
import type { Layer } from './layer.js';

export function addMamba(layer: Layer, config: ResolvedMamba): number {
  const { situation, rows } = layer;
  const { grain, sizes, batch, seqLen, dModel, phase } = situation;
  const initialState = phase === 'prefill';
  const step = phase === 'decode';
  const { dConv, bias, convBias, innerNorms } = config;
  const dState = sizes.size('dState', config.dState);
  const dInner = sizes.size('dInner', config.dInner);
  const dtRank = sizes.size('dtRank', config.dtRank);
  layer.linear('in_proj', product(2, dInner), dModel, bias);
  layer.split('split', product(2, dInner));
  layer.convolve(dInner, dConv, convBias);
  layer.linear('x_proj', sum(dtRank, product(2, dState)), dInner);
  layer.used('u', 2, product(rows, dInner));
  layer.split('select', sum(dtRank, product(2, dState)));
  if (innerNorms !== 'none') {
    for (const [name, dim] of [
      ['dt', dtRank],
      ['B', dState],
      ['C', dState],
    ] as const) {
      const shape = { rows, dim };
      layer.add(`${name}_norm`, rmsNorm(grain, shape), {
        tensors: innerNorms === 'weighted' ? [dim] : [],
        backward: () => rmsNormBackward(grain, shape),
        outputs: product(rows, dim),
      });
    }
  }
  layer.linear('dt_proj', dInner, dtRank);
  layer.decayRates(product(dInner, dState));
  const shape = { batch, seqLen, dInner, dState, initialState };
  const state = product(batch, dInner, dState);
  layer.add('scan', step ? selectiveScanStep(grain, shape) : selectiveScan(grain, shape), {
    tensors: [product(dInner, dState), dInner, dInner], // A_log, D and the bias of dt_proj
    backward: () => selectiveScanBackward(grain, shape),
    outputs: sum(product(rows, dInner), step ? 0 : state),
    state,
  });
  layer.linear('out_proj', dModel, dInner, bias);
  return 1;
}

export function addMamba2(layer: Layer, config: ResolvedMamba2): number {
  const { situation, rows } = layer;
  const { grain, sizes, batch, seqLen, dModel, phase } = situation;
  const initialState = phase === 'prefill';
  const step = phase === 'decode';
  const { dConv, bias, convBias } = config;
  const dState = sizes.size('dState', config.dState);
  const dInner = sizes.size('dInner', config.dInner);
  const headDim = sizes.size('headDim', config.headDim);
  const nHeads = sizes.size('nHeads', config.dInner / config.headDim);
  const nGroups = sizes.size('nGroups', config.nGroups);
  const mixed = sum(dInner, product(2, nGroups, dState));
  layer.linear('in_proj', sum(dInner, mixed, nHeads), dModel, bias);
  if (config.multipliers) {
    const dGroups = product(nGroups, dState);
    layer.scale('multipliers', [dInner, dInner, dGroups, dGroups, nHeads]);
  }
  layer.split('split', sum(dInner, mixed, nHeads));
  layer.convolve(mixed, dConv, convBias);
  layer.split('select', mixed);
  layer.decayRates(nHeads);
  const chunkSize = config.chunkSize === undefined ? undefined : sizes.size('chunkSize', config.chunkSize);
  const shape = { batch, seqLen, nHeads, headDim, nGroups, dState, chunkSize, initialState };
  const state = product(batch, dInner, dState);
  layer.add('ssd', step ? ssdStep(grain, shape) : ssd(grain, shape), {
    tensors: [nHeads, nHeads, nHeads], // A_log, D and dt_bias
    backward: () => ssdBackward(grain, shape),
    outputs: sum(product(rows, dInner), step ? 0 : state),
    state,
  });
  if (config.gatedNorm) {
    const groups = config.normGroups;
    const norm = {
      rows,
      groups: groups === config.nGroups ? nGroups : sizes.size('normGroups', groups),
      dim: groups === 1 ? dInner : sizes.size('groupWidth', config.dInner / groups),
      normBeforeGate: config.normBeforeGate,
    };
    layer.add('norm', gatedRmsNorm(grain, norm), {
      tensors: [dInner],
      backward: () => gatedRmsNormBackward(grain, norm),
      outputs: product(rows, dInner),
    });
  } else {
    layer.pointwise('silu', 'silu', product(rows, dInner));
    layer.pointwise('gate', 'multiply', product(rows, dInner));
  }
  layer.linear('out_proj', dModel, dInner, config.outBias);
  return 1;
}
