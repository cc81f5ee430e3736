import {
  adamW,
  type AdamWOptions,
  constant,
  type Optimizer,
  type Schedule,
  sgd,
  type SgdOptions,
} from '@freelunch/autograd';
import { ArgumentError, checkOptions, show } from '@freelunch/errors';
import { checkSignal } from '../check.js';
import type { LanguageModel } from '../language-model.js';

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
  /** Batches per step: their gradients are added up as if they were one batch; 1 if absent. */
  accumulate?: number;
  /** Recompute the inside of each block in the backward pass: less memory, more time; false if absent. */
  gradientCheckpointing?: boolean;
  /** Called after every `every` steps, and after the last; what it returns is part of the metrics. */
  evaluate?: { every: number; run: (model: LanguageModel, step: number) => Evaluation | Promise<Evaluation> };
  /**
   * Saved after every `every` steps, after the last, and on abort: as files of a folder (Node, Deno, Bun), the newest
   * `keep` of them (3 if absent), or handed to `save`. A folder is held by one run at a time.
   */
  checkpoints?:
    | { every: number; folder: string; keep?: number }
    | { every: number; save: (bytes: Uint8Array, step: number) => void | Promise<void> };
  /**
   * Go on from the newest checkpoint of the folder that is as it was written, if there is one; or from that file, or
   * from those bytes.
   */
  resume?: boolean | string | Uint8Array;
  /** Told of what went wrong and was helped, such as a broken checkpoint; the runtime's warnings if absent. */
  onWarning?: (message: string) => void;
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
  /** Threads that computed: those of the model's kernels. */
  threads: number;
  /** Before it was scaled down. */
  gradientNorm: number;
  learningRate: number;
  evaluation?: Evaluation;
}

/** The options with every default filled in. */
export interface ResolvedOptions<Evaluation> extends TrainOptions<Evaluation> {
  schedule: Schedule;
  optimizer: OptimizerConfig;
  maxGradientNorm: number;
  accumulate: number;
  gradientCheckpointing: boolean;
  resume: boolean | string | Uint8Array;
  onWarning: (message: string) => void;
}

type Emitter = { process?: { emitWarning?: (message: string) => void } };

/** Where the runtime shows warnings: checkpoints in folders, which warnings are about, exist only where there is one. */
const emitWarning = (message: string): void => (globalThis as Emitter).process?.emitWarning?.(message);

export function refuse(name: string, wanted: string, got: unknown): never {
  throw new ArgumentError(`train: ${name} must be ${wanted}, got ${show(got)}`);
}

function whole(name: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 1) refuse(name, 'a whole number from 1 up', value);
}

function callable(name: string, value: unknown): void {
  if (typeof value !== 'function') refuse(name, 'a function', value);
}

const optionNames = [
  'steps', 'learningRate', 'optimizer', 'maxGradientNorm', 'accumulate', 'gradientCheckpointing', 'evaluate', 'checkpoints', 'resume', 'onWarning', 'signal',
]; // prettier-ignore

function checkCheckpoints(checkpoints: NonNullable<TrainOptions['checkpoints']>): void {
  checkOptions('train: checkpoints', checkpoints, ['every', 'folder', 'keep', 'save']);
  const { every, folder, keep, save } = checkpoints as Record<string, unknown>;
  whole('checkpoints.every', every);
  if ((folder === undefined) === (save === undefined))
    refuse('checkpoints', 'with a folder or with save', checkpoints);
  if (save !== undefined) callable('checkpoints.save', save);
  else if (typeof folder !== 'string' || folder === '') refuse('checkpoints.folder', 'a path', folder);
  if (keep === undefined) return;
  if (save !== undefined) refuse('checkpoints.keep', 'absent where save is given', keep);
  whole('checkpoints.keep', keep);
}

/** Checks options and fills in what is absent. @throws ArgumentError */
export function resolveOptions<Evaluation>(
  options: TrainOptions<Evaluation>,
  resumable: boolean,
): ResolvedOptions<Evaluation> {
  checkOptions('train', options ?? null, optionNames);
  const {
    learningRate = 1e-3,
    optimizer = { type: 'adamw' },
    maxGradientNorm = 1,
    accumulate = 1,
    gradientCheckpointing = false,
    evaluate,
    checkpoints,
    resume = false,
    onWarning = emitWarning,
    signal,
  } = options;
  whole('steps', options.steps);
  whole('accumulate', accumulate);
  if (typeof learningRate !== 'number' && typeof learningRate !== 'function')
    refuse('learningRate', 'a number or a function of the step', learningRate);
  if (!(typeof maxGradientNorm === 'number' && maxGradientNorm > 0))
    refuse('maxGradientNorm', 'a number above 0', maxGradientNorm);
  if (typeof gradientCheckpointing !== 'boolean')
    refuse('gradientCheckpointing', 'true or false', gradientCheckpointing);
  checkSignal('train', signal);
  callable('onWarning', onWarning);
  if (evaluate !== undefined) {
    checkOptions('train: evaluate', evaluate, ['every', 'run']);
    whole('evaluate.every', evaluate.every);
    callable('evaluate.run', evaluate.run);
  }
  if (checkpoints !== undefined) checkCheckpoints(checkpoints);
  if (typeof optimizer !== 'object' || optimizer === null)
    refuse('optimizer', 'an object with a type', optimizer);
  const { type } = optimizer;
  if (!['adamw', 'sgd'].includes(type)) refuse('optimizer.type', "'adamw' or 'sgd'", type);
  const inside = type === 'adamw' ? ['beta1', 'beta2', 'eps', 'weightDecay'] : ['momentum', 'weightDecay'];
  checkOptions('train: optimizer', optimizer, ['type', ...inside]);
  if (typeof resume !== 'boolean' && typeof resume !== 'string' && !(resume instanceof Uint8Array))
    refuse('resume', 'true, false, the path of a checkpoint or its bytes', resume);
  if (resume !== false && !resumable)
    refuse('batches', 'a function of the state to go on from, where resume is given', 'a stream');
  if (resume === true && !(checkpoints !== undefined && 'folder' in checkpoints))
    refuse('checkpoints.folder', 'given where resume is true', undefined);
  const schedule = typeof learningRate === 'function' ? learningRate : constant(learningRate);
  return {
    ...options,
    schedule,
    optimizer,
    maxGradientNorm,
    accumulate,
    gradientCheckpointing,
    resume,
    onWarning,
  };
}

export function createOptimizer(model: LanguageModel, { type, ...options }: OptimizerConfig): Optimizer {
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
