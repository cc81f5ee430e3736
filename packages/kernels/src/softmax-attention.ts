import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { eachStage, type StageSizes, type Work } from './softmax-attention-parts.js';
import {
  type AttentionPlan,
  checkAttention,
  checkAttentionOptions,
  perItem,
  type SoftmaxAttentionArgs,
  type SparsePattern,
} from './softmax-attention-passes.js';
import { MOVE_NS } from './slices.js';
import { isTensor, type Tensor } from './tensor.js';

export type { SoftmaxAttentionArgs, SparsePattern } from './softmax-attention-passes.js';

export interface SoftmaxAttentionBackwardArgs extends SoftmaxAttentionArgs {
  o?: Tensor;
  logSumExp?: Tensor;
  do?: Tensor;
  dLogSumExp?: Tensor;
}

export interface SoftmaxAttentionStepArgs {
  q: Tensor;
  k: Tensor;
  v: Tensor;
  kCache: Tensor;
  vCache: Tensor;
  length: number | readonly number[] | Tensor;
  scale?: number;
  window?: number;
  sparse?: SparsePattern;
  alibiSlopes?: Tensor;
}

/**
 * Softmax attention, in memory that grows with the length and not with its square:
 *
 *   s[t,j] = scale q[t] . k[j] - slope (position - j),  position = queryOffset + t
 *   logSumExp[t] = ln sum_j e^s[t,j],  o[t] = sum_j e^(s[t,j] - logSumExp[t]) v[j],  over the keys j that t sees
 *
 * A query that sees no key gets `o = 0` and `logSumExp = -Infinity`. Keys outside the window or the pattern cost
 * nothing: the work grows as `qLen window`, and as `qLen (stride + qLen / stride)` with a sparse pattern.
 *
 * @param q  `[batch, qLen, nHeads, headDim]`
 * @param k  `[batch, kLen, nKvHeads, headDim]`; head h uses key head floor(h / (nHeads / nKvHeads))
 * @param v  `[batch, kLen, nKvHeads, valueDim]`
 * @param causal  if true, only keys with `j <= position`; false if absent
 * @param scale   `1 / sqrt(headDim)` if absent
 * @param window  only keys with `position - j < window`, from 1 up; bounds the past, also without `causal`
 * @param sparse  with `causal` only. `{ pattern: 'strided', stride }`: keys with `position - j < stride` or with
 *   `position - j` a multiple of `stride`. `{ pattern: 'fixed', stride, summary }`: keys of the query's own block
 *   `floor(position / stride)`, and the last `summary` (1 to `stride`) keys of each earlier block
 * @param alibiSlopes  `[nHeads]`, as {@link alibiSlopes} gives them; no gradient
 * @param queryOffset  position of the first query, from 0 up; 0 if absent
 * @param keyLengths   how many keys are no padding, 0 to `kLen`: one number, or one a batch item; `kLen` if absent
 * @returns `o`, `[batch, qLen, nHeads, valueDim]`, and `logSumExp`, `[batch, nHeads, qLen]`
 * @throws ShapeError if a shape does not fit, ArgumentError if an option is out of its range
 * @see Rabe & Staats 2021, https://arxiv.org/abs/2112.05682
 * @see Dao 2023, https://arxiv.org/abs/2307.08691
 * @see Press et al. 2022 (ALiBi), https://arxiv.org/abs/2108.12409
 * @see Child et al. 2019 (sparse patterns), https://arxiv.org/abs/1904.10509
 */
export function softmaxAttention(
  context: Context,
  args: SoftmaxAttentionArgs,
): { o: Tensor<'float32'>; logSumExp: Tensor<'float32'> } {
  return forward(context, checkAttention(new Check('softmaxAttention', context), args), args);
}

/**
 * Gradient of {@link softmaxAttention}, from the scores computed anew: memory grows with the length alone.
 *
 * @param o, logSumExp  outputs of the forward call; computed again unless both are given
 * @param do            gradient of `o`, shaped like it
 * @param dLogSumExp    gradient of `logSumExp`, shaped like it; at least one of the two
 * @returns `dq`, `dk`, `dv`, shaped like `q`, `k`, `v`
 * @throws ShapeError if a shape does not fit, ArgumentError if an option is out of its range
 * @see Dao 2023, algorithm 2, https://arxiv.org/abs/2307.08691
 */
