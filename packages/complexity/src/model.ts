/**
 * A model as a list of ops, in the order and with the shapes in which @freelunch/models runs them: whole sequences to
 * learn from, whole sequences that go into a state, and single steps.
 */
import { accumulate, activation, copy, type PointwiseOp, scale } from './ops/activation.js';
import { causalConv1d, causalConv1dBackward, causalConv1dStep } from './ops/causal-conv1d.js';
import type {
  ResolvedConfig,
  ResolvedGatedDeltaNet,
  ResolvedMamba3,
  ResolvedMixer,
  ResolvedMlp,
  ResolvedSharedBlocks,
  ResolvedSoftmaxAttention,
} from '@freelunch/config';
import { deltaRule, deltaRuleBackward, deltaRuleStep } from './ops/delta-rule.js';
import { embedding, embeddingBackward } from './ops/embedding.js';
import { rope } from './ops/rope.js';
import { Expression, minimum, product, type Size, sum, variable } from './expression.js';
import { linearAttention, linearAttentionBackward, linearAttentionStep } from './ops/linear-attention.js';
import { mamba3, mamba3Backward, mamba3Step } from './ops/mamba3.js';
import { mamba3Gate, mamba3GateBackward } from './ops/mamba3-gate.js';
import { matmul, matmulBackward } from './ops/matmul.js';
import {
  gatedRmsNorm,
  gatedRmsNormBackward,
  layerNorm,
  layerNormBackward,
  rmsNorm,
  rmsNormBackward,
} from './ops/norm.js';
import { type Elements, type Grain, op, type Op } from './ops/op.js';
import { DEFAULT_CHUNK } from './ops/sizes.js';
import { selectiveScan, selectiveScanBackward, selectiveScanStep } from './ops/selective-scan.js';
import { softmaxAttention, softmaxAttentionBackward, softmaxAttentionStep } from './ops/softmax-attention.js';
import { ssd, ssdBackward, ssdStep } from './ops/ssd.js';

export type Phase = 'train' | 'prefill' | 'decode';

/** Weights of a matrix that may be quantised. */
export interface Matrix {
  kind: 'matrices' | 'unevenMatrices';
  size: Expression;
}

/** One op of a layer. */
export interface Entry {
  name: string;
  params: Expression;
  /** Those of the parameters that may be quantised. */
  matrix?: Matrix;
  /** Sizes of the tensors that the parameters lie in. */
  tensors: readonly Size[];
  forward: Op;
  backward: readonly Op[];
  /** Elements of the tensors that it makes. */
  outputs: Expression;
  /** Elements that it keeps from step to step. */
  state: Expression;
}

/** Sizes by name: variables of formulas, or numbers where kernels are meant. */
export class Sizes {
  readonly values: Record<string, number> = {};
  readonly #symbolic: boolean;

  constructor(symbolic: boolean) {
    this.#symbolic = symbolic;
  }

  /** A name that stands for another number already gets a digit. */
  size(name: string, value: number): Expression {
    if (!this.#symbolic) return Expression.of(value);
    let unique = name;
    for (let i = 2; (this.values[unique] ?? value) !== value; i++) unique = `${name}${i}`;
    this.values[unique] = value;
    return variable(unique);
  }
}

export interface Situation {
  phase: Phase;
  grain: Grain;
  sizes: Sizes;
  batch: Expression;
  /** Tokens of a sequence that are computed together: 1 for a step. */
  seqLen: Expression;
  /** Tokens before the step. */
  position: Expression;
  dModel: Expression;
}

/** Weights that share a scale where they are quantised. */
const BLOCK = 32;

/** Projections that are small, or whose rounding would change much: they are never quantised. */
const sensitive: ReadonlySet<string> = new Set(['dt_proj', 'a_proj', 'b_proj', 'g_proj', 'router']);

/** An op some of whose weights are a matrix. @param size of them it reads; all if absent */
function reading(op: Op, matrix: Matrix | undefined, size = matrix?.size): Op {
  if (matrix === undefined || size === undefined) return op;
  const { weights = 0, ...others } = op.read;
  const rest = Expression.of(weights).minus(size);
  return { ...op, read: { ...others, weights: rest, [matrix.kind]: size } };
}

/** Collects the ops of a layer. */
class Layer {
  readonly entries: Entry[] = [];
  readonly situation: Situation;
  /** Tokens in all. */
  readonly rows: Expression;

