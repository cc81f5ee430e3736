import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runExperiment, type RunOptions } from '../running/runner.js';
import { type OwnRedis, ownRedis, redisServer, WITHOUT_REDIS } from '../testing/redis.js';
import { anySquares, inlineSlots } from '../testing/squares.js';
import { addressOf } from './address.js';
import { queueCarrier } from './carrier.js';
import { connect, type Connection } from './connection.js';
import { digestOf, runIdOf } from './piece.js';
import { serve, type ServeOptions } from './serve.js';
import { drainRuns, statusOf } from './status.js';
import { storeOf } from './store.js';

const BUILD = '0.1.0+test';
const server = process.env.FREELUNCH_REDIS === undefined ? redisServer() : undefined;
const given = process.env.FREELUNCH_REDIS;
const folder = mkdtempSync(join(tmpdir(), 'freelunch-queue-'));
let count = 0;

describe.skipIf(server === undefined && given === undefined)(
  `a queue on Redis (without one: ${WITHOUT_REDIS})`,
  () => {
    let own: OwnRedis | undefined;
    let base = given ?? '';
    const connections: Connection[] = [];
    const workers: { stop: AbortController; ended: Promise<number> }[] = [];

    beforeAll(async () => {
      if (server === undefined) return;
      own = await ownRedis(server);
      base = own.url;
    });
    afterEach(async () => {
      for (const { stop } of workers) stop.abort(new Error('stopped'));
      await Promise.all(workers.splice(0).map(({ ended }) => ended));
      for (const connection of connections.splice(0)) {
        const keys = (await connection.redis.call('KEYS', connection.key('*'))) as string[];
        if (keys.length > 0) await connection.redis.call('UNLINK', ...keys);
        await connection.close();
      }
    });
    afterAll(async () => {
      await own?.remove();
      rmSync(folder, { recursive: true });
    });

    /** A part of the Redis that no other test sees. */
    function place() {
      const url = new URL(base);
      url.searchParams.set('prefix', `test-${process.pid}-${count++}`);
      const address = addressOf(undefined, { FREELUNCH_REDIS: url.href });
      const notes: string[] = [];
      const note = (message: string) => void notes.push(message);
      const out = join(folder, String(count));
      const open = async () => {
        const connection = await connect(address, new AbortController().signal);
        connections.push(connection);
        return connection;
      };
      const work = async (options: Partial<ServeOptions> = {}) => {
        const connection = await open();
        const stop = new AbortController();
        const ended = serve({
          connection,
          build: BUILD,
          slots: inlineSlots(),
          count: 2,
          lostAfterMs: 1000,
          signal: stop.signal,
          note,
          experimentOf: () => anySquares,
          ...options,
        });
        workers.push({ stop, ended });
        return { stop, ended };
      };
      const sweep = (
        config: object,
        name = out,
        options: Pick<RunOptions, 'signal' | 'restart' | 'onProgress'> = {},
      ) =>
        runExperiment(anySquares, config, {
          folder: name,
          carrier: queueCarrier({ address, note, build: BUILD }),
          ...options,
        });
      const idOf = (config: object) => runIdOf(BUILD, 'run', { experiment: 'squares', config });
      return { address, notes, note, out, open, work, sweep, idOf };
    }
    const bytes = (name: string) =>
      Object.fromEntries(readdirSync(name).map((file) => [file, readFileSync(join(name, file), 'utf8')]));
    const until = async (right: () => boolean | Promise<boolean>) => {
      for (const end = Date.now() + 10_000; !(await right()); await wait(10))
        if (Date.now() > end) throw new Error('it does not come to be');
    };

    it('gives the rows and findings of the local runner, byte for byte, with workers that come late', async () => {
      const { out, sweep, work } = place();
      const local = `${out}-local`;
      const wanted = await runExperiment(anySquares, { count: 40 }, { folder: local });
      const swept = sweep({ count: 40 });
      await work({ count: 3 });
      await wait(50);
      await work();
      expect(await swept).toEqual(wanted);
      expect(bytes(out)).toEqual(bytes(local));
    });

    it('runs each piece once for two sweeps that ask for the same', async () => {
      const { out, sweep, work } = place();
      const ran: string[] = [];
      const slots = inlineSlots(async (key) => {
        ran.push(key);
        await wait(2);
      });
      await work({ slots });
      const [a, b] = await Promise.all([sweep({ count: 30 }), sweep({ count: 30 }, `${out}-b`)]);
      expect(a).toEqual(b);
      expect(bytes(out)).toEqual(bytes(`${out}-b`));
      expect(ran.sort()).toEqual(Array.from({ length: 30 }, (_, i) => `n=${i}`).sort());
    });

    it('goes on from another folder with what was done while nobody waited', async () => {
      const { out, sweep, work, idOf, open } = place();
      const stop = new AbortController();
      const first = sweep({ count: 20 }, out, { signal: stop.signal });
      const connection = await open();
      const store = storeOf(connection);
      const id = idOf({ count: 20, fail: ['none'] });
      await until(async () => ((await statusOf(connection)).queues[0]?.waiting ?? 0) === 20);
      stop.abort(new Error('Ctrl-C'));
      await expect(first).rejects.toThrow('Ctrl-C');
      const ran: string[] = [];
      const { stop: end, ended } = await work({ slots: inlineSlots((key) => void ran.push(key)) });
      await until(async () => (await store.counts(id)).done === 20);
      end.abort(new Error('stopped'));
      expect(await ended).toBe(20);
      const { rows } = await sweep({ count: 20 }, `${out}-elsewhere`); // without any worker
      expect(rows).toHaveLength(38);
      expect(ran).toHaveLength(20);
    });

    it('names what fails three times, with its error, and does all others', async () => {
      const { out, notes, sweep, work } = place();
      const ran: string[] = [];
      await work({ slots: inlineSlots((key) => void ran.push(key)) });
      const labels: string[] = [];
      const onProgress = (_: number, label = '') => void labels.push(label);
      await expect(sweep({ count: 6, fail: ['n=2', 'n=4'] }, out, { onProgress })).rejects.toThrow(
        /^2 of 6 pieces could not be done, all others are: n=[24] failed 3 times: no square of [24]; n=[24] failed 3 times: no square of [24]; the same command/,
      );
      expect(ran.filter((key) => key === 'n=2')).toHaveLength(3);
      expect(readFileSync(join(out, 'rows.jsonl'), 'utf8').match(/"piece":"n=\d"/g)).toHaveLength(7);
      expect(notes).toContain('n=2 failed 3 times: no square of 2');
      expect(labels).toContainEqual(expect.stringMatching(/^4 \/ 6 pieces, .*1 worker \(2 at a time\)$/));
      expect(labels.at(-1)).toMatch(/^6 \/ 6 pieces, 2 failed/);
      // The same command tries them again.
      await expect(sweep({ count: 6, fail: ['n=2', 'n=4'] })).rejects.toThrow('2 of 6 pieces');
      expect(ran.filter((key) => key === 'n=2')).toHaveLength(6);
      expect(ran.filter((key) => key === 'n=1')).toHaveLength(1);
    });

    it('gives the pieces of a worker that stops to others at once', async () => {
      const { sweep, work } = place();
      let begun = 0;
      const slots = inlineSlots(() => {
        begun++;
        return new Promise(() => {});
      });
      const first = await work({
        lostAfterMs: 60_000,
        slots: {
          ...slots,
          run: (experiment, task, onProgress, signal) =>
            Promise.race([
              slots.run(experiment, task, onProgress, signal),
              new Promise<never>((_, reject) => {
                signal.addEventListener('abort', () => reject(signal.reason as Error));
              }),
            ]),
        },
      });
      const swept = sweep({ count: 4 });
      await until(() => begun === 2);
      first.stop.abort(new Error('Ctrl-C'));
      await first.ended;
      await work();
      expect((await swept).rows).toHaveLength(6);
    });

    it('counts the first of two results', async () => {
      const { open, idOf } = place();
      const store = storeOf(await open());
      const id = idOf({});
      await store.openRun({ id, build: BUILD, kind: 'run', experiment: 'squares', pieces: 1 }, new Map());
      expect([await store.keep(id, 'a', '[1]'), await store.keep(id, 'a', '[2]')]).toEqual([true, false]);
      expect(await store.results(id, ['a', 'b'])).toEqual(['[1]', undefined]);
      expect(await store.news(id, 0)).toEqual(['a']);
      await store.giveUp(id, 'a', 'late', ['no lock', 'token']);
      expect(await store.errors(id, ['a'])).toEqual([undefined]);
    });

    it('refuses strange results by name, and has the pieces run again', async () => {
      const { notes, open, sweep, work, idOf } = place();
      const { redis, key } = await open();
      const id = idOf({ count: 4, fail: ['none'] });
      const put = (piece: string, rows: string) => redis.call('HSET', key('run', id, 'done'), piece, rows);
      await put('n=0', 'no JSON');
      await put('n=1', '[{"__proto__":{"value":1}}]');
      await put('n=2', `[{"value":"${'x'.repeat(17 * 2 ** 20)}"}]`);
      await work();
      expect((await sweep({ count: 4 })).rows).toHaveLength(6);
      expect(notes.filter((text) => text.startsWith('Refused a result of'))).toEqual([
        'Refused a result of n=0: what a worker returned is not JSON',
        "Refused a result of n=1: rows[0] must not have a field '__proto__'",
        expect.stringMatching(/^Refused a result of n=2: rows must have at most 16777216 bytes, got \d+$/),
      ]);
    });

    it('refuses strange jobs by name, and goes on with others', async () => {
      const { notes, open, sweep, work, idOf } = place();
      const connection = await open();
      const queue = connection.queue(BUILD);
      const id = idOf({ count: 2, fail: ['none'] });
      const job = {
        format: 1,
        build: BUILD,
        run: id,
        experiment: 'squares',
        config: digestOf('{}'),
        piece: 'n=0',
        key: 'n=0',
      };
      await queue.add('piece', { run: 'process.exit()' }, { jobId: 'shape' });
      await queue.add('piece', { ...job, key: 'x'.repeat(2 ** 20) }, { jobId: 'huge' });
      await queue.add('piece', JSON.parse('{"__proto__":{"format":1}}'), { jobId: 'proto' });
      await queue.add('piece', {}, { jobId: 'torn', repeat: undefined, attempts: 1e9 });
      await connection.redis.call(
        'HSET',
        queue.toKey('torn'),
        'data',
        '{"format":1',
        'opts',
        'no JSON',
        'parent',
        '{',
      );
      await work({ count: 1 });
      expect((await sweep({ count: 2 })).rows).toHaveLength(2);
      await until(() => notes.length === 4);
      expect(notes.sort()).toEqual([
        'Refused the job huge: format must be one of 1, got undefined',
        'Refused the job proto: format must be one of 1, got undefined',
        'Refused the job shape: format must be one of 1, got undefined',
        'Refused the job torn: format must be one of 1, got undefined',
      ]);
      const kinds = ['wait', 'active', 'delayed', 'failed', 'completed'] as const;
      await until(async () => Object.values(await queue.getJobCounts(...kinds)).every((left) => left === 0));
    });

    it('refuses pieces of another version and of unknown experiments, by name', async () => {
      const { address, notes, note, out, work, sweep } = place();
      await work({ build: '0.2.0+other' });
      const swept = sweep({ count: 3 });
      const wanted = [
        `Refused: the 3 pieces of a run of squares are of freelunch ${BUILD}, this worker is 0.2.0+other.`,
        expect.stringMatching(
          /^The worker \S+ refuses these pieces: it is freelunch 0\.2\.0\+other, they are of 0\.1\.0\+test\.$/,
        ),
      ];
      await until(() => notes.length >= 2);
      expect(notes.sort()).toEqual(wanted);
      await work();
      expect((await swept).rows).toHaveLength(4);

      const strange = { ...anySquares, name: 'cubes' };
      const carrier = queueCarrier({ address, note, build: '0.3.0+cubes' });
      await work({ build: '0.3.0+cubes', experimentOf: undefined });
      await expect(runExperiment(strange, { count: 2 }, { folder: `${out}-cubes`, carrier })).rejects.toThrow(
        /2 of 2 pieces could not be done.*n=0 is refused: unknown experiment 'cubes'/,
      );
    });

    it('tells a sweep when it is drained, and keeps no rows of what is still at work', async () => {
      const { open, sweep, work, idOf } = place();
      let go = () => {};
      const gate = new Promise<void>((resolve) => (go = resolve));
      await work({ count: 1, slots: inlineSlots(() => gate) });
      const swept = sweep({ count: 5 });
      const told = expect(swept).rejects.toThrow('the queue was drained, so 5 pieces will not be run');
      const connection = await open();
      const working = async () => (await statusOf(connection)).queues[0]?.working === 1;
      await until(working);
      const { runs } = await statusOf(connection);
      expect(runs).toMatchObject([{ kind: 'run', experiment: 'squares', pieces: 5, done: 0, failed: 0 }]);
      const [{ waited }] = await drainRuns(connection, runs, new AbortController().signal);
      expect(waited).toBe(4);
      await told;
      go();
      await until(async () => !(await working()));
      const store = storeOf(connection);
      expect(await store.counts(idOf({ count: 5, fail: ['none'] }))).toEqual({ done: 0, failed: 0 });
      expect((await sweep({ count: 5 })).rows).toHaveLength(8); // the same command queues them again
    });

    it('takes up connections that drop', async () => {
      const { notes, open, sweep, work } = place();
      const { redis } = await open();
      await work({ slots: inlineSlots(() => wait(10)) });
      const swept = sweep({ count: 60 });
      for (let i = 0; i < 3; i++) {
        await wait(60);
        await redis.call('CLIENT', 'KILL', 'TYPE', 'normal');
      }
      expect((await swept).rows).toHaveLength(118);
      expect(notes.some((text) => /^The connection to \S+ is lost: trying again/.test(text))).toBe(true);
      expect(notes.some((text) => /^The connection to \S+ is back\.$/.test(text))).toBe(true);
    });

    it('says in one sentence what Redis refuses, and stores rows once there is room', async () => {
      const { notes, open, sweep, work } = place();
      const { redis } = await open();
      const limit = (bytes: string) => redis.call('CONFIG', 'SET', 'maxmemory', bytes);
      try {
        await limit('1');
        await expect(sweep({ count: 1 })).rejects.toThrow(/^Redis at \S+ refuses: OOM command not allowed/);
        await limit('0');
        let full = false;
        await work({
          slots: inlineSlots(async () => {
            if (!full) await limit('1');
            full = true;
          }),
        });
        const swept = sweep({ count: 1 });
        await until(() => notes.some((text) => text.startsWith('The rows of n=0 cannot be stored (OOM')));
        await limit('0');
        expect((await swept).rows).toEqual([]);
      } finally {
        await limit('0');
      }
    });

    it('takes back what Redis has lost', async () => {
      const { notes, open, sweep, work } = place();
      const swept = sweep({ count: 12 });
      const connection = await open();
      await until(async () => ((await statusOf(connection)).queues[0]?.waiting ?? 0) === 12);
      for (const name of (await connection.redis.call('KEYS', connection.key('*'))) as string[])
        await connection.redis.call('UNLINK', name);
      await work();
      expect((await swept).rows).toHaveLength(22);
      expect(notes).toEqual([]);
    });

    it('refuses what measures times, and what is not right, before anything is queued', async () => {
      const { address, note, open } = place();
      const carrier = queueCarrier({ address, note, build: BUILD });
      await expect(runExperiment({ ...anySquares, timed: true }, {}, { carrier })).rejects.toThrow(
        'squares measures times, which can be compared only if all are of one machine: run it without --redis',
      );
      await expect(runExperiment(anySquares, { count: 'x' }, { carrier })).rejects.toThrow(
        'count must be a number',
      );
      expect((await statusOf(await open())).runs).toEqual([]);
    });
  },
);