export function softmaxAttentionBackward(
  context: Context,
  args: SoftmaxAttentionBackwardArgs,
): { dq: Tensor<'float32'>; dk: Tensor<'float32'>; dv: Tensor<'float32'> } {
  const check = new Check('softmaxAttentionBackward', context);
  const plan = checkAttention(check, args);
  const { do: dO, dLogSumExp, q, k, v } = args;
  const oShape = ['batch', 'qLen', 'nHeads', 'valueDim'];
  const sumShape = ['batch', 'nHeads', 'qLen'];
  check.optional('o', args.o, oShape);
  check.optional('logSumExp', args.logSumExp, sumShape);
  check.optional('do', dO, oShape);
  check.optional('dLogSumExp', dLogSumExp, sumShape);
  if (dO === undefined && dLogSumExp === undefined) {
    check.argument('do or dLogSumExp', 'given', 'neither');
  }
  const { qLen, kLen, nHeads, nKvHeads, headDim, valueDim } = check.sizes;

  return context.scope(() => {
    const { o, logSumExp } =
      args.o !== undefined && args.logSumExp !== undefined
        ? { o: args.o, logSumExp: args.logSumExp }
        : forward(context, plan, args);
    const upstream = dO ?? context.zeros(o.shape);
    const dq = context.zeros(q.shape);
    const dk = context.zeros(k.shape);
    const dv = context.zeros(v.shape);
    const { wasm } = context;
    const work = { passes: plan.passes, queryOffset: () => plan.queryOffset, nHeads, nKvHeads };
    const timeOf = ({ pairs }: StageSizes) => pairs * (3 * headDim + 2 * valueDim) * MADD_NS;
    const partsOf = (sizes: StageSizes) => backwardParts(sizes, timeOf(sizes));
    eachStage(context, work, partsOf, (stage, sizes) => {
      const { table, parts, units, keyCount, partKeyCount } = stage;
      const nanoseconds = timeOf(sizes);
      const partialBytes =
        parts > 1 ? 4 * wasm.softmaxAttentionBackwardPartialFloats(partKeyCount, headDim, valueDim) : 0;
      context.scratch(units * partialBytes, (partials) => {
        // prettier-ignore
        context.run('softmaxAttentionBackward', [
          dq.pointer, dk.pointer, dv.pointer, upstream.pointer, dLogSumExp?.pointer ?? 0,
          q.pointer, k.pointer, v.pointer, o.pointer, logSumExp.pointer, args.alibiSlopes?.pointer ?? 0,
          table, partials, partialBytes,
          parts, partKeyCount, qLen, kLen, nHeads, nKvHeads, headDim, valueDim, plan.scale,
        ], {
          units,
          nanoseconds,
          scratchBytes: wasm.softmaxAttentionBackwardScratchBytes(partKeyCount, headDim, valueDim),
          partsPerThread: PARTS_PER_THREAD,
        });
        if (parts === 1 || keyCount === 0) return;
        // prettier-ignore
        context.run('softmaxAttentionBackwardSums', [
          dk.pointer, dv.pointer, table, partials, partialBytes, parts, keyCount, kLen, nKvHeads, headDim, valueDim,
        ], {
          units: stage.ofHeads * keyCount,
          nanoseconds: stage.ofHeads * keyCount * parts * (headDim + valueDim) * SUM_NS,
        });
      });
    });
    return { dq, dk, dv };
  });
}

/**
 * {@link softmaxAttention} of one new token, causal, against a cache: writes `k` and `v` into the caches at index
 * `length`, in place, and attends to the `length + 1` entries that are then there. Its position is `length`.
 *
 * @param q  `[batch, nHeads, headDim]`
 * @param k  `[batch, nKvHeads, headDim]`
 * @param v  `[batch, nKvHeads, valueDim]`
 * @param kCache  `[batch, capacity, nKvHeads, headDim]`, changed
 * @param vCache  `[batch, capacity, nKvHeads, valueDim]`, changed
 * @param length  entries in use before this step, 0 to `capacity - 1`, one for all or one per batch item, or int32 `[batch]`
 * @param scale, window, sparse, alibiSlopes  as in {@link softmaxAttention}
 * @returns `o`, `[batch, nHeads, valueDim]`
 * @throws ShapeError if a shape does not fit, ArgumentError if the cache is full or an option is out of its range
 */
