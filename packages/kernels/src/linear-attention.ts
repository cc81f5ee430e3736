import { op } from './arguments.js';
import { Check } from './check.js';
import { choosePieces, type Context, mostPieces } from './context.js';
import { sumColumns } from './matmul.js';
import { pointers } from './pointers.js';
import type { Tensor } from './tensor.js';

const featureMaps = ['identity', 'relu', 'elu1'] as const;

/** What is applied to each element of the queries and keys: itself, `max(x, 0)`, or `elu(x) + 1`. */
export type FeatureMap = (typeof featureMaps)[number];

/** What {@link linearAttention} computes, apart from its tensors. */
export interface LinearAttentionOptions {
  featureMap?: FeatureMap;
  normalize?: boolean;
  eps?: number;
  scale?: number;
}

const forms = ['auto', 'recurrent', 'chunked'] as const;

/** How {@link linearAttention} computes: step by step, in chunks of steps, or as is faster for the sizes. */
export type LinearAttentionForm = (typeof forms)[number];

export interface LinearAttentionArgs extends LinearAttentionOptions {
  q: Tensor;
  k: Tensor;
  v: Tensor;
  decay?: Tensor;
  gate?: Tensor;
  initialState?: Tensor;
  initialNormalizer?: Tensor;
  form?: LinearAttentionForm;
}

export interface LinearAttentionBackwardArgs extends LinearAttentionArgs {
  do?: Tensor;
  dLastState?: Tensor;
  dLastNormalizer?: Tensor;
}

export interface LinearAttentionStepArgs extends LinearAttentionOptions {
  state: Tensor;
  normalizer?: Tensor;
  q: Tensor;
  k: Tensor;
  v: Tensor;
  decay?: Tensor;
  gate?: Tensor;
}

/** Nanoseconds per element of the state and step: of a sequence, and of a step alone, whose state comes from memory. */
const ELEMENT_NS = 0.08;
const STEP_ELEMENT_NS = 0.2;
/** Per element of a step's keys and values, for what the backward pass does besides moving the state. */
const ROW_NS = 1;
/** Steps of a block of the kernels. */
const BLOCK = 32;

const keyShape = ['batch', 'seqLen', 'nHeads', 'dKey'];
const valueShape = ['batch', 'seqLen', 'nHeads', 'dValue'];
const stateShape = ['batch', 'nHeads', 'dKey', 'dValue'];
const normalizerShape = ['batch', 'nHeads', 'dKey'];

/** The options as numbers for the kernels. */
function checkOptions(check: Check, options: LinearAttentionOptions) {
  const { featureMap = 'identity', normalize = false, eps = 1e-6, scale = 1 } = options;
  check.oneOf('featureMap', featureMap, featureMaps);
  check.number('eps', eps, 0);
  check.number('scale', scale);
  return { featureMap: featureMaps.indexOf(featureMap), normalize, eps, scale };
}

/** @returns 1 if there is a decay for every step, 0 if there is one a head or none */
function checkForget(
  check: Check,
  args: LinearAttentionArgs | LinearAttentionStepArgs,
  steps: string[],
): number {
  const { decay, gate } = args;
  if (decay !== undefined && gate !== undefined) check.argument('gate', 'absent where decay is given', gate);
  check.optional('gate', gate, [...steps, 'nHeads', 'dKey']);
  if (decay === undefined) return 0;
  const perStep = check.rank('decay', decay) !== 1;
  check.float32('decay', decay, perStep ? [...steps, 'nHeads'] : ['nHeads']);
  return perStep ? 1 : 0;
}

function checkSequence(check: Check, args: LinearAttentionArgs) {
  const { q, k, v, initialState, initialNormalizer, form = 'auto' } = args;
  check.float32('q', q, keyShape);
  check.float32('k', k, keyShape);
  check.float32('v', v, valueShape);
  const options = checkOptions(check, args);
  const decayPerStep = checkForget(check, args, ['batch', 'seqLen']);
  check.optional('initialState', initialState, stateShape);
  check.optional('initialNormalizer', initialNormalizer, normalizerShape);
  if (initialNormalizer !== undefined && !options.normalize) {
    check.argument('initialNormalizer', 'absent where normalize is false', initialNormalizer);
  }
  check.oneOf('form', form, forms);
  if (form === 'chunked' && args.gate !== undefined) {
    check.argument('form', "'auto' or 'recurrent' where gate is given", form);
  }
  const { batch, seqLen, nHeads, dKey, dValue } = check.sizes;
  return { ...options, decayPerStep, form, batch, seqLen, nHeads, dKey, dValue };
}

