import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import type { Tensor } from './tensor.js';

interface CausalConv1dOptions {
  x: Tensor;
  weight: Tensor;
  bias?: Tensor;
  activation?: 'none' | 'silu';
}

export interface CausalConv1dArgs extends CausalConv1dOptions {
  initialState?: Tensor;
}

export interface CausalConv1dBackwardArgs extends CausalConv1dArgs {
  dy?: Tensor;
  dLastState?: Tensor;
}

export interface CausalConv1dStepArgs extends CausalConv1dOptions {
  state?: Tensor;
}

export interface CausalConv1dGradients {
  dx: Tensor<'float32'>;
  dweight: Tensor<'float32'>;
  dbias?: Tensor<'float32'>;
  dInitialState?: Tensor<'float32'>;
}

/** Channels in a unit of the kernels. */
const BLOCK = 16;

/** Nanoseconds per input of each step. */
const FORWARD_NS = 1.5;
const BACKWARD_NS = 5;

/**
 * Parts read short pieces of rows, which memory gives more slowly: cut into eight, 1536 channels took one thread 1.2
 * times as long; cut into two, no longer.
 */
const partsPerThread = 1;

/** Checks what sequence, gradient and step share. @returns the width and whether SiLU follows, 0 or 1 */
function checkOptions(
  check: Check,
  args: CausalConv1dOptions,
  tokens: string[],
): [width: number, silu: number] {
  const { x, weight, bias, activation = 'none' } = args;
  check.float32('x', x, [...tokens, 'channels']);
  check.float32('weight', weight, ['channels', 'width']);
  check.optional('bias', bias, ['channels']);
  check.oneOf('activation', activation, ['none', 'silu']);
  return [check.sizes.width, Number(activation === 'silu')];
}

/** A state, which a convolution of width 1 does not have. @returns its address, 0 if absent */
function checkState(check: Check, name: string, state: Tensor | undefined): number {
  const { batch, channels, width } = check.sizes;
  if (width > 1) return check.optional(name, state, [batch, width - 1, channels]);
  if (state !== undefined)
    check.argument(name, 'absent, as width is 1 and nothing is kept between steps', 'a tensor');
  return 0;
}

/**
 * Causal depthwise convolution along the sequence: `y[t] = bias + sum_k weight[k] x[t - (width - 1) + k]`, channel by
 * channel, then SiLU if asked. The last weight is that of the present step.
 *
 * @param x       input, `[batch, seqLen, channels]`
 * @param weight  `[channels, width]`
 * @param bias    `[channels]`; zeros if absent
 * @param activation    `'silu'`, or `'none'` as if absent
 * @param initialState  the `width - 1` inputs before the first step, oldest first, `[batch, width - 1, channels]`; zeros
 *   if absent. With width 1 there is none
 * @returns `y`, shaped like `x`, and `lastState`, the last `width - 1` inputs: pass it on as `initialState`, or as `state`
 *   of {@link causalConv1dStep}. It is absent with width 1
 * @throws ShapeError if a shape does not fit, ArgumentError if `activation` is unknown or a state is given with width 1
 * @see Gu & Dao 2023, section 3.4, https://arxiv.org/abs/2312.00752
 */
export function causalConv1d(
  k: Context,
  args: CausalConv1dArgs,
): { y: Tensor<'float32'>; lastState?: Tensor<'float32'> } {
  const check = new Check('causalConv1d', k);
  const [width, silu] = checkOptions(check, args, ['batch', 'seqLen']);
  const { x, weight, bias, initialState } = args;
  const initial = checkState(check, 'initialState', initialState);
  const { batch, seqLen, channels } = check.sizes;
  const y = k.empty(x.shape);
  const lastState = width > 1 ? k.empty([batch, width - 1, channels]) : undefined;
  // prettier-ignore
  k.run('causalConv1dForward', [
    y.pointer, lastState?.pointer ?? 0, x.pointer, weight.pointer, bias?.pointer ?? 0, initial,
    batch, seqLen, channels, width, silu,
  ], {
    units: Math.ceil(channels / BLOCK),
    nanoseconds: x.size * FORWARD_NS,
    scratchBytes: k.wasm.causalConv1dForwardScratchBytes(channels, width),
    partsPerThread,
  });
  return lastState === undefined ? { y } : { y, lastState };
}

