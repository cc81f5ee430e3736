/** The side of a worker: takes pieces out of the queue, runs them, and returns their rows. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { FreelunchError } from '@freelunch/errors';
import type { Job, JobJsonRaw, MinimalQueue } from 'bullmq';
import { InputError } from '../errors.js';
import type { Piece } from '../experiments/experiment.js';
import { experimentOf as registered, type AnyExperiment } from '../running/registry.js';
import { type Connection, queueName, runScript } from './connection.js';
import {
  ATTEMPTS,
  jobOptions,
  LARGEST_JOB,
  LARGEST_ROWS,
  piecesOf,
  queuedPiece,
  type QueuedPiece,
} from './piece.js';
import { type Scratch, takeScratch } from './scratch.js';
import type { Slots } from './slots.js';
import { storeOf } from './store.js';

/**
 * A piece whose worker has gone so many times takes workers down with it. A few times mean nothing: workers are killed for
 * reasons that have nothing to do with their pieces.
 */
const MOST_LOSSES = 50;
const BEAT_MS = 2000;
const LOOK_MS = 2000;
const RETRY_MS = 1000;
const MOST_CONFIGS = 64;

export interface ServeOptions {
  connection: Connection;
  build: string;
  slots: Slots;
  /** Pieces at a time. */
  count: number;
  /** A worker that is not heard of for so long has lost its pieces to others. */
  lostAfterMs: number;
  /** For checkpoints; from the start if absent. */
  folder?: string;
  signal: AbortSignal;
  note(message: string): void;
  onProgress?(done: number, busy: number, progress: number): void;
  /** Other than of the registry, for tests. */
  experimentOf?(name: string): AnyExperiment;
}

interface Working {
  run: string;
  done: number;
  stop: AbortController;
  token: string;
}