/**
 * Which form is faster, as measured from 16 x 16 to 256 x 256 and 4 to 4096 steps. Chunks gain most with a decay, which
 * the recurrent form multiplies into the state in every step; without one they only gain where a state outgrows the
 * first-level cache.
 */
function isFasterChunked(sizes: Record<string, number>, decay?: Tensor, gate?: Tensor): boolean {
  const { seqLen, dKey, dValue } = sizes;
  if (gate !== undefined) return false;
  if (decay === undefined) return seqLen >= 32 && dKey * dValue >= 65536;
  return seqLen >= 8 && Math.min(dKey, dValue) >= 32 && dKey * dValue >= 2048;
}

/**
 * Causal linear attention: a state that every step reads, after it has added its own key and value.
 *
 *     S_t = f_t S_(t-1) + phi(k_t) v_t^T
 *     z_t = f_t z_(t-1) + phi(k_t)
 *     o_t = scale phi(q_t) S_t            divided by scale phi(q_t) . z_t + eps, if `normalize`
 *
 * `f = 1` is linear attention; `f = e^decay`, one number a head, is retention, or simple gated linear attention if
 * it differs from step to step; `f = e^gate`, one number a key channel, is gated linear attention.
 *
 * The work is 4 dKey dValue flops a step and head, whatever the length; in chunks about 40 dKey + 30 dValue more, at a
 * higher speed. Nothing guards a denominator near zero: with `identity`, or queries and keys that `relu` sets to zero,
 * it is `eps` that keeps the quotient finite.
 *
 * @param q      queries, `[batch, seqLen, nHeads, dKey]`
 * @param k      keys, shaped like `q`
 * @param v      values, `[batch, seqLen, nHeads, dValue]`
 * @param featureMap  phi: `'identity'` (default), `'relu'`, `'elu1'` (`elu(x) + 1`)
 * @param normalize   false if absent
 * @param eps    0 or more, 1e-6 if absent
 * @param scale  1 if absent
 * @param decay  natural logs of the forget factors, 0 or less, `[nHeads]` or `[batch, seqLen, nHeads]`
 * @param gate   natural logs of the forget factors, 0 or less, shaped like `k`; not together with `decay`
 * @param initialState       `[batch, nHeads, dKey, dValue]`; zeros if absent
 * @param initialNormalizer  z before the first step, `[batch, nHeads, dKey]`; only with `normalize`; zeros if absent
 * @param form   `'recurrent'` (step by step), `'chunked'` (products of matrices within chunks of steps, the state between
 *   them; not with `gate`), or `'auto'` (default): chunked for 8 steps or more with `decay`, dKey and dValue 32 or more
 *   and dKey * dValue 2048 or more; without `decay` for 32 steps or more and dKey * dValue 65536 or more. The result is
 *   the same but for rounding
 * @returns `o`, shaped like `v`; `lastState` and, if `normalize`, `lastNormalizer`, to go on from
 * @throws ShapeError if a shape does not fit, ArgumentError if an option does not
 * @see Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236; retention: Sun et al. 2023,
 * https://arxiv.org/abs/2307.08621; gates: Yang et al. 2023, https://arxiv.org/abs/2312.06635
 */
export function linearAttention(
  context: Context,
  args: LinearAttentionArgs,
): { o: Tensor<'float32'>; lastState: Tensor<'float32'>; lastNormalizer?: Tensor<'float32'> } {
  const { q, k, v, decay, gate, initialState, initialNormalizer } = args;
  const check = new Check('linearAttention', context);
  const { form, batch, seqLen, nHeads, dKey, dValue, normalize, ...options } = checkSequence(check, args);
  const { wasm } = context;
  const chunked = form === 'auto' ? isFasterChunked(check.sizes, decay, gate) : form === 'chunked';
  const o = context.empty(v.shape);
  const lastState = context.empty([batch, nHeads, dKey, dValue]);
  const lastNormalizer = normalize ? context.empty([batch, nHeads, dKey]) : undefined;
  const { featureMap, decayPerStep, scale, eps } = options;
  const scratchBytes = chunked
    ? wasm.linearAttentionChunkedForwardScratchBytes
    : wasm.linearAttentionForwardScratchBytes;
  // prettier-ignore
  context.run(chunked ? 'linearAttentionChunkedForward' : 'linearAttentionForward', [
    ...pointers(o, lastState, lastNormalizer, q, k, v, decay),
    ...(chunked ? [] : pointers(gate)),
    ...pointers(initialState, initialNormalizer),
    seqLen, nHeads, dKey, dValue, featureMap, decayPerStep, scale, eps,
  ], {
    units: batch * nHeads,
    mostPieces: mostPieces(dValue),
    nanoseconds: batch * seqLen * nHeads * dKey * dValue * ELEMENT_NS,
    scratchBytes: (units, pieces) => scratchBytes(Math.min(units, nHeads * pieces), dKey, dValue / pieces),
  });
  return { o, lastState, ...(lastNormalizer && { lastNormalizer }) };
}

