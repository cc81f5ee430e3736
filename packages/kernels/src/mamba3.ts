import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import {
  checkInitial,
  checkOptions,
  type Mamba3Args,
  type Mamba3BackwardArgs,
  type Mamba3Gradients,
  type Mamba3Result,
  type Mamba3StepArgs,
  STATES,
  TOKENS,
} from './mamba3-args.js';
import { pointers } from './pointers.js';
import type { Tensor } from './tensor.js';

/** Rows of a chunk, of which each step has one per rank. */
const CHUNK_ROWS = 40;
/** Shorter sequences go step by step: packing would cost more than it gains. */
const SHORTEST_CHUNKED = 5;
/** The backward pass keeps one state per chunk, so short chunks would cost memory. */
const SHORTEST_CHUNK_BACKWARD = 8;
/** The working memory grows with its square. */
const LONGEST_CHUNK = 1024;

/** Nanoseconds per element of the state and step: forward, backward, and of a step alone, whose state comes from memory. */
const ELEMENT_NS = 0.13;
const BACKWARD_ELEMENT_NS = 0.45;
const STEP_ELEMENT_NS = 0.4;
/** Nanoseconds per element that is added up. */
const SUM_NS = 0.3;

/** Into as many parts the backward pass is cut at least, if there are as many heads. */
const BACKWARD_UNITS = 8;

/** Steps of a chunk, unless the caller says so. */
const chunkOf = (nRanks: number): number => Math.max(1, Math.floor(CHUNK_ROWS / nRanks));

/**
 * The state space of Mamba-3. Of each head, with `l = sigmoid(trap)`, `a = exp(dt A)`, `v[r] = x mimoX[r]`, and B', C'
 * after bias and rotation:
 *
 *     h[t] = a[t] h[t-1] + (1 - l[t]) dt[t] a[t] sum_r v[t-1, r] B'[t-1, r]^T + l[t] dt[t] sum_r v[t, r] B'[t, r]^T
 *     y[t, r] = h[t] C'[t, r] + D v[t, r]
 *
 * B' is `B + BBias` with plane s turned by the angle `th[t, s] = th[t-1, s] + pi tanh(angles[t, s]) dt[t]`, C' likewise. One
 * rank is the form with a single input and output (SISO), several are the one with many (MIMO): they share the state.
 *
 * @param x   input, `[batch, seqLen, nHeads, headDim]`
 * @param dt  step size, `[batch, seqLen, nHeads]`; `dtBias` is added to it, then comes softplus
 * @param A   decay rates, negative as a rule, shaped like `dt`
 * @param trap  shaped like `dt`: how much of an input enters at its own step, before sigmoid; the rest enters one step later
 * @param B   `[batch, seqLen, nRanks, nGroups, dState]`; head h uses group `floor(h / (nHeads / nGroups))`
 * @param C   shaped like `B`
 * @param angles  `[batch, seqLen, nHeads, nAngles]`, or `[batch, seqLen, 1, nAngles]` for all heads; `nAngles` up to `dState / 2`
 * @param BBias   `[nHeads, nRanks, dState]`; none if absent; `CBias` alike
 * @param D       `[nHeads]`; no shortcut if absent
 * @param mimoX   `[nHeads, nRanks, headDim]`; must be given where `nRanks` is above 1, ones if absent
 * @param dtBias      `[nHeads]`
 * @param dtSoftplus  whether `dt` passes softplus; false if absent
 * @param aFloor      from 0 up: `A` is then `-max(f(A), aFloor)`, `f(a) = 1 + a` for a >= 0, else `1 / (1 - a)`; absent: `A`
 * @param convention  planes: `'interleaved'` (default, as the SISO form) `(2 s, 2 s + 1)`, `'half'` (MIMO) `(s, s + dState / 2)`
 * @param initialAngle  `[batch, nHeads, nAngles]`; zeros if absent, as all that goes on from an earlier sequence
 * @param initialState  `[batch, nHeads, headDim, dState]`
 * @param initialB      B' of the step before, `[batch, nRanks, nHeads, dState]`
 * @param initialX      x of the step before, `[batch, nHeads, headDim]`
 * @param chunkSize     steps that are computed as products of matrices, 1 to 1024; 40 by nRanks if absent, and 1 computes
 *   step by step. The result is the same but for rounding; the working memory grows with its square
 * @returns `y`, `[batch, seqLen, nHeads, nRanks, headDim]`, and `lastAngle` (in [-pi, pi]), `lastState`, `lastB`, `lastX`,
 *   shaped like the initial ones: pass them on as such
 * @throws ShapeError if a shape does not fit, ArgumentError if an option is out of its range or `mimoX` is missing
 * @see Mamba-3, https://github.com/state-spaces/mamba
 */
