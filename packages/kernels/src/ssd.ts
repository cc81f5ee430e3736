import { op } from './arguments.js';
import { Check } from './check.js';
import { type Context, mostPieces } from './context.js';
import { pointers } from './pointers.js';
import type { Tensor } from './tensor.js';

/** What sequence, gradient and step have in common. */
interface SsdOptions {
  A: Tensor;
  D?: Tensor;
  dtBias?: Tensor;
  dtSoftplus?: boolean;
  dtLimit?: readonly [min: number, max: number];
}

export interface SsdArgs extends SsdOptions {
  x: Tensor;
  dt: Tensor;
  B: Tensor;
  C: Tensor;
  z?: Tensor;
  initialState?: Tensor;
  chunkSize?: number;
}

export interface SsdBackwardArgs extends SsdArgs {
  dy?: Tensor;
  dLastState?: Tensor;
}

export interface SsdStepArgs extends SsdOptions {
  state: Tensor;
  x: Tensor;
  dt: Tensor;
  B: Tensor;
  C: Tensor;
  z?: Tensor;
}

export interface SsdGradients {
  dx: Tensor<'float32'>;
  ddt: Tensor<'float32'>;
  dA: Tensor<'float32'>;
  dB: Tensor<'float32'>;
  dC: Tensor<'float32'>;
  dD?: Tensor<'float32'>;
  dz?: Tensor<'float32'>;
  dDtBias?: Tensor<'float32'>;
  dInitialState?: Tensor<'float32'>;
}

/** The fastest of 24 to 120 at 24 heads of 64 x 128, and near it at smaller ones; whole tiles of the kernels. */
const DEFAULT_CHUNK = 40;
/** Shorter sequences go step by step: packing would cost more than it gains (measured from 16 to 128 states). */
const SHORTEST_CHUNKED = 5;
/** The backward pass keeps one state a chunk, so short chunks would cost memory. */
const SHORTEST_CHUNK_BACKWARD = 16;
/** The working memory grows with its square. */
const LONGEST_CHUNK = 1024;

/** Nanoseconds per element of the state and step: forward, backward, and of a step alone, whose state comes from memory. */
const ELEMENT_NS = 0.1;
const BACKWARD_ELEMENT_NS = 0.35;
const STEP_ELEMENT_NS = 0.3;
/** What the backward pass computes of a group, per step and state: for each step of the chunk, and besides. */
const GROUP_PAIR_NS = 0.02;
const GROUP_ELEMENT_NS = 1.5;
/** Nanoseconds per element that is added up, and per step size. */
const SUM_NS = 0.3;
const STEP_NS = 4;

/** The phases of the backward pass, as the kernel counts them. */
const phases = ['pack', 'heads', 'groups', 'sums', 'states', 'chunks', 'steps'] as const;
type Phase = (typeof phases)[number];

/** Into as many parts the backward pass is cut at least, if there are as many heads. */
const BACKWARD_UNITS = 8;
/** It computes as many items of the batch at a time as what it keeps of their groups fits into, or are parts enough. */
const ITEMS_BYTES = 8e6;

const TOKENS = ['batch', 'seqLen'];

/** The limits of the step size, in full. @throws ArgumentError */
export function checkLimit(check: Check, dtLimit: unknown): readonly [min: number, max: number] {
  if (dtLimit === undefined) return [-Infinity, Infinity];
  const wanted = 'two numbers [min, max] with min <= max';
  if (!Array.isArray(dtLimit) || dtLimit.length !== 2) check.argument('dtLimit', wanted, dtLimit);
  const [min, max] = dtLimit as [unknown, unknown];
  if (typeof min !== 'number' || typeof max !== 'number' || !(min <= max)) {
    check.argument('dtLimit', wanted, `[${String(min)}, ${String(max)}]`);
  }
  return [min, max];
}