/** Works until the signal comes. @returns how many pieces it has done */
export async function serve(options: ServeOptions): Promise<number> {
  const { connection, build, slots, count, lostAfterMs, folder, signal, note } = options;
  const { experimentOf = registered, onProgress = () => {} } = options;
  const { bull, redis } = connection;
  const store = storeOf(connection);
  const id = `${hostname()}:${process.pid}:${randomBytes(3).toString('hex')}`;
  const working = new Map<string, Working>();
  const configs = new Map<string, Map<string, Piece>>();
  let done = 0;

  async function pieceOf(queued: QueuedPiece): Promise<{ experiment: AnyExperiment; piece: Piece }> {
    if (queued.build !== build)
      throw new InputError(`it is of freelunch ${queued.build}, this worker is ${build}`);
    const experiment = experimentOf(queued.experiment);
    const name = `${queued.experiment} ${queued.config}`;
    let pieces = configs.get(name);
    if (pieces === undefined) {
      pieces = piecesOf(experiment, await store.config(queued.run, queued.config), queued.config);
      const [oldest] = configs.keys();
      if (configs.size >= MOST_CONFIGS) configs.delete(oldest);
      configs.set(name, pieces);
    }
    const piece = pieces.get(queued.piece);
    if (piece === undefined)
      throw new InputError(`${experiment.name} has no such piece in that configuration`);
    return { experiment, piece };
  }

  /** Until Redis has it: the work of hours must not be lost because its memory is full for a while. */
  async function keep(run: string, key: string, rows: string, stop: AbortSignal): Promise<void> {
    for (let told = false; ; told = true) {
      try {
        if (await store.keep(run, key, rows)) done++;
        return;
      } catch (cause) {
        if (!told) note(`The rows of ${key} cannot be stored (${(cause as Error).message}): trying again.`);
        await wait(RETRY_MS, undefined, { signal: stop });
      }
    }
  }

  async function process_(job: Job<unknown>, token = ''): Promise<void> {
    const name = String(job.id).slice(0, 100);
    const queued = readJob(job.data);
    if (queued instanceof InputError) {
      note(`Refused the job ${name}: ${queued.message}`);
      // BullMQ would stumble over what else lies in it, and hand it out again.
      const key = connection.queue(build).toKey(String(job.id));
      const active = connection.queue(build).toKey('active');
      await runScript(redis, DISCARD, [key, `${key}:lock`, active], [String(job.id)]);
      throw new bull.UnrecoverableError('refused');
    }
    const { run, key } = queued;
    const lock = [`${connection.queue(build).toKey(String(job.id))}:lock`, token] as const;
    const stop = new AbortController();
    if (signal.aborted) stop.abort(signal.reason);
    const entry: Working = { run, done: 0, stop, token };
    working.set(String(job.id), entry);
    let scratch: Scratch | undefined;
    try {
      if (await store.isDone(run, key)) return;
      if (job.stalledCounter > MOST_LOSSES)
        throw new Refusal(`is given up: its worker was lost ${job.stalledCounter} times`);
      const { experiment, piece } = await pieceOf(queued).catch((cause: unknown) => {
        if (cause instanceof InputError) throw new Refusal(`is refused: ${cause.message}`);
        throw cause;
      });
      scratch = folder === undefined ? undefined : await takeScratch(folder, run, key);
      const report = (fraction: number) => (entry.done = Math.min(1, Math.max(0, fraction)));
      const rows = await slots.run(experiment, { piece, folder: scratch?.folder }, report, stop.signal);
      const json = JSON.stringify(rows);
      if (Buffer.byteLength(json) > LARGEST_ROWS)
        throw new Refusal(
          `is refused: its rows must have at most ${LARGEST_ROWS} bytes, got ${Buffer.byteLength(json)}`,
        );
      await keep(run, key, json, stop.signal);
      await scratch?.remove().catch((cause: unknown) => note((cause as Error).message));
    } catch (cause) {
      if (signal.aborted) {
        // Others have it at once, not only when this worker is missed.
        await job.moveToWait(token).catch(() => {});
        throw new bull.WaitingError();
      }
      if (stop.signal.aborted) {
        await scratch?.leave().catch(() => {});
        throw stop.signal.reason;
      }
      if (cause instanceof Refusal || job.attemptsMade + 1 >= ATTEMPTS) {
        const error =
          cause instanceof Refusal ? cause.message : `failed ${ATTEMPTS} times: ${sentenceOf(cause)}`;
        note(`${key} ${error}`);
        await store.giveUp(run, key, error, lock);
        throw new bull.UnrecoverableError('given up');
      }
      note(`${key} failed, to be tried again: ${sentenceOf(cause)}`);
      throw new Error('failed', { cause });
    } finally {
      working.delete(String(job.id));
    }
  }

  /** BullMQ hands over whatever lies in Redis: all but what a piece of ours has is left out before it is looked at. */
  class Guarded extends bull.Worker<unknown> {
    protected override createJob(data: JobJsonRaw, jobId: string): Job<unknown> {
      const text = typeof data.data === 'string' ? data.data : '';
      const fit = text.length <= LARGEST_JOB && isJson(text);
      const clean = {
        name: 'piece',
        data: fit ? text : JSON.stringify({ refused: text.length > LARGEST_JOB ? 'too long' : 'no JSON' }),
        opts: JSON.stringify(jobOptions),
        progress: '0',
        delay: '0',
        priority: '0',
        timestamp: whole(data.timestamp),
        attemptsMade: whole(data.atm ?? data.attemptsMade),
        ats: whole(data.ats),
        stc: whole(data.stc),
        stacktrace: '[]',
        returnvalue: 'null',
      } as unknown as JobJsonRaw;
      return bull.Job.fromJSON(this as MinimalQueue, clean, jobId) as Job<unknown>;
    }

    override async close(force = false): Promise<void> {
      await super.close(force);
      // It lets go of its listeners before the last error of a connection that was not there has come.
      this['blockingConnection'].on('error', () => {});
    }

    /** Ends its second connection, also while Redis cannot be reached. */
    cut(): void {
      this['blockingConnection']['_client']?.disconnect();
    }
  }

  const worker = new Guarded(queueName(build), process_, {
    ...connection.options,
    autorun: false,
    concurrency: count,
    lockDuration: lostAfterMs,
    stalledInterval: lostAfterMs / 2,
    // It is this program that counts: see MOST_LOSSES.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    runRetryDelay: RETRY_MS,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 0 },
  });
  worker.on('error', () => {}); // of the connection: it tells itself, and comes back
  worker.on('lockRenewalFailed', (jobIds: string[]) => {
    for (const jobId of jobIds) {
      const entry = working.get(jobId);
      if (entry !== undefined) void claimAgain(jobId, entry);
    }
  });

  /** While Redis was away, the claim to a piece may have run out; it is taken up again unless another has the piece now. */
  async function claimAgain(jobId: string, { token, stop }: Working): Promise<void> {
    const key = connection.queue(build).toKey(jobId);
    const active = connection.queue(build).toKey('active');
    const held = await runScript(redis, CLAIM, [`${key}:lock`, active], [jobId, token, lostAfterMs]).catch(
      () => 1,
    );
    if (held === 0) stop.abort(new LostError('another worker has the piece'));
  }

  const told = new Set<string>();
  /** Says by name what is refused: pieces of other versions lie in queues that this worker does not take from. */
  async function look(): Promise<void> {
    for (const run of await store.runs()) {
      if (run.build === build || told.has(run.id)) continue;
      told.add(run.id);
      note(
        `Refused: the ${run.pieces} pieces of a ${run.kind} of ${run.experiment} are of freelunch ${run.build}, this worker is ${build}.`,
      );
    }
  }
  const beat = () => {
    const running: Record<string, { pieces: number; progress: number }> = {};
    for (const { run, done: part } of working.values()) {
      const sum = (running[run] ??= { pieces: 0, progress: 0 });
      sum.pieces++;
      sum.progress += part;
    }
    return store.beat({ id, build, slots: count, running });
  };
  /** Again and again until the end; a command that Redis does not answer yet is waited for. */
  async function regularly(act: () => Promise<void>, everyMs: number): Promise<void> {
    while (!signal.aborted) {
      await act().catch(() => {});
      await wait(everyMs, undefined, { signal }).catch(() => {});
    }
  }
  const show = () => {
    const progress = [...working.values()].reduce((total, entry) => total + entry.done, 0);
    onProgress(done, working.size, progress);
    return Promise.resolve();
  };

  void regularly(beat, BEAT_MS);
  void regularly(look, LOOK_MS);
  void regularly(show, 200);
  const running = worker.run();
  running.catch(() => {});
  await new Promise<void>((resolve) => {
    const stop = () => {
      for (const entry of working.values()) entry.stop.abort(signal.reason);
      resolve();
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
  // Pieces at work are given back by `process_`; a Redis that is away is not waited for.
  await Promise.race([worker.close(), wait(CLOSE_MS)]);
  await Promise.race([store.leave(id).catch(() => {}), wait(RETRY_MS)]);
  await slots.end();
  worker.cut();
  return done;
}

const CLOSE_MS = 3000;

/** KEYS: lock, list of jobs at work. ARGV: job, token, milliseconds. */
const CLAIM = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[2] then return 0 end
if not redis.call('LPOS', KEYS[2], ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

/** KEYS: job, lock, list of jobs at work. ARGV: job. */
const DISCARD = `
redis.call('LREM', KEYS[3], 0, ARGV[1])
return redis.call('UNLINK', KEYS[1], KEYS[2])`;

/** What no other try would change. */
class Refusal extends FreelunchError {}
class LostError extends FreelunchError {}

function readJob(data: unknown): QueuedPiece | InputError {
  try {
    return queuedPiece(data, '');
  } catch (cause) {
    if (cause instanceof InputError) return cause;
    throw cause;
  }
}

const whole = (value: unknown) => (/^\d{1,15}$/.test(String(value)) ? String(value) : '0');

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** One line, without what a stack would tell of this machine. */
function sentenceOf(cause: unknown): string {
  const { message } = cause instanceof Error ? cause : new Error(String(cause));
  return (message === '' ? String(cause) : message).split('\n')[0];
}
