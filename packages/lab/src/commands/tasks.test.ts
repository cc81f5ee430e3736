import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  copy,
  createTask,
  editDistance,
  factories,
  lis,
  sources,
  writeJsonLines,
  writeSafetensors,
} from '@freelunch/tasks';
import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { freelunch, workFolder } from '../testing/cli.js';
import type { ShownTask, TaskEntry } from './tasks-text.js';

const { folder } = workFolder();
const run = (...args: string[]) => freelunch(['tasks', ...args]);
const content = (name: string) => readFileSync(join(folder, name));
const lines = [...writeJsonLines(copy(), { count: 3, seed: 7 })];

describe('bad input', () => {
  mkdirSync(join(folder, 'directory'));
  const files: Record<string, string | Uint8Array> = {
    'text.txt': 'some text\n',
    'empty.txt': '',
    'other.jsonl': '{"task":"copy"}\n',
    'newer.jsonl': lines[0].replace('"version":1', '"version":99'),
    'strange.jsonl': lines[0].replace('"copy"', '"toString"'),
    'short.safetensors': Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0),
    'endless.safetensors': Uint8Array.of(1, 0, 0, 0, 0, 255, 0, 0),
  };
  for (const [name, data] of Object.entries(files)) writeFileSync(join(folder, name), data);

  it.each([
    ['paste', "unknown action 'paste'; the actions are list, show, export, verify"],
    ['toString', "unknown action 'toString'; the actions are list"],
    ['list copy', 'list takes no name, got copy'],
    ['list --all', "unknown option '--all'; see freelunch tasks --help"],
    ['show', 'show takes one task, got none'],
    ['show copy lis', 'show takes one task, got 2: copy lis'],
    ['show toString', "unknown task 'toString'; the tasks are arithmetic"],
    ['show copy --seed -1', '--seed needs a value; one that begins with a dash is written --seed=VALUE'],
    ['show copy --seed=-1', '--seed must be a whole number from 0 to 9007199254740991'],
    ['export nothing', "unknown task 'nothing'; the tasks are arithmetic"],
    ['export copy --count 0', "--count must be a whole number from 1 to 1000000000, got '0'"],
    ['export copy --count NaN', "--count must be a whole number from 1 to 1000000000, got 'NaN'"],
    ['export copy --count 1e999', '--count must be a whole number'],
    ['export copy --count', '--count needs a value'],
    ['export copy --seed 1.5', "--seed must be a whole number from 0 to 9007199254740991, got '1.5'"],
    ['export copy --set length', "--set must be OPTION=VALUE, got 'length'"],
    ['export copy --set =3', "--set must be OPTION=VALUE, got '=3'"],
    ['export copy --set size=3', "'size' is not an option; the options are vocabSize, length, answerLength"],
    ['export copy --set __proto__=3', "'__proto__' is not an option"],
    ['export copy --set length=NaN', "length must be a whole number from 1 to 16777216, got 'NaN'"],
    ['export copy --set length=9,3', 'length must be a size or [smallest, largest], got [9,3]'],
    ['export lis --set form=both', "form must be one of 'cot', 'direct', got 'both'"],
    ['export copy --split all', "--split must be one of train, test, got 'all'"],
    [
      'export copy --split test --test-share 2',
      "--test-share must be a number from 0.0001 to 0.9999, got '2'",
    ],
    ['export copy --test-share 0.5', '--test-share needs --split'],
    ['export copy --split-seed 5', '--split-seed needs --split'],
    ['export parity --set length=1 --split test --test-share 0.0001', 'parity: no problem of the test part'],
    ['export copy --format csv', "--format must be jsonl or safetensors, got 'csv'"],
    ['export copy --format safetensors', '--out must be given for safetensors'],
    ['export copy --seq-len 9', '--seq-len is for safetensors only'],
    ['export copy --out x.safetensors --seq-len 2', 'seqLen must be at least'],
    ['export copy --out x.safetensors --padding up', "--padding must be one of right, left, got 'up'"],
    ['export copy --out=', '--out must name a file or a folder, got an empty name'],
    ['export copy --out text.txt/below', 'text.txt is a file'],
    ['export copy --out /dev/null', '--out must be a file, but /dev/null is a pipe, socket or device'],
    ['export copy --from text.txt', '--from FILE says all that is needed, so copy must be left out'],
    ['export --from text.txt --count 3', '--from FILE says all that is needed, so count must be left out'],
    ['export --from missing', 'missing does not exist'],
    ['verify', 'verify takes one file, got none'],
    ['verify missing', 'missing does not exist'],
    ['verify directory', 'directory: must be a file, got a folder'],
    ['verify text.txt', 'text.txt has no manifest'],
    ['verify empty.txt', 'empty.txt has no manifest'],
    ['verify short.safetensors', 'short.safetensors has no manifest'],
    ['verify endless.safetensors', 'endless.safetensors has no manifest'],
    ['verify other.jsonl', "other.jsonl: taskOf: manifest.format must be one of 'json-lines'"],
    [
      'verify newer.jsonl',
      'newer.jsonl: taskOf: copy must be of version 99, which made the file, got version 1',
    ],
    ['verify strange.jsonl', "got 'toString'"],
  ])('%s: one line, exit code 2', async (line, message) => {
    const { status, stdout, stderr } = await run(...line.split(' '));
    expect(stderr).toMatch(/^freelunch tasks: [^\n]+\n$/);
    expect(stderr).toContain(message);
    expect(stdout).toBe('');
    expect(status).toBe(2);
    expect(readdirSync(folder).filter((name) => /^x|tmp$/.test(name))).toEqual([]);
  });
});

