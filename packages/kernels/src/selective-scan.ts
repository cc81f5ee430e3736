import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { sumColumns } from './matmul.js';
import type { Tensor } from './tensor.js';

/** Inputs of {@link selectiveScan}. */
export interface SelectiveScanArgs {
  u: Tensor;
  delta: Tensor;
  A: Tensor;
  B: Tensor;
  C: Tensor;
  D?: Tensor;
  z?: Tensor;
  deltaBias?: Tensor;
  deltaSoftplus?: boolean;
  initialState?: Tensor;
}

/** Inputs of {@link selectiveScanBackward}. */
export interface SelectiveScanBackwardArgs extends SelectiveScanArgs {
  dy?: Tensor;
  dLastState?: Tensor;
}

/** Gradients by {@link selectiveScanBackward}, of the inputs that were there. */
export interface SelectiveScanGradients {
  du: Tensor<'float32'>;
  ddelta: Tensor<'float32'>;
  dA: Tensor<'float32'>;
  dB: Tensor<'float32'>;
  dC: Tensor<'float32'>;
  dD?: Tensor<'float32'>;
  dz?: Tensor<'float32'>;
  dDeltaBias?: Tensor<'float32'>;
  dInitialState?: Tensor<'float32'>;
}

/** Inputs of {@link selectiveScanStep}. */
export interface SelectiveScanStepArgs extends Omit<SelectiveScanArgs, 'initialState'> {
  state: Tensor;
}

/** Channels in a unit of the kernels. */
const BLOCK = 16;

/** Nanoseconds per state element and time step. */
const SCAN_NS = 0.75;
const BACKWARD_NS = 2;

/**
 * A backward pass adds up gradients over the batch and over channels. For its bits not to depend on the number of
 * threads, sizes alone say into how many parts it falls: at most so many, none much shorter than a job is worth, and
 * none of fewer channels, as each part lays out B and C, and adds up dB and dC, anew.
 */
const MOST_PARTS = 16;
const PART_NS = 20_000;
const PART_CHANNELS = 64;

/** The step's kernel takes the state in vectors of so many; other sizes take a forward pass of one step. */
const LANES = 4;

/** Checks B or C. @returns the number of rows of a time step that channels share, 0 if B or C is constant */
function groups(check: Check, name: string, X: Tensor): number {
  const rank = check.rank(name, X);
  if (rank === 2) {
    check.float32(name, X, ['dInner', 'dState']);
    return 0;
  }
  if (rank === 3) {
    check.float32(name, X, ['batch', 'seqLen', 'dState']);
    return 1;
  }
  const nGroups = X.shape[2];
  const { batch, seqLen, dInner, dState } = check.sizes;
  if (rank !== 4 || dInner % nGroups !== 0) {
    check.shape(
      name,
      `[batch, seqLen, dState] = [${batch}, ${seqLen}, ${dState}], [dInner, dState] = [${dInner}, ${dState}] or ` +
        `[batch, seqLen, nGroups, dState] where nGroups divides dInner`,
      X,
    );
  }
  check.float32(name, X, ['batch', 'seqLen', nGroups, 'dState']);
  return nGroups;
}

function checkScan(check: Check, args: SelectiveScanArgs) {
  check.float32('u', args.u, ['batch', 'seqLen', 'dInner']);
  check.float32('delta', args.delta, ['batch', 'seqLen', 'dInner']);
  check.float32('A', args.A, ['dInner', 'dState']);
  const nGroupsB = groups(check, 'B', args.B);
  const nGroupsC = groups(check, 'C', args.C);
  const D = check.optional('D', args.D, ['dInner']);
  const z = check.optional('z', args.z, ['batch', 'seqLen', 'dInner']);
  const deltaBias = check.optional('deltaBias', args.deltaBias, ['dInner']);
  const initialState = check.optional('initialState', args.initialState, ['batch', 'dInner', 'dState']);
  const deltaSoftplus = args.deltaSoftplus ?? false;
  const { batch, seqLen, dInner, dState } = check.sizes;
  // prettier-ignore
  return { batch, seqLen, dInner, dState, nGroupsB, nGroupsC, D, z, deltaBias, initialState, deltaSoftplus };
}