/** Checks what sequence, gradient and step share. @returns the arguments of the kernels in their order */
function checkOptions(
  check: Check,
  args: SsdOptions & { x: Tensor; dt: Tensor; B: Tensor; C: Tensor; z?: Tensor },
  tokens: string[],
) {
  const { x, dt, A, B, C, D, z, dtBias, dtSoftplus = false, dtLimit } = args;
  check.float32('x', x, [...tokens, 'nHeads', 'headDim']);
  check.float32('dt', dt, [...tokens, 'nHeads']);
  check.float32('A', A, ['nHeads']);
  check.float32('B', B, [...tokens, 'nGroups', 'dState']);
  check.float32('C', C, [...tokens, 'nGroups', 'dState']);
  const { nHeads, headDim, nGroups, dState } = check.sizes;
  if (nHeads % nGroups !== 0)
    check.shape('B', `[..., nGroups, dState] with nGroups a divisor of nHeads = ${nHeads}`, B);
  const skipByChannel = D !== undefined && check.rank('D', D) === 2;
  const tensors = [
    x.pointer,
    dt.pointer,
    A.pointer,
    B.pointer,
    C.pointer,
    check.optional('D', D, skipByChannel ? ['nHeads', 'headDim'] : ['nHeads']),
    check.optional('z', z, [...tokens, 'nHeads', 'headDim']),
    check.optional('dtBias', dtBias, ['nHeads']),
  ] as const;
  const [min, max] = checkLimit(check, dtLimit);
  return {
    tensors,
    sizes: [nHeads, headDim, nGroups, dState] as const,
    options: [Number(skipByChannel), Number(dtSoftplus), min, max] as const,
  };
}

/**
 * State space duality, the mixer of Mamba-2. Of each head:
 *
 *     h[t] = exp(dt[t] A) h[t-1] + dt[t] x[t] B[t]^T
 *     y[t] = (C[t] h[t] + D x[t]) silu(z[t])
 *
 * @param x   input, `[batch, seqLen, nHeads, headDim]`
 * @param dt  step size, `[batch, seqLen, nHeads]`; `dtBias` is added to it, then comes softplus, then `dtLimit`
 * @param A   decay rates, negative as a rule, `[nHeads]`
 * @param B   `[batch, seqLen, nGroups, dState]`; head h uses group `floor(h / (nHeads / nGroups))`
 * @param C   shaped like `B`
 * @param D   `[nHeads]` or `[nHeads, headDim]`; no shortcut if absent
 * @param z   gate, shaped like `x`; none if absent
 * @param dtBias        `[nHeads]`
 * @param dtSoftplus    whether `dt` passes softplus; false if absent
 * @param dtLimit       `[min, max]` of the step size; `max` may be `Infinity`
 * @param initialState  `[batch, nHeads, headDim, dState]`; zeros if absent
 * @param chunkSize     steps that are computed as products of matrices, 1 to 1024; 40 if absent, and 1 computes step by
 *   step. The result is the same but for rounding, unless the decays of a chunk multiply to more than a float holds
 *   (1e38, with positive `A`); the working memory grows with its square
 * @returns `y`, shaped like `x`, and `lastState`, shaped like `initialState`: pass it on as such
 * @throws ShapeError if a shape does not fit, ArgumentError if an option is out of its range
 * @see Dao & Gu 2024, sections 3 and 6, https://arxiv.org/abs/2405.21060
 */
export function ssd(k: Context, args: SsdArgs): { y: Tensor<'float32'>; lastState: Tensor<'float32'> } {
  const check = new Check('ssd', k);
  const { tensors, sizes, options } = checkOptions(check, args, TOKENS);
  const { x, initialState, chunkSize } = args;
  const { batch, seqLen, nHeads, headDim, dState } = check.sizes;
  const stateShape = [batch, nHeads, headDim, dState];
  const initial = check.optional('initialState', initialState, ['batch', 'nHeads', 'headDim', 'dState']);
  if (chunkSize !== undefined) check.integer('chunkSize', chunkSize, 1, LONGEST_CHUNK);
  const chunk = chunkSize ?? (seqLen < SHORTEST_CHUNKED ? 1 : DEFAULT_CHUNK);
  const y = k.empty(x.shape);
  const lastState = k.empty(stateShape);
  const inputs = [y.pointer, lastState.pointer, ...tensors, initial, seqLen, ...sizes] as const;
  const cut = {
    units: batch * nHeads,
    nanoseconds: batch * seqLen * nHeads * headDim * dState * ELEMENT_NS,
  };
  if (chunk === 1) k.run('ssdRecurrentForward', [...inputs, ...options], cut);
  else {
    k.run('ssdChunkedForward', [...inputs, chunk, ...options], {
      ...cut,
      mostPieces: mostPieces(headDim),
      partsPerThread: 2, // each part packs B and C of its groups
      scratchBytes: (units, pieces) =>
        k.wasm.ssdChunkedForwardScratchBytes(
          seqLen,
          Math.min(units, nHeads * pieces),
          headDim / pieces,
          dState,
          chunk,
        ),
    });
  }
  return { y, lastState };
}

