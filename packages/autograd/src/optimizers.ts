import { ArgumentError, FormatError, type Kernels, type Tensor } from '@freelunch/kernels';

type FloatTensor = Tensor<'float32'>;

/** Parameters by name that share their options. */
export interface ParameterGroup {
  parameters: ReadonlyMap<string, FloatTensor>;
  /** The optimiser's if absent; 0 for biases, norms and what else should not shrink. */
  weightDecay?: number;
}

/** What an optimiser remembers: with it, one of the same kind goes on to the same bits. */
export interface OptimizerState {
  /** Steps done. */
  step: number;
  /** Live tensors, by what they are and the parameter's name: `m.head.weight`. */
  tensors: ReadonlyMap<string, FloatTensor>;
}

/** Changes parameters by their gradients. Made by {@link adamW} or {@link sgd}. */
export interface Optimizer extends Disposable {
  /** Steps done. */
  readonly step: number;
  /**
   * One step. A parameter without a gradient stays as it is.
   *
   * @param gradients     as `tape.backward` gives them
   * @param learningRate  of this step, from 0 up
   */
  update(gradients: ReadonlyMap<Tensor, Tensor>, learningRate: number): void;
  readonly state: OptimizerState;
  /** Goes on from a state, which is copied. @throws FormatError if it is not one of this optimiser */
  load(state: { step: number; tensors: ReadonlyMap<string, Tensor> }): void;
  /** Frees the state, not the parameters. */
  dispose(): void;
}

/** One parameter with its state tensors, in the order of their roles. */
interface Slot {
  parameter: FloatTensor;
  weightDecay: number;
  state: FloatTensor[];
}

/** @param roles names of the tensors that are kept for each parameter, zeros at first */
function createOptimizer(
  k: Kernels,
  where: string,
  given: ParameterGroup | readonly ParameterGroup[],
  roles: readonly string[],
  weightDecay: number,
  updateOne: (slot: Slot, gradient: Tensor, step: number, learningRate: number) => void,
): Optimizer {
  const groups = Array.isArray(given) ? (given as readonly ParameterGroup[]) : [given as ParameterGroup];
  const slots = new Map<string, Slot>();
  const decayOf = (group: ParameterGroup) => group.weightDecay ?? weightDecay;
  for (const group of groups) {
    const decay = decayOf(group);
    if (!(decay >= 0 && decay < Infinity))
      throw new ArgumentError(`${where}: weightDecay must be a finite number from 0 up, got ${decay}`);
  }
  // In a scope: where memory ends before all is made, nothing of it stays.
  k.scope(() => {
    for (const group of groups) {
      for (const [name, parameter] of group.parameters) {
        if (slots.has(name)) throw new ArgumentError(`${where}: ${name} must be in one group, got it in two`);
        const state = roles.map(() => k.zeros(parameter.shape));
        slots.set(name, { parameter, weightDecay: decayOf(group), state });
      }
    }
    return Array.from(slots.values(), ({ state }) => state);
  });
  const tensors = new Map<string, FloatTensor>();
  roles.forEach((role, i) => {
    for (const [name, slot] of slots) tensors.set(`${role}.${name}`, slot.state[i]);
  });
  let step = 0;
  const dispose = () => {
    for (const tensor of tensors.values()) tensor.dispose();
  };
  return {
    get step() {
      return step;
    },
    update(gradients, learningRate) {
      step++;
      for (const slot of slots.values()) {
        const gradient = gradients.get(slot.parameter);
        if (gradient !== undefined) updateOne(slot, gradient, step, learningRate);
      }
    },
    get state() {
      return { step, tensors };
    },
    load(state) {
      if (!Number.isSafeInteger(state.step) || state.step < 0)
        throw new FormatError(`${where}: step must be a whole number from 0 up, got ${state.step}`);
      for (const [name, target] of tensors) {
        const source = state.tensors.get(name);
        if (source === undefined) throw new FormatError(`${where}: the state must have ${name}, got none`);
        if (source.dtype !== 'float32' || source.size !== target.size) {
          throw new FormatError(
            `${where}: ${name} must have ${target.size} float32 elements, got ${source.size} of ${source.dtype}`,
          );
        }
      }
      for (const [name, target] of tensors) target.set(state.tensors.get(name)!.data);
      step = state.step;
    },
    dispose,
    [Symbol.dispose]: dispose,
  };
}

/** Options of {@link adamW}. */
export interface AdamWOptions {
  /** 0.9 if absent. */
  beta1?: number;
  /** 0.999 if absent. */
  beta2?: number;
  /** 1e-8 if absent. */
  eps?: number;
  /** Of groups that name none; 0.01 if absent. */
  weightDecay?: number;
}

/**
 * AdamW: `k.adamW` on all parameters, with its running means.
 *
 *   const optimizer = adamW(k, [{ parameters: weights }, { parameters: biases, weightDecay: 0 }]);
 *   optimizer.update(tape.backward(loss), 1e-3);
 *
 * @throws ArgumentError if a parameter is in two groups
 * @see Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101
 */
export function adamW(
  k: Kernels,
  groups: ParameterGroup | readonly ParameterGroup[],
  { beta1, beta2, eps, weightDecay = 0.01 }: AdamWOptions = {},
): Optimizer {
  const update = (
    { parameter, weightDecay: decay, state: [m, v] }: Slot,
    gradient: Tensor,
    step: number,
    learningRate: number,
  ) => k.adamW({ parameter, gradient, m, v, step, learningRate, beta1, beta2, eps, weightDecay: decay });
  return createOptimizer(k, 'adamW', groups, ['m', 'v'], weightDecay, update);
}

/** Options of {@link sgd}. */
export interface SgdOptions {
  /** From 0 up, below 1; 0 if absent. */
  momentum?: number;
  /** Of groups that name none; 0 if absent. */
  weightDecay?: number;
}

/**
 * Gradient descent: `k.sgd` on all parameters, with their velocities if there is momentum.
 *
 * @throws ArgumentError if a parameter is in two groups
 */
export function sgd(
  k: Kernels,
  groups: ParameterGroup | readonly ParameterGroup[],
  { momentum = 0, weightDecay = 0 }: SgdOptions = {},
): Optimizer {
  const update = (
    { parameter, weightDecay: decay, state: [velocity] }: Slot,
    gradient: Tensor,
    _step: number,
    learningRate: number,
  ) => k.sgd({ parameter, gradient, velocity, learningRate, momentum, weightDecay: decay });
  return createOptimizer(k, 'sgd', groups, momentum === 0 ? [] : ['velocity'], weightDecay, update);
}
