/**
 * COPY, solved by hand-set weights: each function stores a sequence of values through one mixer, reads
 * it back, and says beside it why that works or how it fails.
 *
 *   values  v_1 v_2 .. v_T  | reads: pos(1) pos(2) ..
 *   output                  | o_1 = v_pos(1), o_2 = v_pos(2), ..
 *
 * All values are written before the first read. The reads see nothing but what the mixer keeps: its last state, or
 * its cache of keys and values. Everything is computed by the kernels; here only their inputs are made.
 */
import { checkOptions } from '@freelunch/errors';
import { ArgumentError, DTypeError, type Kernels, ShapeError, Tensor } from '@freelunch/kernels';

/** What is stored and what is asked for. */
export interface CopyArgs {
  /** One value a token, `[seqLen, dValue]`. */
  values: Tensor<'float32'>;
  /** The token that each read wants, from 0 to seqLen - 1; every token in order if absent. */
  reads?: ArrayLike<number>;
}

export interface KeyedCopyArgs extends CopyArgs {
  /** One key a token, `[seqLen, dKey]`; the query for a token is its key. */
  keys: Tensor<'float32'>;
}

/** e^-40: so slow a decay that float32 rounds e^-A to 1. */
const NO_DECAY = 4.248354255291589e-18;

/** A step size at which a float32 state with A = -1 is erased: e^-128 is below half the smallest number. */
const ERASING_STEP = 128;

/** Floats in one argument of one kernel call: long inputs are cut into runs, with the state handed on. */
const RUN_FLOATS = 2 ** 20;

interface Sizes {
  seqLen: number;
  dValue: number;
  reads: Int32Array;
}

/** @param own  arguments of this function beside `values` and `reads` */
function checkCopy(where: string, args: CopyArgs, own: readonly string[]): Sizes {
  checkOptions(where, args, ['values', 'reads', ...own]);
  const { values, reads } = args;
  checkMatrix(where, 'values', values);
  const [seqLen, dValue] = values.shape;
  if (reads === undefined) return { seqLen, dValue, reads: Int32Array.from({ length: seqLen }, (_, t) => t) };
  if (reads.length === 0) throw new ArgumentError(`${where}: reads must name at least one token, got none`);
  for (let i = 0; i < reads.length; i++) {
    if (!Number.isInteger(reads[i]) || reads[i] < 0 || reads[i] >= seqLen) {
      throw new ArgumentError(
        `${where}: reads must be whole numbers from 0 to ${seqLen - 1}, got ${reads[i]} at ${i}`,
      );
    }
  }
  return { seqLen, dValue, reads: Int32Array.from(reads) };
}

function checkMatrix(where: string, name: string, tensor: Tensor): void {
  if (!(tensor instanceof Tensor) || tensor.dtype !== 'float32')
    throw new DTypeError(`${where}: ${name} must be a float32 tensor, got ${String(tensor)}`);
  if (tensor.shape.length !== 2)
    throw new ShapeError(`${where}: ${name} must have two axes, got [${tensor.shape.join(', ')}]`);
}

function checkKeys(where: string, keys: Tensor, seqLen: number): number {
  checkMatrix(where, 'keys', keys);
  if (keys.shape[0] !== seqLen)
    throw new ShapeError(
      `${where}: keys must be [seqLen, dKey] = [${seqLen}, dKey], got [${keys.shape.join(', ')}]`,
    );
  return keys.shape[1];
}

function checkSize(where: string, name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1)
    throw new ArgumentError(`${where}: ${name} must be a whole number from 1 up, got ${value}`);
}

/** Calls `run` on consecutive ranges of `0..count`, so short that `width` floats a row stay within a run's limit. */
function inRuns(count: number, width: number, run: (start: number, end: number) => void): void {
  const length = Math.max(1, Math.floor(RUN_FLOATS / width));
  for (let start = 0; start < count; start += length) run(start, Math.min(count, start + length));
}

/** A state that runs replace one after the other. */
class Carried {
  constructor(
    readonly k: Kernels,
    public state: Tensor,
  ) {}

  /** Runs `step` in a scope of its own; what it returns is the next state. */
  advance(step: (state: Tensor) => Tensor): void {
    const next = this.k.scope(() => step(this.state));
    this.state.dispose();
    this.state = next;
  }
}

/** Rows of a matrix as a new tensor: `rows[i]` names the i-th. */
function gather(k: Kernels, matrix: Tensor, rows: ArrayLike<number>, shape: number[]): Tensor<'float32'> {
  const width = matrix.shape[1];
  const out = k.empty(shape);
  const from = matrix.data; // after `empty`, which may move the memory
  const to = out.data;
  for (let i = 0; i < rows.length; i++)
    for (let c = 0; c < width; c++) to[i * width + c] = from[rows[i] * width + c];
  return out;
}

