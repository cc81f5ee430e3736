/**
 * What a file of samples was made of: enough to make it again, byte for byte.
 */
import { checkOptions } from '@freelunch/errors';
import { arithmetic } from '../programs/arithmetic.js';
import { associativeRecall } from '../recall/associative-recall.js';
import { circuit } from '../recall/circuits.js';
import { compression } from '../recall/compression.js';
import { copy, reverseCopy } from '../recall/copy.js';
import { cyk } from '../programs/cyk.js';
import { delayedCopy, madSelectiveCopy, selectiveCopy } from '../recall/delayed-copy.js';
import { editDistance } from '../programs/edit-distance.js';
import { equation } from '../programs/equation.js';
import { refuse, TaskError } from '../errors.js';
import { fuzzyRecall } from '../recall/fuzzy-recall.js';
import { inContextRecall, noisyRecall } from '../recall/in-context-recall.js';
import { inductionHeads } from '../recall/induction-heads.js';
import { knapsack } from '../programs/knapsack.js';
import { layeredPath } from '../programs/layered-path.js';
import { lcs } from '../programs/lcs.js';
import { lis } from '../programs/lis.js';
import { matrixChain } from '../programs/matrix-chain.js';
import { memorization } from '../recall/memorization.js';
import { mqar, mqarCompositional, mqarForgetting } from '../recall/mqar.js';
import { duplicatedNgrams, ngramLookup } from '../recall/ngram-lookup.js';
import { checkChoice, checkInteger } from '../options.js';
import { phoneBook } from '../recall/phone-book.js';
import { prefixMax, prefixSum } from '../programs/prefix.js';
import { recurrence } from '../programs/recurrence.js';
import type { Task } from '../task.js';
import { modularSum, parity, wordProblem } from '../programs/word-problem.js';

export interface Manifest {
  format: 'json-lines' | 'safetensors';
  task: string;
  /** Of the task's generator. */
  version: number;
  options: object;
  seed: number;
  /** Number of the first sample. */
  start: number;
  count: number;
  /** Given if the task is one side of a split. */
  part?: { side: 'train' | 'test'; test: number; seed: number };
  /** safetensors alone: how rows are filled up. */
  seqLen?: number;
  padding?: 'right' | 'left';
  padToken?: number;
}

/** Makes a task from its options. */
export type TaskFactory = (options: never) => Task;

/** All tasks of this package by the name that a task has. */
export const factories: Readonly<Record<string, TaskFactory>> = {
  arithmetic,
  'associative-recall': associativeRecall,
  circuit,
  compression,
  copy,
  cyk,
  'delayed-copy': delayedCopy,
  'duplicated-ngrams': duplicatedNgrams,
  'edit-distance': editDistance,
  equation,
  'fuzzy-recall': fuzzyRecall,
  'in-context-recall': inContextRecall,
  'induction-heads': inductionHeads,
  knapsack,
  'layered-path': layeredPath,
  lcs,
  lis,
  'mad-selective-copy': madSelectiveCopy,
  'matrix-chain': matrixChain,
  memorization,
  'modular-sum': modularSum,
  mqar,
  'mqar-compositional': mqarCompositional,
  'mqar-forgetting': mqarForgetting,
  'ngram-lookup': ngramLookup,
  'noisy-recall': noisyRecall,
  parity,
  'phone-book': phoneBook,
  'prefix-max': prefixMax,
  'prefix-sum': prefixSum,
  recurrence,
  'reverse-copy': reverseCopy,
  'selective-copy': selectiveCopy,
  'word-problem': wordProblem,
};

/**
 * The task with this name.
 *
 * @param own factories of tasks that are not of this package, by name
 * @throws TaskError if there is none, or if it refuses the options
 */
export function createTask(name: string, options?: object, own: Record<string, TaskFactory> = {}): Task {
  const all = { ...factories, ...own };
  if (!Object.hasOwn(all, name)) {
    refuse('createTask', 'name', `one of ${Object.keys(all).join(', ')}`, name);
  }
  return all[name](options as never);
}

/**
 * The task, or the side of a split, that a manifest names.
 *
 * @throws TaskError if it is not a manifest, or if its generator has changed since
 */
export function taskOf(manifest: Manifest, own?: Record<string, TaskFactory>): Task {
  checkManifest('taskOf', manifest);
  const task = createTask(manifest.task, manifest.options, own);
  if (task.version !== manifest.version) {
    throw new TaskError(
      `taskOf: ${manifest.task} must be of version ${manifest.version}, which made the file, got version ${task.version}`,
    );
  }
  const { part } = manifest;
  return part ? task.split({ test: part.test, seed: part.seed })[part.side] : task;
}

/** @throws TaskError unless it has a manifest's fields */
export function checkManifest(where: string, manifest: unknown): asserts manifest is Manifest {
  if (typeof manifest !== 'object' || manifest === null) refuse(where, 'manifest', 'an object', manifest);
  const { format, task, version, options, seed, start, count, part } = manifest as Partial<Manifest>;
  checkChoice(where, 'manifest.format', format, ['json-lines', 'safetensors']);
  if (typeof task !== 'string') refuse(where, 'manifest.task', 'a text', task);
  checkInteger(where, 'manifest.version', version, 0);
  if (typeof options !== 'object' || options === null)
    refuse(where, 'manifest.options', 'an object', options);
  checkInteger(where, 'manifest.seed', seed, 0, Number.MAX_SAFE_INTEGER);
  checkInteger(where, 'manifest.start', start, 0, Number.MAX_SAFE_INTEGER);
  checkInteger(where, 'manifest.count', count, 0, Number.MAX_SAFE_INTEGER);
  if (part !== undefined) checkChoice(where, 'manifest.part.side', part?.side, ['train', 'test']);
}

export interface ExportOptions {
  /** How many samples. */
  count: number;
  seed?: number;
  /** Number of the first sample, so that a file can be written in parts. */
  start?: number;
}

/** @param more  options that a format has beside these */
export function manifestOf(
  task: Task,
  format: Manifest['format'],
  where: string,
  given: ExportOptions,
  more: readonly string[] = [],
): Manifest {
  checkOptions(where, given, ['count', 'seed', 'start', ...more], TaskError);
  const { count, seed = 0, start = 0 } = given;
  checkInteger(where, 'count', count, 0, Number.MAX_SAFE_INTEGER);
  checkInteger(where, 'seed', seed, 0, Number.MAX_SAFE_INTEGER);
  checkInteger(where, 'start', start, 0, Number.MAX_SAFE_INTEGER - count);
  const { name, version, options, part } = task;
  const manifest: Manifest = { format, task: name, version, options, seed, start, count };
  return part ? { ...manifest, part } : manifest;
}

/** What files are read from: parts of text or bytes, split anywhere. */
export type Source =
  Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array> | ReadableStream<string | Uint8Array>;

/** The parts of a source; a ReadableStream is not iterable in every browser. */
export async function* partsOf(source: Source | string | Uint8Array): AsyncGenerator<string | Uint8Array> {
  if (typeof source === 'string' || source instanceof Uint8Array) yield source;
  else if ('getReader' in source) {
    const reader = source.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        yield value;
      }
    } finally {
      reader.releaseLock();
    }
  } else yield* source;
}