export function mamba3(k: Context, args: Mamba3Args): Mamba3Result {
  const check = new Check('mamba3', k);
  const { tensors, sizes, options } = checkOptions(check, args, TOKENS);
  const initial = checkInitial(check, args);
  const { chunkSize } = args;
  const { batch, seqLen, nHeads, headDim, nRanks, dState, nAngles } = check.sizes;
  if (chunkSize !== undefined) check.integer('chunkSize', chunkSize, 1, LONGEST_CHUNK);
  const chunk = chunkSize ?? (seqLen < SHORTEST_CHUNKED ? 1 : chunkOf(nRanks));
  const empty = (names: string[]) => k.empty(names.map((name) => check.sizes[name]));
  const result: Mamba3Result = {
    y: k.empty([batch, seqLen, nHeads, nRanks, headDim]),
    lastAngle: empty(STATES.angle),
    lastState: empty(STATES.state),
    lastB: empty(STATES.B),
    lastX: empty(STATES.x),
  };
  const { y, lastAngle, lastState, lastB, lastX } = result;
  const inputs = [
    ...pointers(y, lastAngle, lastState, lastB, lastX),
    ...tensors,
    ...initial,
    seqLen,
    ...sizes,
    ...options,
  ];
  const cut = {
    units: batch * nHeads,
    nanoseconds: batch * seqLen * nHeads * headDim * nRanks * dState * ELEMENT_NS,
  };
  if (chunkSize === 1 || (chunkSize === undefined && seqLen < SHORTEST_CHUNKED)) {
    const scratchBytes = k.wasm.mamba3RecurrentForwardScratchBytes(nRanks, dState, nAngles);
    k.run('mamba3RecurrentForward', inputs, { ...cut, scratchBytes });
  } else {
    k.run('mamba3ChunkedForward', [...inputs, chunk], {
      ...cut,
      scratchBytes: (units) => {
        const heads = Math.min(units, nHeads);
        // prettier-ignore
        return k.wasm.mamba3ChunkedForwardScratchBytes(seqLen, heads, headDim, nRanks, dState, nAngles, chunk);
      },
    });
  }
  return result;
}

/**
 * Gradient of {@link mamba3}. The states at the chunks' ends are computed again, one head at a time on each thread: memory
 * is linear in the length, and does not grow with the number of heads.
 *
 * @param chunkSize  as there, but at least 8 is taken
 * @param dy         gradient of `y`; zeros if absent, as all gradients of outputs
 * @param dLastAngle  gradient of `lastAngle`, which whole turns do not change
 * @param dLastState  gradient of `lastState`
 * @param dLastB      gradient of `lastB`
 * @param dLastX      gradient of `lastX`
 * @returns a gradient of each input that was given, shaped like it; that of `A` is 0 where `aFloor` cut it off
 * @throws ShapeError if a shape does not fit, ArgumentError if an option is out of its range, `mimoX` is missing or all
 *   gradients of outputs are absent
 */