it('explains itself', async () => {
  for (const args of [[], ['--help'], ['help'], ['list', '-h'], ['export', '--help'], ['verify', '--help']]) {
    const { status, stdout } = await run(...args);
    expect(stdout).toContain('freelunch tasks export NAME');
    expect(status).toBe(0);
  }
  expect((await freelunch(['--help'])).stdout).toContain('freelunch tasks');
});

it('lists every task with what it asks, its source and its options', async () => {
  const entries: TaskEntry[] = JSON.parse((await run('list', '--json')).stdout);
  expect(entries.map(({ name }) => name)).toEqual(Object.keys(factories));
  for (const { name, description, source, options } of entries) {
    expect(description.length).toBeGreaterThan(5);
    expect(source).toEqual(sources[name]);
    expect(Object.keys(options).length).toBeGreaterThan(0);
  }
  const { stdout, status } = await run('list');
  expect(status).toBe(0);
  for (const { name, description } of entries) {
    expect(stdout).toMatch(new RegExp(`^  ${name} +${description.slice(0, 12)}`, 'm'));
  }
  expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
});

it('shows a worked example with the given options', async () => {
  const { stdout, status } = await run('show', 'copy', '--set', 'length=2', '--set', 'vocabSize=3');
  expect(status).toBe(0);
  expect(stdout).toContain(copy({ length: 2, vocabSize: 3 }).describe());
  expect(stdout).toMatch(/^vocabulary +7 tokens: a b c \$ \| \. \*$/m);
  expect(stdout).toMatch(/^locality +mState 0, mToken 0, inputReach 3$/m);
  expect(stdout).toMatch(/^options +vocabSize=3 length=2 answerLength=0$/m);
  expect(stdout).toContain('https://arxiv.org/abs/2402.01032');
});

it.each(Object.keys(factories))('shows %s as data', async (name) => {
  const { stdout, stderr } = await run('show', name, '--json', '--seed', '3');
  expect(stderr).toBe('');
  const shown: ShownTask = JSON.parse(stdout);
  expect(shown.vocabulary.tokens).toHaveLength(shown.vocabulary.size);
  expect(shown.sample).toEqual(createTask(name).sample(random(3)));
});

