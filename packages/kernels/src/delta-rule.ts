import { op } from './arguments.js';
import { Check } from './check.js';
import { choosePieces, type Context, mostPieces } from './context.js';
import { pointers } from './pointers.js';
import type { Tensor } from './tensor.js';

/** What {@link deltaRule} computes, apart from its tensors. */
export interface DeltaRuleOptions {
  scale?: number;
  l2Normalize?: boolean;
  eps?: number;
}

export interface DeltaRuleArgs extends DeltaRuleOptions {
  q: Tensor;
  k: Tensor;
  v: Tensor;
  beta: Tensor;
  initialState?: Tensor;
}

export interface DeltaRuleBackwardArgs extends DeltaRuleArgs {
  do?: Tensor;
  dLastState?: Tensor;
}

export interface DeltaRuleStepArgs extends DeltaRuleOptions {
  state: Tensor;
  q: Tensor;
  k: Tensor;
  v: Tensor;
  beta: Tensor;
}

/** An argument of the gated form: one factor more. */
interface Gated {
  decay: Tensor;
}

export interface GatedDeltaRuleArgs extends DeltaRuleArgs, Gated {}
export interface GatedDeltaRuleBackwardArgs extends DeltaRuleBackwardArgs, Gated {}
export interface GatedDeltaRuleStepArgs extends DeltaRuleStepArgs, Gated {}

/** What both forms give, and the gradients of what both take. */
export interface DeltaRuleResult {
  o: Tensor<'float32'>;
  lastState: Tensor<'float32'>;
}

export interface DeltaRuleGradients {
  dq: Tensor<'float32'>;
  dk: Tensor<'float32'>;
  dv: Tensor<'float32'>;
  dbeta: Tensor<'float32'>;
  dInitialState?: Tensor<'float32'>;
}

/** Nanoseconds per element of the state and step: of a sequence, and of a step alone, whose state comes from memory. */
const ELEMENT_NS = 0.15;
const STEP_ELEMENT_NS = 0.3;
/** Per element of a step's keys and values, for what the backward pass does besides moving states. */
const ROW_NS = 1;
/** Steps of a block of the kernels. */
const BLOCK = 32;

const stateShape = ['batch', 'nHeads', 'dKey', 'dValue'];

/** Checks what every form takes; `decay` is absent in the plain one. */
function checkArgs(
  check: Check,
  args: Omit<DeltaRuleArgs, 'initialState'>,
  decay: Tensor | undefined,
  steps: string[],
) {
  const { q, k, v, beta, scale = 1, l2Normalize = false, eps = 1e-6 } = args;
  check.float32('q', q, [...steps, 'nHeads', 'dKey']);
  check.float32('k', k, [...steps, 'nHeads', 'dKey']);
  check.float32('v', v, [...steps, 'nHeads', 'dValue']);
  check.float32('beta', beta, [...steps, 'nHeads']);
  check.optional('decay', decay, [...steps, 'nHeads']);
  check.number('eps', eps, 0);
  check.number('scale', scale);
  const { batch, seqLen, nHeads, dKey, dValue } = check.sizes;
  return { batch, seqLen, nHeads, dKey, dValue, options: [l2Normalize ? 1 : 0, scale, eps] as const };
}

function forward(context: Context, check: Check, args: DeltaRuleArgs, decay?: Tensor): DeltaRuleResult {
  const { q, k, v, beta, initialState } = args;
  const { batch, seqLen, nHeads, dKey, dValue, options } = checkArgs(check, args, decay, ['batch', 'seqLen']);
  check.optional('initialState', initialState, stateShape);
  const o = context.empty(v.shape);
  const lastState = context.empty([batch, nHeads, dKey, dValue]);
  // prettier-ignore
  context.run('deltaRuleForward', [
    ...pointers(o, lastState, q, k, v, beta, decay, initialState),
    seqLen, nHeads, dKey, dValue, ...options,
  ], {
    units: batch * nHeads,
    mostPieces: mostPieces(dValue),
    nanoseconds: batch * seqLen * nHeads * dKey * dValue * ELEMENT_NS,
    scratchBytes: (units, pieces) =>
      context.wasm.deltaRuleForwardScratchBytes(Math.min(units, nHeads * pieces), dKey, dValue / pieces),
  });
  return { o, lastState };
}

