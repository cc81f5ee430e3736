import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { writeFiles } from './write.js';

const folder = mkdtempSync(join(tmpdir(), 'freelunch-output-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('writes all files, over old ones, and no others', async () => {
  const out = join(folder, 'a/b');
  await writeFiles(out, { x: 'old' });
  await writeFiles(out, { x: 'new', y: 'too' });
  expect(readdirSync(out).sort()).toEqual(['x', 'y']);
  expect(readFileSync(join(out, 'x'), 'utf8')).toBe('new');
});

it('writes nothing if it is stopped', async () => {
  const out = join(folder, 'stopped');
  await expect(writeFiles(out, { x: '1' }, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
  const stop = new AbortController();
  const writing = writeFiles(out, { x: 'x'.repeat(2 ** 22), y: 'y' }, stop.signal);
  stop.abort();
  await expect(writing).rejects.toThrow();
  expect(readdirSync(out)).toEqual([]);
});

it('leaves an old file as it was if a later one cannot be written', async () => {
  const out = join(folder, 'half');
  mkdirSync(out);
  writeFileSync(join(out, 'x'), 'old');
  mkdirSync(join(out, 'y')); // in the way of the second file
  await expect(writeFiles(out, { x: 'new', y: 'new' })).rejects.toThrow();
  expect(readFileSync(join(out, 'x'), 'utf8')).toBe('old');
  expect(readdirSync(out)).toEqual(['x', 'y']);
});
