/// <reference lib="esnext.disposable" preserve="true" />
import { checkOptions, show } from '@freelunch/errors';
import { ArgumentError, FormatError, type Kernels, Tensor } from '@freelunch/kernels';

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
   * One step. A parameter without a gradient stays as it is; if an argument is wrong, all do.
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

/** @throws ArgumentError unless it is a number that `fits` */
function checkNumber(
  where: string,
  name: string,
  value: unknown,
  wanted: string,
  fits: (x: number) => boolean,
): void {
  if (typeof value !== 'number' || !fits(value))
    throw new ArgumentError(`${where}: ${name} must be ${wanted}, got ${show(value)}`);
}

const checkNotNegative = (where: string, name: string, value: unknown) =>
  checkNumber(where, name, value, 'a finite number from 0 up', (x) => x >= 0 && x < Infinity);

const checkFactor = (where: string, name: string, value: unknown) =>
  checkNumber(where, name, value, 'a number from 0 up, below 1', (x) => x >= 0 && x < 1);

/** The parameters of all groups by name, each with its weight decay. @throws ArgumentError if a group is not one */
function takeParameters(
  where: string,
  given: ParameterGroup | readonly ParameterGroup[],
  weightDecay: number,
): Map<string, { parameter: FloatTensor; weightDecay: number }> {
  const groups: readonly unknown[] = Array.isArray(given) ? given : [given];
  const found = new Map<string, { parameter: FloatTensor; weightDecay: number }>();
  for (const group of groups) {
    if (typeof group !== 'object' || group === null)
      throw new ArgumentError(`${where}: a group must be an object with parameters, got ${show(group)}`);
    checkOptions(`${where}: group`, group, ['parameters', 'weightDecay']);
    const { parameters, weightDecay: decay = weightDecay } = group as ParameterGroup;
    checkNotNegative(where, 'weightDecay', decay);
    if (!(parameters instanceof Map))
      throw new ArgumentError(
        `${where}: parameters must be a Map of tensors by name, got ${show(parameters)}`,
      );
    for (const [name, parameter] of parameters as ReadonlyMap<string, unknown>) {
      if (!(parameter instanceof Tensor) || parameter.dtype !== 'float32')
        throw new ArgumentError(`${where}: ${name} must be a float32 tensor, got ${show(parameter)}`);
      if (found.has(name)) throw new ArgumentError(`${where}: ${name} must be in one group, got it in two`);
      found.set(name, { parameter: parameter as FloatTensor, weightDecay: decay });
    }
  }
  return found;
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
  checkNotNegative(where, 'weightDecay', weightDecay);
  const slots = new Map<string, Slot>();
  const tensors = new Map<string, FloatTensor>();
  const dispose = () => {
    for (const slot of slots.values()) for (const tensor of slot.state) tensor.dispose();
  };
  try {
    for (const [name, { parameter, weightDecay: decay }] of takeParameters(where, given, weightDecay)) {
      // As long as the parameter lives: the scope in which the optimiser is made may end long before.
      const state = k.alongside(parameter, () => roles.map(() => k.zeros(parameter.shape)));
      slots.set(name, { parameter, weightDecay: decay, state });
    }
  } catch (error) {
    dispose();
    throw error;
  }
  roles.forEach((role, i) => {
    for (const [name, slot] of slots) tensors.set(`${role}.${name}`, slot.state[i]);
  });
  let step = 0;
  return {
    get step() {
      return step;
    },
    update(gradients, learningRate) {
      if (!(gradients instanceof Map))
        throw new ArgumentError(`${where}: gradients must be a Map from parameters, got ${show(gradients)}`);
      checkNotNegative(where, 'learningRate', learningRate);
      const found: [Slot, Tensor][] = [];
      // All are looked at before one is used: an update happens whole or not at all.
      for (const [name, slot] of slots) {
        const gradient: unknown = gradients.get(slot.parameter);
        if (gradient === undefined) continue;
        const { shape } = slot.parameter;
        if (!(gradient instanceof Tensor) || gradient.disposed || gradient.shape.join() !== shape.join())
          throw new ArgumentError(
            `${where}: the gradient of ${name} must be a tensor of shape [${shape.join(', ')}], got ${gradient instanceof Tensor ? String(gradient) : show(gradient)}`,
          );
        found.push([slot, gradient]);
      }
      step++;
      for (const [slot, gradient] of found) updateOne(slot, gradient, step, learningRate);
    },
    get state() {
      return { step, tensors };
    },
    load(state) {
      if (typeof state !== 'object' || state === null || !((state.tensors as unknown) instanceof Map))
        throw new FormatError(
          `${where}: the state must have a step and a Map of tensors, got ${show(state)}`,
        );
      const { step: done, tensors: sources } = state;
      if (!Number.isSafeInteger(done) || done < 0)
        throw new FormatError(`${where}: step must be a whole number from 0 up, got ${show(done)}`);
      const found: [FloatTensor, Tensor][] = [];
      for (const [name, target] of tensors) {
        const source: unknown = sources.get(name);
        if (source === undefined) throw new FormatError(`${where}: the state must have ${name}, got none`);
        if (!(source instanceof Tensor) || source.dtype !== 'float32' || source.size !== target.size) {
          const got = source instanceof Tensor ? `${source.size} of ${source.dtype}` : show(source);
          throw new FormatError(`${where}: ${name} must have ${target.size} float32 elements, got ${got}`);
        }
        found.push([target, source]);
      }
      for (const [target, source] of found) target.set(source.data);
      step = done;
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
  options: AdamWOptions = {},
): Optimizer {
  checkOptions('adamW', options, ['beta1', 'beta2', 'eps', 'weightDecay']);
  const { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0.01 } = options;
  checkFactor('adamW', 'beta1', beta1);
  checkFactor('adamW', 'beta2', beta2);
  checkNumber('adamW', 'eps', eps, 'a finite number from 1e-30 up', (x) => x >= 1e-30 && x < Infinity);
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
  options: SgdOptions = {},
): Optimizer {
  checkOptions('sgd', options, ['momentum', 'weightDecay']);
  const { momentum = 0, weightDecay = 0 } = options;
  checkFactor('sgd', 'momentum', momentum);
  const update = (
    { parameter, weightDecay: decay, state: [velocity] }: Slot,
    gradient: Tensor,
    _step: number,
    learningRate: number,
  ) => k.sgd({ parameter, gradient, velocity, learningRate, momentum, weightDecay: decay });
  return createOptimizer(k, 'sgd', groups, momentum === 0 ? [] : ['velocity'], weightDecay, update);
}
