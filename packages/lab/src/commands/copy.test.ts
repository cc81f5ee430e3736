import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CopyTextConfig, CopyTextRow } from '../copy-text/config.js';
import { freelunch, workFolder } from '../testing/cli.js';

interface CopyJson {
  config: CopyTextConfig;
  rows: CopyTextRow[];
}

const { folder, file } = workFolder();
const run = (...args: string[]) => freelunch(args);
const text = file('text.txt', 'the cat sat on the mat, and the rat on the cat. '.repeat(3));
const quick = ['--lengths', '16,40', '--states', '8,40', '--draws', '3'];

describe('bad input', () => {
  file('empty.txt', '');
  file('binary.bin', Uint8Array.of(1, 0, 2));
  file('latin1.txt', Uint8Array.of(0x63, 0x61, 0x66, 0xe9));
  file('long.txt', new Uint8Array(16 * 2 ** 20 + 1).fill(97));
  file('many.txt', Array.from({ length: 4097 }, (_, i) => String.fromCodePoint(0x4e00 + i)).join(''));
  mkdirSync('directory');

  it.each([
    [['copy', 'missing.txt'], 'freelunch copy: missing.txt does not exist'],
    [['copy', 'directory'], 'freelunch copy: directory: must be a file, got a folder'],
    [['copy', '/dev/null'], 'freelunch copy: /dev/null: must be a file, got a pipe, socket or device'],
    [['copy', 'empty.txt'], 'freelunch copy: empty.txt is empty'],
    [['copy', 'binary.bin'], 'freelunch copy: binary.bin is binary (it has zero bytes); use --tokens bytes'],
    [['copy', 'latin1.txt'], 'freelunch copy: latin1.txt is not UTF-8 text; use --tokens bytes'],
    [['copy', 'long.txt'], 'freelunch copy: long.txt has 16777217 bytes; files of up to 16777216'],
    [['copy', 'many.txt'], 'freelunch copy: many.txt has 4097 different characters; up to 4096'],
    [['copy', text, text], 'freelunch copy: takes one file, got 2: text.txt text.txt'],
    [['copy', ''], 'freelunch copy: the name of the file is empty'],
    [
      ['copy', text, '--states', '0'],
      "freelunch copy: --states must be whole numbers from 1 to 4096 with commas between them, got '0'",
    ],
    [
      ['copy', text, '--states', 'NaN'],
      "freelunch copy: --states must be whole numbers from 1 to 4096 with commas between them, got 'NaN'",
    ],
    [
      ['copy', text, '--states', '16,'],
      "freelunch copy: --states must be whole numbers from 1 to 4096 with commas between them, got '16,'",
    ],
    [['copy', text, '--states', '5000'], 'freelunch copy: --states must be whole numbers from 1 to 4096'],
    [['copy', text, '--lengths', '1.5'], 'freelunch copy: --lengths must be whole numbers from 1 to 4096'],
    [
      ['copy', text, '--lengths', '145'],
      'freelunch copy: --lengths must be at most the 144 characters of text.txt, got 145',
    ],
    [
      ['copy', text, '--value-size', '0'],
      "freelunch copy: --value-size must be a whole number from 1 to 256, got '0'",
    ],
    [
      ['copy', text, '--value-size', '3'],
      'freelunch copy: --value-size must be 4 or more for the 14 different characters',
    ],
    [
      ['copy', text, '--draws', '0'],
      "freelunch copy: --draws must be a whole number from 1 to 10000, got '0'",
    ],
    [
      ['copy', text, '--seed=-1'],
      "freelunch copy: --seed must be a whole number from 0 to 9007199254740991, got '-1'",
    ],
    [
      ['copy', text, '--seed', '1e999'],
      "freelunch copy: --seed must be a whole number from 0 to 9007199254740991, got '1e999'",
    ],
    [
      ['copy', text, '--tokens', 'words'],
      "freelunch copy: --tokens must be one of characters, bytes, got 'words'",
    ],
    [
      ['copy', text, '--stats', '3'],
      "freelunch copy: unknown option '--stats', did you mean '--states'?; see freelunch copy --help",
    ],
    [['copy', text, '--states'], 'freelunch copy: --states needs a value; see freelunch copy --help'],
    [['copy', text, '--out', ''], 'freelunch copy: --out must name a folder, got an empty name'],
    [['copy', text, '--out', text], 'freelunch copy: --out must be a folder, but'],
    [
      ['copy', text, '--out', `${text}/below`],
      'freelunch copy: --out must be a folder: a part of text.txt/below is a file',
    ],
    [['paste'], "freelunch: unknown command 'paste'; the commands are story, copy"],
    [['toString'], "freelunch: unknown command 'toString'; the commands are"],
  ])('%j: one line, exit code 2', async (args, message) => {
    const { status, stdout, stderr } = await run(...args);
    expect(stderr).toMatch(/^[^\n]+\n$/);
    expect(stderr).toContain(message);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });
});