export function softmaxAttentionStep(context: Context, args: SoftmaxAttentionStepArgs): Tensor<'float32'> {
  const { q, k, v, kCache, vCache, sparse, window, alibiSlopes: slopes } = args;
  const check = new Check('softmaxAttentionStep', context);
  check.float32('q', q, ['batch', 'nHeads', 'headDim']);
  check.float32('kCache', kCache, ['batch', 'capacity', 'nKvHeads', 'headDim']);
  check.float32('vCache', vCache, ['batch', 'capacity', 'nKvHeads', 'valueDim']);
  check.float32('k', k, ['batch', 'nKvHeads', 'headDim']);
  check.float32('v', v, ['batch', 'nKvHeads', 'valueDim']);
  const scale = checkAttentionOptions(check, args);
  const { batch, capacity, nHeads, nKvHeads, headDim, valueDim } = check.sizes;
  const { length } = args;
  if (isTensor(length)) check.int32('length', length, ['batch']);
  const lengths = perItem(check, 'length', isTensor(length) ? [...length.data] : length, batch, capacity - 1);
  // A recording of the call serves lengths of any value in the tensor: its time is that of the longest.
  const longest = isTensor(length) ? capacity : Math.max(...lengths) + 1;

  const o = context.empty([batch, nHeads, valueDim]);
  const stepAt = (lengthsAt: number) => {
    const [kRow, vRow] = [nKvHeads * headDim, nKvHeads * valueDim];
    // prettier-ignore
    context.run('softmaxAttentionAppend', [
      kCache.pointer, vCache.pointer, k.pointer, v.pointer, lengthsAt, batch, capacity, kRow, vRow,
    ], {
      units: batch,
      nanoseconds: batch * (kRow + vRow) * MOVE_NS,
      slices: { countAt: 5, steps: [capacity * kRow * 4, capacity * vRow * 4, kRow * 4, vRow * 4, 4] },
    });
    // prettier-ignore
    context.run('softmaxAttentionStep', [
      o.pointer, q.pointer, kCache.pointer, vCache.pointer, slopes?.pointer ?? 0, lengthsAt,
      capacity, nHeads, nKvHeads, headDim, valueDim,
      scale, window ?? 0, sparse === undefined ? 0 : PATTERNS[sparse.pattern], sparse?.stride ?? 0,
      sparse?.pattern === 'fixed' ? sparse.summary : 0,
    ], {
      units: batch * nHeads,
      nanoseconds: batch * nHeads * keysSeen(longest, args) * (headDim + valueDim) * ROW_MADD_NS,
      scratchBytes: context.wasm.softmaxAttentionStepScratchBytes(capacity),
    });
  };
  if (isTensor(length)) stepAt(length.pointer);
  else {
    context.scratch(batch * 4, (address) => {
      new Int32Array(context.allocator.memory.buffer, address, batch).set(lengths);
      stepAt(address);
    });
  }
  return o;
}

/** As the kernel knows them. */
const PATTERNS = { strided: 1, fixed: 2 } as const;

/** About how many of so many keys a query sees. */
function keysSeen(
  length: number,
  { window, sparse }: Pick<SoftmaxAttentionStepArgs, 'window' | 'sparse'>,
): number {
  const inWindow = Math.min(length, window ?? length);
  if (sparse === undefined) return inWindow;
  const run = sparse.pattern === 'fixed' ? sparse.summary : 1;
  return Math.min(inWindow, sparse.stride) + (inWindow / sparse.stride) * run;
}

/**
 * The published ALiBi slopes: `2^(-8 (h + 1) / nHeads)` where nHeads is a power of two; else those of the next
 * lower power n, followed by every other one of those of 2 n.
 *
 * @param nHeads  from 1 up
 * @returns `[nHeads]`
 * @see Press et al. 2022, https://arxiv.org/abs/2108.12409
 */
export function alibiSlopes(context: Context, { nHeads }: { nHeads: number }): Tensor<'float32'> {
  const check = new Check('alibiSlopes', context);
  check.integer('nHeads', nHeads, 1, 2 ** 16);
  let lower = 1;
  while (lower * 2 <= nHeads) lower *= 2;
  const slopes = slopesOfPower(lower);
  const finer = slopesOfPower(2 * lower).filter((_, h) => h % 2 === 0);
  return context.tensor(Float32Array.from([...slopes, ...finer].slice(0, nHeads)));
}

/** 2^(-8 (h + 1) / n), n a power of two, by square roots: unlike powers, they are the same in every engine. */
function slopesOfPower(n: number): number[] {
  let ratio = 1 / 256;
  for (let root = 1; root < n; root *= 2) ratio = Math.sqrt(ratio);
  const slopes = [ratio];
  for (let h = 1; h < n; h++) slopes.push(slopes[h - 1] * ratio);
  return slopes;
}

