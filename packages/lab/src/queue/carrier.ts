/** The side of a sweep: puts pieces into the queue and takes results out of it, until all are there. */
import { setTimeout as wait } from 'node:timers/promises';
import { InputError, QueueError } from '../errors.js';
import type { Row } from '../experiments/experiment.js';
import { grouped } from '../report/format.js';
import type { CarriedWork, Carrier, Job } from '../running/runner.js';
import type { Address } from './address.js';
import { buildOf } from './build.js';
import { connect, type Connection, plainly } from './connection.js';
import { durationText, outlookOf, rateText } from './outlook.js';
import { ATTEMPTS, digestOf, jobOptions, type QueuedPiece, rowsOf, runIdOf } from './piece.js';
import { type Store, storeOf } from './store.js';

const MOST_AT_ONCE = 1000;
const POLL_MS = 100;
const WORKERS_MS = 1000;
/** Without any news for so long, and a little longer for each piece, the queue is compared with what is waited for. */
const COMPARE_MS = 30_000;
const COMPARE_EACH_MS = 3;
/** Before it is said that there is no worker. */
const LONELY_MS = 5000;
/** Failures that are named at the end. */
const MOST_NAMED = 10;

export interface CarrierOptions {
  address: Address;
  /** Told what the user should know meanwhile, in sentences. */
  note(message: string): void;
  /** Other than of this program, for tests. */
  build?: string;
}

/** Has the pieces of a sweep run by the workers at a Redis. */
export function queueCarrier({ address, note, build = buildOf() }: CarrierOptions): Carrier {
  return async (work) => {
    if (work.experiment.timed === true)
      throw new InputError(
        `${work.experiment.name} measures times, which can be compared only if all are of one machine: run it without --redis`,
      );
    const { signal = new AbortController().signal } = work;
    const connection = await connect(address, signal, note);
    try {
      await untilAborted(signal, carry(work, connection, build, note, signal));
    } catch (cause) {
      throw plainly(cause, address);
    } finally {
      await connection.close();
    }
  };
}

/** Commands wait while Redis is away; whoever presses Ctrl-C does not. */
async function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
  work.catch(() => {}); // told by the race, unless it is stopped before
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

type Placed = Job & { index: number };