function backward(
  context: Context,
  check: Check,
  args: DeltaRuleBackwardArgs,
  decay?: Tensor,
): DeltaRuleGradients & { ddecay?: Tensor<'float32'> } {
  const { q, k, v, beta, initialState, do: dO, dLastState } = args;
  const { seqLen, nHeads, dKey, dValue, options } = checkArgs(check, args, decay, ['batch', 'seqLen']);
  check.optional('initialState', initialState, stateShape);
  check.optional('do', dO, ['batch', 'seqLen', 'nHeads', 'dValue']);
  check.optional('dLastState', dLastState, stateShape);
  if (dO === undefined && dLastState === undefined) check.argument('do', 'given if dLastState is not', dO);
  const [dq, dk, dv] = [context.empty(q.shape), context.empty(k.shape), context.empty(v.shape)];
  const dbeta = context.empty(beta.shape);
  const ddecay = decay && context.empty(decay.shape);
  const dInitialState = initialState && context.empty(initialState.shape);
  // prettier-ignore
  runBackward(context, check.sizes, ddecay !== undefined, [
    ...pointers(dq, dk, dv, dbeta, ddecay, dInitialState, dO, dLastState),
    ...pointers(q, k, v, beta, decay, initialState),
    seqLen, nHeads, dKey, dValue, ...options,
  ]);
  return { dq, dk, dv, dbeta, ...(ddecay && { ddecay }), ...(dInitialState && { dInitialState }) };
}

/** Whole heads at a time; where threads would wait for the last of them, pieces of heads, in phases. */
function runBackward(
  context: Context,
  sizes: Record<string, number>,
  hasDecay: boolean,
  args: readonly number[],
): void {
  const { batch, seqLen, nHeads, dKey, dValue } = sizes;
  const { deltaRuleBackwardScratchBytes, deltaRuleBackwardSharedBytes } = context.wasm;
  const heads = batch * nHeads;
  const nanoseconds = heads * seqLen * dKey * dValue * ELEMENT_NS * 3;
  if (!context.isUneven(heads, nanoseconds)) {
    return context.run('deltaRuleBackward', [...args, 0, 1, 1, 0], {
      units: heads,
      nanoseconds,
      scratchBytes: (units) => deltaRuleBackwardScratchBytes(seqLen, Math.min(units, nHeads), dKey, dValue),
    });
  }
  const keyPieces = choosePieces(heads, Math.ceil(dKey / 8), context.threads);
  const valuePieces = choosePieces(heads, Math.ceil(dValue / 8), context.threads);
  const blocks = Math.ceil(seqLen / BLOCK);
  const rowsNs = heads * seqLen * (dKey + dValue) * ROW_NS;
  context.scratch(deltaRuleBackwardSharedBytes(heads, seqLen, dKey, dValue), (shared) => {
    const run = (phase: number, parts: number, phaseNs: number) =>
      context.run('deltaRuleBackward', [...args, shared, keyPieces, valuePieces, phase], {
        units: heads * parts,
        nanoseconds: phaseNs,
        scratchBytes: deltaRuleBackwardScratchBytes(seqLen, 1, dKey, dValue),
      });
    run(1, valuePieces, nanoseconds / 4);
    if (hasDecay) run(2, blocks, rowsNs / 2);
    run(3, valuePieces, nanoseconds / 4);
    run(4, keyPieces + 1, nanoseconds / 2);
    run(5, blocks, rowsNs);
  });
}

function step(context: Context, check: Check, args: DeltaRuleStepArgs, decay?: Tensor): Tensor<'float32'> {
  const { state, q, k, v, beta } = args;
  const { batch, nHeads, dKey, dValue, options } = checkArgs(check, args, decay, ['batch']);
  check.float32('state', state, stateShape);
  const o = context.empty(v.shape);
  // prettier-ignore
  context.run('deltaRuleStep', [...pointers(o, state, q, k, v, beta, decay), dKey, dValue, ...options], {
    units: batch * nHeads,
    nanoseconds: batch * nHeads * dKey * dValue * STEP_ELEMENT_NS,
    scratchBytes: context.wasm.deltaRuleStepScratchBytes(dKey),
  });
  return o;
}

/**
 * The delta rule (DeltaNet): before a step writes, it takes away the share beta of what the state holds under its key.
 *
 *     S_t = (I - beta_t k_t k_t^T) S_(t-1) + beta_t k_t v_t^T
 *     o_t = scale q_t S_t
 *
 * With keys of length 1 and beta in [0, 1] the state stays bounded; beta up to 2 still does not grow it.
 * The work is 6 dKey dValue flops a step and head, whatever the length.
 *
 * @param q     queries, `[batch, seqLen, nHeads, dKey]`
 * @param k     keys, shaped like `q`
 * @param v     values, `[batch, seqLen, nHeads, dValue]`
 * @param beta  how much of the old value is replaced, `[batch, seqLen, nHeads]`
 * @param scale        1 if absent
 * @param l2Normalize  divide each query and key by `sqrt(sum of squares + eps)` first; false if absent
 * @param eps          0 or more, 1e-6 if absent
 * @param initialState `[batch, nHeads, dKey, dValue]`; zeros if absent
 * @returns `o`, shaped like `v`, and `lastState`: pass it on as `initialState`
 * @throws ShapeError if a shape does not fit, ArgumentError if an option does not
 * @see Schlag et al. 2021, https://arxiv.org/abs/2102.11174; Yang et al. 2024, https://arxiv.org/abs/2406.06484
 */