/**
 * Gradient of {@link ssd}. The states at the chunks' ends are computed again, one head at a time on each thread: memory
 * is linear in the length, and does not grow with the number of heads. Only where threads outnumber a few heads are the
 * states of all heads kept.
 *
 * @param chunkSize   as there, but at least 16 is taken
 * @param dy          gradient of `y`; zeros if absent
 * @param dLastState  gradient of `lastState`; zeros if absent
 * @returns a gradient of each input that was given, shaped like it; that of `dt` is 0 where `dtLimit` cut it off
 * @throws ShapeError if a shape does not fit, ArgumentError if an option is out of its range or both gradients are absent
 */
export function ssdBackward(k: Context, args: SsdBackwardArgs): SsdGradients {
  const check = new Check('ssdBackward', k);
  const { tensors, sizes, options } = checkOptions(check, args, TOKENS);
  const { x, dt, A, B, C, D, z, dtBias, initialState, chunkSize = DEFAULT_CHUNK, dy, dLastState } = args;
  const { batch, seqLen, nHeads, headDim, nGroups, dState } = check.sizes;
  const state = ['batch', 'nHeads', 'headDim', 'dState'];
  const upstream = [
    check.optional('dy', dy, [...TOKENS, 'nHeads', 'headDim']),
    check.optional('dLastState', dLastState, state),
  ] as const;
  const initial = check.optional('initialState', initialState, state);
  if (dy === undefined && dLastState === undefined) check.argument('dy', 'given, or dLastState', 'neither');
  check.integer('chunkSize', chunkSize, 1, LONGEST_CHUNK);
  const chunk = Math.max(chunkSize, SHORTEST_CHUNK_BACKWARD);
  const like = (tensor: Tensor) => k.empty(tensor.shape);
  const gradients: SsdGradients = { dx: like(x), ddt: like(dt), dA: like(A), dB: like(B), dC: like(C) };
  if (D !== undefined) gradients.dD = like(D);
  if (z !== undefined) gradients.dz = like(z);
  if (dtBias !== undefined) gradients.dDtBias = like(dtBias);
  if (initialState !== undefined) gradients.dInitialState = like(initialState);
  const { dx, ddt, dA, dB, dC, dD, dz, dDtBias, dInitialState } = gradients;
  const inputs = [
    ...pointers(dx, ddt, dA, dB, dC, dD, dz, dDtBias, dInitialState),
    ...upstream,
    ...tensors,
    initial,
    batch,
    seqLen,
    ...sizes,
    chunk,
    ...options,
  ];
  const { items, bundleHeads, bundles } = cutBackward(k, check.sizes, chunk);
  // What is computed does not depend on it.
  const allNs = batch * seqLen * nHeads * headDim * dState * BACKWARD_ELEMENT_NS;
  const keepsStates = batch * nHeads < BACKWARD_UNITS && k.isUneven(items * nGroups * bundles, allNs);
  const { ssdChunkedBackwardSharedBytes, ssdChunkedBackwardScratchBytes } = k.wasm;
  const most = items * nGroups;
  // prettier-ignore
  const bytes = ssdChunkedBackwardSharedBytes(
    batch * nHeads, most, most * bundles, keepsStates ? items * nHeads : 0, seqLen, headDim, dState, chunk,
  );
  const scratchBytes = ssdChunkedBackwardScratchBytes(seqLen, bundleHeads, headDim, dState, chunk);
  k.scratch(bytes, (shared) => {
    const run = (item: number, phase: Phase, units: number, nanoseconds: number) =>
      k.run(
        'ssdChunkedBackward',
        [...inputs, shared, items, bundleHeads, Number(keepsStates), item, phases.indexOf(phase)],
        {
          units,
          nanoseconds,
          scratchBytes,
        },
      );
    for (let item = 0; item < batch; item += items) {
      const groups = Math.min(items, batch - item) * nGroups;
      const chunks = groups * Math.ceil(seqLen / chunk);
      const steps = groups * seqLen;
      const groupNs = steps * dState * (chunk * GROUP_PAIR_NS + GROUP_ELEMENT_NS);
      run(item, 'pack', chunks, groupNs);
      const heads = (groups * nHeads) / nGroups;
      const headNs = heads * seqLen * headDim * dState * BACKWARD_ELEMENT_NS;
      if (!keepsStates) run(item, 'heads', groups * bundles, headNs);
      else {
        run(item, 'states', heads * 2, headNs / 4);
        run(item, 'chunks', chunks * bundles, (headNs * 3) / 4);
        run(item, 'steps', groups * bundles, heads * seqLen * STEP_NS);
      }
      run(item, 'groups', chunks, groupNs * 2);
    }
    run(0, 'sums', nHeads, batch * nHeads * headDim * SUM_NS);
  });
  return gradients;
}

