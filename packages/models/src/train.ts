/**
 * The training loop: batches in, metrics out, a step at a time.
 */
import {
  adamW,
  type AdamWOptions,
  constant,
  createTape,
  type Optimizer,
  type Schedule,
  sgd,
  type SgdOptions,
} from '@freelunch/autograd';
import { ArgumentError, FreelunchError, ShapeError, type Tensor } from '@freelunch/kernels';
import type { LanguageModel } from './language-model.js';
import { createPacer } from './pacer.js';
import type { FloatTensor } from './mixers/parameters.js';
import {
  CheckpointFolder,
  encodeCheckpoint,
  type Progress,
  restoreCheckpoint,
} from './checkpoints/training-checkpoint.js';

/** What a model learns from in one pass, as the tasks of `@freelunch/tasks` give it. Arrays are row-major. */
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

export type OptimizerConfig = ({ type: 'adamw' } & AdamWOptions) | ({ type: 'sgd' } & SgdOptions);

export interface TrainOptions<Evaluation = unknown> {
  /** Steps in all, those before a resumption included. Training ends earlier if the batches do. */
  steps: number;
  /** A rate, or one for each step; 1e-3 if absent. */
  learningRate?: number | Schedule;
  /** AdamW if absent. Weight decay passes over biases, norms, decays and skips. */
  optimizer?: OptimizerConfig;
  /** Gradients whose norm is larger are scaled down to it; 1 if absent, Infinity for never. */
  maxGradientNorm?: number;
  /** Batches a step: their gradients are added up as if they were one batch; 1 if absent. */
  accumulate?: number;
  /** Recompute the inside of each block in the backward pass: less memory, more time; false if absent. */
  gradientCheckpointing?: boolean;
  /** Called after every `every` steps, and after the last; what it returns is part of the metrics. */
  evaluate?: { every: number; run: (model: LanguageModel, step: number) => Evaluation | Promise<Evaluation> };
  /**
   * Saved after every `every` steps, after the last, and on abort: as files of a folder (Node, Deno, Bun), the newest
   * `keep` of them (3 if absent), or handed to `save`.
   */
  checkpoints?:
    | { every: number; folder: string; keep?: number }
    | { every: number; save: (bytes: Uint8Array, step: number) => void | Promise<void> };
  /** Go on from the newest checkpoint of the folder, if there is one; or from that file, or from those bytes. */
  resume?: boolean | string | Uint8Array;
  signal?: AbortSignal;
}

export interface StepMetrics<Evaluation = unknown> {
  /** From 1 up. */
  step: number;
  /** Mean cross-entropy of the scored tokens, before the step. */
  loss: number;
  /** Share of the scored tokens that were the likeliest. */
  accuracy: number;
  /** Of inputs, padding included. */
  tokensPerSecond: number;
  /** Before it was scaled down. */
  gradientNorm: number;
  learningRate: number;
  evaluation?: Evaluation;
}

type Resolved<Evaluation> = TrainOptions<Evaluation> & {
  schedule: Schedule;
  optimizer: OptimizerConfig;
  maxGradientNorm: number;
  accumulate: number;
};

function refuse(name: string, wanted: string, got: unknown): never {
  throw new ArgumentError(
    `train: ${name} must be ${wanted}, got ${typeof got === 'string' ? `'${got}'` : String(got)}`,
  );
}

function checkOptions<Evaluation>(
  options: TrainOptions<Evaluation>,
  resumable: boolean,
): Resolved<Evaluation> {
  const { learningRate = 1e-3, optimizer = { type: 'adamw' }, maxGradientNorm = 1, accumulate = 1 } = options;
  const whole = (name: string, value: unknown) => {
    if (!Number.isSafeInteger(value) || (value as number) < 1)
      refuse(name, 'a whole number from 1 up', value);
  };
  whole('steps', options.steps);
  whole('accumulate', accumulate);
  if (options.evaluate !== undefined) whole('evaluate.every', options.evaluate.every);
  const { checkpoints, resume = false } = options;
  if (checkpoints !== undefined) {
    whole('checkpoints.every', checkpoints.every);
    if ('keep' in checkpoints && checkpoints.keep !== undefined) whole('checkpoints.keep', checkpoints.keep);
  }
  if (!(maxGradientNorm > 0)) refuse('maxGradientNorm', 'a number above 0', maxGradientNorm);
  if (!['adamw', 'sgd'].includes(optimizer.type))
    refuse('optimizer.type', "'adamw' or 'sgd'", optimizer.type);
  if (resume !== false && !resumable)
    refuse('batches', 'a function of the state to go on from, where resume is given', 'a stream');
  if (resume === true && !(checkpoints !== undefined && 'folder' in checkpoints))
    refuse('checkpoints.folder', 'given where resume is true', undefined);
  const schedule = typeof learningRate === 'function' ? learningRate : constant(learningRate);
  return { ...options, schedule, optimizer, maxGradientNorm, accumulate };
}

