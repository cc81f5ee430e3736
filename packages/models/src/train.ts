/**
 * The training loop: batches in, metrics out, step by step.
 */
import { ArgumentError, show } from '@freelunch/errors';
import { CheckpointFolder } from './checkpoints/checkpoint-folder.js';
import { encodeCheckpoint, type Progress, restoreCheckpoint } from './checkpoints/training-checkpoint.js';
import { LanguageModel } from './language-model.js';
import { createPacer } from './pacer.js';
import { BatchReader, type BatchSource } from './training/batches.js';
import {
  createOptimizer,
  refuse,
  type ResolvedOptions,
  resolveOptions,
  type StepMetrics,
  type TrainOptions,
} from './training/options.js';
import { oneStep } from './training/step.js';

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
 *         before the step, and no checkpoint is written; FileError if the folder of checkpoints is in use or refuses;
 *         FormatError if all checkpoints are broken; the signal's reason once it is aborted
 */
export function train<Evaluation = never, State = unknown>(
  model: LanguageModel,
  batches: BatchSource<State>,
  options: TrainOptions<Evaluation>,
): AsyncGenerator<StepMetrics<Evaluation>, void, undefined> {
  if (!(model instanceof LanguageModel))
    throw new ArgumentError(`train: model must be a LanguageModel, got ${show(model)}`);
  if (typeof batches !== 'function' && (typeof batches !== 'object' || batches === null))
    throw new ArgumentError(
      `train: batches must be a stream or a function that gives one, got ${show(batches)}`,
    );
  return run(model, batches, resolveOptions(options, typeof batches === 'function'));
}

async function* run<Evaluation, State>(
  model: LanguageModel,
  batches: BatchSource<State>,
  options: ResolvedOptions<Evaluation>,
): AsyncGenerator<StepMetrics<Evaluation>, void, undefined> {
  const { steps, signal, checkpoints, evaluate, resume, onWarning } = options;
  signal?.throwIfAborted();
  const kind = options.optimizer.type;
  const restoring = { kind, signal };
  const optimizer = createOptimizer(model, options.optimizer);
  let folder: CheckpointFolder | undefined;
  let reader: BatchReader | undefined;
  try {
    if (checkpoints !== undefined && 'folder' in checkpoints)
      folder = await CheckpointFolder.open(checkpoints.folder, checkpoints.keep ?? 3);
    let progress: Progress | undefined;
    if (resume === true) progress = await folder!.restoreNewest(model, optimizer, restoring, onWarning);
    else if (resume !== false) progress = await restoreCheckpoint(resume, model, optimizer, restoring);
    const newest = (await folder?.steps())?.at(-1) ?? 0;
    if (newest > (progress?.step ?? 0)) {
      refuse(
        'checkpoints.folder',
        `without checkpoints beyond step ${progress?.step ?? 0}, where this run begins`,
        `step ${newest}`,
      );
    }
    reader = await BatchReader.open(batches, progress, signal);

    let saved = progress?.step;
    const accumulated = Math.max(options.accumulate, progress?.accumulate ?? 1);
    const save = async (step: number): Promise<void> => {
      if (checkpoints === undefined || step === (saved ?? 0)) return;
      const now: Progress = { step, ...reader!.position, accumulate: accumulated, optimizer: kind };
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
      const next = await reader.take(options.accumulate, step + 1);
      if (next.length === 0) break;
      const done = oneStep(model, optimizer, next, step + 1, options, saved);
      step++;
      const elapsedMs = performance.now() - startedAt;
      const metrics: StepMetrics<Evaluation> = {
        ...done,
        threads: model.k.threads,
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
    await folder?.close();
  }
}
