/// <reference lib="esnext.disposable" preserve="true" />
import type { ResolvedConfig } from '@freelunch/config';
import { ArgumentError, DisposedError, FreelunchError, ShapeError, show } from '@freelunch/errors';
import type { Kernels } from '@freelunch/kernels';
import type { MixerState } from './mixers/mixer.js';
import type { FloatTensor } from './mixers/parameters.js';
import type { StepPlan } from './step-plan.js';

/** What a model keeps between steps, for a batch of sequences. */
export interface ModelState extends Disposable {
  readonly batch: number;
  /** Tokens seen so far. */
  readonly position: number;
  readonly layers: readonly MixerState[];
  /** Bytes that its tensors hold now. */
  readonly bytes: number;
  /** Whether it was freed, or any tensor of it. */
  readonly disposed: boolean;
  dispose(): void;
}

/** What text is generated from: a model, as far as that needs it. */
export interface Decoder {
  readonly k: Kernels;
  readonly config: Pick<ResolvedConfig, 'vocabSize' | 'position'>;
  initialState(batch: number): ModelState;
  /** Logits `[batch, 1, vocabSize]` of the last position, going on from a state. */
  forward(
    tokens: readonly (readonly number[])[],
    options: { state: ModelState; lastOnly: boolean },
  ): FloatTensor;
  /** Logits `[batch, vocabSize]`. */
  step(tokens: readonly number[], state: ModelState): FloatTensor;
}

export class LayerStates implements ModelState {
  readonly batch: number;
  readonly layers: readonly MixerState[];
  /** How its steps are computed, once there was one. */
  plan: StepPlan | undefined;
  #disposed = false;
  #unfinished = false;

  constructor(batch: number, layers: readonly MixerState[]) {
    this.batch = batch;
    this.layers = layers;
  }

  get position(): number {
    return this.layers[0].position; // all of them count, also where a layer keeps nothing
  }

  get disposed(): boolean {
    if (this.#disposed) return true;
    for (const { tensors } of this.layers) {
      for (const name in tensors) if (tensors[name].disposed) return true;
    }
    return false;
  }

  get bytes(): number {
    return this.layers.reduce(
      (total, { tensors }) =>
        total + Object.values(tensors).reduce((sum, tensor) => sum + tensor.size * 4, 0),
      0,
    );
  }

  /**
   * Runs what moves all layers on by some steps, all at once or, by calls inside, in parts. If it throws, some have moved
   * and some have not: of no use any more.
   */
  advance<T>(steps: number, run: () => T): T {
    const before = this.#unfinished;
    this.#unfinished = true;
    const result = run();
    for (const layer of this.layers) layer.position += steps;
    this.#unfinished = before;
    return result;
  }

  /** @throws ArgumentError, ShapeError, DisposedError, FreelunchError unless it is good for such a call */
  check(where: string, nLayers: number, batch: number): void {
    if (this.layers.length !== nLayers)
      throw new ArgumentError(`${where}: state must be one of this model, with ${nLayers} layers`);
    if (this.batch !== batch)
      throw new ShapeError(`${where}: tokens must be ${this.batch} sequences as the state has, got ${batch}`);
    if (this.disposed) throw new DisposedError(`${where}: state was disposed of`);
    if (this.#unfinished)
      throw new FreelunchError(`${where}: state must be whole, but a call before this one failed half-way`);
  }

  dispose(): void {
    this.#disposed = true;
    this.plan?.dispose();
    for (const { tensors } of this.layers) for (const tensor of Object.values(tensors)) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @throws ArgumentError unless it is what `initialState` gives */
export function asLayerStates(where: string, state: unknown): LayerStates {
  if (!(state instanceof LayerStates))
    throw new ArgumentError(`${where}: state must be what initialState gives, got ${show(state)}`);
  return state;
}