describe('export', () => {
  it('writes what the library writes, and nothing else to the standard output', async () => {
    const { stdout, stderr } = await run('export', 'copy', '--count', '3', '--seed', '7');
    expect(stdout).toBe(lines.join(''));
    expect(stderr).toBe('');
  });

  it('takes the format from the ending, options of all kinds, and a side of a split', async () => {
    const options = [
      '--set',
      'length=4,6',
      '--set',
      'costs={"insert":1,"delete":2,"substitute":2,"unitBorder":false}',
    ];
    const args = [
      '--count',
      '300',
      '--split',
      'test',
      '--test-share',
      '0.25',
      '--split-seed',
      '9',
      '--padding',
      'left',
    ];
    const { status } = await run('export', 'edit-distance', ...options, ...args, '--out', 'a.safetensors');
    expect(status).toBe(0);
    const costs = { insert: 1, delete: 2, substitute: 2, unitBorder: false };
    const { test } = editDistance({ length: [4, 6], costs }).split({ test: 0.25, seed: 9 });
    const wanted = Buffer.concat([...writeSafetensors(test, { count: 300, padding: 'left' })]);
    expect(content('a.safetensors').equals(wanted)).toBe(true);
    expect((await run('verify', 'a.safetensors')).status).toBe(0);
  });

  it('writes into a folder, made if need be, over an old file, and through a link', async () => {
    expect((await run('export', 'lis', '--count', '2', '--out', 'new/deep/')).stdout).toMatch(
      /^new\/deep\/lis\.jsonl: /,
    );
    const wanted = [...writeJsonLines(lis(), { count: 2 })].join('');
    expect(content('new/deep/lis.jsonl').toString()).toBe(wanted);
    symlinkSync('new/deep/lis.jsonl', join(folder, 'link.jsonl'));
    await run('export', 'copy', '--count', '3', '--seed', '7', '--out', 'link.jsonl');
    expect(content('new/deep/lis.jsonl').toString()).toBe(lines.join(''));
    expect(readdirSync(join(folder, 'new/deep'))).toEqual(['lis.jsonl']);
  });
});

describe.each(['jsonl', 'safetensors'])('a %s file', (ending) => {
  const name = `mqar.${ending}`;

  it('is made again from its manifest, to the byte', async () => {
    await run('export', 'mqar', '--count', '600', '--seed', '5', '--out', name);
    const { stdout, status } = await run('verify', name);
    const { length } = content(name);
    const bytes = length.toLocaleString('en-US');
    expect(stdout).toBe(`${name}: the same ${bytes} bytes, 600 samples of mqar, seed 5\n`);
    expect(status).toBe(0);
    await run('export', '--from', name, '--out', `again.${ending}`);
    expect(content(`again.${ending}`).equals(content(name))).toBe(true);
    const { manifest } = JSON.parse((await run('verify', name, '--json')).stdout);
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest, null, 2));
    await run('export', '--from', 'manifest.json', '--out', `third.${ending}`);
    expect(content(`third.${ending}`).equals(content(name))).toBe(true);
  });

  it('is told apart from one with a changed, a missing or an added byte', async () => {
    const right = content(name);
    const places = [right.length - 2, right.length >> 1];
    for (const place of places) {
      const bad = Buffer.from(right);
      bad[place] ^= 1;
      writeFileSync(join(folder, 'bad'), bad);
      const { stdout, status } = await run('verify', 'bad', '--json');
      expect(JSON.parse(stdout)).toMatchObject({ same: false, differs: place });
      expect(status).toBe(1);
    }
    for (const bad of [right.subarray(0, -1), Buffer.concat([right, Buffer.of(10)])]) {
      writeFileSync(join(folder, 'bad'), bad);
      const { stdout, status } = await run('verify', 'bad');
      const place = Math.min(bad.length, right.length).toLocaleString('en-US');
      expect(stdout).toBe(`bad: differs at byte ${place} from what its manifest makes\n`);
      expect(status).toBe(1);
    }
  });
});
