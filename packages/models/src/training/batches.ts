import { ArgumentError, ShapeError, show } from '@freelunch/errors';
import { createPacer } from '../pacer.js';

/** What a model learns from in one pass, as tasks of `@freelunch/tasks` give it. Arrays are row-major. */
export interface TrainingBatch {
  /** Ids, `[batchSize, seqLen]`. */
  inputs: Int32Array;
  /** What is due at each input: the next token, or a label. */
  targets: Int32Array;
  /** 1 where the target is scored; all are if absent. */
  lossMask?: Uint8Array;
  batchSize: number;
  seqLen: number;
}

/** A stream of batches. If its iterator has a `state`, plain data, a resumed run goes on from there. */
export type Batches = Iterable<TrainingBatch> | AsyncIterable<TrainingBatch>;

/** A stream, or a function that gives one: from its beginning, or from the `state` that an earlier one had. */
export type BatchSource<State> = Batches | ((state: State | undefined) => Batches);

/** @throws ArgumentError, ShapeError naming the step */
function checkBatch(batch: TrainingBatch, step: number): void {
  if (typeof batch !== 'object' || batch === null)
    throw new ArgumentError(`train: the batch of step ${step} must be an object, got ${show(batch)}`);
  const { inputs, targets, lossMask, batchSize, seqLen } = batch;
  for (const [name, extent] of Object.entries({ batchSize, seqLen })) {
    if (!Number.isSafeInteger(extent) || extent < 1)
      throw new ShapeError(
        `train: ${name} of step ${step} must be a whole number from 1 up, got ${show(extent)}`,
      );
  }
  const size = batchSize * seqLen;
  for (const [name, array] of Object.entries({ inputs, targets, lossMask })) {
    if (array === undefined && name === 'lossMask') continue;
    if (array?.length !== size) {
      throw new ShapeError(
        `train: ${name} of step ${step} must be [${batchSize}, ${seqLen}], ${size} elements, got ${array?.length ?? 'none'}`,
      );
    }
  }
}

/** Batches one by one, with where they stand. */
export class BatchReader {
  readonly #iterator: Iterator<TrainingBatch> | AsyncIterator<TrainingBatch>;
  #read: number;

  private constructor(batches: Batches, read: number) {
    if (typeof batches !== 'object' || batches === null || !isIterable(batches))
      throw new ArgumentError(`train: batches must be a stream or give one, got ${show(batches)}`);
    this.#iterator =
      Symbol.asyncIterator in batches ? batches[Symbol.asyncIterator]() : batches[Symbol.iterator]();
    this.#read = read;
  }

  /**
   * Opens the batches where a run stands; a stream without a state is read again up to there.
   *
   * @throws ArgumentError; the signal's reason once it is aborted
   */
  static async open<State>(
    batches: BatchSource<State>,
    from: { batches: number; stream: unknown } | undefined,
    signal?: AbortSignal,
  ): Promise<BatchReader> {
    const state = (from?.stream ?? undefined) as State | undefined;
    const stream = typeof batches === 'function' ? batches(state) : batches;
    if (from === undefined || state !== undefined) return new BatchReader(stream, from?.batches ?? 0);
    const reader = new BatchReader(stream, 0);
    const pace = createPacer();
    try {
      while (reader.#read < from.batches && (await reader.#next()).done !== true) {
        await pace();
        signal?.throwIfAborted();
      }
    } catch (error) {
      await reader.close();
      throw error;
    }
    return reader;
  }

  /** The batches of a step, at most `count`; fewer where the stream ends. @throws ArgumentError, ShapeError */
  async take(count: number, step: number): Promise<TrainingBatch[]> {
    const taken: TrainingBatch[] = [];
    while (taken.length < count) {
      const { done, value } = await this.#next();
      if (done === true) break;
      checkBatch(value, step);
      taken.push(value);
    }
    return taken;
  }

  /** Number of batches read, and what the stream says of where it stands. */
  get position(): { batches: number; stream: unknown } {
    const { state } = this.#iterator as { state?: unknown };
    return { batches: this.#read, stream: state };
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }

  async #next(): Promise<IteratorResult<TrainingBatch>> {
    const next = await this.#iterator.next();
    if (next.done !== true) this.#read++;
    return next;
  }
}

const isIterable = (value: object): boolean => Symbol.iterator in value || Symbol.asyncIterator in value;