async function carry(
  { experiment, holds, jobs, left, restart, keep, onProgress }: CarriedWork,
  connection: Connection,
  build: string,
  note: (message: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const store = storeOf(connection);
  const queue = connection.queue(build);
  const run = runIdOf(build, holds.kind, holds.description);
  const pending = new Map<string, Placed>(left.map((job) => [job.key, job]));
  const failed = new Map<string, string>();
  const strange = new Map<string, number>();
  const { digests, configs } = configsOf(left);

  const open = () =>
    store.openRun(
      { id: run, build, kind: holds.kind, experiment: experiment.name, pieces: jobs.length },
      configs,
    );
  const jobId = (index: number) => `${run}-${index}`;
  const addAll = async (some: readonly Placed[]) => {
    for (let at = 0; at < some.length; at += MOST_AT_ONCE) {
      signal.throwIfAborted();
      await queue.addBulk(
        some.slice(at, at + MOST_AT_ONCE).map(({ key, piece, config, index }) => {
          const data: QueuedPiece = {
            format: 1,
            build,
            run,
            experiment: experiment.name,
            config: digests.get(config)!,
            piece: piece.key,
            key,
          };
          return { name: 'piece', data, opts: { ...jobOptions, jobId: jobId(index) } };
        }),
      );
    }
  };

  /** Takes what there is of these pieces. @returns those that are neither done nor given up */
  async function collect(some: readonly Placed[], freshErrors: boolean): Promise<Placed[]> {
    const open: Placed[] = [];
    for (let at = 0; at < some.length; at += MOST_AT_ONCE) {
      signal.throwIfAborted();
      const part = some.slice(at, at + MOST_AT_ONCE);
      const keys = part.map(({ key }) => key);
      const results = await store.results(run, keys);
      const missing: Placed[] = [];
      for (const [i, job] of part.entries()) {
        const result = results[i];
        const rows = result === undefined ? undefined : readRows(result);
        if (rows === undefined) missing.push(job);
        else if (rows instanceof InputError) await refuse(job, rows);
        else {
          pending.delete(job.key);
          failed.delete(job.key);
          keep(job, rows);
        }
      }
      const errors = freshErrors
        ? await store.errors(
            run,
            missing.map(({ key }) => key),
          )
        : [];
      missing.forEach((job, i) => {
        const error = errors[i];
        if (error === undefined) return open.push(job);
        if (!failed.has(job.key)) note(`${job.key} ${error}`);
        failed.set(job.key, error);
        return pending.delete(job.key);
      });
    }
    return open;
  }

  /** Somebody has put into Redis what no experiment gives: the piece runs again, three times at most. */
  async function refuse(job: Placed, reason: InputError): Promise<void> {
    const times = (strange.get(job.key) ?? 0) + 1;
    strange.set(job.key, times);
    note(`Refused a result of ${job.key}: ${reason.message}`);
    await store.forgetResult(run, job.key);
    if (times < ATTEMPTS) return addAll([job]);
    failed.set(job.key, `is given up, for its results are refused: ${reason.message}`);
    pending.delete(job.key);
  }

  /** Queues what is neither done nor given up nor queued: Redis may have lost it. */
  async function compare(): Promise<void> {
    const record = await store.run(run);
    if (record?.drained === true) throw drainedError(pending.size);
    if (record === undefined) await open();
    const undone = await collect([...pending.values()], true);
    const lost: Placed[] = [];
    for (let at = 0; at < undone.length; at += MOST_AT_ONCE) {
      const part = undone.slice(at, at + MOST_AT_ONCE);
      const there = await Promise.all(
        part.map(({ index }) => connection.redis.call('EXISTS', queue.toKey(jobId(index)))),
      );
      lost.push(...part.filter((_, i) => there[i] === 0));
    }
    // A piece that was finished since is no longer queued.
    const missing = lost.length === 0 ? [] : await collect(lost, true);
    await addAll(missing);
  }

  if (restart) await store.drain(run, false);
  await open();
  // Before anything is read, so that no news is missed.
  let position = await store.newsCount(run);
  const undone = await collect(left, false);
  await store.forgetErrors(
    run,
    undone.map(({ key }) => key),
  );
  await addAll(undone);

  let comparing = false;
  connection.onReconnect(() => (comparing = true));
  const outlook = outlookOf(jobs.length);
  const seen = seenWorkers(store, run, build, note, connection.address.shown);
  let [quietSince, workersAt] = [performance.now(), -Infinity];
  while (pending.size > 0) {
    const now = performance.now();
    if (comparing || now - quietSince > COMPARE_MS + COMPARE_EACH_MS * pending.size) {
      comparing = false;
      position = Math.min(position, await store.newsCount(run));
      await compare();
      quietSince = performance.now();
      continue;
    }
    if (now - workersAt > WORKERS_MS) {
      workersAt = now;
      await seen.look();
      if ((await store.run(run))?.drained !== false) comparing = true;
    }
    const news = await store.news(run, position);
    position += news.length;
    if (news.length > 0) quietSince = now;
    const told = new Set(
      news.map((key) => pending.get(key) ?? failedJob(key)).filter((job) => job !== undefined),
    );
    await collect([...told], true);
    outlook.note(jobs.length - pending.size + seen.progress(), performance.now());
    onProgress(
      seen.progress(),
      [
        `${grouped(jobs.length - pending.size)} / ${grouped(jobs.length)} pieces`,
        ...progressText(outlook.rate(), outlook.secondsLeft(), failed.size),
        seen.text(),
      ].join(', '),
    );
    if (news.length === 0) await wait(POLL_MS, undefined, { signal });
  }
  if (failed.size > 0) throw failedError(failed, jobs.length);
  await store.endRun(run);

  /** One that was given up may have been done since, for another sweep that asked for it again. */
  function failedJob(key: string): Placed | undefined {
    return failed.has(key) ? left.find((job) => job.key === key) : undefined;
  }
}

function configsOf(jobs: readonly Job[]) {
  const digests = new Map<Row, string>();
  const configs = new Map<string, string>();
  for (const { config } of jobs) {
    if (digests.has(config)) continue;
    const json = JSON.stringify(config);
    const digest = digestOf(json);
    digests.set(config, digest);
    configs.set(digest, json);
  }
  return { digests, configs };
}

function readRows(result: string | InputError): Row[] | InputError {
  if (typeof result !== 'string') return result;
  try {
    return rowsOf(result);
  } catch (cause) {
    if (cause instanceof InputError) return cause;
    throw cause;
  }
}

function progressText(rate: number | undefined, secondsLeft: number | undefined, failed: number): string[] {
  const parts = failed === 0 ? [] : [`${failed} failed`];
  if (rate !== undefined) parts.push(rateText(rate));
  if (secondsLeft !== undefined) parts.push(`about ${durationText(secondsLeft)} left`);
  return parts;
}

/** What is known of the workers; says once what keeps them from working for this run. */
function seenWorkers(
  store: Store,
  run: string,
  build: string,
  note: (message: string) => void,
  shown: string,
) {
  const since = performance.now();
  const told = new Set<string>();
  let [workers, slots, progress] = [0, 0, 0];
  return {
    async look(): Promise<void> {
      const all = await store.workers();
      const fit = all.filter((worker) => worker.build === build);
      for (const { id, build: other } of all)
        if (other !== build && !told.has(id)) {
          told.add(id);
          note(`The worker ${id} refuses these pieces: it is freelunch ${other}, they are of ${build}.`);
        }
      workers = fit.length;
      slots = fit.reduce((total, worker) => total + worker.slots, 0);
      const running = fit.map((worker) =>
        Object.hasOwn(worker.running, run) ? worker.running[run] : undefined,
      );
      progress = running.reduce((total, one) => {
        const done = one === undefined ? 0 : Math.min(one.progress, one.pieces, slots);
        return total + (done > 0 ? done : 0);
      }, 0);
      if (workers === 0 && performance.now() - since > LONELY_MS && !told.has('')) {
        told.add('');
        note(`No worker of freelunch ${build} is at ${shown}: start some with freelunch worker.`);
      }
    },
    progress: () => progress,
    text: () => `${workers} worker${workers === 1 ? '' : 's'}${workers === 0 ? '' : ` (${slots} at a time)`}`,
  };
}

const drainedError = (count: number) =>
  new QueueError(
    `the queue was drained, so ${grouped(count)} pieces will not be run; the same command queues them again`,
  );

function failedError(failed: ReadonlyMap<string, string>, all: number): QueueError {
  const named = [...failed].slice(0, MOST_NAMED).map(([key, error]) => `${key} ${error}`);
  const more = failed.size > MOST_NAMED ? `; and ${failed.size - MOST_NAMED} more` : '';
  return new QueueError(
    `${grouped(failed.size)} of ${grouped(all)} pieces could not be done, all others are: ${named.join('; ')}${more}; the same command tries them again`,
  );
}