/** Writes a copy of `source` into `target`, zeros if there is none. */
function copyOrClear(k: Context, target: Tensor<'float32'>, source: Tensor | undefined): void {
  if (source === undefined) k.clear(target);
  else target.data.set(source.data);
}

/**
 * Selective scan, the recurrence of Mamba, in one pass over the sequence:
 *
 *     h[t] = exp(delta[t] A) h[t-1] + delta[t] u[t] B[t]
 *     y[t] = (C[t] . h[t] + D u[t]) silu(z[t])
 *
 * Channel d of dInner reads group `floor(d / (dInner / nGroups))` of a grouped B or C; B and C may differ in kind.
 * Working memory does not grow with seqLen or dInner.
 *
 * @param u      input, `[batch, seqLen, dInner]`
 * @param delta  step size, shaped like `u`; positive once bias and softplus are applied
 * @param A      decay rates, negative, `[dInner, dState]`
 * @param B      `[batch, seqLen, dState]`, `[batch, seqLen, nGroups, dState]`, or constant, `[dInner, dState]`
 * @param C      as `B`
 * @param D      skip, `[dInner]`; none if absent
 * @param z      gate, shaped like `u`; none if absent
 * @param deltaBias  added to delta, `[dInner]`
 * @param deltaSoftplus  delta is `softplus(delta + deltaBias)`; default false
 * @param initialState  h before the first step, `[batch, dInner, dState]`; zeros if absent
 * @returns `y`, shaped like `u`, and `lastState`: pass it on as `initialState`
 * @throws ShapeError if a shape does not fit
 * @see Gu & Dao 2023, Algorithm 2, https://arxiv.org/abs/2312.00752
 */
export function selectiveScan(
  k: Context,
  args: SelectiveScanArgs,
): { y: Tensor<'float32'>; lastState: Tensor<'float32'> } {
  const s = checkScan(new Check('selectiveScan', k), args);
  const y = k.empty(args.u.shape);
  const lastState = k.empty([s.batch, s.dInner, s.dState]);
  copyOrClear(k, lastState, args.initialState);
  scanForward(k, y, lastState, args, s);
  return { y, lastState };
}

// prettier-ignore
function scanForward(
  k: Context, y: Tensor, state: Tensor,
  { u, delta, A, B, C }: Pick<SelectiveScanArgs, 'u' | 'delta' | 'A' | 'B' | 'C'>,
  s: Omit<ReturnType<typeof checkScan>, 'initialState'>,
): void {
  // prettier-ignore
  k.run('selectiveScanForward', [
    y.pointer, state.pointer,
    u.pointer, delta.pointer, A.pointer, B.pointer, C.pointer, s.D, s.z, s.deltaBias,
    s.seqLen, s.dInner, s.dState, s.nGroupsB, s.nGroupsC, Number(s.deltaSoftplus),
  ], {
    units: s.batch * Math.ceil(s.dInner / BLOCK),
    nanoseconds: s.batch * s.seqLen * s.dInner * s.dState * SCAN_NS,
    scratchBytes: k.wasm.selectiveScanForwardScratchBytes(s.seqLen, s.dState),
  });
}

/** Sequences and channels of each part of a backward pass. */
function partOfBackward(s: Omit<ReturnType<typeof checkScan>, 'initialState'>, nanoseconds: number) {
  const { batch, dInner, nGroupsB, nGroupsC } = s;
  const most = Math.max(1, Math.min(MOST_PARTS, Math.floor(nanoseconds / PART_NS)));
  const sequences = Math.ceil(batch / most);
  const groups = Math.floor(most / Math.ceil(batch / sequences));
  // Of several groups of channels that share a row of B or C, none is cut.
  const sharing = [nGroupsB, nGroupsC].map((nGroups) => (nGroups > 1 ? dInner / nGroups : 1));
  const unit = sharing.reduce(leastCommonMultiple, BLOCK);
  const channels = Math.ceil(Math.max(dInner / groups, PART_CHANNELS) / unit) * unit;
  return { sequences, channels: Math.min(channels, Math.ceil(dInner / BLOCK) * BLOCK) };
}

function leastCommonMultiple(a: number, b: number): number {
  let [divisor, rest] = [a, b];
  while (rest > 0) [divisor, rest] = [rest, divisor % rest];
  return (a / divisor) * b;
}