function slice(k: Kernels, matrix: Tensor, start: number, end: number, shape: number[]): Tensor<'float32'> {
  const width = matrix.shape[1];
  const out = k.empty(shape);
  out.data.set(matrix.data.subarray(start * width, end * width));
  return out;
}

function filled(k: Kernels, shape: number[], value: number): Tensor<'float32'> {
  const out = k.empty(shape);
  out.data.fill(value);
  return out;
}

/**
 * C1: linear attention without a normaliser, over whatever keys it is given.
 *
 *     S_T = sum_j k_j v_j^T      o = S_T^T k_p = (k_p . k_p) v_p + sum_(j != p) (k_p . k_j) v_j
 *
 * With unit keys the first part is the value that was asked for, the second is interference. It is zero if the keys
 * are orthogonal, which takes dKey >= seqLen. Below that, no choice of keys has all |k_p . k_j| under the Welch bound
 * sqrt((T - N) / (N (T - 1))); random unit keys have variance 1/N each, so the interference has variance (T - 1)/N
 * for each unit of value variance ({@link predictAccuracy} says how often that still decodes).
 *
 * @returns `o`, `[reads, dValue]`
 * @throws ShapeError, DTypeError, ArgumentError if an argument does not fit
 * @see Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236; Welch 1974, https://doi.org/10.1109/TIT.1974.1055219
 */
export function copyLinearAttention(k: Kernels, args: KeyedCopyArgs): Tensor<'float32'> {
  const { values, keys } = args;
  const { seqLen, dValue, reads } = checkCopy('copyLinearAttention', args, ['keys']);
  const dKey = checkKeys('copyLinearAttention', keys, seqLen);
  return k.scope(() => {
    const o = k.empty([reads.length, dValue]);
    const carried = new Carried(k, k.zeros([1, 1, dKey, dValue]));
    const width = Math.max(dKey, dValue);
    inRuns(seqLen, width, (start, end) => {
      carried.advance((initialState) => {
        const key = slice(k, keys, start, end, [1, end - start, 1, dKey]);
        const v = slice(k, values, start, end, [1, end - start, 1, dValue]);
        return k.linearAttention({ q: key, k: key, v, featureMap: 'identity', scale: 1, initialState })
          .lastState;
      });
    });
    inRuns(reads.length, width, (start, end) => {
      carried.advance((initialState) => {
        const q = gather(k, keys, reads.subarray(start, end), [1, end - start, 1, dKey]);
        const nothing = { k: k.zeros(q.shape), v: k.zeros([1, end - start, 1, dValue]) };
        const read = k.linearAttention({ q, ...nothing, featureMap: 'identity', scale: 1, initialState });
        o.data.set(read.o.data, start * dValue);
        return read.lastState;
      });
    });
    return o;
  });
}

/** Writes row `t` of B (or of C) into `out`, which is zero. */
type KeyRow = (t: number, out: Float32Array) => void;

/** The scan with the values on its channels and the keys as B and C; a read has delta = 0, which changes nothing. */
function copyByScan(
  k: Kernels,
  { values, sizes, dState, rate }: { values: Tensor<'float32'>; sizes: Sizes; dState: number; rate: number },
  keyRow: KeyRow,
): Tensor<'float32'> {
  const { seqLen, dValue, reads } = sizes;
  const keyRows = (count: number, token: (i: number) => number) => {
    const out = k.zeros([1, count, dState]);
    for (let i = 0; i < count; i++) keyRow(token(i), out.data.subarray(i * dState, (i + 1) * dState));
    return out;
  };
  return k.scope(() => {
    const o = k.empty([reads.length, dValue]);
    const A = filled(k, [dValue, dState], -rate);
    const carried = new Carried(k, k.zeros([1, dValue, dState]));
    const width = Math.max(dState, dValue);
    inRuns(seqLen, width, (start, end) => {
      carried.advance((initialState) => {
        const u = slice(k, values, start, end, [1, end - start, dValue]);
        const delta = filled(k, [1, end - start, dValue], 1);
        const B = keyRows(end - start, (i) => start + i);
        return k.selectiveScan({ u, delta, A, B, C: B, initialState }).lastState;
      });
    });
    inRuns(reads.length, width, (start, end) => {
      carried.advance((initialState) => {
        const none = k.zeros([1, end - start, dValue]);
        const C = keyRows(end - start, (i) => reads[start + i]);
        const read = k.selectiveScan({ u: none, delta: none, A, B: C, C, initialState });
        o.data.set(read.y.data, start * dValue);
        return read.lastState;
      });
    });
    return o;
  });
}