export function mamba3Backward(k: Context, args: Mamba3BackwardArgs): Mamba3Gradients {
  const check = new Check('mamba3Backward', k);
  const { tensors, sizes, options } = checkOptions(check, args, TOKENS);
  const initial = checkInitial(check, args);
  const { dy, dLastAngle, dLastState, dLastB, dLastX } = args;
  const { batch, seqLen, nHeads, headDim, nRanks, nGroups, dState, nAngles, angleHeads } = check.sizes;
  const upstream = [
    check.optional('dy', dy, [...TOKENS, 'nHeads', 'nRanks', 'headDim']),
    check.optional('dLastAngle', dLastAngle, STATES.angle),
    check.optional('dLastState', dLastState, STATES.state),
    check.optional('dLastB', dLastB, STATES.B),
    check.optional('dLastX', dLastX, STATES.x),
  ] as const;
  if (upstream.every((pointer) => pointer === 0)) {
    check.argument('dy', 'given, or dLastAngle, dLastState, dLastB or dLastX', 'none');
  }
  const { chunkSize = chunkOf(nRanks) } = args;
  check.integer('chunkSize', chunkSize, 1, LONGEST_CHUNK);
  const chunk = Math.max(chunkSize, SHORTEST_CHUNK_BACKWARD);
  const gradients = emptyGradients(k, args);
  const bundleHeads = bundleOf(check.sizes);
  const bundles = Math.ceil(nHeads / nGroups / bundleHeads);
  const inputs = [
    ...inOrder(gradients),
    ...upstream,
    ...tensors,
    ...initial,
    batch,
    seqLen,
    ...sizes,
    ...options,
    chunk,
  ];
  const { mamba3ChunkedBackwardSharedBytes, mamba3ChunkedBackwardScratchBytes } = k.wasm;
  // prettier-ignore
  const bytes = mamba3ChunkedBackwardSharedBytes(
    batch, seqLen, nHeads, headDim, nRanks, nGroups, dState, nAngles, angleHeads, bundles,
  );
  const scratchBytes = mamba3ChunkedBackwardScratchBytes(seqLen, headDim, nRanks, dState, nAngles, chunk);
  k.scratch(bytes, (shared) => {
    const run = (phase: number, units: number, nanoseconds: number) =>
      k.run('mamba3ChunkedBackward', [...inputs, shared, bundleHeads, phase], {
        units,
        nanoseconds,
        scratchBytes,
      });
    const steps = batch * seqLen;
    run(0, batch * nGroups * bundles, steps * nHeads * headDim * nRanks * dState * BACKWARD_ELEMENT_NS);
    if (bundles > 1 || (angleHeads === 1 && nGroups > 1)) {
      run(1, steps, steps * nGroups * bundles * (nRanks * dState + nAngles) * SUM_NS);
    }
    run(2, nHeads, batch * nHeads * nRanks * (headDim + dState) * SUM_NS);
  });
  return gradients;
}

/** A gradient of each input that is given. */
function emptyGradients(k: Context, args: Mamba3Args): Mamba3Gradients {
  const like = (tensor: Tensor) => k.empty(tensor.shape);
  const gradients: Mamba3Gradients = {
    dx: like(args.x),
    ddt: like(args.dt),
    dA: like(args.A),
    dtrap: like(args.trap),
    dB: like(args.B),
    dC: like(args.C),
    dangles: like(args.angles),
  };
  if (args.BBias !== undefined) gradients.dBBias = like(args.BBias);
  if (args.CBias !== undefined) gradients.dCBias = like(args.CBias);
  if (args.D !== undefined) gradients.dD = like(args.D);
  if (args.mimoX !== undefined) gradients.dMimoX = like(args.mimoX);
  if (args.dtBias !== undefined) gradients.dDtBias = like(args.dtBias);
  if (args.initialAngle !== undefined) gradients.dInitialAngle = like(args.initialAngle);
  if (args.initialState !== undefined) gradients.dInitialState = like(args.initialState);
  if (args.initialB !== undefined) gradients.dInitialB = like(args.initialB);
  if (args.initialX !== undefined) gradients.dInitialX = like(args.initialX);
  return gradients;
}