/**
 * How the backward pass is cut, by sizes only. The gradients of B and C are sums over the heads of a group: first over
 * those of a bundle, then over the bundles. Where the batch has few items and groups to be shared among threads, there
 * are more bundles. `items` of the batch are computed at a time.
 */
function cutBackward(k: Context, sizes: Record<string, number>, chunk: number) {
  const { batch, seqLen, nHeads, headDim, nGroups, dState } = sizes;
  const headsOfGroup = nHeads / nGroups;
  const mostBundles = Math.min(headsOfGroup, Math.ceil(BACKWARD_UNITS / (batch * nGroups)));
  const bundleHeads = Math.ceil(headsOfGroup / mostBundles);
  const bundles = Math.ceil(headsOfGroup / bundleHeads);
  const groups = nGroups * bundles;
  // prettier-ignore
  const itemBytes = k.wasm.ssdChunkedBackwardSharedBytes(nHeads, nGroups, groups, 0, seqLen, headDim, dState, chunk);
  const items = Math.min(
    batch,
    Math.max(Math.ceil(BACKWARD_UNITS / groups), Math.floor(ITEMS_BYTES / itemBytes)),
  );
  return { items, bundleHeads, bundles };
}

/**
 * One step of {@link ssd}, for generation: `state` is updated in place.
 *
 * @param state  `[batch, nHeads, headDim, dState]`, such as `lastState` of {@link ssd}
 * @param x      `[batch, nHeads, headDim]`; `z` alike
 * @param dt     `[batch, nHeads]`
 * @param B      `[batch, nGroups, dState]`; `C` alike
 * @returns `y`, shaped like `x`
 * @throws ShapeError if a shape does not fit, ArgumentError if an option is out of its range
 */
export function ssdStep(k: Context, args: SsdStepArgs): Tensor<'float32'> {
  const check = new Check('ssdStep', k);
  const { tensors, sizes, options } = checkOptions(check, args, ['batch']);
  const { state, x } = args;
  check.float32('state', state, ['batch', 'nHeads', 'headDim', 'dState']);
  const { batch, nHeads, headDim, dState } = check.sizes;
  const y = k.empty(x.shape);
  k.run('ssdStep', [y.pointer, state.pointer, ...tensors, ...sizes, ...options], {
    units: batch * nHeads,
    nanoseconds: batch * nHeads * headDim * dState * STEP_ELEMENT_NS,
  });
  return y;
}

const shared = {
  x: 'tensor',
  dt: 'tensor',
  A: 'tensor',
  B: 'tensor',
  C: 'tensor',
  D: 'tensor',
  z: 'tensor',
  dtBias: 'tensor',
  dtSoftplus: 'flag',
  dtLimit: 'list',
} as const;
const sequence = { ...shared, initialState: 'tensor', chunkSize: 'number' } as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  ssd: op(ssd, sequence),
  ssdBackward: op(ssdBackward, { ...sequence, dy: 'tensor', dLastState: 'tensor' }),
  ssdStep: op(ssdStep, { ...shared, state: 'tensor' }),
};
