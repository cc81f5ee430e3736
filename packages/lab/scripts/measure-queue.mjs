/**
 * What the queue carries, with pieces that do nothing: pieces a second, and memory of Redis. Prints the table of
 * docs/scale.md.
 *
 *   node packages/lab/scripts/measure-queue.mjs [--pieces 10000,100000] [--workers 1] [--slots 8]
 *
 * Starts redis-server itself, with an append-only file; workers are processes of their own.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setTimeout as wait } from 'node:timers/promises';
import { addressOf } from '../dist/queue/address.js';
import { queueCarrier } from '../dist/queue/carrier.js';
import { connect } from '../dist/queue/connection.js';
import { serve } from '../dist/queue/serve.js';
import { runJobs } from '../dist/running/runner.js';

const { values } = parseArgs({
  options: {
    pieces: { type: 'string', default: '10000' },
    workers: { type: 'string', default: '1' },
    slots: { type: 'string', default: '8' },
    serve: { type: 'string' },
  },
});
const BUILD = '0.0.0+empty';

/** Keys and rows as long as those of an experiment that learns. */
const empty = {
  name: 'empty',
  summary: 'What does the queue cost?',
  claims: [],
  presets: { quick: { count: 1 }, full: { count: 1 } },
  pieces: ({ count }) =>
    Array.from({ length: count }, (_, i) => ({ key: `32 pairs, 2 layers, mamba:16, ${i}` })),
  run: async () => ({
    learner: 'mamba:16',
    pairs: 32,
    nLayers: 2,
    seed: 1,
    accuracy: 0.987654321,
    loss: 0.0123456789,
  }),
  findings: () => ({ text: [], figures: [], tables: [], verdicts: [] }),
};
/** Of these processes together, as Linux counts it: in hundredths of a second. */
const processorMs = (pids) =>
  pids.reduce((total, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return total + 10 * (Number(fields[11]) + Number(fields[12]));
  }, 0);

const signal = new AbortController().signal;
const note = (message) => console.error(message);

if (values.serve !== undefined) {
  const connection = await connect(addressOf(values.serve, {}), signal, note);
  const slots = { run: async () => [await empty.run()], end: async () => {} };
  await serve({
    connection,
    build: BUILD,
    slots,
    count: Number(values.slots),
    lostAfterMs: 20_000,
    signal,
    note,
    experimentOf: () => empty,
  });
}

const folder = mkdtempSync(join(tmpdir(), 'freelunch-measure-'));
const port = await new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});
const redis = spawn(
  'redis-server',
  ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes'],
  { stdio: 'ignore' },
);
await wait(1000);
const url = `redis://127.0.0.1:${port}`;
const address = addressOf(url, {});
const children = [];
try {
  const connection = await connect(address, signal, note);
  const memory = async () => {
    const info = String(await connection.redis.call('INFO'));
    return Number(/used_memory:(\d+)/.exec(info)[1]) / 2 ** 20;
  };
  const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1);
  console.log(
    `${cpus().length} x ${cpus()[0].model}, ${values.workers} worker processes with ${values.slots} slots`,
  );
  const [load] = loadavg();
  console.log(`load before: ${load.toFixed(1)}`);
  console.log('| pieces | queued in | pieces per s | processor per piece | memory, queued | memory, done |');
  console.log('| --- | --- | --- | --- | --- | --- |');
  for (const count of values.pieces.split(',').map(Number)) {
    await connection.redis.call('FLUSHALL');
    const before = await memory();
    const config = { count };
    const jobs = empty.pieces(config).map((piece) => ({ key: piece.key, piece, config }));
    const begun = performance.now();
    const carrier = queueCarrier({ address, note: () => {}, build: BUILD });
    const stop = new AbortController();
    const options = { carrier, signal: stop.signal };
    const holds = { kind: 'run', description: { experiment: empty.name, config } };
    const swept = runJobs(empty, jobs, holds, options);
    const queue = connection.queue(BUILD);
    while ((await queue.getWaitingCount()) < count) await wait(50);
    const queuedIn = seconds(begun);
    const queued = (await memory()) - before;
    for (let i = 0; i < Number(values.workers); i++)
      children.push(
        spawn(process.execPath, [fileURLToPath(import.meta.url), '--serve', url, '--slots', values.slots], {
          stdio: 'inherit',
        }),
      );
    while ((await queue.getWaitingCount()) === count) await wait(5);
    const first = performance.now();
    const all = [process.pid, redis.pid, ...children.map(({ pid }) => pid)];
    const spent = processorMs(all);
    await swept;
    const each = (processorMs(all) - spent) / count;
    const rate = count / ((performance.now() - first) / 1000);
    const done = (await memory()) - before;
    console.log(
      `| ${count} | ${queuedIn} s | ${rate.toFixed(0)} | ${each.toFixed(2)} ms | ${queued.toFixed(1)} MiB | ${done.toFixed(1)} MiB |`,
    );
    for (const child of children.splice(0)) child.kill('SIGKILL');
  }
  await connection.close();
} finally {
  for (const child of children) child.kill('SIGKILL');
  redis.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