/**
 * Gradients of {@link linearAttention}, by three passes of the same recurrence, two of them backwards in time: 3 times
 * the work of the forward pass, and no memory for states. `form` makes no difference here.
 *
 * `ddecay` and `dgate` of a step are differences of sums over all steps from there to the last: a NaN or Infinity in the
 * keys or values of one step makes those of earlier steps NaN, too, though they do not depend on it.
 *
 * @param do               gradient of `o`
 * @param dLastState       gradient of `lastState`
 * @param dLastNormalizer  gradient of `lastNormalizer`; only with `normalize`. At least one of the three is given
 * @returns the gradient of each tensor that was given, shaped like it
 * @throws ShapeError if a shape does not fit, ArgumentError if an option does not or no gradient is given
 */
export function linearAttentionBackward(
  context: Context,
  args: LinearAttentionBackwardArgs,
): {
  dq: Tensor<'float32'>;
  dk: Tensor<'float32'>;
  dv: Tensor<'float32'>;
  ddecay?: Tensor<'float32'>;
  dgate?: Tensor<'float32'>;
  dInitialState?: Tensor<'float32'>;
  dInitialNormalizer?: Tensor<'float32'>;
} {
  const { q, k, v, decay, gate, initialState, initialNormalizer, do: dO, dLastState, dLastNormalizer } = args;
  const check = new Check('linearAttentionBackward', context);
  const { batch, seqLen, nHeads, dKey, dValue, normalize, ...options } = checkSequence(check, args);
  check.optional('do', dO, valueShape);
  check.optional('dLastState', dLastState, stateShape);
  check.optional('dLastNormalizer', dLastNormalizer, normalizerShape);
  if (dLastNormalizer !== undefined && !normalize) {
    check.argument('dLastNormalizer', 'absent where normalize is false', dLastNormalizer);
  }
  if (dO === undefined && dLastState === undefined && dLastNormalizer === undefined) {
    check.argument('do', 'given if dLastState and dLastNormalizer are not', dO);
  }
  const like = (tensor: Tensor | undefined) => tensor && context.empty(tensor.shape);
  const [dq, dk, dv] = [context.empty(q.shape), context.empty(k.shape), context.empty(v.shape)];
  const ddecay = like(decay);
  const dgate = like(gate);
  const dInitialState = like(initialState);
  const dInitialNormalizer = like(initialNormalizer);
  const { featureMap, decayPerStep, scale, eps } = options;
  // prettier-ignore
  const compute = (ddecayOfHeads: number) => runBackward(context, check.sizes, [
    ...pointers(dq, dk, dv), ddecayOfHeads, ...pointers(dgate, dInitialState, dInitialNormalizer),
    ...pointers(dO, dLastState, dLastNormalizer),
    ...pointers(q, k, v, decay, gate, initialState, initialNormalizer),
    seqLen, nHeads, dKey, dValue, featureMap, normalize ? 1 : 0, decayPerStep, scale, eps,
  ]);
  if (ddecay === undefined || decayPerStep || batch === 1) compute(ddecay?.pointer ?? 0);
  else {
    // One decay for all items of the batch: its gradient is the sum of theirs.
    context.scratch(batch * nHeads * 4, (items) => {
      compute(items);
      sumColumns(context, ddecay.pointer, items, batch, nHeads);
    });
  }
  return {
    dq,
    dk,
    dv,
    ...(ddecay && { ddecay }),
    ...(dgate && { dgate }),
    ...(dInitialState && { dInitialState }),
    ...(dInitialNormalizer && { dInitialNormalizer }),
  };
}

