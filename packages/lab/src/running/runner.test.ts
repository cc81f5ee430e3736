import { spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { random } from '@freelunch/random';
import { afterAll, describe, expect, it } from 'vitest';
import { InputError } from '../errors.js';
import type { Experiment } from '../experiments/experiment.js';
import { cli } from '../testing/cli.js';
import { runExperiment } from './runner.js';

const base = mkdtempSync(join(tmpdir(), 'freelunch-run-'));
afterAll(() => rmSync(base, { recursive: true }));
const fresh = (name: string) => join(base, name);

type Config = { count: number; fail: string; name: string };
type P = { key: string; value: number; fail: boolean };
type R = { value: number; part: number };

/** Two rows for each piece but the first, which has none. */
const squares: Experiment<Config, P & Record<string, unknown>, R> = {
  name: 'squares',
  summary: 'What are squares?',
  claims: [],
  presets: { quick: { count: 5, fail: '', name: 'a' }, full: { count: 9, fail: '', name: 'a' } },
  pieces: ({ count, fail }) =>
    Array.from({ length: count }, (_, value) => ({ key: `n=${value}`, value, fail: fail === `n=${value}` })),
  run: async ({ value, fail }, { folder }) => {
    if (fail) throw new Error('no');
    if (folder !== undefined) writeFileSync(join(folder, 'checkpoint'), '');
    return value === 0 ? [] : [0, 1].map((part) => ({ value: value ** 2, part }));
  },
  findings: (_, rows) => ({ text: [String(rows.length)], figures: [], tables: [], verdicts: [] }),
};
const read = (folder: string) => readFileSync(join(folder, 'rows.jsonl'), 'utf8');

describe('in a folder', () => {
  it('keeps every piece, gives rows in the order of pieces, and leaves no scratch', async () => {
    const folder = fresh('keeps');
    const { rows, findings } = await runExperiment(squares, {}, { folder });
    expect(rows).toHaveLength(8);
    expect(rows[7]).toEqual({ value: 16, part: 1 });
    expect(findings.text).toEqual(['8']);
    expect(readdirSync(folder).sort()).toEqual(['.freelunch.json', 'config.json', 'rows.jsonl']);
    expect(read(folder).split('\n')[0]).toBe('{"piece":"n=0","rows":0}');
  });

  it.each([
    ['a line cut short', (text: string) => text.slice(0, -7)],
    ['a piece of which a row is missing', (text: string) => text.split('\n').slice(0, 4).join('\n') + '\n'],
    ['nothing', () => ''],
  ])('continues after %s, to the same bytes', async (name, cut) => {
    const folder = fresh(`continues ${name}`);
    const { rows } = await runExperiment(squares, {}, { folder });
    const whole = read(folder);
    writeFileSync(join(folder, 'rows.jsonl'), cut(whole));
    const ran: string[] = [];
    const counted = {
      ...squares,
      run: (piece: P & Record<string, unknown>, context: never) => (
        ran.push(piece.key),
        squares.run(piece, context)
      ),
    };
    expect((await runExperiment(counted, {}, { folder })).rows).toEqual(rows);
    expect(read(folder)).toBe(whole);
    expect(ran.length).toBe({ 'a line cut short': 1, nothing: 5 }[name] ?? 3);
  });

  it('refuses another configuration, another experiment and strange rows, and starts anew if told to', async () => {
    const folder = fresh('refuses');
    await runExperiment(squares, {}, { folder });
    await expect(runExperiment(squares, { count: 6 }, { folder })).rejects.toThrow(
      /count is 5 there, 6 here; --restart/,
    );
    await expect(runExperiment({ ...squares, name: 'cubes' }, {}, { folder })).rejects.toThrow(
      /holds squares, not cubes/,
    );
    appendFileSync(join(folder, 'rows.jsonl'), 'what\n');
    await expect(runExperiment(squares, {}, { folder })).rejects.toThrow(/line 10 is not a row/);
    const { rows } = await runExperiment(squares, { count: 6 }, { folder, restart: true });
    expect(rows).toHaveLength(10);
  });

  it('names the piece that fails and keeps the others', async () => {
    const folder = fresh('fails');
    await expect(runExperiment(squares, { fail: 'n=3' }, { folder })).rejects.toThrow(
      "squares, piece 'n=3': no",
    );
    expect(read(folder).trim().split('\n')).toHaveLength(5);
  });

  it('stops where the signal says so, with what is done', async () => {
    const folder = fresh('aborts');
    const stop = new AbortController();
    const onProgress = (_: number, label?: string) => label === 'n=2' && stop.abort(new Error('enough'));
    await expect(runExperiment(squares, {}, { folder, signal: stop.signal, onProgress })).rejects.toThrow(
      'enough',
    );
    expect(read(folder)).toContain('"n=1"');
    expect(read(folder)).not.toContain('"n=4"');
  });
});

it('refuses unknown fields and wrong types by name', async () => {
  const run = (config: object) => runExperiment(squares, config);
  await expect(run({ number: 3 })).rejects.toThrow(
    "squares has no field 'number'; there are: count, fail, name",
  );
  await expect(run({ count: '3' })).rejects.toThrow("squares: count must be a number, got '3'");
  await expect(run({ count: NaN })).rejects.toThrow(InputError);
});

it('refuses rows that JSON does not hold, and keys that come twice', async () => {
  const infinite = { ...squares, run: () => Promise.resolve({ value: Infinity, part: 0 }) };
  await expect(runExperiment(infinite, {})).rejects.toThrow(
    "piece 'n=0': value of a row must be finite, got Infinity",
  );
  const twice = { ...squares, pieces: () => [1, 2].map((value) => ({ key: 'same', value, fail: false })) };
  await expect(runExperiment(twice, {})).rejects.toThrow("'same' comes twice");
});

describe('freelunch run', () => {
  // Some seconds of work in ten pieces.
  const args = ['run', 'copy-capacity', '--set', 'lengths=64', '--set', 'tokensRead=8192'];
  const run = (folder: string, ...more: string[]) =>
    spawnSync(process.execPath, [cli, ...args, '--out', folder, ...more], {
      encoding: 'utf8',
      timeout: 100_000,
    });

  it('gives the same rows with one worker, with two, and after being killed', async () => {
    const [one, two, killed] = ['one', 'two', 'killed'].map(fresh);
    expect(run(one, '--workers', '1').status).toBe(0);
    expect(run(two, '--workers', '2').status).toBe(0);
    expect(read(two)).toBe(read(one));
    // A moment that differs from run to run, between the first piece and the last.
    const least = 1 + random(Date.now()).integer(7);
    const child = spawn(process.execPath, [cli, ...args, '--out', killed, '--workers', '1']);
    const ended = new Promise((resolve) => child.on('exit', (_, signal) => resolve(signal)));
    const count = () => (existsSync(join(killed, 'rows.jsonl')) ? read(killed).split('\n').length - 1 : 0);
    while (count() < least && child.exitCode === null) await wait(5);
    child.kill('SIGKILL');
    expect(await ended).toBe('SIGKILL');
    expect(existsSync(join(killed, 'findings.json'))).toBe(false);
    expect(run(killed, '--workers', '1').status).toBe(0);
    expect(read(killed)).toBe(read(one));
  });

  it('stops at Ctrl-C with exit code 130 in the middle of a piece, keeps what is done, and continues', async () => {
    const folder = fresh('interrupted');
    const child = spawn(process.execPath, [cli, ...args, '--out', folder, '--workers', '1']);
    let stderr = '';
    child.stderr.on('data', (data) => (stderr += data));
    const ended = new Promise((resolve) => child.on('exit', resolve));
    while (!existsSync(join(folder, 'rows.jsonl')) || read(folder) === '') await wait(5);
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(stderr).toBe(`What is done is kept in ${folder}: the same command continues.\nInterrupted.\n`);
    const before = read(folder);
    expect(run(folder).status).toBe(0);
    expect(read(folder).startsWith(before)).toBe(true);
    expect(readdirSync(folder).sort()).toEqual([
      '.freelunch.json',
      'config.json',
      'findings.json',
      'report.html',
      'rows.jsonl',
    ]);
  });
});
