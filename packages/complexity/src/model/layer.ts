/** What the ops of a layer are collected in. */
import type { ResolvedConfig } from '@freelunch/config';
import { Expression, product, type Size, sum, variable } from '../expression.js';
import { accumulate, activation, copy, type PointwiseOp, scale } from '../ops/activation.js';
import { causalConv1d, causalConv1dBackward, causalConv1dStep } from '../ops/causal-conv1d.js';
import { matmul, matmulBackward } from '../ops/matmul.js';
import { layerNorm, layerNormBackward, rmsNorm, rmsNormBackward } from '../ops/norm.js';
import { type Grain, op, type Op } from '../ops/op.js';

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
export function reading(op: Op, matrix: Matrix | undefined, size = matrix?.size): Op {
  if (matrix === undefined || size === undefined) return op;
  const { weights = 0, ...others } = op.read;
  const rest = Expression.of(weights).minus(size);
  return { ...op, read: { ...others, weights: rest, [matrix.kind]: size } };
}

/** Collects the ops of a layer. */
export class Layer {
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