/**
 * Gradient of {@link causalConv1d}.
 *
 * @param dy          gradient of `y`; zeros if absent
 * @param dLastState  gradient of `lastState`; zeros if absent
 * @returns a gradient of each input that was given, shaped like it
 * @throws ShapeError if a shape does not fit, ArgumentError as there or if both gradients are absent
 */
export function causalConv1dBackward(k: Context, args: CausalConv1dBackwardArgs): CausalConv1dGradients {
  const check = new Check('causalConv1dBackward', k);
  const [width, silu] = checkOptions(check, args, ['batch', 'seqLen']);
  const { x, weight, bias, initialState, dy, dLastState } = args;
  const initial = checkState(check, 'initialState', initialState);
  const dOutput = check.optional('dy', dy, ['batch', 'seqLen', 'channels']);
  const dLast = checkState(check, 'dLastState', dLastState);
  if (dy === undefined && dLastState === undefined) check.argument('dy', 'given, or dLastState', 'neither');
  const { batch, seqLen, channels } = check.sizes;
  const gradients: CausalConv1dGradients = { dx: k.empty(x.shape), dweight: k.empty(weight.shape) };
  if (bias !== undefined) gradients.dbias = k.empty(bias.shape);
  if (initialState !== undefined) gradients.dInitialState = k.empty(initialState.shape);
  const { dx, dweight, dbias, dInitialState } = gradients;
  // prettier-ignore
  k.run('causalConv1dBackward', [
    dx.pointer, dweight.pointer, dbias?.pointer ?? 0, dInitialState?.pointer ?? 0,
    dOutput, dLast, x.pointer, weight.pointer, bias?.pointer ?? 0, initial,
    batch, seqLen, channels, width, silu,
  ], {
    units: Math.ceil(channels / BLOCK),
    nanoseconds: x.size * BACKWARD_NS,
    scratchBytes: k.wasm.causalConv1dBackwardScratchBytes(channels, width),
    partsPerThread,
  });
  return gradients;
}

/**
 * One step of {@link causalConv1d}, for generation: `state` is updated in place, `x` becomes its last row.
 *
 * @param state  the last `width - 1` inputs, oldest first, `[batch, width - 1, channels]`, such as `lastState` of
 *   {@link causalConv1d}; absent with width 1
 * @param x      `[batch, channels]`
 * @returns `y`, shaped like `x`
 * @throws ShapeError if a shape does not fit, ArgumentError if `activation` is unknown, or `state` is absent (or, with
 *   width 1, given)
 */
export function causalConv1dStep(k: Context, args: CausalConv1dStepArgs): Tensor<'float32'> {
  const check = new Check('causalConv1dStep', k);
  const [width, silu] = checkOptions(check, args, ['batch']);
  const { state, x, weight, bias } = args;
  const { batch, channels } = check.sizes;
  if (width > 1) check.float32('state', state, [batch, width - 1, channels]);
  const kept = checkState(check, 'state', state);
  const y = k.empty(x.shape);
  // prettier-ignore
  k.run('causalConv1dStep', [
    y.pointer, kept, x.pointer, weight.pointer, bias?.pointer ?? 0, batch, channels, width, silu,
  ], {
    units: Math.ceil(channels / BLOCK),
    nanoseconds: x.size * FORWARD_NS,
    scratchBytes: k.wasm.causalConv1dStepScratchBytes(channels, width),
    partsPerThread,
  });
  return y;
}

const shared = { x: 'tensor', weight: 'tensor', bias: 'tensor', activation: 'text' } as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  causalConv1d: op(causalConv1d, { ...shared, initialState: 'tensor' }),
  causalConv1dBackward: op(causalConv1dBackward, {
    ...shared,
    initialState: 'tensor',
    dy: 'tensor',
    dLastState: 'tensor',
  }),
  causalConv1dStep: op(causalConv1dStep, { ...shared, state: 'tensor' }),
};
