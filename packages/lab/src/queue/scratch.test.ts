import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { lockFolder } from '@freelunch/models/files';
import { afterAll, expect, it } from 'vitest';
import { InputError } from '../errors.js';
import { openWorkerFolder, takeScratch } from './scratch.js';

const base = mkdtempSync(join(tmpdir(), 'freelunch-scratch-'));
afterAll(() => rmSync(base, { recursive: true }));
const run = 'a'.repeat(20);

it('hands what one worker has left of a piece to the next, out of reach of the first', async () => {
  const folder = join(base, 'handed');
  const first = await takeScratch(folder, run, 'n=1');
  writeFileSync(join(first.folder, 'checkpoint'), 'step 7');
  const second = await takeScratch(folder, run, 'n=1');
  expect(readFileSync(join(second.folder, 'checkpoint'), 'utf8')).toBe('step 7');
  expect(existsSync(first.folder)).toBe(false);
  // The first is alive after all, and writes again: into a folder that nobody reads while the second is at work.
  mkdirSync(first.folder);
  writeFileSync(join(first.folder, 'checkpoint'), 'step 8');
  expect(readFileSync(join(second.folder, 'checkpoint'), 'utf8')).toBe('step 7');
  await second.remove();
  expect(readdirSync(folder)).toEqual([]);
});

it('opens what a process of a machine that is gone had locked', async () => {
  const folder = join(base, 'locked');
  const first = await takeScratch(folder, run, 'n=1');
  await lockFolder(join(first.folder, 'seed-1'));
  const lock = join(first.folder, 'seed-1/.freelunch.lock');
  writeFileSync(lock, readFileSync(lock, 'utf8').replace(/"host":"[^"]*"/, '"host":"elsewhere"'));
  const second = await takeScratch(folder, run, 'n=1');
  await (
    await lockFolder(join(second.folder, 'seed-1'))
  )();
  await second.remove();
});

it('leaves nothing of one who has lost it, and all of one who has it', async () => {
  const folder = join(base, 'left');
  const first = await takeScratch(folder, run, 'n=1');
  const second = await takeScratch(folder, run, 'n=1');
  mkdirSync(first.folder); // it wrote once more
  await first.leave();
  expect([existsSync(first.folder), existsSync(second.folder)]).toEqual([false, true]);
  await second.remove();
});

it('takes the newest of several, and leaves those of other pieces', async () => {
  const folder = join(base, 'newest');
  const { folder: mine } = await takeScratch(folder, run, 'a/b: c');
  for (const [name, hour] of [
    ['old', 1],
    ['new', 3],
    ['older', 0],
  ] as const) {
    const path = mine.replace(/\.[0-9a-f]+$/, `.${name}`);
    mkdirSync(path);
    writeFileSync(join(path, 'checkpoint'), name);
    utimesSync(path, 3600 * hour, 3600 * hour);
  }
  rmSync(mine, { recursive: true });
  const other = await takeScratch(folder, run, 'a/b: d');
  const next = await takeScratch(folder, run, 'a/b: c');
  expect(readFileSync(join(next.folder, 'checkpoint'), 'utf8')).toBe('new');
  await next.remove();
  expect(readdirSync(dirname(other.folder)).map((name) => join(dirname(other.folder), name))).toEqual([
    other.folder,
  ]);
});

it('is made in folders of workers only', async () => {
  const folder = join(base, 'mine');
  mkdirSync(folder);
  writeFileSync(join(folder, 'notes.txt'), 'mine');
  await expect(openWorkerFolder(folder)).rejects.toThrow(InputError);
  await expect(openWorkerFolder(folder)).rejects.toThrow('is not a folder of freelunch worker');
  await openWorkerFolder(join(base, 'new'));
  await openWorkerFolder(join(base, 'new'));
  expect(readdirSync(join(base, 'new'))).toEqual(['.freelunch.json']);
});
