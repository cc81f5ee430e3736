/**
 * What this program itself keeps in Redis, beside BullMQ's queue of pieces:
 *
 *   PREFIX:runs                 ids of all runs and sweeps
 *   PREFIX:run:ID               a hash: what it is, how many pieces, whether it was drained
 *   PREFIX:run:ID:configs       a hash: configurations by digest
 *   PREFIX:run:ID:done          a hash: the rows of each piece by its key, as JSON; the first result counts, others are ignored
 *   PREFIX:run:ID:failed        a hash: the last error of each piece that is given up
 *   PREFIX:run:ID:news          a list: keys of pieces in the order in which they were done or given up
 *   PREFIX:workers              ids of workers, and a key for each, which ends with its worker
 */
import { show } from '@freelunch/errors';
import { InputError } from '../errors.js';
import { finite, object, record, shaped, text } from '../files/shape.js';
import { type Connection, runScript } from './connection.js';
import { LARGEST_CONFIG, LARGEST_ROWS } from './piece.js';

/** After its end, what a sweep has in Redis stays for a day: for another that asks for the same. */
const KEPT_SECONDS = 24 * 60 * 60;
/** A worker that is not heard of for so long is not counted. */
const SEEN_SECONDS = 10;
const LONGEST_ERROR = 2000;
const MOST_KEYS_AT_ONCE = 500;

export interface RunRecord {
  id: string;
  build: string;
  /** `run` or `sweep`. */
  kind: string;
  experiment: string;
  pieces: number;
  drained: boolean;
}

export interface RunCounts {
  done: number;
  failed: number;
}

export interface WorkerRecord {
  id: string;
  build: string;
  /** Pieces at a time. */
  slots: number;
  /** For each run that it works for: pieces at work, and the sum of what is done of each, from 0 to 1. */
  running: Record<string, { pieces: number; progress: number }>;
}

export interface Store {
  /** Makes the run known, and takes back that it was drained or had ended. */
  openRun(run: Omit<RunRecord, 'drained'>, configs: ReadonlyMap<string, string>): Promise<void>;
  runs(): Promise<RunRecord[]>;
  /** Undefined if Redis has none, or nothing that can be read. */
  run(id: string): Promise<RunRecord | undefined>;
  counts(id: string): Promise<RunCounts>;
  /** As text. @throws InputError if there is none, or a huge one */
  config(id: string, digest: string): Promise<string>;
  isDone(id: string, key: string): Promise<boolean>;
  /** @returns whether it is the first result of this piece */
  keep(id: string, key: string, rows: string): Promise<boolean>;
  /** Gives a piece up, unless another worker has it now. @param lock  BullMQ's key of its lock, and the token of it */
  giveUp(id: string, key: string, error: string, lock: readonly [string, string]): Promise<void>;
  /** The rows of those that are done, as text; an InputError in place of what is too large. */
  results(id: string, keys: readonly string[]): Promise<(string | InputError | undefined)[]>;
  errors(id: string, keys: readonly string[]): Promise<(string | undefined)[]>;
  /** Takes a result away, for the piece to be run again. */
  forgetResult(id: string, key: string): Promise<void>;
  forgetErrors(id: string, keys: readonly string[]): Promise<void>;
  /** Keys of pieces that were done or given up, from a position on. */
  news(id: string, from: number): Promise<string[]>;
  newsCount(id: string): Promise<number>;
  /** What is over: it stays for a day. */
  endRun(id: string): Promise<void>;
  /** Takes everything of a run away but the mark that it was drained, which tells a sweep that waits for it. */
  drain(id: string, marked: boolean): Promise<void>;
  beat(worker: WorkerRecord): Promise<void>;
  leave(worker: string): Promise<void>;
  workers(): Promise<WorkerRecord[]>;
}

/** KEYS: run, done, failed, news. ARGV: key, rows. */
const KEEP = `
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[1], 'drained') == 1 then return 0 end
if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('RPUSH', KEYS[4], ARGV[1])
return 1`;

/** KEYS: run, done, failed, news, lock. ARGV: key, error, token. */
const GIVE_UP = `
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[1], 'drained') == 1 then return 0 end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
if redis.call('GET', KEYS[5]) ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
redis.call('RPUSH', KEYS[4], ARGV[1])
return 1`;

const workerShape = object({ id: text, build: text, slots: finite, running: record });
const runningShape = object({ pieces: finite, progress: finite });