it('explains itself', async () => {
  for (const args of [[], ['--help'], ['-h'], ['help']]) {
    const { status, stdout } = await run(...args);
    expect(stdout).toContain('freelunch copy [FILE]');
    expect(status).toBe(0);
  }
  expect((await run('copy', '--help')).stdout).toContain('--value-size N');
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  expect((await run('--version')).stdout).toBe(`${version}\n`);
});

it('takes whatever bytes there are with --tokens bytes', async () => {
  file(
    'any.bin',
    Uint8Array.from({ length: 90 }, (_, i) => (i * 37) & 255),
  );
  const { status, stdout } = await run(
    'copy',
    'any.bin',
    '--tokens',
    'bytes',
    '--lengths',
    '50',
    '--states',
    '50',
    '--json',
  );
  expect(status).toBe(0);
  const { config, rows }: CopyJson = JSON.parse(stdout);
  expect(config.kind).toBe('bytes');
  expect(rows.find(({ mixer }) => mixer === 'registerFile')!.accuracy).toBe(1);
});

it('shortens its own lengths, not the given ones, to the file', async () => {
  const { stdout } = await run('copy', text, '--states', '8', '--draws', '1', '--json');
  expect((JSON.parse(stdout) as CopyJson).config.lengths).toEqual([64, 144]);
});

it('writes nothing but JSON with --json, with every promised field, and the same for the same seed', async () => {
  const first = await run('copy', text, ...quick, '--json', '--seed', '7');
  expect(first.stderr).toBe('');
  expect(first.status).toBe(0);
  const { config, rows }: CopyJson = JSON.parse(first.stdout);
  expect(Object.keys(JSON.parse(first.stdout))).toEqual(['experiment', 'config', 'rows', 'findings']);
  expect(config).toMatchObject({ name: text, textLength: 144, seed: 7, draws: 3, dValue: 16 });
  expect(rows).toHaveLength(2 * (2 * 4 + 1));
  for (const row of rows) {
    expect(Object.keys(row)).toEqual(
      (
        'mixer construction length state draws accuracy standardError predicted floats flops welch coherence ' +
        'informationBits stateBits remembered'
      ).split(' '),
    );
    expect(row.remembered).toHaveLength(row.length);
    expect(row.accuracy).toBeGreaterThanOrEqual(0);
    expect(row.accuracy).toBeLessThanOrEqual(1);
  }
  expect((await run('copy', text, ...quick, '--json', '--seed', '7')).stdout).toBe(first.stdout);
  expect((await run('copy', text, ...quick, '--json', '--seed', '8')).stdout).not.toBe(first.stdout);
});

it('writes a page that loads nothing, and the data, with --out', async () => {
  const { status, stdout } = await run('copy', text, ...quick, '--out', 'deep/report');
  expect(status).toBe(0);
  expect(stdout).toContain('deep/report/index.html');
  const out = join(folder, 'deep/report');
  expect(readdirSync(out).sort()).toEqual(['.freelunch.json', 'copy.csv', 'copy.json', 'index.html']);
  const report: CopyJson = JSON.parse(readFileSync(join(out, 'copy.json'), 'utf8'));
  const lines = readFileSync(join(out, 'copy.csv'), 'utf8').trim().split('\n');
  expect(lines).toHaveLength(1 + report.rows.length);
  expect(new Set(lines.map((line) => line.split(',').length))).toEqual(new Set([14]));
  const page = readFileSync(join(out, 'index.html'), 'utf8');
  expect(page).toMatch(/<\/html>\n$/);
  expect(page).not.toMatch(/https?:|src=|@import|url\(|<script/);
  expect(page).toContain('freelunch copy text.txt --lengths 16,40 --states 8,40 --tokens characters');
  expect((await run('copy', text, ...quick, '--out', 'deep/report')).status).toBe(0); // again, over its own
});

it('marks wrong symbols below the line where there is no colour, and uses no escape codes', async () => {
  const { stdout } = await run('copy', text, ...quick);
  expect(stdout).not.toContain('\x1b');
  expect(stdout).toMatch(/^ +\^[ ^]*$/m);
});
