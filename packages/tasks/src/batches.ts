import { refuse, TaskError } from './errors.js';
import { checkBoolean, checkChoice, checkInteger, takeOptions } from './options.js';
import { type Random, random } from '@freelunch/random';
import type { Sample, Sampler } from './sample.js';

/** Where a stream stands; plain numbers, fit for JSON. */
export interface StreamState {
  seed: number;
  /** The next sample's number. Sample `i` of a seed is the same whatever the batch size. */
  position: number;
}

export interface BatchOptions {
  batchSize: number;
  /** Length of all rows of inputs; by default that of the batch's longest sample. */
  seqLen?: number;
  seed?: number;
  /** Fill each row with sample after sample; what is cut at the edge is not scored. Needs `seqLen`. */
  packed?: boolean;
  /** The side that short rows are filled up on. */
  padding?: 'right' | 'left';
  /** What they are filled with; by default the vocabulary's pad token. */
  padToken?: number;
  /** Go on from here, instead of from the beginning of `seed`. */
  state?: StreamState;
}

/** `[batchSize, seqLen]`, row-major. */
export interface Batch<Problem = unknown> {
  inputs: Int32Array;
  /** What is due at each input: the next token, or the label. */
  targets: Int32Array;
  /** 1 where the target is scored. */
  lossMask: Uint8Array;
  /** Inputs in each row that are not padding. */
  lengths: Int32Array;
  batchSize: number;
  seqLen: number;
  samples: Sample<Problem>[];
}

/** The random source of one sample: a function of the seed and the sample's number alone. */
export function sampleRandom(seed: number, position: number): Random {
  const base = random(seed).split('samples');
  return base.split(Math.floor(position / 2 ** 32)).split(position % 2 ** 32);
}

/** An endless iterator over batches. `state` says where it stands. */
export class BatchStream<Problem> implements IterableIterator<Batch<Problem>> {
  readonly #task: Sampler<Problem>;
  readonly #options: Required<Omit<BatchOptions, 'seqLen' | 'state'>> & { seqLen: number | undefined };
  #base: Random;
  #position: number;

  constructor(task: Sampler<Problem>, given: BatchOptions) {
    const where = `${task.name}: batches`;
    const options = takeOptions<Required<BatchOptions>>(where, given, {
      batchSize: 0,
      seqLen: undefined as unknown as number,
      seed: 0,
      packed: false,
      padding: 'right',
      padToken: task.vocabulary.pad,
      state: undefined as unknown as StreamState,
    });
    checkInteger(where, 'batchSize', options.batchSize, 1);
    if (options.seqLen !== undefined) checkInteger(where, 'seqLen', options.seqLen, 1);
    checkInteger(where, 'seed', options.seed, 0, Number.MAX_SAFE_INTEGER);
    checkBoolean(where, 'packed', options.packed);
    checkChoice(where, 'padding', options.padding, ['right', 'left']);
    checkInteger(where, 'padToken', options.padToken, -(2 ** 31));
    if (options.packed && options.seqLen === undefined)
      refuse(where, 'seqLen', 'given with packed', undefined);
    if (options.packed && task.alignment === 'same') {
      refuse(where, 'packed', 'false for a task whose answers do not stand in the text', true);
    }
    const { state } = options;
    if (state !== undefined) {
      checkInteger(where, 'state.seed', state?.seed, 0, Number.MAX_SAFE_INTEGER);
      checkInteger(where, 'state.position', state.position, 0, Number.MAX_SAFE_INTEGER);
      if (given.seed !== undefined && given.seed !== state.seed)
        refuse(where, 'seed', 'that of the state', given.seed);
      options.seed = state.seed;
    }
    this.#task = task;
    this.#options = options;
    this.#position = state?.position ?? 0;
    this.#base = this.#block();
  }