  constructor(situation: Situation, rows = situation.batch.times(situation.seqLen)) {
    this.situation = situation;
    this.rows = rows;
  }

  get training(): boolean {
    return this.situation.phase === 'train';
  }

  add(
    name: string,
    forward: Op,
    options: {
      tensors?: readonly Size[];
      backward?: () => Op;
      more?: readonly Op[];
      outputs?: Size;
      state?: Size;
      matrix?: Matrix;
    } = {},
  ): void {
    const { tensors = [], backward, more = [], outputs = 0, state = 0, matrix } = options;
    this.entries.push({
      name,
      params: sum(...tensors),
      matrix,
      tensors,
      forward,
      backward: this.training ? [...(backward ? [backward()] : []), ...more] : [],
      outputs: Expression.of(outputs),
      state: Expression.of(state),
    });
  }

  linear(name: string, n: Size, k: Size, bias = false, transposed = true, rows: Size = this.rows): void {
    const shape = { m: rows, n, k, bias, transposed };
    const { grain } = this.situation;
    const matrix = sensitive.has(name) ? undefined : this.matrix(n, k);
    this.add(name, reading(matmul(grain, shape), matrix), {
      tensors: [product(n, k), ...(bias ? [n] : [])],
      backward: () => reading(matmulBackward(grain, shape), matrix),
      outputs: product(rows, n),
      matrix,
    });
  }

  /** The weights of rows of k, which is the width of what comes in. */
  matrix(rows: Size, k: Size): Matrix {
    const whole = Expression.of(k).evaluate(this.situation.sizes.values) % BLOCK === 0;
    return { kind: whole ? 'matrices' : 'unevenMatrices', size: product(rows, k) };
  }

  /** A function of `size` numbers. */
  pointwise(name: string, fn: PointwiseOp, size: Size): void {
    const { grain } = this.situation;
    this.add(name, activation(grain, fn, size), {
      backward: () => activation(grain, fn, size, true),
      outputs: size,
    });
  }

  /** Rows cut into parts of these widths together. */
  split(name: string, width: Size): void {
    const size = product(this.rows, width);
    this.add(name, copy(size), { backward: () => copy(size), outputs: size });
  }

  /** Gradients of a tensor that is used `uses` times come together. */
  used(name: string, uses: number, size: Size): void {
    if (!this.training || uses < 2) return;
    this.add(name, op({}), { more: Array.from({ length: uses - 1 }, () => accumulate(size)) });
  }

  /** Rows times constants, one per part of these widths; the gradient is alike. */
  scale(name: string, widths: readonly Size[], rows: Size = this.rows): void {
    const { grain } = this.situation;
    this.add(name, scale(grain, rows, widths), {
      backward: () => scale(grain, rows, widths),
      outputs: product(rows, sum(...widths)),
    });
  }

  /** The same, if the constant is not 1. */
  multiplied(name: string, factor: number, width: Size): void {
    if (factor !== 1) this.scale(name, [width]);
  }

  norm(name: string, { type, zeroCentered }: ResolvedConfig['norm'], rows: Size = this.rows): void {
    if (type === 'none') return;
    if (zeroCentered) this.scale(`${name}.weight`, [this.situation.dModel], 1);
    const { grain, dModel } = this.situation;
    const shape = { rows, dim: dModel };
    const isRms = type === 'rms';
    this.add(name, isRms ? rmsNorm(grain, shape) : layerNorm(grain, shape), {
      tensors: isRms ? [dModel] : [dModel, dModel],
      backward: () => (isRms ? rmsNormBackward(grain, shape) : layerNormBackward(grain, shape)),
      outputs: product(rows, dModel),
    });
  }

  /** The causal convolution with SiLU, or SiLU alone. */
  convolve(channels: Expression, width: number, bias: boolean, name = 'conv1d', silu = true): void {
    const { grain, batch, seqLen, phase } = this.situation;
    const size = product(this.rows, channels);
    if (width === 0) {
      this.pointwise('silu', 'silu', size);
      return;
    }
    const shape = {
      batch,
      seqLen,
      channels,
      width,
      bias,
      silu,
      initialState: phase === 'prefill' && width > 1,
    };
    this.add(name, phase === 'decode' ? causalConv1dStep(grain, shape) : causalConv1d(grain, shape), {
      tensors: [product(channels, width), ...(bias ? [channels] : [])],
      backward: () => causalConv1dBackward(grain, shape),
      outputs: sum(size, phase === 'decode' ? 0 : product(batch, width - 1, channels)),
      state: product(batch, width - 1, channels),
    });
  }