function createOptimizer(model: LanguageModel, { type, ...options }: OptimizerConfig): Optimizer {
  const parameters = model.parameters();
  const named = (decays: boolean) =>
    new Map(
      model.specs
        .filter((spec) => spec.decays === decays)
        .map(({ name }) => [name, parameters.get(name)!] as const),
    );
  const groups = [{ parameters: named(true) }, { parameters: named(false), weightDecay: 0 }];
  return type === 'sgd' ? sgd(model.k, groups, options) : adamW(model.k, groups, options);
}

/** Sums over some batches. */
interface Totals {
  loss: number;
  correct: number;
}

function countScored({ targets, lossMask }: TrainingBatch): number {
  if (lossMask === undefined) return targets.length;
  let count = 0;
  for (const scored of lossMask) if (scored !== 0) count++;
  return count;
}

/** Places whose likeliest token is the target, among those that are scored. */
function countCorrect(logits: Float32Array, { targets, lossMask }: TrainingBatch, vocabSize: number): number {
  let correct = 0;
  for (let i = 0; i < targets.length; i++) {
    if (lossMask !== undefined && lossMask[i] === 0) continue;
    const row = i * vocabSize;
    let best = row;
    for (let v = row + 1; v < row + vocabSize; v++) if (logits[v] > logits[best]) best = v;
    if (best - row === targets[i]) correct++;
  }
  return correct;
}

/** Gradients of the loss summed over a batch and divided by `scored`, the tokens scored in the whole step. */
function gradientsOf(
  model: LanguageModel,
  batch: TrainingBatch,
  scored: number,
  checkpoint: boolean,
  totals: Totals,
): Map<Tensor, FloatTensor> {
  const { k } = model;
  const { inputs, targets, lossMask, batchSize, seqLen } = batch;
  const shape = [batchSize, seqLen];
  return k.scope(() => {
    const tape = createTape(k, model.parameters().values());
    const logits = model.forward(k.tensor(inputs, shape), { tape, checkpoint });
    totals.correct += countCorrect(logits.data, batch, model.config.vocabSize);
    const { loss } = tape.crossEntropy({
      logits,
      targets: k.tensor(targets, shape),
      mask: lossMask && k.tensor(Int32Array.from(lossMask), shape),
      reduction: 'sum',
    });
    totals.loss += loss.data[0];
    return tape.backward(loss, k.tensor([1 / scored]));
  });
}