  /** Saved and given to `batches` again, the stream goes on with the next batch. */
  get state(): StreamState {
    return { seed: this.#options.seed, position: this.#position };
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorYieldResult<Batch<Problem>> {
    return { done: false, value: this.#options.packed ? this.#packed() : this.#padded() };
  }

  #block(): Random {
    return random(this.#options.seed)
      .split('samples')
      .split(Math.floor(this.#position / 2 ** 32));
  }

  /** The same as `sampleRandom`, with the first splits done once. */
  #sample(): Sample<Problem> {
    const low = this.#position % 2 ** 32;
    if (low === 0) this.#base = this.#block();
    this.#position++;
    return this.#task.sample(this.#base.split(low));
  }

  #padded(): Batch<Problem> {
    const { batchSize, padding, padToken } = this.#options;
    const shift = this.#task.alignment === 'same' ? 0 : 1;
    const start = this.#position;
    const samples: Sample<Problem>[] = [];
    let longest = 1;
    for (let b = 0; b < batchSize; b++) {
      const sample = this.#sample();
      samples.push(sample);
      longest = Math.max(longest, sample.tokens.length - shift);
    }
    const seqLen = this.#options.seqLen ?? longest;
    if (longest > seqLen) {
      this.#position = start;
      throw new TaskError(
        `${this.#task.name}: batches: seqLen must be at least ${longest}, the length of a sample's inputs, got ${seqLen}`,
      );
    }
    const inputs = new Int32Array(batchSize * seqLen).fill(padToken);
    const targets = new Int32Array(batchSize * seqLen).fill(padToken);
    const lossMask = new Uint8Array(batchSize * seqLen);
    const lengths = new Int32Array(batchSize);
    for (let b = 0; b < batchSize; b++) {
      const sample = samples[b];
      const due = sample.targets ?? sample.tokens;
      const length = sample.tokens.length - shift;
      const row = b * seqLen + (padding === 'left' ? seqLen - length : 0);
      lengths[b] = length;
      for (let i = 0; i < length; i++) {
        inputs[row + i] = sample.tokens[i];
        targets[row + i] = due[i + shift];
        lossMask[row + i] = sample.lossMask[i + shift] ? 1 : 0;
      }
    }
    return { inputs, targets, lossMask, lengths, batchSize, seqLen, samples };
  }

  #packed(): Batch<Problem> {
    const { batchSize } = this.#options;
    const seqLen = this.#options.seqLen!;
    const inputs = new Int32Array(batchSize * seqLen);
    const targets = new Int32Array(batchSize * seqLen);
    const lossMask = new Uint8Array(batchSize * seqLen);
    const samples: Sample<Problem>[] = [];
    const start = this.#position;
    for (let b = 0; b < batchSize; b++) {
      const { tokens, mask } = packRow(seqLen + 1, () => {
        const sample = this.#sample();
        if (sample.tokens.length > seqLen + 1) {
          this.#position = start;
          throw new TaskError(
            `${this.#task.name}: batches: seqLen must be at least ${sample.tokens.length - 1}, the length of a sample's inputs, got ${seqLen}`,
          );
        }
        samples.push(sample);
        return sample;
      });
      for (let i = 0; i < seqLen; i++) {
        inputs[b * seqLen + i] = tokens[i];
        targets[b * seqLen + i] = tokens[i + 1];
        lossMask[b * seqLen + i] = mask[i + 1] ? 1 : 0;
      }
    }
    const lengths = new Int32Array(batchSize).fill(seqLen);
    return { inputs, targets, lossMask, lengths, batchSize, seqLen, samples };
  }
}

/** Sample after sample until `length` tokens; one that is cut at the edge is not scored. */
export function packRow(length: number, next: () => Sample): { tokens: number[]; mask: boolean[] } {
  const tokens: number[] = [];
  const mask: boolean[] = [];
  while (tokens.length < length) {
    const sample = next();
    const whole = tokens.length + sample.tokens.length <= length;
    for (let i = 0; i < sample.tokens.length && tokens.length < length; i++) {
      tokens.push(sample.tokens[i]);
      mask.push(whole && sample.lossMask[i]);
    }
  }
  return { tokens, mask };
}
