import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
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
  const { wasm } = k;
  const compute = (scratch: number) => {
    const y = k.empty(x.shape);
    const lastState = k.empty(stateShape);
    if (chunk === 1) {
      if (initialState === undefined) lastState.data.fill(0);
      else lastState.data.set(initialState.data);
      wasm.ssdRecurrentForward(y.pointer, lastState.pointer, ...tensors, batch, seqLen, ...sizes, ...options);
    } else {
      wasm.ssdChunkedForward(
        y.pointer,
        lastState.pointer,
        ...tensors,
        initial,
        batch,
        seqLen,
        ...sizes,
        chunk,
        ...options,
        scratch,
      );
    }
    return { y, lastState };
  };
  if (chunk === 1) return compute(0);
  const bytes = wasm.ssdChunkedForwardScratchBytes(seqLen, nHeads, headDim, dState, chunk);
  return k.scratch(bytes, compute);
}

/**
 * Gradient of {@link ssd}. The states at the chunks' ends are computed again, one head at a time: memory is linear in
 * the length, and does not grow with the number of heads.
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
  const { batch, seqLen, nHeads, headDim, dState } = check.sizes;
  const state = ['batch', 'nHeads', 'headDim', 'dState'];
  const upstream = [
    check.optional('dy', dy, [...TOKENS, 'nHeads', 'headDim']),
    check.optional('dLastState', dLastState, state),
  ] as const;
  const initial = check.optional('initialState', initialState, state);
  if (dy === undefined && dLastState === undefined) check.argument('dy', 'given, or dLastState', 'neither');
  check.integer('chunkSize', chunkSize, 1, LONGEST_CHUNK);
  const chunk = Math.max(chunkSize, SHORTEST_CHUNK_BACKWARD);
  const inputs = [...upstream, ...tensors, initial, batch, seqLen, ...sizes, chunk, ...options] as const;
  const bytes = k.wasm.ssdChunkedBackwardScratchBytes(seqLen, nHeads, headDim, dState, chunk);
  return k.scratch(bytes, (scratch) => {
    const like = (tensor: Tensor) => k.empty(tensor.shape);
    const gradients: SsdGradients = { dx: like(x), ddt: like(dt), dA: like(A), dB: like(B), dC: like(C) };
    if (D !== undefined) gradients.dD = like(D);
    if (z !== undefined) gradients.dz = like(z);
    if (dtBias !== undefined) gradients.dDtBias = like(dtBias);
    if (initialState !== undefined) gradients.dInitialState = like(initialState);
    const { dx, ddt, dA, dB, dC, dD, dz, dDtBias, dInitialState } = gradients;
    k.wasm.ssdChunkedBackward(
      ...pointers(dx, ddt, dA, dB, dC, dD, dz, dDtBias, dInitialState),
      ...inputs,
      scratch,
    );
    return gradients;
  });
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
  const y = k.empty(x.shape);
  k.wasm.ssdStep(y.pointer, state.pointer, ...tensors, check.sizes.batch, ...sizes, ...options);
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
