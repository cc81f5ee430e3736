/**
 * Processes of the command line over a real Redis, killed at random moments; FREELUNCH_KILLS says how many workers are, and
 * `npm run faults` kills 50.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { random } from '@freelunch/random';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { cli } from '../testing/cli.js';
import { type OwnRedis, ownRedis, redisServer, WITHOUT_REDIS } from '../testing/redis.js';

const server = redisServer();
const kills = Number(process.env.FREELUNCH_KILLS ?? 2);
const patience = 30_000 + kills * 10_000;
const folder = mkdtempSync(join(tmpdir(), 'freelunch-faults-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Small models that are trained, with checkpoints on the way: more of them the more is killed meanwhile. */
const grid = (pieces: number) => ({
  experiment: 'learn-mqar',
  set: {
    learners: ['mamba:2', 'softmax@rope'],
    layers: [1],
    pairs: [2],
    training: {
      dModel: 8,
      steps: 30,
      batchSize: 4,
      learningRates: [0.01],
      warmupSteps: 5,
      seeds: 1,
      evaluations: 3,
      testSamples: 8,
    },
  },
  grid: {
    vocabSize: [6, 8],
    seqLen: Array.from({ length: Math.ceil(pieces / 4) }, (_, i) => 8 + 2 * i),
  },
});

describe.skipIf(server === undefined)(`processes over Redis (without one: ${WITHOUT_REDIS})`, () => {
  let redis: OwnRedis;
  const children = new Set<ChildProcess>();
  beforeAll(async () => {
    redis = await ownRedis(server!, ['--appendonly', 'yes', '--appendfsync', 'always']);
  });
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL');
    while (children.size > 0) await wait(10);
  });
  afterAll(() => redis.remove());

  function start(args: readonly string[]) {
    const child = spawn(process.execPath, [cli, ...args], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, FREELUNCH_REDIS: redis.url, NO_COLOR: undefined, FORCE_COLOR: undefined },
    });
    children.add(child);
    let stderr = '';
    child.stderr.on('data', (data) => (stderr += data));
    const ended = new Promise<number | string>((resolve) => {
      child.once('close', (code, signal) => {
        children.delete(child);
        resolve(code ?? signal ?? '');
      });
    });
    return { child, ended, said: () => stderr };
  }
  const worker = (out = 'shared') =>
    start(['worker', '--workers', '1', '--threads', '1', '--lost-after', '1', '--out', out]);
  const sweep = (file: string, out: string) => start(['sweep', file, '--redis', 'env', '--out', out]);
  const locally = (file: string, out: string) => start(['sweep', file, '--workers', '2', '--out', out]);
  const bytes = (name: string) =>
    Object.fromEntries(
      readdirSync(join(folder, name)).map((file) => [file, readFileSync(join(folder, name, file), 'utf8')]),
    );

  it(
    `loses nothing and counts nothing twice when ${kills} workers, a sweep and Redis are killed`,
    async () => {
      writeFileSync(join(folder, 'grid.json'), JSON.stringify(grid(4 + 3 * kills)));
      const local = locally('grid.json', 'local');
      expect(await local.ended).toBe(0);
      const rng = random(7);

      let swept = sweep('grid.json', 'swept');
      const other = sweep('grid.json', 'other'); // the same work at the same time
      const workers = Array.from({ length: 3 }, () => worker());
      for (let killed = 0; killed < kills; killed++) {
        await wait(500 + rng.integer(1000));
        const one = rng.integer(workers.length);
        workers[one].child.kill('SIGKILL');
        await workers[one].ended;
        workers[one] = worker(); // one that joins late
        if (killed === Math.floor(kills / 3)) {
          swept.child.kill('SIGKILL');
          await swept.ended;
          swept = sweep('grid.json', 'swept');
        }
        if (killed === Math.floor((2 * kills) / 3)) {
          await redis.kill();
          await wait(rng.integer(1500));
          await redis.start();
        }
      }
      expect([await swept.ended, await other.ended], swept.said() + other.said()).toEqual([0, 0]);
      const wanted = bytes('local');
      expect(bytes('swept')).toEqual(wanted);
      expect(bytes('other')).toEqual(wanted);
      for (const { child } of workers) child.kill('SIGINT');
      expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual([130, 130, 130]);
    },
    patience,
  );
});