/** Their addresses, as the kernel takes them. */
function inOrder(gradients: Mamba3Gradients) {
  const { dx, ddt, dA, dtrap, dB, dC, dangles, dBBias, dCBias, dD, dMimoX, dDtBias } = gradients;
  const { dInitialAngle, dInitialState, dInitialB, dInitialX } = gradients;
  return [
    ...pointers(dx, ddt, dA, dtrap, dB, dC, dangles, dBBias, dCBias, dD, dMimoX, dDtBias),
    ...pointers(dInitialAngle, dInitialState, dInitialB, dInitialX),
  ] as const;
}

/**
 * How the backward pass is cut, by sizes only. The gradients of B and C are sums over the heads of a group: first over
 * those of a bundle, then over the bundles. Where the batch has few items and groups to be shared among threads, there
 * are more bundles.
 */
function bundleOf({ batch, nHeads, nGroups }: Record<string, number>): number {
  const headsOfGroup = nHeads / nGroups;
  const mostBundles = Math.min(headsOfGroup, Math.ceil(BACKWARD_UNITS / (batch * nGroups)));
  return Math.ceil(headsOfGroup / mostBundles);
}

/**
 * One step of {@link mamba3}, for generation: `angle`, `state`, `lastB` and `lastX` are updated in place.
 *
 * @param angle  `[batch, nHeads, nAngles]`, such as `lastAngle` of {@link mamba3}
 * @param state  `[batch, nHeads, headDim, dState]`
 * @param lastB  `[batch, nRanks, nHeads, dState]`
 * @param lastX  `[batch, nHeads, headDim]`
 * @param x      `[batch, nHeads, headDim]`
 * @param dt     `[batch, nHeads]`; `A` and `trap` alike
 * @param B      `[batch, nRanks, nGroups, dState]`; `C` alike
 * @param angles `[batch, nHeads, nAngles]` or `[batch, 1, nAngles]`
 * @returns `y`, `[batch, nHeads, nRanks, headDim]`
 * @throws ShapeError if a shape does not fit, ArgumentError if an option is out of its range or `mimoX` is missing
 */
export function mamba3Step(k: Context, args: Mamba3StepArgs): Tensor<'float32'> {
  const check = new Check('mamba3Step', k);
  const { tensors, sizes, options } = checkOptions(check, args, ['batch']);
  const { angle, state, lastB, lastX } = args;
  check.float32('angle', angle, STATES.angle);
  check.float32('state', state, STATES.state);
  check.float32('lastB', lastB, STATES.B);
  check.float32('lastX', lastX, STATES.x);
  const { batch, nHeads, headDim, nRanks, dState, nAngles } = check.sizes;
  const y = k.empty([batch, nHeads, nRanks, headDim]);
  const states = pointers(angle, state, lastB, lastX);
  k.run('mamba3RecurrentForward', [y.pointer, ...states, ...tensors, ...states, 1, ...sizes, ...options], {
    units: batch * nHeads,
    nanoseconds: batch * nHeads * headDim * nRanks * dState * STEP_ELEMENT_NS,
    scratchBytes: k.wasm.mamba3RecurrentForwardScratchBytes(nRanks, dState, nAngles),
  });
  return y;
}

const shared = {
  x: 'tensor',
  dt: 'tensor',
  A: 'tensor',
  trap: 'tensor',
  B: 'tensor',
  C: 'tensor',
  angles: 'tensor',
  BBias: 'tensor',
  CBias: 'tensor',
  D: 'tensor',
  mimoX: 'tensor',
  dtBias: 'tensor',
  dtSoftplus: 'flag',
  aFloor: 'number',
  convention: 'text',
} as const;
const sequence = {
  ...shared,
  initialAngle: 'tensor',
  initialState: 'tensor',
  initialB: 'tensor',
  initialX: 'tensor',
  chunkSize: 'number',
} as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  mamba3: op(mamba3, sequence),
  mamba3Backward: op(mamba3Backward, {
    ...sequence,
    dy: 'tensor',
    dLastAngle: 'tensor',
    dLastState: 'tensor',
    dLastB: 'tensor',
    dLastX: 'tensor',
  }),
  mamba3Step: op(mamba3Step, {
    ...shared,
    angle: 'tensor',
    state: 'tensor',
    lastB: 'tensor',
    lastX: 'tensor',
  }),
};
