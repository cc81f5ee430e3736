import { type Kernels, QuantizedTensor, type Tensor } from '@freelunch/kernels';
import type { Random } from '@freelunch/random';

/** How a parameter starts: fills its elements in order. */
export type Initializer = (data: Float32Array, rng: Random) => void;

export interface ParameterSpec {
  /** What it is inside the model: see `checkpoints/layout.ts`. */
  path: string;
  /** What the model's architecture calls it. */
  name: string;
  shape: readonly number[];
  initialize: Initializer;
  /** False for biases, norms, and the decays and skips of state spaces: weight decay would pull them off their meaning. */
  decays: boolean;
  /** Of the weight of a linear layer or an embedding, which may be quantised: its axes, `in` of the input. */
  matrix?: MatrixAxes;
}

/** How a linear layer stores its weight: `[out, in]`, or `[in, out]` as GPT-2 does. An embedding is `[out, in]`. */
export type MatrixAxes = 'out-in' | 'in-out';

export type FloatTensor = Tensor<'float32'>;
/** A parameter; that of a `matrix` may be quantised, and is `[out, in]` then. */
export type Weight = FloatTensor | QuantizedTensor;

export const zeros: Initializer = (data) => void data.fill(0);
export const ones: Initializer = (data) => void data.fill(1);
export const constant =
  (value: number): Initializer =>
  (data) =>
    void data.fill(value);

/** Normal with this standard deviation. */
export const normal =
  (deviation: number): Initializer =>
  (data, rng) => {
    for (let i = 0; i < data.length; i++) data[i] = deviation * rng.normal();
  };

/** Uniform in [-bound, bound): with bound 1/sqrt(fanIn) what PyTorch gives linear layers and convolutions. */
export const uniform =
  (bound: number): Initializer =>
  (data, rng) => {
    for (let i = 0; i < data.length; i++) data[i] = bound * (2 * rng.float() - 1);
  };

/** Collects what a model is made of, in order; a mixer asks for its parameters by role. */
export class ParameterList {
  readonly specs: ParameterSpec[] = [];
  readonly #nameOf: (path: string) => string;

  /** @param nameOf what a parameter is called, by its path */
  constructor(nameOf: (path: string) => string) {
    this.#nameOf = nameOf;
  }

  /** The weight of a linear layer or of an embedding: weight decay applies to it, and it may be quantised. */
  matrix(
    path: string,
    shape: readonly [number, number],
    initialize: Initializer,
    matrix: MatrixAxes = 'out-in',
  ): void {
    this.specs.push({ path, name: this.#nameOf(path), shape, initialize, decays: true, matrix });
  }

  /** Another parameter that weight decay applies to: one that is small, or too sensitive to be rounded. */
  weight(path: string, shape: readonly number[], initialize: Initializer): void {
    this.specs.push({ path, name: this.#nameOf(path), shape, initialize, decays: true });
  }

  /** A parameter that it does not apply to. */
  other(path: string, shape: readonly number[], initialize: Initializer): void {
    this.specs.push({ path, name: this.#nameOf(path), shape, initialize, decays: false });
  }
}

/**
 * Allocates parameters and fills them, each from its own stream: one that is added changes no other. All are allocated
 * before the first is filled, so that a model that is too large is refused at once.
 *
 * @throws OutOfMemoryError; nothing of them stays then
 */
export function createParameters(
  k: Kernels,
  specs: readonly ParameterSpec[],
  rng: Random,
): Map<string, FloatTensor> {
  return k.scope(() => {
    const parameters = new Map(specs.map(({ name, shape }) => [name, k.empty(shape)]));
    for (const { name, initialize } of specs) initialize(parameters.get(name)!.data, rng.split(name));
    return parameters;
  });
}

/** Parameters of one block, by the end of their paths: `get('in_proj.weight')`. */
export class Scope {
  readonly #parameters: ReadonlyMap<string, Weight>;
  readonly #prefix: string;

  constructor(parameters: ReadonlyMap<string, Weight>, prefix: string) {
    this.#parameters = parameters;
    this.#prefix = prefix;
  }

  /** Parameters elsewhere in the model; `prefix` ends in a dot. */
  at(prefix: string): Scope {
    return new Scope(this.#parameters, prefix);
  }

  /** Parameters of a part of the block; `prefix` ends in a dot. */
  inside(prefix: string): Scope {
    return new Scope(this.#parameters, this.#prefix + prefix);
  }

  /** @throws Error if the model has no such parameter: a slip of ours, not the user's */
  get(name: string): FloatTensor {
    return notQuantized(this.matrix(name));
  }

  find(name: string): FloatTensor | undefined {
    const weight = this.#parameters.get(this.#prefix + name);
    return weight && notQuantized(weight);
  }

  /** The weight of a linear layer or an embedding. @throws Error as `get` */
  matrix(name: string): Weight {
    const weight = this.#parameters.get(this.#prefix + name);
    if (weight === undefined) throw new Error(`no parameter ${this.#prefix}${name}`);
    return weight;
  }
}

function notQuantized(weight: Weight): FloatTensor {
  if (weight instanceof QuantizedTensor)
    throw new Error(`a parameter that is no matrix is ${String(weight)}`);
  return weight;
}