/**
 * Gradients of {@link selectiveScan}. States are not kept over the sequence: they are computed again, chunk by chunk,
 * from one state per chunk of 16 to 128 steps. Working memory is those, `[seqLen / chunk, dInner, dState]` for one
 * sequence per thread; one `dA`, `dD` and `dDeltaBias` for each of up to 16 parts of the batch; one `dB` and `dC` for each
 * of up to 16 groups of 64 or more channels; and, per thread, a part that does not grow with seqLen, dInner or batch.
 *
 * @param args        those of the forward call
 * @param dy          gradient of `y`; zeros if absent
 * @param dLastState  gradient of `lastState`, `[batch, dInner, dState]`; zeros if absent
 * @returns the gradient of each input that is there, shaped like it: `du`, `ddelta`, `dA`, `dB`, `dC`, `dD`, `dz`,
 *   `dDeltaBias`, `dInitialState`
 * @throws ShapeError if a shape does not fit
 * @throws ArgumentError if both `dy` and `dLastState` are absent
 */
export function selectiveScanBackward(k: Context, args: SelectiveScanBackwardArgs): SelectiveScanGradients {
  const check = new Check('selectiveScanBackward', k);
  const s = checkScan(check, args);
  const { batch, seqLen, dInner, dState } = s;
  const dy = check.optional('dy', args.dy, ['batch', 'seqLen', 'dInner']);
  check.optional('dLastState', args.dLastState, ['batch', 'dInner', 'dState']);
  if (args.dy === undefined && args.dLastState === undefined) {
    check.argument('dy or dLastState', 'given', 'neither');
  }
  const { u, delta, A, B, C, D, z, deltaBias, initialState } = args;
  return k.scope(() => {
    const gradients: SelectiveScanGradients = {
      du: k.empty(u.shape),
      ddelta: k.empty(u.shape),
      dA: k.empty(A.shape),
      dB: k.empty(B.shape),
      dC: k.empty(C.shape),
    };
    if (D !== undefined) gradients.dD = k.empty(D.shape);
    if (z !== undefined) gradients.dz = k.empty(z.shape);
    if (deltaBias !== undefined) gradients.dDeltaBias = k.empty(deltaBias.shape);
    const dStates = k.empty([batch, dInner, dState]);
    if (initialState !== undefined) gradients.dInitialState = dStates;
    copyOrClear(k, dStates, args.dLastState);

    const nanoseconds = batch * seqLen * dInner * dState * BACKWARD_NS;
    const { sequences, channels } = partOfBackward(s, nanoseconds);
    const batchParts = Math.ceil(batch / sequences);
    const channelParts = Math.ceil(dInner / channels);
    const sums: { whole: Tensor; parts: Tensor; count: number }[] = [];
    /** Where the parts of a gradient go. */
    const inParts = (whole: Tensor | undefined, count: number): number => {
      if (whole === undefined) return 0;
      if (count === 1) return whole.pointer;
      const parts = k.empty([count, whole.size]);
      sums.push({ whole, parts, count });
      return parts.pointer;
    };
    const partsOf = (nGroups: number) => (nGroups === 0 ? batchParts : nGroups === 1 ? channelParts : 1);
    const { du, ddelta, dA, dB, dC, dD, dz, dDeltaBias } = gradients;
    // prettier-ignore
    k.run('selectiveScanBackward', [
      du.pointer, ddelta.pointer,
      inParts(dA, batchParts), inParts(dB, partsOf(s.nGroupsB)), inParts(dC, partsOf(s.nGroupsC)),
      inParts(dD, batchParts), dz?.pointer ?? 0, inParts(dDeltaBias, batchParts), dStates.pointer,
      dy, u.pointer, delta.pointer, A.pointer, B.pointer, C.pointer, s.D, s.z, s.deltaBias, s.initialState,
      batch, seqLen, dInner, dState, s.nGroupsB, s.nGroupsC, Number(s.deltaSoftplus), sequences, channels,
    ], {
      units: batchParts * channelParts,
      nanoseconds,
      partsPerThread: 2, // each lays out B and C anew
      scratchBytes: k.wasm.selectiveScanBackwardScratchBytes(seqLen, dInner, dState),
    });
    for (const { whole, parts, count } of sums)
      sumColumns(k, whole.pointer, parts.pointer, count, whole.size);
    return gradients;
  });
}

