import type { Check } from './check.js';
import type { Tensor } from './tensor.js';

/** Block-sparse patterns, causal (Child et al. 2019, https://arxiv.org/abs/1904.10509, section 4). */
export type SparsePattern =
  /** The last `stride` keys, and every key whose distance is a multiple of `stride`. */
  | { pattern: 'strided'; stride: number }
  /** The keys of the query's own block of `stride`, and the last `summary` keys of each earlier block. */
  | { pattern: 'fixed'; stride: number; summary: number };

export interface SoftmaxAttentionArgs {
  q: Tensor;
  k: Tensor;
  v: Tensor;
  causal?: boolean;
  scale?: number;
  window?: number;
  sparse?: SparsePattern;
  alibiSlopes?: Tensor;
  queryOffset?: number;
  keyLengths?: number | readonly number[];
}

/** Which keys each query of one sequence sees. */
export interface Visibility {
  qLen: number;
  /** Keys from 0 up that exist; later ones are padding. */
  keyLength: number;
  queryOffset: number;
  causal: boolean;
  window?: number;
  sparse?: SparsePattern;
}

/**
 * A part of the work that is dense but for its edges: some queries, some keys, and for each query the range
 * `from <= j < to` of the key numbers that it sees. Ranges never move back from one query to the next: so a kernel
 * can go through them in tiles.
 */
export interface Pass {
  queries: Int32Array;
  keys: Int32Array;
  from: Int32Array;
  to: Int32Array;
  /** Pairs of a query and a key that it sees. */
  pairs: number;
}

/** Keys as a sequence: `run` neighbours out of every `step`, the first at `first`. */
interface KeySequence {
  first: number;
  step: number;
  run: number;
}

/** The number of keys of a sequence below position `end`. */
function countBelow({ first, step, run }: KeySequence, end: number): number {
  const reach = end - first;
  if (reach <= 0) return 0;
  return Math.floor(reach / step) * run + Math.min(run, reach % step);
}

/** Queries `firstQuery`, `firstQuery + queryStep`, ..., each with the keys of `sequence` in its range [low, high). */
function makePass(
  { qLen, keyLength, queryOffset, window }: Visibility,
  sequence: KeySequence,
  range: (position: number) => [low: number, high: number],
  firstQuery = 0,
  queryStep = 1,
): Pass {
  const count = Math.ceil((qLen - firstQuery) / queryStep);
  const queries = new Int32Array(count);
  const from = new Int32Array(count);
  const to = new Int32Array(count);
  for (let n = 0; n < count; n++) {
    const t = firstQuery + n * queryStep;
    const position = queryOffset + t;
    const [low, high] = range(position);
    const oldest = window === undefined ? low : Math.max(low, position - window + 1);
    queries[n] = t;
    from[n] = countBelow(sequence, oldest);
    to[n] = countBelow(sequence, Math.min(high, keyLength));
  }
  const base = from[0];
  const keyCount = Math.max(0, to[count - 1] - base);
  let pairs = 0;
  for (let n = 0; n < count; n++) {
    from[n] -= base;
    to[n] = Math.max(0, to[n] - base);
    pairs += Math.max(0, to[n] - from[n]);
  }
  const { first, step, run } = sequence;
  const keys = new Int32Array(keyCount);
  for (let n = 0; n < keyCount; n++) {
    const number = base + n;
    keys[n] = first + Math.floor(number / run) * step + (number % run);
  }
  return { queries, keys, from, to, pairs };
}

/**
 * The passes that together give every query each of its keys once. The first has all queries, even if it has no
 * keys: it is the one that writes the outputs first.
 */