function checkBatch(batch: TrainingBatch, step: number): void {
  const { inputs, targets, lossMask, batchSize, seqLen } = batch;
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

/** One step. Throws before anything is changed. @param saved the step of the last checkpoint */
function oneStep<Evaluation>(
  model: LanguageModel,
  optimizer: Optimizer,
  batches: readonly TrainingBatch[],
  step: number,
  { schedule, maxGradientNorm, gradientCheckpointing = false }: Resolved<Evaluation>,
  saved: number | undefined,
): Omit<StepMetrics, 'tokensPerSecond' | 'evaluation'> {
  const { k } = model;
  const scored = batches.reduce((sum, batch) => sum + countScored(batch), 0);
  if (scored === 0) refuse(`lossMask of step ${step}`, '1 somewhere', 'no scored token');
  return k.scope(() => {
    const totals: Totals = { loss: 0, correct: 0 };
    const backward = (batch: TrainingBatch) =>
      gradientsOf(model, batch, scored, gradientCheckpointing, totals);
    const gradients = backward(batches[0]);
    for (const batch of batches.slice(1)) {
      for (const [tensor, source] of backward(batch)) {
        k.accumulate({ target: gradients.get(tensor)!, source });
        source.dispose();
      }
    }
    // In the order of the model, not of the tape: sums then have the same bits with gradient checkpointing.
    const tensors = [...model.parameters().values()].flatMap((tensor) => gradients.get(tensor) ?? []);
    const gradientNorm =
      maxGradientNorm === Infinity
        ? k.globalNorm({ tensors })
        : k.clipGradNorm({ tensors, maxNorm: maxGradientNorm });
    const loss = totals.loss / scored;
    for (const [name, value] of Object.entries({ loss, 'norm of the gradient': gradientNorm })) {
      if (Number.isFinite(value)) continue;
      const last = saved === undefined ? 'there is no checkpoint' : `the last checkpoint is of step ${saved}`;
      throw new FreelunchError(`train: the ${name} of step ${step} is ${value}; ${last}`);
    }
    const learningRate = schedule(step);
    optimizer.update(gradients, learningRate);
    return { step, loss, accuracy: totals.correct / scored, gradientNorm, learningRate };
  });
}

/** Batches one by one, with where they stand. */
class Reader {
  readonly #iterator: Iterator<TrainingBatch> | AsyncIterator<TrainingBatch>;
  #read: number;

  private constructor(batches: Batches, read: number) {
    this.#iterator =
      Symbol.asyncIterator in batches ? batches[Symbol.asyncIterator]() : batches[Symbol.iterator]();
    this.#read = read;
  }

  /** Opens the batches where `progress` says; a stream without a state is read again up to there. */
  static async open<State>(
    batches: Batches | ((state: State | undefined) => Batches),
    progress: Progress | undefined,
  ): Promise<Reader> {
    const state = (progress?.stream ?? undefined) as State | undefined;
    const stream = typeof batches === 'function' ? batches(state) : batches;
    if (progress === undefined || state !== undefined) return new Reader(stream, progress?.batches ?? 0);
    const reader = new Reader(stream, 0);
    while (reader.#read < progress.batches && (await reader.next()) !== undefined);
    return reader;
  }

  async next(): Promise<TrainingBatch | undefined> {
    const { done, value } = await this.#iterator.next();
    if (done === true) return undefined;
    this.#read++;
    return value;
  }

  /** Number of batches read, and what the stream says of where it stands. */
  get position(): { batches: number; stream: unknown } {
    const { state } = this.#iterator as { state?: unknown };
    return { batches: this.#read, stream: state };
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }
}

/**
 * Trains a model, in place, as its metrics are asked for.
 *
 *   for await (const { step, loss } of train(model, task.batches({ batchSize: 16 }), { steps: 100 })) ...
 *
 * A run that is resumed, wherever it was stopped, gives the same bits as one that never was.
 *
 * @param batches  a stream of them, or a function that gives one: from its beginning, or from the `state` that an
 *                 earlier one had. `resume` needs the function
 * @throws ArgumentError, ShapeError; FreelunchError if the loss or a gradient is not finite: the weights are then those
 *         before the step, and no checkpoint is written; the signal's reason once it is aborted
 */
export function train<Evaluation = never, State = unknown>(
  model: LanguageModel,
  batches: Batches | ((state: State | undefined) => Batches),
  options: TrainOptions<Evaluation>,
): AsyncGenerator<StepMetrics<Evaluation>, void, undefined> {
  return run(model, batches, checkOptions(options, typeof batches === 'function'));
}

async function* run<Evaluation, State>(
  model: LanguageModel,
  batches: Batches | ((state: State | undefined) => Batches),
  options: Resolved<Evaluation>,
): AsyncGenerator<StepMetrics<Evaluation>, void, undefined> {
  const { steps, signal, checkpoints, evaluate, resume = false } = options;
  signal?.throwIfAborted();
  const optimizer = createOptimizer(model, options.optimizer);
  const kind = options.optimizer.type;
  let reader: Reader | undefined;
  try {
    const folder =
      checkpoints !== undefined && 'folder' in checkpoints
        ? new CheckpointFolder(checkpoints.folder, checkpoints.keep ?? 3)
        : undefined;
    const newest = (await folder?.steps())?.at(-1);
    const from = resume !== true ? resume : newest !== undefined && folder!.path(newest);
    const progress = from === false ? undefined : await restoreCheckpoint(from, model, optimizer, kind);
    if (newest !== undefined && newest > (progress?.step ?? 0)) {
      refuse(
        'checkpoints.folder',
        `without checkpoints beyond step ${progress?.step ?? 0}, where this run begins`,
        `step ${newest}`,
      );
    }
    reader = await Reader.open(batches, progress);

    let saved = progress?.step;
    const save = async (step: number): Promise<void> => {
      if (checkpoints === undefined || step === (saved ?? 0)) return;
      const now: Progress = { step, ...reader!.position, optimizer: kind };
      if (folder !== undefined) await folder.save(model, optimizer, now);
      else if ('save' in checkpoints) await checkpoints.save(encodeCheckpoint(model, optimizer, now), step);
      saved = step;
    };
    const pace = createPacer();
    let step = progress?.step ?? 0;
    while (step < steps) {
      await pace();
      if (signal?.aborted) {
        await save(step);
        signal.throwIfAborted();
      }
      const startedAt = performance.now();
      const next: TrainingBatch[] = [];
      while (next.length < options.accumulate) {
        const batch = await reader.next();
        if (batch === undefined) break;
        checkBatch(batch, step + 1);
        next.push(batch);
      }
      if (next.length === 0) break;
      const done = oneStep(model, optimizer, next, step + 1, options, saved);
      step++;
      const elapsedMs = performance.now() - startedAt;
      const metrics: StepMetrics<Evaluation> = {
        ...done,
        tokensPerSecond: (next.reduce((sum, { inputs }) => sum + inputs.length, 0) / elapsedMs) * 1e3,
      };
      if (evaluate !== undefined && (step % evaluate.every === 0 || step === steps))
        metrics.evaluation = await evaluate.run(model, step);
      if (checkpoints !== undefined && (step % checkpoints.every === 0 || step === steps)) await save(step);
      yield metrics;
    }
    await save(step); // of batches that ended early
  } finally {
    optimizer.dispose();
    await reader?.close();
  }
}