/** Whole heads at a time; where threads would wait for the last of them, pieces of heads, in phases. */
function runBackward(context: Context, sizes: Record<string, number>, args: readonly number[]): void {
  const { batch, seqLen, nHeads, dKey, dValue } = sizes;
  const { linearAttentionBackwardScratchBytes, linearAttentionBackwardSharedBytes } = context.wasm;
  const heads = batch * nHeads;
  const nanoseconds = heads * seqLen * dKey * dValue * ELEMENT_NS * 3;
  if (!context.isUneven(heads, nanoseconds)) {
    return context.run('linearAttentionBackward', [...args, 0, 1, 1, 0], {
      units: heads,
      nanoseconds,
      scratchBytes: (units) =>
        linearAttentionBackwardScratchBytes(seqLen, Math.min(units, nHeads), dKey, dValue),
    });
  }
  const keyPieces = choosePieces(heads, Math.ceil(dKey / 8), context.threads);
  const valuePieces = choosePieces(heads, Math.ceil(dValue / 8), context.threads);
  const rowsNs = heads * seqLen * (dKey + dValue) * ROW_NS;
  context.scratch(linearAttentionBackwardSharedBytes(heads, seqLen, dKey, dValue), (shared) => {
    const run = (phase: number, parts: number, phaseNs: number) =>
      context.run('linearAttentionBackward', [...args, shared, keyPieces, valuePieces, phase], {
        units: heads * parts,
        nanoseconds: phaseNs,
        scratchBytes: linearAttentionBackwardScratchBytes(seqLen, 1, dKey, dValue),
      });
    run(1, keyPieces, nanoseconds / 3);
    run(2, Math.ceil(seqLen / BLOCK), rowsNs);
    run(3, keyPieces + valuePieces, (nanoseconds * 2) / 3);
    run(4, 1, rowsNs);
  });
}

/**
 * One step of {@link linearAttention}, for decoding.
 *
 * @param state       S, `[batch, nHeads, dKey, dValue]`, updated in place
 * @param normalizer  z, `[batch, nHeads, dKey]`, updated in place; exactly where `normalize`
 * @param q      query, `[batch, nHeads, dKey]`
 * @param k      key, shaped like `q`
 * @param v      value, `[batch, nHeads, dValue]`
 * @param decay  `[nHeads]` or `[batch, nHeads]`
 * @param gate   shaped like `k`
 * @returns `o`, shaped like `v`
 * @throws ShapeError if a shape does not fit, ArgumentError if an option does not
 */
export function linearAttentionStep(context: Context, args: LinearAttentionStepArgs): Tensor<'float32'> {
  const { state, normalizer, q, k, v, decay, gate } = args;
  const check = new Check('linearAttentionStep', context);
  check.float32('q', q, normalizerShape);
  check.float32('k', k, normalizerShape);
  check.float32('v', v, ['batch', 'nHeads', 'dValue']);
  check.float32('state', state, stateShape);
  const { featureMap, normalize, eps, scale } = checkOptions(check, args);
  const decayPerStep = checkForget(check, args, ['batch']);
  if (normalize) check.float32('normalizer', normalizer, normalizerShape);
  else if (normalizer !== undefined) {
    check.argument('normalizer', 'absent where normalize is false', normalizer);
  }
  const { batch, nHeads, dKey, dValue } = check.sizes;
  const o = context.empty(v.shape);
  // prettier-ignore
  context.run('linearAttentionStep', [
    ...pointers(o, state, normalizer, q, k, v, decay, gate),
    nHeads, dKey, dValue, featureMap, decayPerStep, scale, eps,
  ], {
    units: batch * nHeads,
    nanoseconds: batch * nHeads * dKey * dValue * STEP_ELEMENT_NS,
    scratchBytes: context.wasm.linearAttentionStepScratchBytes(dKey),
  });
  return o;
}

const shared = {
  q: 'tensor',
  k: 'tensor',
  v: 'tensor',
  decay: 'tensor',
  gate: 'tensor',
  featureMap: 'text',
  normalize: 'flag',
  eps: 'number',
  scale: 'number',
} as const;
const sequence = { ...shared, initialState: 'tensor', initialNormalizer: 'tensor', form: 'text' } as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  linearAttention: op(linearAttention, sequence),
  linearAttentionBackward: op(linearAttentionBackward, {
    ...sequence,
    do: 'tensor',
    dLastState: 'tensor',
    dLastNormalizer: 'tensor',
  }),
  linearAttentionStep: op(linearAttentionStep, { ...shared, state: 'tensor', normalizer: 'tensor' }),
};