export function attentionPasses(visibility: Visibility): Pass[] {
  const { qLen, keyLength, queryOffset, causal, sparse } = visibility;
  const all: KeySequence = { first: 0, step: 1, run: 1 };
  if (sparse === undefined) {
    return [makePass(visibility, all, (position) => [0, causal ? position + 1 : keyLength])];
  }
  const { stride } = sparse;
  if (sparse.pattern === 'fixed') {
    const blockOf = (position: number) => position - (position % stride);
    const summaries: KeySequence = { first: stride - sparse.summary, step: stride, run: sparse.summary };
    return worthwhile([
      makePass(visibility, all, (position) => [blockOf(position), position + 1]),
      makePass(visibility, summaries, (position) => [0, blockOf(position)]),
    ]);
  }
  const passes = [
    makePass(visibility, all, (position) => [Math.max(0, position - stride + 1), position + 1]),
  ];
  // Queries of one remainder share their far keys: a small causal attention of its own.
  for (let t = 0; t < Math.min(stride, qLen); t++) {
    const column: KeySequence = { first: (queryOffset + t) % stride, step: stride, run: 1 };
    passes.push(makePass(visibility, column, (position) => [0, position - stride + 1], t, stride));
  }
  return worthwhile(passes);
}

/** The first pass, and those of the others that have keys. */
function worthwhile(passes: Pass[]): Pass[] {
  return passes.filter(({ keys }, i) => i === 0 || keys.length > 0);
}

/** What one call has to do. */
export interface AttentionPlan {
  /** One list of passes a batch item. */
  passes: Pass[][];
  scale: number;
  queryOffset: number;
}

/** Checks what forward and step share, after the shapes of q, k and v. @returns the scale */
export function checkAttentionOptions(
  check: Check,
  { scale, window, sparse, alibiSlopes: slopes }: Omit<SoftmaxAttentionArgs, 'q' | 'k' | 'v'>,
): number {
  const { nHeads, nKvHeads, headDim } = check.sizes;
  if (nHeads % nKvHeads !== 0) {
    check.argument('nHeads', `a multiple of nKvHeads = ${nKvHeads}`, nHeads);
  }
  check.optional('alibiSlopes', slopes, ['nHeads']);
  if (scale !== undefined) check.number('scale', scale);
  if (window !== undefined) check.integer('window', window, 1);
  if (sparse !== undefined) {
    check.oneOf('sparse.pattern', sparse.pattern, ['strided', 'fixed']);
    check.integer('sparse.stride', sparse.stride, 1);
    if (sparse.pattern === 'fixed') check.integer('sparse.summary', sparse.summary, 1, sparse.stride);
  }
  return scale ?? 1 / Math.sqrt(headDim);
}

/** Checks the arguments of softmaxAttention. */
export function checkAttention(check: Check, args: SoftmaxAttentionArgs): AttentionPlan {
  const { causal = false, window, sparse, queryOffset = 0 } = args;
  check.float32('q', args.q, ['batch', 'qLen', 'nHeads', 'headDim']);
  check.float32('k', args.k, ['batch', 'kLen', 'nKvHeads', 'headDim']);
  check.float32('v', args.v, ['batch', 'kLen', 'nKvHeads', 'valueDim']);
  const scale = checkAttentionOptions(check, args);
  if (sparse !== undefined && !causal) check.argument('causal', 'true where sparse is given', causal);
  const { batch, qLen, kLen } = check.sizes;
  check.integer('queryOffset', queryOffset, 0, 2 ** 31 - 1 - qLen);
  const lengths = perItem(check, 'keyLengths', args.keyLengths ?? kLen, batch, kLen);
  const passes = onePlanPerValue(lengths, (keyLength) =>
    attentionPasses({ qLen, keyLength, queryOffset, causal, window, sparse }),
  );
  return { passes, scale, queryOffset };
}

/** One whole number a batch item, from 0 to `max`. */
export function perItem(
  check: Check,
  name: string,
  given: number | readonly number[],
  batch: number,
  max: number,
): readonly number[] {
  if (!Array.isArray(given)) {
    check.integer(name, given as number, 0, max);
    return Array.from({ length: batch }, () => given as number);
  }
  if (given.length !== batch) {
    check.argument(name, `a number or [batch] = [${batch}] numbers`, `[${given.length}] numbers`);
  }
  given.forEach((value, b) => check.integer(`${name}[${b}]`, value, 0, max));
  return given;
}

/** Equal values share one plan. */
function onePlanPerValue(values: readonly number[], plan: (value: number) => Pass[]): Pass[][] {
  const plans = new Map<number, Pass[]>();
  return values.map((value) => {
    const known = plans.get(value) ?? plan(value);
    plans.set(value, known);
    return known;
  });
}
