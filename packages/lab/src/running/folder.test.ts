import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileError } from '@freelunch/errors';
import { lockFolder } from '@freelunch/models/files';
import { afterAll, describe, expect, it } from 'vitest';
import { InputError } from '../errors.js';
import { openRunFolder } from './folder.js';

const base = mkdtempSync(join(tmpdir(), 'freelunch-folder-'));
afterAll(() => rmSync(base, { recursive: true }));
let count = 0;
const fresh = () => join(base, String(count++));

const description = { experiment: 'squares', config: { count: 3 } };
const keys = ['a', 'b', 'c'];
const rows = { a: [{ x: 1 }], b: [{ x: 2 }, { x: 3 }], c: [] };
const whole = '{"piece":"a","rows":1,"x":1}\n{"piece":"b","rows":2,"x":2}\n{"piece":"b","rows":2,"x":3}\n';

const open = (folder: string, restart = false, what = description) =>
  openRunFolder(folder, 'run', what, keys, restart);

/** A folder with the rows of two of three pieces. */
async function half(): Promise<string> {
  const folder = fresh();
  const run = await open(folder);
  for (const key of ['a', 'b'] as const) run.rows.append(key, rows[key]);
  await run.close();
  expect(read(folder, 'rows.jsonl')).toBe(whole);
  return folder;
}

const read = (folder: string, name: string) => readFileSync(join(folder, name), 'utf8');
const write = (folder: string, name: string, content: string) => writeFileSync(join(folder, name), content);

async function complete(folder: string): Promise<string[]> {
  const run = await open(folder);
  await run.close();
  return [...run.rows.complete.keys()];
}

it('goes on with what is complete', async () => {
  expect(await complete(await half())).toEqual(['a', 'b']);
});

describe('rows.jsonl', () => {
  it.each([
    ['nothing more', '', ['a', 'b']],
    ['half a line', '{"piece":"c","ro', ['a', 'b']],
    ['zeros in place of a line', '\0\0\0\0', ['a', 'b']],
    ['a line whose start the disk has lost', '\0\0\0\0ows":0}\n', ['a', 'b']],
    ['one of two rows', '{"piece":"c","rows":2}\n', ['a', 'b']],
    ['a piece without rows', '{"piece":"c","rows":0}\n', ['a', 'b', 'c']],
  ])('with %s at its end', async (_, end, wanted) => {
    const folder = await half();
    appendFileSync(join(folder, 'rows.jsonl'), end);
    expect(await complete(folder)).toEqual(wanted);
    expect(read(folder, 'rows.jsonl').startsWith(whole)).toBe(true);
  });

  it.each([
    ['{"piece":"a","ro\n', 'line 1 is not a row'],
    ['\0\0\0\n', 'line 1 is not a row'],
    ['{"piece":"a","rows":-1}\n', 'line 1 is not a row'],
    ['{"piece":1,"rows":1}\n', 'line 1 is not a row'],
    ['[]\n', 'line 1 is not a row'],
    ['{"piece":"\\u001b[2J","rows":0}\n', "line 1: '\\u001b[2J' is not a piece"],
  ])('with %j before good rows is refused by its line', async (start, message) => {
    const folder = await half();
    write(folder, 'rows.jsonl', start + whole);
    await expect(open(folder)).rejects.toThrow(InputError);
    await expect(open(folder)).rejects.toThrow(message);
    expect(read(folder, 'rows.jsonl')).toBe(start + whole);
  });
});

describe('config.json', () => {
  it.each(['', '{"experiment":"squ', 'null', '\0\0\0', undefined])(
    'that holds %j is written again if the marker knows the configuration',
    async (content) => {
      const folder = await half();
      const right = read(folder, 'config.json');
      if (content === undefined) rmSync(join(folder, 'config.json'));
      else write(folder, 'config.json', content);
      expect(await complete(folder)).toEqual(['a', 'b']);
      expect(read(folder, 'config.json')).toBe(right);
    },
  );

  it('that is damaged is explained if the rows may be of another configuration', async () => {
    const folder = await half();
    write(folder, 'config.json', '{"experi');
    const other = { ...description, config: { count: 4 } };
    await expect(open(folder, false, other)).rejects.toThrow(
      /config\.json is missing or damaged, so the rows beside it may be of another configuration; --restart/,
    );
    const again = await open(folder, true, other);
    await again.close();
    expect([...again.rows.complete]).toEqual([]);
  });
});

describe('whose a folder is', () => {
  it('one of before the marker goes on if it is the same run to the letter, and keeps its scratch', async () => {
    const folder = await half();
    rmSync(join(folder, '.freelunch.json'));
    mkdirSync(join(folder, 'scratch'));
    write(folder, 'scratch/mine', 'mine');
    expect(await complete(folder)).toEqual(['a', 'b']);
    expect(existsSync(join(folder, '.freelunch.json'))).toBe(true);
    expect(read(folder, 'scratch/mine')).toBe('mine');
  });

  it.each([
    ['another configuration', 'config.json', '{"experiment":"squares","config":{"count":4}}'],
    ['another file', 'notes.txt', 'mine'],
  ])('one without a marker and with %s is left alone, with --restart too', async (_, name, content) => {
    const folder = await half();
    rmSync(join(folder, '.freelunch.json'));
    write(folder, name, content);
    for (const restart of [false, true])
      await expect(open(folder, restart)).rejects.toThrow(/is not a folder of freelunch run/);
    expect(read(folder, 'rows.jsonl')).toBe(whole);
    expect(read(folder, name)).toBe(content);
  });

  it.each(['', '{}', '{"freelunch":"rm","version":1}', '{"freelunch":"run","version":2}'])(
    'a marker that says %j is none',
    async (content) => {
      const folder = await half();
      write(folder, '.freelunch.json', content);
      await expect(open(folder)).rejects.toThrow(InputError);
      await expect(open(folder, true)).rejects.toThrow(/\.freelunch\.json/);
      expect(read(folder, 'rows.jsonl')).toBe(whole);
    },
  );

  it('two runs do not share one', async () => {
    const folder = await half();
    const first = await open(folder);
    await expect(open(folder)).rejects.toThrow(FileError);
    await expect(open(folder, true)).rejects.toThrow(new RegExp(`in use by process ${process.pid} since`));
    first.rows.append('c', []);
    await first.close();
    expect(await complete(folder)).toEqual(keys);
    const release = await lockFolder(folder); // given back each time
    await release();
  });

  it('two runs that begin at once in a new one do not share it', async () => {
    const folder = fresh();
    const begun = await Promise.allSettled([open(folder), open(folder), open(folder)]);
    const [one, ...more] = begun.filter((run) => run.status === 'fulfilled');
    expect(more).toEqual([]);
    await one.value.close();
  });
});

it.skipIf(process.platform === 'win32')('is not held up by pipes and devices in place of files', async () => {
  for (const name of ['rows.jsonl', 'config.json', '.freelunch.json']) {
    const folder = await half();
    rmSync(join(folder, name));
    spawnSync('mkfifo', [join(folder, name)]);
    await expect(open(folder)).rejects.toThrow(/must be a file, got a pipe/);
  }
  await expect(open('/proc/none')).rejects.toThrow(/\/proc\/none/);
  await expect(open('/dev/null')).rejects.toThrow(/must be a folder/);
});