export function deltaRule(context: Context, args: DeltaRuleArgs): DeltaRuleResult {
  return forward(context, new Check('deltaRule', context), args);
}

/**
 * Gradients of {@link deltaRule}; it keeps no states, so its memory grows with the length as that of the inputs.
 *
 * @param do          gradient of `o`
 * @param dLastState  gradient of `lastState`; at least one of the two is given
 * @returns the gradient of each tensor that was given, shaped like it
 * @throws ShapeError if a shape does not fit, ArgumentError if an option does not or no gradient is given
 */
export function deltaRuleBackward(context: Context, args: DeltaRuleBackwardArgs): DeltaRuleGradients {
  return backward(context, new Check('deltaRuleBackward', context), args);
}

/**
 * One step of {@link deltaRule}, for decoding. Shapes are those of the sequence without `seqLen`.
 *
 * @param state  `[batch, nHeads, dKey, dValue]`, updated in place
 * @returns `o`, `[batch, nHeads, dValue]`
 * @throws ShapeError if a shape does not fit, ArgumentError if an option does not
 */
export function deltaRuleStep(context: Context, args: DeltaRuleStepArgs): Tensor<'float32'> {
  return step(context, new Check('deltaRuleStep', context), args);
}

/**
 * The gated delta rule: {@link deltaRule} on a state that each step first multiplies by `e^decay`.
 *
 *     S_t = (I - beta_t k_t k_t^T) e^decay_t S_(t-1) + beta_t k_t v_t^T
 *     o_t = scale q_t S_t
 *
 * @param decay  natural logs of the forget factors, 0 or less, `[batch, seqLen, nHeads]`; the rest as there
 * @throws ShapeError if a shape does not fit, ArgumentError if an option does not
 * @see Yang et al. 2024, https://arxiv.org/abs/2412.06464
 */
export function gatedDeltaRule(context: Context, args: GatedDeltaRuleArgs): DeltaRuleResult {
  const check = new Check('gatedDeltaRule', context);
  check.rank('decay', args.decay);
  return forward(context, check, args, args.decay);
}

/** Gradients of {@link gatedDeltaRule}: as {@link deltaRuleBackward}, and that of `decay`. */
export function gatedDeltaRuleBackward(
  context: Context,
  args: GatedDeltaRuleBackwardArgs,
): DeltaRuleGradients & { ddecay: Tensor<'float32'> } {
  const check = new Check('gatedDeltaRuleBackward', context);
  check.rank('decay', args.decay);
  const { ddecay, ...gradients } = backward(context, check, args, args.decay);
  return { ...gradients, ddecay: ddecay! };
}

/** One step of {@link gatedDeltaRule}: as {@link deltaRuleStep}, with `decay` `[batch, nHeads]`. */
export function gatedDeltaRuleStep(context: Context, args: GatedDeltaRuleStepArgs): Tensor<'float32'> {
  const check = new Check('gatedDeltaRuleStep', context);
  check.rank('decay', args.decay);
  return step(context, check, args, args.decay);
}

const shared = {
  q: 'tensor',
  k: 'tensor',
  v: 'tensor',
  beta: 'tensor',
  scale: 'number',
  l2Normalize: 'flag',
  eps: 'number',
} as const;
const sequence = { ...shared, initialState: 'tensor' } as const;
const upstream = { do: 'tensor', dLastState: 'tensor' } as const;
const decay = { decay: 'tensor' } as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  deltaRule: op(deltaRule, sequence),
  deltaRuleBackward: op(deltaRuleBackward, { ...sequence, ...upstream }),
  deltaRuleStep: op(deltaRuleStep, { ...shared, state: 'tensor' }),
  gatedDeltaRule: op(gatedDeltaRule, { ...sequence, ...decay }),
  gatedDeltaRuleBackward: op(gatedDeltaRuleBackward, { ...sequence, ...decay, ...upstream }),
  gatedDeltaRuleStep: op(gatedDeltaRuleStep, { ...shared, ...decay, state: 'tensor' }),
};