/**
 * C1 and C3: the selective scan over whatever keys it is given, with one rate of decay.
 *
 *     h_T[d, n] = sum_j e^(-rate (T - j)) B_j[n] v_j[d]      o[d] = sum_n k_p[n] h_T[d, n]
 *
 * At the default rate, e^-40, float32 rounds the decay of a step to 1: the state is then that of linear attention,
 * transposed, and {@link copyLinearAttention} says what comes back. At a greater rate the value of token p comes
 * back times e^(-rate (T - p)), counted from 1 ({@link decayError}).
 *
 * @param rate  -A, from 0 up
 * @returns `o`, `[reads, dValue]`
 * @throws ShapeError, DTypeError, ArgumentError if an argument does not fit
 * @see Gu & Dao 2023, https://arxiv.org/abs/2312.00752
 */
export function copySelectiveScan(k: Kernels, args: KeyedCopyArgs & { rate?: number }): Tensor<'float32'> {
  const { values, keys, rate = NO_DECAY } = args;
  const sizes = checkCopy('copySelectiveScan', args, ['keys', 'rate']);
  const dState = checkKeys('copySelectiveScan', keys, sizes.seqLen);
  if (!Number.isFinite(rate) || rate < 0)
    throw new ArgumentError(`copySelectiveScan: rate must be a finite number from 0 up, got ${rate}`);
  return copyByScan(k, { values, sizes, dState, rate }, (t, out) => {
    out.set(keys.data.subarray(t * dState, (t + 1) * dState));
  });
}

/**
 * C2 (a), the address in the state: token j is written with B_j = e_j and read with C = e_p.
 *
 *     h_T[d, n] = v_n[d]      o[d] = sum_n e_p[n] h_T[d, n] = v_p[d]
 *
 * Each entry of the state is written once, 1 * v + 0, kept by multiplying with 1, and read as a sum of itself and
 * zeros: not one rounding, so the error is 0 in float32. It takes dState >= seqLen. The addresses are spent after
 * dState tokens; later tokens are written nowhere (B = 0), and reading one gives zeros: the first dState are kept.
 *
 * @param dState  number of addresses, from 1 up
 * @returns `o`, `[reads, dValue]`
 * @throws ShapeError, DTypeError, ArgumentError if an argument does not fit
 */
export function copyAddressed(k: Kernels, args: CopyArgs & { dState: number }): Tensor<'float32'> {
  const { values, dState } = args;
  const sizes = checkCopy('copyAddressed', args, ['dState']);
  checkSize('copyAddressed', 'dState', dState);
  return copyByScan(k, { values, sizes, dState, rate: NO_DECAY }, (t, out) => {
    if (t < dState) out[t] = 1;
  });
}

/**
 * C2 (b), the register file: dState = 1 and one register of dValue channels for each slot. Token j goes to slot
 * j mod slots, by selection alone: every slot sees the value as `u`, and delta is 128 on the slot to write, 0 elsewhere.
 *
 *     A = -1, B = 1/128, C = 1      h <- e^(-delta) h + (delta / 128) u
 *
 *     delta = 128: e^-128 underflows to 0 in float32, and 128/128 = 1: h <- u, erased and replaced
 *     delta = 0:   h <- 1 h + 0: held, for ever
 *
 * A read has delta = 0 everywhere and opens the gate of one slot: z = 128 there, where silu is 128 (1 + e^-128 rounds
 * to 1), and z = 0 elsewhere, where silu is 0. The output projection adds the slots up, times 1/128. Both factors
 * are powers of two and all else that is added is 0, so the error is 0 in float32.
 *
 * It takes slots >= seqLen to keep everything. With fewer, later tokens replace earlier ones, and the last `slots`
 * tokens are kept exactly: what a sliding window does. The gates of a token that is gone stay shut, so reading it
 * gives zeros. This is what selectivity buys: without a gate, linear attention can add, but not overwrite.
 *
 * @param slots  number of registers, from 1 up; dInner is slots dValue
 * @returns `o`, `[reads, dValue]`
 * @throws ShapeError, DTypeError, ArgumentError if an argument does not fit
 */