  /** A = -exp(A_log), of `size` numbers. */
  decayRates(size: Size): void {
    this.pointwise('A.exp', 'exp', size);
    this.pointwise('A.negate', 'negate', size);
  }
}

/** Whether q, k and v are one projection and weights lie as `[in, out]`: GPT-2. */
const isFused = ({ naming }: ResolvedConfig): boolean => naming === 'gpt2';

/** A mixer in the order of its forward pass. @returns how many times it uses its input */
function addMixer(
  layer: Layer,
  config: Exclude<ResolvedMixer, { type: 'none' }>,
  model: ResolvedConfig,
): number {
  const { situation, rows } = layer;
  const { grain, sizes, batch, seqLen, dModel, phase } = situation;
  const initialState = phase === 'prefill';
  const step = phase === 'decode';
  switch (config.type) {
    case 'mamba': {
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
    case 'mamba2': {
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
      const chunkSize =
        config.chunkSize === undefined ? undefined : sizes.size('chunkSize', config.chunkSize);
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
    case 'mamba3':
      addMamba3(layer, config);
      return 1;
    case 'linear-attention': {
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
      layer.add(
        'linear_attention',
        step ? linearAttentionStep(grain, shape) : linearAttention(grain, shape),
        {
          tensors: forget === 'retention' ? [nHeads] : [],
          backward: () => linearAttentionBackward(grain, shape),
          outputs: sum(product(rows, valueWidth), step ? 0 : state),
          state,
        },
      );
      layer.linear('o_proj', dModel, valueWidth);
      return gated ? 4 : 3;
    }
    case 'delta-rule': {
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
    case 'gated-delta-net':
      return addGatedDeltaNet(layer, config);
    case 'short-conv': {
      layer.linear('in_proj', product(3, dModel), dModel, config.bias);
      layer.split('split', product(3, dModel));
      layer.pointwise('gate.in', 'multiply', product(rows, dModel));
      layer.convolve(dModel, config.dConv, config.bias, 'conv1d', false);
      layer.pointwise('gate.out', 'multiply', product(rows, dModel));
      layer.linear('out_proj', dModel, dModel, config.bias);
      return 1;
    }
    case 'softmax-attention':
      return addAttention(layer, config, model);
    case 'parallel': {
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
  }
}

function addMamba3(layer: Layer, config: ResolvedMamba3): void {
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
}

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

function addGatedDeltaNet(layer: Layer, config: ResolvedGatedDeltaNet): number {
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

function heads(layer: Layer, config: { nHeads: number; headDim: number; valueDim: number }) {
  const { sizes } = layer.situation;
  const nHeads = sizes.size('nHeads', config.nHeads);
  const headDim = sizes.size('headDim', config.headDim);
  const valueDim = config.valueDim === config.headDim ? headDim : sizes.size('valueDim', config.valueDim);
  return { nHeads, headDim, valueDim, width: nHeads.times(headDim), valueWidth: nHeads.times(valueDim) };
}

/** @param adapt  adds what a layer adds to projections that it shares with others, from an input of width `inWidth` */
function addAttention(
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

/** Whether a layer has a shared block in front of its mixer, and whether it is the first to use that one. */
export type LeadKind = 'none' | 'first' | 'again';

export function leadOf({ sharedBlocks }: ResolvedConfig, layer: number): LeadKind {
  const index = sharedBlocks?.layers.indexOf(layer) ?? -1;
  return index === -1 ? 'none' : index < sharedBlocks!.count ? 'first' : 'again';
}

/** A shared block, which reads x beside the embeddings, and the addition of what it gives to x. */
function addSharedBlock(
  layer: Layer,
  shared: ResolvedSharedBlocks,
  model: ResolvedConfig,
  kind: LeadKind,
): void {
  const { situation, rows } = layer;
  const { grain, sizes, dModel } = situation;
  const dHidden = sizes.size('dHidden', shared.dHidden);
  const rank = sizes.size('adapterRank', shared.adapterRank);
  const both = product(2, dModel);
  /** Parameters that this layer shares with the first one of the block count there. */
  const sharing = (add: () => void): void => {
    const from = layer.entries.length;
    add();
    if (kind === 'first') return;
    const added = layer.entries.slice(from);
    const sharedTensors = added.flatMap(({ tensors }) => tensors);
    for (const entry of added)
      Object.assign(entry, { params: Expression.of(0), matrix: undefined, tensors: [] });
    for (const size of sharedTensors) layer.used('shared', 2, size);
  };
  const norm = (name: string, dim: Expression) => {
    const shape = { rows, dim };
    sharing(() => {
      layer.add(name, rmsNorm(grain, shape), {
        tensors: [dim],
        backward: () => rmsNormBackward(grain, shape),
        outputs: product(rows, dim),
      });
    });
  };
  const adapter = (name: string, from: Expression, to: Expression) => {
    layer.linear(`${name}.0`, rank, from);
    layer.linear(`${name}.1`, to, rank);
    layer.pointwise(`${name}.add`, 'add', product(rows, to));
  };
  const size = product(rows, both);
  layer.add('shared.concat', copy(size), { backward: () => copy(size), outputs: size });
  norm('shared.mixer_norm', Expression.of(both));
  let uses = 3;
  const attention: [name: string, width: Expression][] = [];
  sharing(() => {
    const adapt = (name: string, width: Expression) => void attention.push([name, width]);
    uses = addAttention(layer, shared.attention, model, Expression.of(both), adapt);
  });
  if (shared.attentionAdapters)
    for (const [name, width] of attention) adapter(`${name}_adapter`, Expression.of(both), width);
  layer.used('shared.u', shared.attentionAdapters ? uses + 3 : uses, size);
  norm('shared.mlp_norm', dModel);
  sharing(() => layer.linear('gate_up_proj', product(2, dHidden), dModel, shared.bias));
  adapter('adapter', dModel, Expression.of(product(2, dHidden)));
  layer.used('shared.v', 2, product(rows, dModel));
  layer.split('shared.split', product(2, dHidden));
  layer.pointwise('gelu', 'gelu', product(rows, dHidden));
  layer.pointwise('gate', 'multiply', product(rows, dHidden));
  sharing(() => layer.linear('down_proj', dModel, dHidden, shared.bias));
  layer.linear('shared_linear', dModel, dModel);
  layer.pointwise('shared.add', 'add', product(rows, dModel));
}

/** Makes a product one of `count` experts, to which `rows` rows go: more of them are read the more rows there are. */
function ofExperts(entry: Entry, count: Expression, rows: Expression): void {
  const several = (elements: Elements): Elements => ({
    ...elements,
    ...Object.fromEntries(
      (['weights', 'matrices', 'unevenMatrices'] as const).flatMap((kind) => {
        const size = elements[kind];
        return size === undefined ? [] : [[kind, product(size, minimum(count, rows))]];
      }),
    ),
    ...(elements.gradients !== undefined && { gradients: product(elements.gradients, count) }),
  });
  const widened = (part: Op): Op => ({ ...part, read: several(part.read), written: several(part.written) });
  entry.params = entry.params.times(count);
  if (entry.matrix) entry.matrix = { ...entry.matrix, size: entry.matrix.size.times(count) };
  entry.forward = widened(entry.forward);
  entry.backward = entry.backward.map(widened);
}

function addMlp(layer: Layer, config: Exclude<ResolvedMlp, { type: 'none' }>, model: ResolvedConfig): number {
  const { situation } = layer;
  const { sizes, dModel } = situation;
  const { experts, active, bias } = config;
  const fused = isFused(model);
  const rows = experts === 1 ? layer.rows : layer.rows.times(sizes.size('activeExperts', active));
  const count = experts === 1 ? Expression.of(1) : sizes.size('nExperts', experts);
  if (experts > 1) {
    layer.linear('router', count, dModel);
    layer.pointwise('router.exp', 'exp', product(layer.rows, count));
  }
  const linear = (name: string, n: Expression, k: Expression, bias: boolean, transposed: boolean) => {
    layer.linear(name, n, k, bias, transposed, rows);
    if (experts > 1) ofExperts(layer.entries[layer.entries.length - 1], count, rows);
  };
  const dHidden = sizes.size('dHidden', config.dHidden);
  if (config.type === 'swiglu') {
    linear('gate_proj', dHidden, dModel, bias, true);
    if (config.gateMultiplier !== 1) layer.scale('gate_multiplier', [dHidden], rows);
    layer.pointwise('silu', 'silu', product(rows, dHidden));
    linear('up_proj', dHidden, dModel, bias, true);
    layer.pointwise('gate', 'multiply', product(rows, dHidden));
    linear('down_proj', dModel, dHidden, bias, true);
    if (config.outMultiplier !== 1) layer.scale('out_multiplier', [dModel], rows);
    return 2;
  }
  linear(fused ? 'c_fc' : 'fc1', dHidden, dModel, bias, !fused);
  const hidden = product(rows, dHidden);
  if (config.type === 'gelu')
    layer.pointwise('gelu', config.approximate === 'tanh' ? 'geluTanh' : 'gelu', hidden);
  else layer.pointwise(config.type, config.type, hidden);
  linear(fused ? 'c_proj' : 'fc2', dModel, dHidden, bias, !fused);
  return 1;
}

/** A residual block: a norm, a mixer, an addition, and the same with an MLP; one of them may be absent. */
export function block(
  situation: Situation,
  mixer: ResolvedMixer,
  mlp: ResolvedMlp,
  model: ResolvedConfig,
  lead: LeadKind,
): { mixer: Entry[]; mlp: Entry[] } {
  const branch = (add: (layer: Layer) => number, shared?: ResolvedSharedBlocks): Entry[] => {
    const layer = new Layer(situation);
    if (shared) addSharedBlock(layer, shared, model, lead);
    layer.norm('norm', model.norm);
    const uses = add(layer) + (shared ? 2 : 0); // x and the embeddings, once more each
    const size = product(layer.rows, situation.dModel);
    layer.used('x', uses + 1, size); // in the branch, and beside it
    layer.multiplied('multiplier', model.residualMultiplier, situation.dModel);
    layer.pointwise('residual', 'add', size);
    return layer.entries;
  };
  return {
    mixer:
      mixer.type === 'none'
        ? []
        : branch((layer) => addMixer(layer, mixer, model), lead === 'none' ? undefined : model.sharedBlocks),
    mlp: mlp.type === 'none' ? [] : branch((layer) => addMlp(layer, mlp, model)),
  };
}

/** What comes before the blocks. */
export function embed(situation: Situation, model: ResolvedConfig): Entry[] {
  const layer = new Layer(situation);
  const { grain, dModel, sizes } = situation;
  const size = product(layer.rows, dModel);
  const table = (name: string, rows: Expression, matrix?: Matrix) =>
    layer.add(name, reading(embedding(layer.rows, dModel), matrix, size), {
      matrix,
      tensors: [product(rows, dModel)],
      backward: () => embeddingBackward(grain, layer.rows, rows, dModel),
      outputs: size,
    });
  const vocabSize = sizes.size('vocabSize', model.vocabSize);
  table('embedding', vocabSize, layer.matrix(vocabSize, dModel));
  layer.multiplied('multiplier', model.embeddingMultiplier, dModel);
  if (model.position.type === 'learned') {
    table('positions', sizes.size('maxLength', model.position.maxLength));
    layer.pointwise('add', 'add', size);
  }
  return layer.entries;
}

/** And after them. @param last of the last position alone */
export function head(situation: Situation, model: ResolvedConfig, last: boolean): Entry[] {
  const rows = last ? situation.batch : situation.batch.times(situation.seqLen);
  const layer = new Layer(situation, rows);
  const { dModel, sizes } = situation;
  const vocabSize = sizes.size('vocabSize', model.vocabSize);
  if (last && situation.phase !== 'decode')
    layer.add('last', copy(product(rows, dModel)), { outputs: product(rows, dModel) });
  layer.norm('norm', model.norm);
  layer.linear('lm_head', vocabSize, dModel);
  const entry = layer.entries[layer.entries.length - 1];
  if (model.tieEmbeddings) {
    entry.params = Expression.of(0);
    entry.matrix = undefined;
    entry.tensors = [];
    layer.used('tied', 2, product(vocabSize, dModel));
  }
  layer.multiplied('logits', model.logitsMultiplier, vocabSize);
  return layer.entries;
}
