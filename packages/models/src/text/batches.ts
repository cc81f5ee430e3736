/** Batches of a text for training: windows of its tokens. */
import { ArgumentError, checkOptions, ShapeError, show } from '@freelunch/errors';
import { random } from '@freelunch/random';
import type { TrainingBatch } from '../training/batches.js';

export interface TextBatchesOptions {
  /** Windows of a batch. */
  batchSize: number;
  /** Tokens of a window that the model reads; it is scored at each. */
  seqLen: number;
  /** Of the order of windows; 0 if absent. */
  seed?: number;
  /** Where to go on: what `state` was after an earlier batch. */
  state?: TextBatchesState;
}

/** How many batches have been given. */
export interface TextBatchesState {
  batches: number;
}

/** Batches without an end, and where they stand. */
export interface TextBatches {
  readonly state: TextBatchesState;
  next(): IteratorYieldResult<TrainingBatch>;
  [Symbol.iterator](): this;
}

const whole = (where: string, name: string, value: unknown, least: number): void => {
  if (!Number.isSafeInteger(value) || (value as number) < least)
    throw new ArgumentError(`${where}: ${name} must be a whole number from ${least} up, got ${show(value)}`);
};

function takeIds(where: string, tokens: ArrayLike<number>): Int32Array {
  if (!Array.isArray(tokens) && !ArrayBuffer.isView(tokens))
    throw new ArgumentError(`${where}: tokens must be a list of ids, got ${show(tokens)}`);
  const ids = Int32Array.from(tokens as ArrayLike<number>);
  for (let i = 0; i < ids.length; i++)
    if (ids[i] !== tokens[i] || ids[i] < 0)
      throw new ArgumentError(
        `${where}: tokens must be whole numbers from 0 up, got ${show(tokens[i])} at ${i}`,
      );
  return ids;
}

/**
 * Endless batches of windows that do not overlap, each window once per pass over the text, in an order that is drawn anew
 * for each pass; where windows begin shifts from pass to pass. Documents are not kept apart: a window may lie across two.
 *
 *   const text = byteTokens.encode(await readFile('book.txt', 'utf8'));
 *   const { train: tokens } = splitTokens(text, { validation: 0.1 });
 *   for await (const { loss } of train(model, (state) => textBatches(tokens, { batchSize: 8, seqLen: 128, state }), { steps: 1000 }))
 *
 * @param tokens  ids of the whole text
 * @returns an iterator whose `state` says where it stands: plain data, for `state` of another
 * @throws ArgumentError, ShapeError if the text is too short for one batch
 */
export function textBatches(tokens: ArrayLike<number>, options: TextBatchesOptions): TextBatches {
  const where = 'textBatches';
  checkOptions(where, options ?? null, ['batchSize', 'seqLen', 'seed', 'state']);
  const { batchSize, seqLen, seed = 0, state } = options;
  whole(where, 'batchSize', batchSize, 1);
  whole(where, 'seqLen', seqLen, 1);
  whole(where, 'seed', seed, 0);
  checkOptions(`${where}: state`, state, ['batches']);
  let given = state?.batches ?? 0;
  whole(where, 'state.batches', given, 0);
  const ids = takeIds(where, tokens);
  // One token is left for the last target, and up to a window less one for the shift.
  const windows = Math.floor((ids.length - 1) / seqLen);
  const perPass = Math.floor(windows / batchSize);
  if (perPass < 1) {
    throw new ShapeError(
      `${where}: tokens must be at least batchSize seqLen + 1 = ${batchSize * seqLen + 1}, got ${ids.length}`,
    );
  }
  const shifts = ids.length - windows * seqLen; // starts that leave room for all windows
  let pass = -1;
  let order: number[] = [];
  let shift = 0;
  return {
    get state() {
      return { batches: given };
    },
    [Symbol.iterator]() {
      return this;
    },
    next() {
      const now = Math.floor(given / perPass);
      if (now !== pass) {
        pass = now;
        const rng = random(seed).split('windows').split(pass);
        shift = rng.integer(shifts);
        order = Array.from({ length: windows }, (_, i) => i);
        for (let i = windows - 1; i > 0; i--) {
          const j = rng.integer(i + 1);
          [order[i], order[j]] = [order[j], order[i]];
        }
      }
      const first = (given % perPass) * batchSize;
      const inputs = new Int32Array(batchSize * seqLen);
      const targets = new Int32Array(batchSize * seqLen);
      for (let b = 0; b < batchSize; b++) {
        const start = shift + order[first + b] * seqLen;
        inputs.set(ids.subarray(start, start + seqLen), b * seqLen);
        targets.set(ids.subarray(start + 1, start + seqLen + 1), b * seqLen);
      }
      given++;
      return { done: false, value: { inputs, targets, batchSize, seqLen } };
    },
  };
}

/**
 * A text in two: its end is kept for validation, so that no window of one lies in the other.
 *
 * @param validation  share of the tokens, above 0 and below 1; 0.1 if absent
 * @throws ArgumentError, ShapeError if a part would be empty
 */
export function splitTokens(
  tokens: ArrayLike<number>,
  options: { validation?: number } = {},
): { train: Int32Array; validation: Int32Array } {
  checkOptions('splitTokens', options, ['validation']);
  const { validation = 0.1 } = options;
  if (!(typeof validation === 'number' && validation > 0 && validation < 1))
    throw new ArgumentError(`splitTokens: validation must be above 0 and below 1, got ${show(validation)}`);
  const ids = takeIds('splitTokens', tokens);
  const kept = ids.length - Math.round(ids.length * validation);
  if (kept === 0 || kept === ids.length)
    throw new ShapeError(
      `splitTokens: tokens must be enough for two parts of one or more, got ${ids.length}`,
    );
  return { train: ids.slice(0, kept), validation: ids.slice(kept) };
}
