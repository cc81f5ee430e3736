/** What lies in Redis, and how it is cleared. */
import type { Connection } from './connection.js';
import { type RunCounts, type RunRecord, storeOf, type WorkerRecord } from './store.js';

export interface RunStatus extends RunRecord, RunCounts {}

export interface Status {
  address: string;
  runs: RunStatus[];
  /** Of each build that has runs or workers. */
  queues: { build: string; waiting: number; working: number; retrying: number }[];
  workers: WorkerRecord[];
}

export async function statusOf(connection: Connection): Promise<Status> {
  const store = storeOf(connection);
  const runs: RunStatus[] = [];
  for (const run of await store.runs()) runs.push({ ...run, ...(await store.counts(run.id)) });
  const workers = await store.workers();
  const builds = [...new Set([...runs, ...workers].map(({ build }) => build))].sort();
  const queues: Status['queues'] = [];
  for (const build of builds) {
    const {
      wait = 0,
      active = 0,
      delayed = 0,
    } = await connection.queue(build).getJobCounts('wait', 'active', 'delayed');
    queues.push({ build, waiting: wait, working: active, retrying: delayed });
  }
  return { address: connection.address.shown, runs, queues, workers };
}

const MOST_AT_ONCE = 500;

/**
 * Takes runs out of Redis: what waits, and what was done. Pieces at work are finished, but their rows are not kept. A sweep
 * that waits for a run is told.
 *
 * @returns what was taken out, with the pieces that had waited
 */
export async function drainRuns(
  connection: Connection,
  runs: readonly RunStatus[],
  signal: AbortSignal,
): Promise<{ run: RunStatus; waited: number }[]> {
  const store = storeOf(connection);
  const drained: { run: RunStatus; waited: number }[] = [];
  for (const run of runs) {
    // Before its pieces are removed: a sweep that waits for them would queue them again.
    await store.drain(run.id, true);
    const queue = connection.queue(run.build);
    let waited = 0;
    for (let at = 0; at < run.pieces; at += MOST_AT_ONCE) {
      signal.throwIfAborted();
      const indices = Array.from({ length: Math.min(MOST_AT_ONCE, run.pieces - at) }, (_, i) => at + i);
      const removed = await Promise.all(
        // One that is at work is locked by its worker.
        indices.map((index) => queue.remove(`${run.id}-${index}`).catch(() => 0)),
      );
      waited += removed.filter((count) => count === 1).length;
    }
    drained.push({ run, waited });
  }
  return drained;
}