/**
 * One step of {@link selectiveScan}; `state` is changed in place.
 *
 * With two axes, B and C are `[batch, dState]` or constant, `[dInner, dState]`. Where batch = dInner the shape does not
 * tell: it is then taken as `[batch, dState]`.
 *
 * @param state  h before the step, and after it, `[batch, dInner, dState]`
 * @param u      input, `[batch, dInner]`
 * @param delta  step size, `[batch, dInner]`
 * @param A      decay rates, `[dInner, dState]`
 * @param B      `[batch, dState]`, `[batch, nGroups, dState]`, or constant, `[dInner, dState]`
 * @param C      as `B`
 * @param D      skip, `[dInner]`
 * @param z      gate, `[batch, dInner]`
 * @param deltaBias  added to delta, `[dInner]`
 * @param deltaSoftplus  delta is `softplus(delta + deltaBias)`; default false
 * @returns `y`, `[batch, dInner]`
 * @throws ShapeError if a shape does not fit
 */
export function selectiveScanStep(k: Context, args: SelectiveScanStepArgs): Tensor<'float32'> {
  const check = new Check('selectiveScanStep', k);
  check.float32('state', args.state, ['batch', 'dInner', 'dState']);
  check.float32('u', args.u, ['batch', 'dInner']);
  check.float32('delta', args.delta, ['batch', 'dInner']);
  check.float32('A', args.A, ['dInner', 'dState']);
  const nGroupsB = groupsOfStep(check, 'B', args.B);
  const nGroupsC = groupsOfStep(check, 'C', args.C);
  const D = check.optional('D', args.D, ['dInner']);
  const z = check.optional('z', args.z, ['batch', 'dInner']);
  const deltaBias = check.optional('deltaBias', args.deltaBias, ['dInner']);
  const deltaSoftplus = args.deltaSoftplus ?? false;
  const { batch, dInner, dState } = check.sizes;
  const { state, u, delta, A, B, C } = args;
  const y = k.empty(u.shape);
  if (dState % LANES !== 0) {
    // prettier-ignore
    const s = { batch, seqLen: 1, dInner, dState, nGroupsB, nGroupsC, D, z, deltaBias, deltaSoftplus };
    scanForward(k, y, state, args, s);
    return y;
  }
  // prettier-ignore
  k.run('selectiveScanStep', [
    y.pointer, state.pointer,
    u.pointer, delta.pointer, A.pointer, B.pointer, C.pointer, D, z, deltaBias,
    dInner, dState, nGroupsB, nGroupsC, Number(deltaSoftplus),
  ], {
    units: batch * Math.ceil(dInner / BLOCK),
    nanoseconds: batch * dInner * dState * SCAN_NS,
    scratchBytes: k.wasm.selectiveScanStepScratchBytes(dInner),
  });
  return y;
}

/** As `groups`, without the axis of time. */
function groupsOfStep(check: Check, name: string, X: Tensor): number {
  const rank = check.rank(name, X);
  const { batch, dInner, dState } = check.sizes;
  if (rank === 2 && X.shape[0] === batch) {
    check.float32(name, X, ['batch', 'dState']);
    return 1;
  }
  if (rank === 2 && X.shape[0] === dInner) {
    check.float32(name, X, ['dInner', 'dState']);
    return 0;
  }
  const nGroups = X.shape[1];
  if (rank !== 3 || dInner % nGroups !== 0) {
    check.shape(
      name,
      `[batch, dState] = [${batch}, ${dState}], [dInner, dState] = [${dInner}, ${dState}] or ` +
        `[batch, nGroups, dState] where nGroups divides dInner`,
      X,
    );
  }
  check.float32(name, X, ['batch', nGroups, 'dState']);
  return nGroups;
}

const shared = {
  u: 'tensor',
  delta: 'tensor',
  A: 'tensor',
  B: 'tensor',
  C: 'tensor',
  D: 'tensor',
  z: 'tensor',
  deltaBias: 'tensor',
  deltaSoftplus: 'flag',
} as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  selectiveScan: op(selectiveScan, { ...shared, initialState: 'tensor' }),
  selectiveScanBackward: op(selectiveScanBackward, {
    ...shared,
    initialState: 'tensor',
    dy: 'tensor',
    dLastState: 'tensor',
  }),
  selectiveScanStep: op(selectiveScanStep, { ...shared, state: 'tensor' }),
};