export function copyRegisterFile(k: Kernels, args: CopyArgs & { slots: number }): Tensor<'float32'> {
  const { values, slots } = args;
  const { seqLen, dValue, reads } = checkCopy('copyRegisterFile', args, ['slots']);
  checkSize('copyRegisterFile', 'slots', slots);
  const dInner = slots * dValue;
  return k.scope(() => {
    const o = k.empty([reads.length, dValue]);
    const A = filled(k, [dInner, 1], -1);
    const B = filled(k, [dInner, 1], 1 / ERASING_STEP);
    const C = filled(k, [dInner, 1], 1);
    const outProj = k.zeros([dInner, dValue]);
    for (let d = 0; d < dInner; d++) outProj.data[d * dValue + (d % dValue)] = 1 / ERASING_STEP;
    const carried = new Carried(k, k.zeros([1, dInner, 1]));
    inRuns(seqLen, dInner, (start, end) => {
      carried.advance((initialState) => {
        const u = k.empty([1, end - start, dInner]);
        const delta = k.zeros(u.shape);
        for (let t = start; t < end; t++) {
          const row = u.data.subarray((t - start) * dInner, (t - start + 1) * dInner);
          repeat(row, values.data.subarray(t * dValue, (t + 1) * dValue));
          openSlot(delta, t - start, t % slots, dValue, ERASING_STEP);
        }
        return k.selectiveScan({ u, delta, A, B, C, initialState }).lastState;
      });
    });
    inRuns(reads.length, dInner, (start, end) => {
      carried.advance((initialState) => {
        const none = k.zeros([1, end - start, dInner]);
        const z = k.zeros(none.shape);
        for (let i = start; i < end; i++) {
          const kept = reads[i] >= seqLen - slots;
          if (kept) openSlot(z, i - start, reads[i] % slots, dValue, ERASING_STEP);
        }
        const read = k.selectiveScan({ u: none, delta: none, A, B, C, z, initialState });
        const out = k.matmul({ a: read.y, b: outProj });
        o.data.set(out.data, start * dValue);
        return read.lastState;
      });
    });
    return o;
  });
}

/** Fills `row` with copies of `value`. */
function repeat(row: Float32Array, value: Float32Array): void {
  row.set(value);
  for (let done = value.length; done < row.length; done *= 2) row.copyWithin(done, 0, row.length - done);
}

/** Sets the channels of one slot, at one step, to `value`. */
function openSlot(
  tensor: Tensor<'float32'>,
  step: number,
  slot: number,
  dValue: number,
  value: number,
): void {
  const first = step * tensor.shape[2] + slot * dValue;
  tensor.data.fill(value, first, first + dValue);
}

/** Bits that tell `seqLen` positions apart: the key width of {@link copySoftmaxAttention}. */
export function positionBits(seqLen: number): number {
  let bits = 1;
  while (2 ** bits < seqLen) bits++;
  return bits;
}

/**
 * C4: softmax attention with the bits of the position as keys, +1 or -1 each, and beta times them as queries.
 *
 *     q_p . k_j = beta (b - 2 hamming(p, j)),  b = ceil(log2 T)
 *
 * The wanted token has the greatest score, beta b, and a token whose position differs in m bits has 2 beta m less.
 * At most C(b, m) tokens differ in m bits, so all the others together weigh at most (1 + e^(-2 beta))^b - 1 times the
 * wanted one, and the error is at most 2 ((1 + e^(-2 beta))^b - 1) max|v|: 9.9e-10 max|v| at beta = 12 and 8,192
 * tokens, below the rounding of float32. The key is only log2 T wide, but the cache holds every token.
 *
 * @param beta  12 if absent
 * @returns `o`, `[reads, dValue]`
 * @throws ShapeError, DTypeError, ArgumentError if an argument does not fit
 */
export function copySoftmaxAttention(k: Kernels, args: CopyArgs & { beta?: number }): Tensor<'float32'> {
  const { values, beta = 12 } = args;
  const { seqLen, dValue, reads } = checkCopy('copySoftmaxAttention', args, ['beta']);
  if (!Number.isFinite(beta))
    throw new ArgumentError(`copySoftmaxAttention: beta must be a finite number, got ${beta}`);
  const headDim = positionBits(seqLen);
  const codes = (count: number, position: (i: number) => number, scale: number) => {
    const out = k.empty([1, count, 1, headDim]);
    for (let i = 0; i < count; i++)
      for (let bit = 0; bit < headDim; bit++)
        out.data[i * headDim + bit] = (position(i) >>> bit) & 1 ? scale : -scale;
    return out;
  };
  return k.scope(() => {
    const keys = codes(seqLen, (j) => j, 1);
    const v = values.reshape([1, seqLen, 1, dValue]);
    const o = k.empty([reads.length, dValue]);
    inRuns(reads.length, Math.max(headDim, dValue), (start, end) => {
      k.scope(() => {
        const q = codes(end - start, (i) => reads[start + i], beta);
        o.data.set(k.softmaxAttention({ q, k: keys, v, scale: 1 }).o.data, start * dValue);
      });
    });
    return o;
  });
}
