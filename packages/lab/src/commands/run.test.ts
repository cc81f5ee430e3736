import { mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { freelunch, workFolder } from '../testing/cli.js';

const { folder, file } = workFolder();
const tiny = ['--set', 'lengths=16', '--set', 'ratios=1', '--set', 'tokensRead=64', '--workers', '1'];
const run = (line: string, ...more: string[]) => freelunch([...line.split(' '), ...more], { columns: 60 });
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const sweep = (grid: object, more: object = {}) =>
  JSON.stringify({
    experiment: 'copy-capacity',
    set: { lengths: [16], ratios: [1], tokensRead: 64 },
    grid,
    ...more,
  });

beforeAll(async () => {
  expect((await freelunch(['run', 'copy-capacity', ...tiny])).status).toBe(0);
}, 120_000);

it.each([
  ['run', 'takes one experiment, got none'],
  ['run toString', "unknown experiment 'toString'; the experiments are copy-capacity"],
  ['run copy-capcity', "did you mean 'copy-capacity'?"],
  ['run copy-capacity --set draws=3', "copy-capacity has no field 'draws'; there are: lengths"],
  ['run copy-capacity --set lengths=a', "copy-capacity: lengths[0] must be a number, got 'a'"],
  ['run copy-capacity --set lengths=0', 'lengths[0] must be a whole number from 1 to 16777216, got 0'],
  ['run copy-capacity --set lengths=1', 'lengths must be a whole number from 2 to 4096, got 1'],
  ['run copy-capacity --set seed=1.5', 'seed must be a whole number from 0'],
  ['run learn-mqar --set pairs=200000000', 'pairs[0] must be a whole number from 1 to 4096, got 200000000'],
  ['run learn-copy --set training.steps=1e15', 'training.steps must be a whole number from 1 to 100000000'],
  ['run dp-exact --set tasks=lis:100000000', 'a size up to 1000'],
  ['run copy-capacity --preset huge', "the preset of copy-capacity must be quick or full, got 'huge'"],
  ['run copy-capacity --workers 0', '--workers must be a whole number from 1'],
  ['run copy-capacity --config none.json', 'none.json does not exist'],
  ['run copy-capacity --config list.json', 'list.json must hold an object, got [1]'],
  ['run copy-capacity --config torn.json', 'torn.json is not JSON'],
  ['report nowhere', 'nowhere does not exist'],
  ['report torn.json', 'torn.json is not a folder'],
  ['report empty', 'there is no finished experiment in empty'],
  ['sweep', 'takes one file, got none'],
  ['sweep list.json', 'list.json: the whole must be an object, got [1]'],
  ['sweep field.json', "copy-capacity has no field 'draws'"],
  ['sweep twice.json', 'twice.json: grid.dValue has 8 twice'],
  ['sweep large.json', 'large.json: grid must have at most 10000 points, got 9000000'],
  ['sweep long.json', 'long.json: grid.seed must be a list of 1 to 1000 values'],
  ['sweep none.json', 'none.json does not exist'],
])('freelunch %s: one line, exit code 2', async (line, message) => {
  file('list.json', '[1]');
  file('torn.json', '{"a');
  file('field.json', sweep({ draws: [1] }));
  file('twice.json', sweep({ dValue: [8, 8] }));
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
  file('large.json', sweep({ dValue: numbers(30), vocabSize: numbers(300), seed: numbers(1000) }));
  file('long.json', sweep({ seed: numbers(1001) }));
  mkdirSync('empty', { recursive: true });
  const { status, stdout, stderr } = await run(line);
  expect(stderr).toContain(message);
  expect(stderr).toMatch(/^[^\n]+\n$/);
  expect([stdout, status]).toEqual(['', 2]);
});

it('lists the experiments, and the fields of one', async () => {
  expect((await run('run --help')).stdout).toMatch(/^ {2}learn-mqar /m);
  expect((await run('run learn-mqar --help')).stdout).toContain('"pairs": [ 1, 2, 4, 8 ],');
});

describe('report', () => {
  it('has what was run, and says what was not', async () => {
    const { stdout } = await run('report');
    expect(stdout).toContain('C5 not run: freelunch run copy-cost --preset full');
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(60);
    const page = read('freelunch-out/report.html');
    expect(page).toContain(
      'freelunch run copy-capacity --preset quick --set lengths=16 --set ratios=1 --set tokensRead=64',
    );
    expect(page).toMatch(/<svg viewBox.*<\/html>\n$/s);
    expect(page).not.toMatch(/https?:|src=|@import|url\(/);
    expect((await run('report')).status).toBe(0); // again, over its own
  });

  it('leaves a page alone that is not its own', async () => {
    file('mine.html', '<!doctype html><title>mine</title>');
    const { status, stderr } = await run('report --out mine.html');
    expect(status).toBe(2);
    expect(stderr).toContain('mine.html exists and was not written by this command');
    expect(read('mine.html')).toBe('<!doctype html><title>mine</title>');
  });

  it.each([
    ['[]', 'the whole must be an object, got []'],
    ['{"name":"copy-capacity"}', 'summary must be text, got undefined'],
    [
      '{"name":"a\\u001b[2J","summary":"","command":"","machine":"","findings":1}',
      'findings must be an object',
    ],
    ['{"name":', 'is not JSON'],
    ['', 'is not JSON'],
  ])('refuses %s for the findings of somebody in one line', async (content, message) => {
    mkdirSync('theirs', { recursive: true });
    file('theirs/config.json', '{"experiment":"\\u001b[31m"}');
    file('theirs/findings.json', content);
    const { status, stderr } = await run('report theirs');
    expect(stderr).toContain('theirs/findings.json');
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/^[ -~]+\n$/);
    expect(status).toBe(2);
  });
});

describe('a folder with files of somebody', () => {
  const mine = { 'findings.json': '{"mine":1}', 'config.json': '{"mine":2}', 'rows.jsonl': 'mine' };

  it.each([
    'run copy-capacity',
    'run copy-capacity --restart',
    'sweep grid.json',
    'sweep grid.json --restart',
    'story --restart',
    'copy text.txt',
    'compare gpt2 mamba-130m',
    'measure',
  ])('is refused by freelunch %s, which changes nothing in it', async (line) => {
    file('grid.json', sweep({ seed: [1] }));
    file('text.txt', 'some text');
    mkdirSync('mine/scratch', { recursive: true });
    for (const [name, content] of Object.entries({ ...mine, 'scratch/notes.txt': 'notes' }))
      file(`mine/${name}`, content);
    const { status, stderr } = await run(`${line} --out mine`);
    expect(stderr).toMatch(
      /: mine is not a folder of freelunch \w+ \(it has no \.freelunch\.json, but 'config\.json'/,
    );
    expect(status).toBe(2);
    expect(readdirSync('mine').sort()).toEqual([...Object.keys(mine), 'scratch'].sort());
    for (const [name, content] of Object.entries(mine)) expect(read(`mine/${name}`)).toBe(content);
    expect(read('mine/scratch/notes.txt')).toBe('notes');
  });

  it('is left alone where it lies in a folder of a run: only files of its own go', async () => {
    await run('run copy-capacity --out both', ...tiny);
    mkdirSync('both/scratch');
    file('both/scratch/notes.txt', 'notes');
    expect((await run('run copy-capacity --out both --restart', ...tiny)).status).toBe(0);
    expect(read('both/scratch/notes.txt')).toBe('notes');
  });

  it('is not reached through a link', async () => {
    file('target.txt', 'mine');
    await run('run copy-capacity --out linked', ...tiny);
    symlinkSync('../target.txt', 'linked/rows.csv');
    const { status, stderr } = await run('run copy-capacity --out linked', ...tiny);
    expect([status, stderr]).toEqual([
      2,
      'freelunch run: linked/rows.csv is a link; only files within the folder are written\n',
    ]);
    expect(read('target.txt')).toBe('mine');
  });

  it('is told from one of another command', async () => {
    const { stderr } = await run('copy text.txt --out freelunch-out/copy-capacity');
    expect(stderr).toContain(
      'freelunch-out/copy-capacity holds what freelunch run wrote; choose another folder',
    );
  });
});

describe('sweep', () => {
  it('runs a grid, continues it, and is named in the report', async () => {
    file('grid.json', sweep({ dValue: [8, 16], seed: [1, 2] }));
    const swept = await run('sweep grid.json --workers 1');
    expect(swept.stderr).toBe('');
    const table = read('freelunch-out/sweeps/grid/rows.csv').trim().split('\n');
    expect(table[0]).toMatch(/^dValue,seed,mixer,length,width/);
    expect(table.slice(1).map((line) => line.split(',').slice(0, 3).join())).toEqual(
      ['8,1', '8,2', '16,1', '16,2'].flatMap((at) => [`${at},linearAttention`, `${at},selectiveScan`]),
    );
    const again = await run('sweep grid.json --json');
    expect(JSON.parse(again.stdout).points).toHaveLength(4);
    expect((await run('report')).stdout.replace(/\n {2}/g, ' ')).toContain(
      'Left out, a sweep: freelunch-out/sweeps/grid (its rows.csv has all rows)',
    );
  });
});
