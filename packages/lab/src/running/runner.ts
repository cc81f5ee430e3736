/** Runs experiments: pieces spread over threads, every finished one kept, an interrupted run continued. */
import { mkdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { checkOptions } from '@freelunch/errors';
import type { Kernels } from '@freelunch/kernels';
import { InputError } from '../errors.js';
import type { Experiment, Findings, Piece, Row } from '../experiments/experiment.js';
import { completeConfig } from './config.js';
import { type Description, openRunFolder, type RunFolder } from './folder.js';
import { MOST_PIECES } from './limits.js';
import { type AnyExperiment, experiments } from './registry.js';
import { ROWS } from './rows.js';
import { ownThread, thisThread } from './threads.js';

export interface RunOptions {
  /**
   * Where rows.jsonl and config.json are kept, to continue from: a new or an empty folder, or one that a run wrote before. In
   * memory only if absent.
   */
  folder?: string;
  /** Pieces at a time; 1 if absent, and then in this thread. More take an experiment of the registry. */
  workers?: number;
  /**
   * Threads of each worker's kernels, 1 if absent; `'auto'`: the cores that the workers leave idle, 1 if the experiment
   * measures times. Kernels that are given have their own.
   */
  threads?: number | 'auto';
  /** A thread also for one worker: it can be stopped in the middle of a piece. */
  ownThread?: boolean;
  /** Forget what a run has written into the folder. */
  restart?: boolean;
  signal?: AbortSignal;
  /** Called before the first piece, with the workers and the threads of each. */
  onStart?(workers: number, threads: number): void;
  /** @param done from 0 to 1 */
  onProgress?(done: number, label?: string): void;
  /** Kernels of the variant `simd` for this thread; loaded if absent. */
  k?: Kernels;
  /** Runs the pieces elsewhere than in threads of this process. */
  carrier?: Carrier;
}

/** Has pieces run elsewhere, and hands over the rows of each once. Ends when all are there. */
export type Carrier = (work: CarriedWork) => Promise<void>;

export interface CarriedWork {
  experiment: AnyExperiment;
  /** What the work is, as in config.json. */
  holds: Holds;
  /** All pieces, and those of them that are not done, each with its place among all. */
  jobs: readonly Job[];
  left: readonly (Job & { index: number })[];
  /** Forget what is known elsewhere of an earlier run. */
  restart: boolean;
  signal: AbortSignal | undefined;
  /** @param rows  as the experiment gave them */
  keep(job: Job, rows: readonly Row[]): void;
  /** @param running  what is done of the pieces at work, in pieces */
  onProgress(running: number, label?: string): void;
}

const runOptions = Object.keys({
  folder: true,
  workers: true,
  threads: true,
  ownThread: true,
  restart: true,
  signal: true,
  onStart: true,
  onProgress: true,
  k: true,
  carrier: true,
} satisfies Record<keyof RunOptions, true>);

/** A piece to run under a key that is its own among all of a run. */
export interface Job {
  key: string;
  piece: Piece;
  /** The whole configuration that asks for the piece. */
  config: Row;
  /** Fields put before those of its rows. */
  fields?: Row;
}

/**
 * Runs an experiment, or what is left of it.
 *
 * Every finished piece is in `rows.jsonl` at once. To continue after whatever ended the program, call it again with the same
 * configuration. Rows are the same, and in the same order, whatever the number of workers and of interruptions, except for
 * what is timed.
 *
 * @param config  fields of a configuration; those that are missing come from the preset `quick`
 * @returns the whole configuration, all rows in the order of the pieces, and what the experiment finds in them
 * @throws InputError if the configuration is wrong, or the folder holds another or is somebody else's; FileError if another
 *   process uses the folder, or the file system refuses; the signal's reason if it is aborted; Error that names the piece if
 *   one fails. All that is finished is kept
 */
export async function runExperiment<Config extends object, P extends Piece, R extends Row>(
  experiment: Experiment<Config, P, R>,
  config: Partial<Config>,
  options: RunOptions = {},
): Promise<{ config: Config; rows: R[]; findings: Findings }> {
  checkOptions('runExperiment', options, runOptions);
  const any = experiment as unknown as AnyExperiment;
  const whole = completeConfig(any, 'quick', config);
  const jobs = any.pieces(whole).map((piece) => ({ key: piece.key, piece, config: whole }));
  const description = { experiment: any.name, config: whole };
  const rows = (await runJobs(any, jobs, { kind: 'run', description }, options)).flat();
  return {
    config: whole as Config,
    rows: rows as R[],
    findings: findingsOf(any, whole, rows, options.folder),
  };
}

/** What a folder of jobs holds. */
export interface Holds {
  kind: 'run' | 'sweep';
  description: Description;
}

/**
 * Runs jobs of one experiment: what {@link runExperiment} and sweeps share.
 *
 * @param holds  what a folder of these jobs holds: one that holds anything else is refused
 * @returns the rows of each job
 */
export async function runJobs(
  experiment: AnyExperiment,
  jobs: readonly Job[],
  holds: Holds,
  options: RunOptions,
): Promise<Row[][]> {
  const { folder, signal, restart = false } = options;
  const keys = jobs.map(({ key }) => key);
  if (keys.length > MOST_PIECES)
    throw new InputError(
      `${experiment.name}: there must be at most ${MOST_PIECES} pieces, got ${keys.length}`,
    );
  const once = new Set<string>();
  const twice = keys.find((key) => once.size === once.add(key).size);
  if (twice !== undefined) {
    throw new Error(`${experiment.name}: keys of pieces must differ, '${twice}' comes twice`);
  }
  signal?.throwIfAborted();
  const { kind, description } = holds;
  const own: RunFolder | undefined =
    folder === undefined ? undefined : await openRunFolder(folder, kind, description, keys, restart);
  try {
    return await runLeft(experiment, jobs, holds, own, options);
  } finally {
    await own?.close();
  }
}

/** Runs what is not done yet. */
async function runLeft(
  experiment: AnyExperiment,
  jobs: readonly Job[],
  holds: Holds,
  own: RunFolder | undefined,
  options: RunOptions,
): Promise<Row[][]> {
  const { signal, restart = false, onProgress = () => {} } = options;
  const results = new Map<string, Row[]>(own?.rows.complete);
  const left = jobs.map((job, index) => ({ ...job, index })).filter(({ key }) => !results.has(key));
  const work: CarriedWork = {
    experiment,
    holds,
    jobs,
    left,
    restart,
    signal,
    keep({ key, fields }, rows) {
      const whole = fields === undefined ? [...rows] : rows.map((row) => ({ ...fields, ...row }));
      own?.rows.append(key, whole);
      results.set(key, whole);
    },
    onProgress: (running, label) =>
      onProgress(Math.min(1, (results.size + running) / Math.max(1, jobs.length)), label),
  };
  if (options.carrier === undefined) await inThreads(work, own, options);
  else if (left.length > 0) await options.carrier(work);
  await own?.rows.rewrite(jobs.map(({ key }) => key));
  await own?.finish();
  return jobs.map(({ key }) => results.get(key)!);
}

/** Runs pieces in this process. */
async function inThreads(
  { experiment, left, signal, keep, onProgress }: CarriedWork,
  own: RunFolder | undefined,
  options: RunOptions,
): Promise<void> {
  const fractions = new Map<string, number>();
  const report = (label: string) =>
    onProgress(
      [...fractions.values()].reduce((total, done) => total + done, 0),
      label,
    );

  const count = experiment.timed === true ? 1 : Math.max(1, Math.min(options.workers ?? 1, left.length));
  const threads = threadsOf(experiment, options.threads, count);
  if (left.length > 0) options.onStart?.(count, threads);
  const inThread = count === 1 && options.ownThread !== true;
  if (!inThread && experiments[experiment.name] !== experiment)
    throw new Error(`${experiment.name} is not in the registry, so it runs in one thread only`);

  const stop = new AbortController(); // by the caller, or by the first failure
  const stopped = () => stop.abort(signal!.reason);
  signal?.addEventListener('abort', stopped, { once: true });
  let next = 0;
  const work = async () => {
    const runner = inThread
      ? await thisThread(experiment, options.k, threads, stop.signal)
      : ownThread(experiment, threads, stop.signal);
    try {
      for (let job = left[next++]; job !== undefined; job = left[next++]) {
        const { key, piece, index } = job;
        report(key);
        const scratch = own?.scratch(index, piece.key);
        if (scratch !== undefined) await mkdir(scratch, { recursive: true });
        const rows = await runner.run({ piece, folder: scratch }, (done, label) => {
          fractions.set(key, Math.min(1, Math.max(0, done)));
          report(label ?? key);
        });
        keep(job, rows);
        fractions.delete(key);
        report(key);
        if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
      }
    } finally {
      await runner.end();
    }
  };
  try {
    const ended = await Promise.allSettled(
      Array.from({ length: left.length === 0 ? 0 : count }, () =>
        work().catch((cause: unknown) => {
          stop.abort(cause); // the others stop, and say the same
          throw cause;
        }),
      ),
    );
    if (ended.some(({ status }) => status === 'rejected')) throw stop.signal.reason;
  } finally {
    signal?.removeEventListener('abort', stopped);
  }
}

function threadsOf(experiment: AnyExperiment, wanted: RunOptions['threads'] = 1, workers: number): number {
  if (wanted !== 'auto') return wanted;
  return experiment.timed === true ? 1 : Math.max(1, Math.floor(availableParallelism() / workers));
}

/**
 * What an experiment finds in rows.
 *
 * @param folder  where some of the rows were read from, if they were
 * @throws InputError if it can't make sense of rows that were read
 */
export function findingsOf(
  experiment: AnyExperiment,
  config: Row,
  rows: Row[],
  folder: string | undefined,
): Findings {
  try {
    return experiment.findings(config, rows);
  } catch (cause) {
    if (folder === undefined) throw cause;
    throw new InputError(
      `${join(folder, ROWS)} has rows that ${experiment.name} cannot read (${(cause as Error).message}); --restart starts over`,
      { cause },
    );
  }
}
