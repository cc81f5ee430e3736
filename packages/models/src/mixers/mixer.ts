import { type Kernels, QuantizedTensor, type Tensor } from '@freelunch/kernels';
import type { Ops } from './ops.js';
import type { FloatTensor, MatrixAxes, ParameterList, Scope } from './parameters.js';

/** What a mixer keeps between steps: tensors by name, updated in place, or replaced where they must grow. */
export interface MixerState {
  readonly tensors: Record<string, FloatTensor>;
  /** Steps seen so far. */
  position: number;
  /** Entries in use of a cache of keys and values. */
  held?: number;
}

/** Where a step stands, in memory: int32. */
export interface Now {
  /** Position of the token, `[1]`. */
  position: Tensor<'int32'>;
  /** Entries in use of the layer's cache of keys and values, `[batch]`, if it has one. */
  held: Tensor<'int32'> | undefined;
}

/** What some mixers have added to their input before its norm: it comes from the residual stream and the embeddings. */
export interface Lead {
  forward(o: Ops, p: Scope, x: FloatTensor, embedded: FloatTensor, state?: MixerState): FloatTensor;
  step(o: Ops, p: Scope, x: FloatTensor, embedded: FloatTensor, state: MixerState, now: Now): FloatTensor;
  /** What paths of parameters outside the layer begin with. */
  readonly parameters: readonly string[];
}

/**
 * One kind of mixer at given sizes: its parameters, its block over whole sequences, its state, its step.
 * `forward` with a state goes on from it and leaves in it what the next call needs.
 */
export interface Mixer {
  /** Adds its parameters; `prefix` ends in a dot. */
  declare(list: ParameterList, prefix: string): void;
  /** `[batch, seqLen, dModel]` to the same. */
  forward(o: Ops, p: Scope, x: FloatTensor, state?: MixerState): FloatTensor;
  readonly lead?: Lead;
  initialState(k: Kernels, batch: number): MixerState;
  /** Makes room in the state for so many more entries: it may replace tensors. */
  makeRoom?(k: Kernels, state: MixerState, added: number): void;
  /**
   * `[batch, dModel]` to the same; updates the tensors of the state, in which there is room. What it calls is noted once
   * and then called again: what differs from step to step, it takes from memory.
   */
  step(o: Ops, p: Scope, x: FloatTensor, state: MixerState, now: Now): FloatTensor;
  /** Bytes that the state of one sequence holds after `seqLen` steps. */
  stateBytes(seqLen: number): number;
}

/** A linear layer: `x W^T + bias` where W is stored as `[out, in]`, `x W + bias` where as `[in, out]`. */
export const linear = (
  o: Ops,
  p: Scope,
  name: string,
  x: FloatTensor,
  axes: MatrixAxes = 'out-in',
): FloatTensor => {
  const b = p.matrix(`${name}.weight`);
  const transposeB = axes === 'out-in' || b instanceof QuantizedTensor;
  return o.matmul({ a: x, b, transposeB, bias: p.find(`${name}.bias`) });
};

/** Copies `source` over a tensor of the state. */
export function keep(state: MixerState, name: string, source: FloatTensor): void {
  state.tensors[name].data.set(source.data);
}
