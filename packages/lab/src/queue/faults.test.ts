/**
 * Processes of the command line over a real Redis, killed at random moments; FREELUNCH_KILLS says how many workers are, and
 * `npm run faults` kills 50.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { random } from '@freelunch/random';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { childrenIn } from '../testing/children.js';
import { type OwnRedis, ownRedis, redisServer, WITHOUT_REDIS } from '../testing/redis.js';

const server = redisServer();
const kills = Number(process.env.FREELUNCH_KILLS ?? 2);
const count = kills < 10 ? 2 : 3;
const patience = 120_000 + kills * 20_000;
const folder = mkdtempSync(join(tmpdir(), 'freelunch-faults-'));
const { start, end } = childrenIn(folder);

/** Small models that are trained, with checkpoints on the way: more of them the more is killed meanwhile. */
const grid = (pieces: number) => ({
  experiment: 'learn-mqar',
  set: {
    learners: ['mamba:2', 'softmax@rope'],
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

// Whoever asks for kills wants to see them.
describe.skipIf(server === undefined && process.env.FREELUNCH_KILLS === undefined)(
  `processes over Redis (without one: ${WITHOUT_REDIS})`,
  () => {
    let redis: OwnRedis;
    beforeAll(async () => {
      if (server === undefined) throw new Error(WITHOUT_REDIS);
      redis = await ownRedis(server, ['--appendonly', 'yes', '--appendfsync', 'always']);
    });
    afterAll(async () => {
      await end();
      await redis.remove();
      rmSync(folder, { recursive: true, force: true });
    });

    const one = ['--workers', '1', '--threads', '1'];
    const worker = () =>
      start(['worker', ...one, '--lost-after', '1', '--out', 'shared'], { FREELUNCH_REDIS: redis.url });
    const sweep = (out: string) =>
      start(['sweep', 'grid.json', '--redis', 'env', '--out', out], { FREELUNCH_REDIS: redis.url });
    const bytes = (name: string) =>
      Object.fromEntries(
        readdirSync(join(folder, name)).map((file) => [file, readFileSync(join(folder, name, file), 'utf8')]),
      );

    it(
      `loses nothing and counts nothing twice when ${kills} workers, a sweep and Redis are killed`,
      async () => {
        writeFileSync(join(folder, 'grid.json'), JSON.stringify(grid(kills < 10 ? 8 : 3 * kills)));
        const local = start(['sweep', 'grid.json', ...one, '--out', 'local']);
        const rng = random(7);

        let swept = sweep('swept');
        const other = sweep('other'); // the same work at the same time
        const workers = Array.from({ length: count }, worker);
        for (let killed = 0; killed < kills; killed++) {
          await wait(500 + rng.integer(1000));
          const at = rng.integer(count);
          workers[at].child.kill('SIGKILL');
          await workers[at].ended;
          workers[at] = worker(); // joins late
          if (killed === Math.floor(kills / 3)) {
            swept.child.kill('SIGKILL');
            await swept.ended;
            swept = sweep('swept');
          }
          if (killed === Math.floor((2 * kills) / 3)) {
            await redis.kill();
            await wait(rng.integer(1500));
            await redis.start();
          }
        }
        const ends = [local, swept, other];
        expect(
          await Promise.all(ends.map(({ ended }) => ended)),
          ends.map(({ said }) => said()).join('\n'),
        ).toEqual([0, 0, 0]);
        const wanted = bytes('local');
        expect(wanted['rows.jsonl'].split('\n').length).toBeGreaterThan(8);
        expect(bytes('swept')).toEqual(wanted);
        expect(bytes('other')).toEqual(wanted);
        for (const { child } of workers) child.kill('SIGINT');
        expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual(workers.map(() => 130));
        // Nothing of a piece that is done is left.
        expect(readdirSync(join(folder, 'shared'))).toEqual(['.freelunch.json']);
      },
      patience,
    );

    it('ends at Ctrl-C with exit code 130 while Redis is away', async () => {
      const many = { seqLen: [8], vocabSize: Array.from({ length: 50 }, (_, i) => 6 + i) };
      writeFileSync(join(folder, 'grid.json'), JSON.stringify({ ...grid(8), grid: many }));
      const both = [worker(), sweep('interrupted')];
      const kept = join(folder, 'interrupted/rows.jsonl');
      while (!existsSync(kept) || readFileSync(kept, 'utf8') === '') await wait(20);
      await redis.kill();
      while (!both.every(({ said }) => said().includes('is lost: trying again'))) await wait(20);
      for (const { child } of both) child.kill('SIGINT');
      expect(await Promise.all(both.map(({ ended }) => ended))).toEqual([130, 130]);
      for (const { said } of both) expect(said()).toMatch(/\nInterrupted\.\n$/);
      await redis.start();
    });
  },
);