function forward(
  context: Context,
  { passes, scale, queryOffset }: AttentionPlan,
  { q, k, v, alibiSlopes: slopes }: SoftmaxAttentionArgs,
): { o: Tensor<'float32'>; logSumExp: Tensor<'float32'> } {
  const [batch, qLen, nHeads, headDim] = q.shape;
  const [, kLen, nKvHeads, valueDim] = v.shape;
  const o = context.empty([batch, qLen, nHeads, valueDim]);
  const logSumExp = context.empty([batch, nHeads, qLen]);
  const work = { passes, queryOffset: () => queryOffset, nHeads, nKvHeads };
  attend(context, work, {
    addresses: [o.pointer, logSumExp.pointer, q.pointer, k.pointer, v.pointer, slopes?.pointer ?? 0],
    qLen,
    kLen,
    headDim,
    valueDim,
    scale,
  });
  return { o, logSumExp };
}

/** Nanoseconds per multiplication and addition: of tiles, of queries one by one; and per element of a partial sum. */
const MADD_NS = 0.03;
const ROW_MADD_NS = 0.1;
const SUM_NS = 0.3;
/** Fewer queries than this are attended one by one. */
const FEW = 5;
/** Units are few already, and differ. */
const PARTS_PER_THREAD = 16;

interface AttendArgs {
  addresses: readonly [o: number, logSumExp: number, q: number, k: number, v: number, alibiSlopes: number];
  qLen: number;
  kLen: number;
  headDim: number;
  valueDim: number;
  scale: number;
}

function attend(context: Context, work: Work, args: AttendArgs): void {
  const { qLen, kLen, headDim, valueDim, scale } = args;
  const { nHeads, nKvHeads } = work;
  const nanosecondsOf = ({ pairs, queries }: StageSizes) =>
    pairs * (headDim + valueDim) * (queries / (nHeads / nKvHeads) < FEW ? ROW_MADD_NS : MADD_NS);
  // Each part packs the keys that it sees, so there are no more than keep the threads busy.
  const partsOf = (sizes: StageSizes) => {
    const threads = nanosecondsOf(sizes) < context.worthSharingNs ? 1 : context.threads;
    return threads === 1 ? 1 : Math.ceil((2 * threads) / sizes.ofHeads);
  };
  eachStage(context, work, partsOf, (stage, sizes) => {
    const { table, parts, units, continued, queryCount, partKeyCount } = stage;
    // prettier-ignore
    context.run('softmaxAttentionForward', [
      ...args.addresses, table, parts, qLen, kLen, nHeads, nKvHeads, headDim, valueDim, scale, Number(continued),
    ], {
      units,
      nanoseconds: nanosecondsOf(sizes),
      scratchBytes: context.wasm.softmaxAttentionForwardScratchBytes(queryCount, partKeyCount, headDim, valueDim),
      partsPerThread: PARTS_PER_THREAD,
    });
  });
}

/**
 * By sizes only, for the sums over parts to have the same bits with any number of threads. The parts of a pass share
 * keys, whose gradients are then added up: to clear, write and add them costs as much as ten queries or so, so that short
 * calls are not cut.
 */
function backwardParts({ ofHeads, queries }: StageSizes, nanoseconds: number): number {
  if (ofHeads >= 8) return 1;
  const most = Math.min(
    4,
    Math.ceil(8 / ofHeads),
    Math.floor(queries / 128),
    Math.floor(nanoseconds / 200_000),
  );
  return Math.max(1, most);
}

const shared = {
  q: 'tensor',
  k: 'tensor',
  v: 'tensor',
  scale: 'number',
  window: 'number',
  sparse: { pattern: 'text', stride: 'number', summary: 'number' },
  alibiSlopes: 'tensor',
} as const;
const sequence = {
  ...shared,
  causal: 'flag',
  queryOffset: 'number',
  keyLengths: 'number or list',
} as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  softmaxAttention: op(softmaxAttention, sequence),
  softmaxAttentionBackward: op(softmaxAttentionBackward, {
    ...sequence,
    o: 'tensor',
    logSumExp: 'tensor',
    do: 'tensor',
    dLogSumExp: 'tensor',
  }),
  softmaxAttentionStep: op(softmaxAttentionStep, {
    ...shared,
    kCache: 'tensor',
    vCache: 'tensor',
    length: 'number, list or tensor',
  }),
  alibiSlopes: op(alibiSlopes, { nHeads: 'number' }),
};