export function storeOf({ redis, key }: Connection): Store {
  const runKey = (id: string, ...part: string[]) => key('run', id, ...part);
  const all = (id: string) => [
    runKey(id),
    ...['configs', 'done', 'failed', 'news'].map((part) => runKey(id, part)),
  ];
  const evaluate = (script: string, keys: readonly string[], ...args: string[]) =>
    runScript(redis, script, keys, args);
  /** In parts: an answer of everything would stop Redis for all others, and may be too large for one string. */
  async function inParts<T>(
    keys: readonly string[],
    ask: (part: readonly string[]) => Promise<T[]>,
  ): Promise<T[]> {
    const found: T[] = [];
    for (let at = 0; at < keys.length; at += MOST_KEYS_AT_ONCE)
      found.push(...(await ask(keys.slice(at, at + MOST_KEYS_AT_ONCE))));
    return found;
  }
  const fields = async (hash: string, names: readonly string[]) =>
    names.length === 0 ? [] : ((await redis.call('HMGET', hash, ...names)) as (string | null)[]);
  const sizes = (hash: string, names: readonly string[]) =>
    Promise.all(names.map(async (name) => Number(await redis.call('HSTRLEN', hash, name))));

  async function run(id: string): Promise<RunRecord | undefined> {
    const names = ['build', 'kind', 'experiment', 'pieces', 'drained'];
    const [build, kind, experiment, pieces, drained] = await fields(runKey(id), names);
    const count = Number(pieces);
    if (!build || !kind || !experiment || !Number.isSafeInteger(count)) return undefined;
    return { id, build, kind, experiment, pieces: count, drained: drained === '1' };
  }

  return {
    run,
    async openRun({ id, build, kind, experiment, pieces }, configs) {
      await redis.call(
        'HSET',
        runKey(id),
        'build',
        build,
        'kind',
        kind,
        'experiment',
        experiment,
        'pieces',
        pieces,
      );
      await redis.call('HDEL', runKey(id), 'drained');
      for (const [digest, json] of configs) await redis.call('HSET', runKey(id, 'configs'), digest, json);
      for (const name of all(id)) await redis.call('PERSIST', name);
      await redis.call('SADD', key('runs'), id);
    },
    async runs() {
      const ids = (await redis.call('SMEMBERS', key('runs'))) as string[];
      const found = await Promise.all(
        ids.map(async (id) => {
          const there = /^[0-9a-f]{20}$/.test(id) ? await run(id) : undefined;
          if (there === undefined) await redis.call('SREM', key('runs'), id);
          return there;
        }),
      );
      return found.filter((one) => one !== undefined).sort((a, b) => (a.id < b.id ? -1 : 1));
    },
    async counts(id) {
      const [done, failed] = await Promise.all(
        ['done', 'failed'].map((part) => redis.call('HLEN', runKey(id, part))),
      );
      return { done: Number(done), failed: Number(failed) };
    },
    async config(id, digest) {
      const hash = runKey(id, 'configs');
      const [size] = await sizes(hash, [digest]);
      if (size > LARGEST_CONFIG)
        throw new InputError(
          `the configuration of a piece must have at most ${LARGEST_CONFIG} bytes, got ${size}`,
        );
      const [json] = await fields(hash, [digest]);
      if (json === null || json === undefined)
        throw new InputError(`there is no configuration ${show(digest)} in Redis`);
      return json;
    },
    isDone: async (id, piece) => (await redis.call('HEXISTS', runKey(id, 'done'), piece)) === 1,
    async keep(id, piece, rows) {
      const keys = [runKey(id), runKey(id, 'done'), runKey(id, 'failed'), runKey(id, 'news')];
      return (await evaluate(KEEP, keys, piece, rows)) === 1;
    },
    async giveUp(id, piece, error, [lock, token]) {
      const keys = [runKey(id), runKey(id, 'done'), runKey(id, 'failed'), runKey(id, 'news'), lock];
      await evaluate(GIVE_UP, keys, piece, error.slice(0, LONGEST_ERROR), token);
    },
    results: (id, keys) =>
      inParts(keys, async (part) => {
        const hash = runKey(id, 'done');
        const lengths = await sizes(hash, part);
        const fit = part.filter((_, i) => lengths[i] <= LARGEST_ROWS);
        const found = new Map((await fields(hash, fit)).map((value, i) => [fit[i], value ?? undefined]));
        return part.map((name, i) =>
          lengths[i] > LARGEST_ROWS
            ? new InputError(`rows must have at most ${LARGEST_ROWS} bytes, got ${lengths[i]}`)
            : found.get(name),
        );
      }),
    errors: (id, keys) =>
      inParts(keys, async (part) =>
        (await fields(runKey(id, 'failed'), part)).map((value) => value?.slice(0, LONGEST_ERROR)),
      ),
    async forgetResult(id, piece) {
      await redis.call('HDEL', runKey(id, 'done'), piece);
    },
    async forgetErrors(id, keys) {
      await inParts(keys, async (part) => {
        await redis.call('HDEL', runKey(id, 'failed'), ...part);
        return [];
      });
    },
    async news(id, from) {
      const to = from + MOST_KEYS_AT_ONCE - 1;
      return (await redis.call('LRANGE', runKey(id, 'news'), from, to)) as string[];
    },
    newsCount: async (id) => Number(await redis.call('LLEN', runKey(id, 'news'))),
    async endRun(id) {
      for (const name of all(id)) await redis.call('EXPIRE', name, KEPT_SECONDS);
    },
    async drain(id, marked) {
      const [record, ...others] = all(id);
      if (marked) {
        await redis.call('HSET', record, 'drained', '1');
        await redis.call('EXPIRE', record, KEPT_SECONDS);
      }
      await redis.call('UNLINK', ...others, ...(marked ? [] : [record]));
      await redis.call('SREM', key('runs'), id);
    },
    async beat(worker) {
      await redis.call('SADD', key('workers'), worker.id);
      await redis.call('SET', key('worker', worker.id), JSON.stringify(worker), 'EX', SEEN_SECONDS);
    },
    async leave(worker) {
      await redis.call('UNLINK', key('worker', worker));
      await redis.call('SREM', key('workers'), worker);
    },
    async workers() {
      const ids = (await redis.call('SMEMBERS', key('workers'))) as string[];
      const found: WorkerRecord[] = [];
      for (const id of ids) {
        const json = (await redis.call('GET', key('worker', id))) as string | null;
        const worker = json === null ? undefined : readWorker(json);
        if (worker === undefined) await redis.call('SREM', key('workers'), id);
        else found.push(worker);
      }
      return found.sort((a, b) => (a.id < b.id ? -1 : 1));
    },
  };
}

/** Undefined if it is not what a worker writes. */
function readWorker(json: string): WorkerRecord | undefined {
  try {
    const { running, ...worker } = shaped(workerShape, JSON.parse(json), 'worker');
    const runs = Object.entries(running).map(([id, value]) => [id, runningShape(value, id)] as const);
    return { ...worker, running: Object.fromEntries(runs) };
  } catch {
    return undefined;
  }
}
