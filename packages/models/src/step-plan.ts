import type { Kernels, Tensor } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import type { FloatTensor } from './mixers/parameters.js';
import type { MixerState } from './mixers/mixer.js';

/** What differs from step to step, in memory: int32. */
export interface StepInputs {
  /** `[batch, 1]` */
  ids: Tensor<'int32'>;
  /** Of the token, `[batch, 1]` */
  positions: Tensor<'int32'>;
  /** The same, `[1]` */
  position: Tensor<'int32'>;
  /** Entries in use of each layer's cache, `[batch]`, where it has one. */
  held: (Tensor<'int32'> | undefined)[];
}

/** A state, as far as its steps need it. */
interface State {
  readonly batch: number;
  readonly position: number;
  readonly layers: readonly MixerState[];
}

interface Recorded {
  inputs: StepInputs;
  result: FloatTensor;
  recording: { replay(): void };
}

type Disposing = { readonly disposed: boolean };

/**
 * The steps of one state: what the first computed, as calls of kernels to be made again. Inputs are written where the
 * calls read them, and nothing else is done per token: no checks of shapes, no tensors, no closures.
 *
 * It stands for the ordinary code as long as its calls would be the same: as long as the state has the tensors that it
 * had, and they and the weights live (`fits`). What weights hold is read anew by every step, except what is derived from
 * them: of that see `Recording.derived`.
 */
export class StepPlan {
  readonly #k: Kernels;
  readonly #state: State;
  readonly #parameters: ReadonlyMap<string, Disposing>;
  /** What must live, and what must be in its place. */
  readonly #used: Disposing[];
  readonly #places: { tensors: Readonly<Record<string, FloatTensor>>; name: string; tensor: FloatTensor }[];
  readonly #compute: (inputs: StepInputs) => FloatTensor;
  /** Tensors that the plan made. */
  #own: readonly Tensor[] = [];
  #recorded: Recorded | undefined;
  #broken = false;

  constructor(
    k: Kernels,
    state: State,
    parameters: ReadonlyMap<string, Disposing>,
    compute: (inputs: StepInputs) => FloatTensor,
  ) {
    this.#k = k;
    this.#state = state;
    this.#parameters = parameters;
    this.#compute = compute;
    this.#places = state.layers.flatMap(({ tensors }) =>
      Object.entries(tensors).map(([name, tensor]) => ({ tensors, name, tensor })),
    );
    this.#used = [...parameters.values(), ...this.#places.map(({ tensor }) => tensor)];
  }

  /** Whether its calls are those of a model with these parameters, now. */
  fits(parameters: ReadonlyMap<string, Disposing>): boolean {
    if (this.#broken || parameters !== this.#parameters) return false;
    for (const { tensors, name, tensor } of this.#places) if (tensors[name] !== tensor) return false;
    for (const tensor of this.#used) if (tensor.disposed) return false;
    return true;
  }

  /** One step, whose logits it writes into the caller's tensor. */
  run(ids: ArrayLike<number>, logits: FloatTensor): void {
    this.#broken = true;
    if (this.#recorded === undefined) this.#first(ids, logits);
    else this.#again(this.#recorded, ids, logits);
    for (const layer of this.#state.layers) if (layer.held !== undefined) layer.held++;
    this.#broken = false;
  }

  dispose(): void {
    this.#broken = true;
    for (const tensor of this.#own) tensor.dispose();
  }

  #first(ids: ArrayLike<number>, logits: FloatTensor): void {
    const k = this.#k;
    const anchor = this.#places[0]?.tensor;
    if (anchor === undefined) {
      // Nothing lives as long as the state: it has no tensors.
      k.scope(() => logits.data.set(this.#compute(this.#write(this.#inputs(), ids)).data));
      return;
    }
    const { inputs, result, recording } = k.alongside(anchor, () => {
      const inputs = this.#write(this.#inputs(), ids);
      return { inputs, ...internalsOf(k).record(() => this.#compute(inputs)) };
    });
    const { held, ...others } = inputs;
    const ofCaches = held.filter((each) => each !== undefined);
    this.#own = [...Object.values(others), ...ofCaches, result, ...recording.buffers];
    this.#used.push(...this.#own);
    this.#recorded = { inputs, result, recording };
    logits.data.set(result.data);
  }

  #again({ inputs, result, recording }: Recorded, ids: ArrayLike<number>, logits: FloatTensor): void {
    this.#write(inputs, ids);
    recording.replay();
    logits.data.set(result.data);
  }

  #inputs(): StepInputs {
    const k = this.#k;
    const { batch, layers } = this.#state;
    return {
      ids: k.empty([batch, 1], 'int32'),
      positions: k.empty([batch, 1], 'int32'),
      position: k.empty([1], 'int32'),
      held: layers.map(({ held }) => (held === undefined ? undefined : k.empty([batch], 'int32'))),
    };
  }

  #write(inputs: StepInputs, ids: ArrayLike<number>): StepInputs {
    const { position, layers } = this.#state;
    inputs.ids.data.set(ids);
    inputs.positions.data.fill(position);
    inputs.position.data[0] = position;
    for (let i = 0; i < layers.length; i++) {
      const { held } = layers[i];
      if (held !== undefined) inputs.held[i]!.data.fill(held);
    }
    return inputs;
  }
}
