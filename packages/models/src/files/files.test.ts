import { execFile, execFileSync, spawn } from 'node:child_process';
import {
  chmod,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ArgumentError, FileError } from '@freelunch/errors';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LOCK, lockFolder, makeFolder, openFile, PARTIAL, stageFile, writeDurably } from './index.js';

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'freelunch-files-'))));
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A process that has ended: its number is free. */
const gone = async (): Promise<number> => {
  const child = spawn(process.execPath, ['-e', '']);
  await new Promise((resolve) => void child.on('close', resolve));
  return child.pid!;
};

describe('writeDurably', () => {
  it('writes text, bytes and pieces of them, and leaves nothing else in the folder', async () => {
    const path = join(folder, 'file');
    async function* later() {
      yield 'a';
      yield Uint8Array.of(98);
    }
    for (const data of ['ab', Uint8Array.of(97, 98), ['a', Uint8Array.of(98)], later()]) {
      await writeDurably(path, data);
      expect(await readFile(path, 'utf8')).toBe('ab');
      expect(await readdir(folder)).toEqual(['file']);
      await rm(path);
    }
  });

  it('flushes the new file before it takes the name, and the folder after', async () => {
    const path = join(folder, 'file');
    await writeFile(path, 'old');
    const handle = await open(path);
    const seen: string[] = [];
    const prototype = Object.getPrototypeOf(handle) as typeof handle;
    await handle.close();
    const { sync } = prototype;
    using _spy = vi.spyOn(prototype, 'sync').mockImplementation(async function (this: typeof handle) {
      const kind = (await this.stat()).isDirectory() ? 'folder' : 'file';
      seen.push(`${kind} flushed while the name has ${await readFile(path, 'utf8')}`);
      await sync.call(this);
    });
    await writeDurably(path, 'new');
    expect(seen).toEqual(['file flushed while the name has old', 'folder flushed while the name has new']);
  });

  it.each(['abort', 'throw'] as const)('leaves the old file where the pieces %s', async (how) => {
    const path = join(folder, 'file');
    await writeFile(path, 'old');
    const stop = new AbortController();
    function* data() {
      yield 'new';
      if (how === 'throw') throw new Error('enough');
      stop.abort(new Error('enough'));
      yield 'more';
    }
    await expect(writeDurably(path, data(), { signal: stop.signal })).rejects.toThrow('enough');
    expect(await readdir(folder)).toEqual(['file']);
    expect(await readFile(path, 'utf8')).toBe('old');
  });

  it('follows links and keeps permissions', async () => {
    const path = join(folder, 'file');
    await writeFile(path, 'old');
    await chmod(path, 0o606);
    await symlink(path, join(folder, 'link'));
    await writeDurably(join(folder, 'link'), 'new');
    expect(await readFile(path, 'utf8')).toBe('new');
    expect((await stat(path)).mode & 0o777).toBe(0o606);
  });

  it('takes names as long as the file system does', async () => {
    const path = join(folder, 'ü'.repeat(127));
    await writeDurably(path, 'x');
    expect(await readFile(path, 'utf8')).toBe('x');
  });

  it('can be called many times at once for one file', async () => {
    const path = join(folder, 'file');
    const texts = Array.from({ length: 20 }, (_, i) => String(i).repeat(1000));
    await Promise.all(texts.map((text) => writeDurably(path, text)));
    expect(texts).toContain(await readFile(path, 'utf8'));
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('refuses folders, pipes and devices before it writes, and waits for none', async () => {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    await mkdir(join(folder, 'inner'));
    for (const path of [join(folder, 'pipe'), join(folder, 'inner'), '/dev/null']) {
      await expect(writeDurably(path, 'x')).rejects.toThrow(FileError);
      await expect(writeDurably(path, 'x')).rejects.toThrow(/must be a file, got a (folder|pipe)/);
    }
    expect((await readdir(folder)).sort()).toEqual(['inner', 'pipe']);
  });

  it('gives a FileError with its code where the file system refuses', async () => {
    const error = await writeDurably(join(folder, 'none', 'file'), 'x').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(FileError);
    expect((error as FileError).code).toBe('ENOENT');
    await expect(writeDurably(join(folder, 'a'.repeat(300)), 'x')).rejects.toThrow(/ENAMETOOLONG/);
  });

  it.each([[null], [7], [''], ['a\0b'], [undefined]])('refuses %j for a path', async (path) => {
    await expect(writeDurably(path as string, 'x')).rejects.toThrow(ArgumentError);
  });

  it.each([[null], [7], [{}], [undefined]])('refuses %j for data', async (data) => {
    await expect(writeDurably(join(folder, 'x'), data as never)).rejects.toThrow(ArgumentError);
  });

  it('stages files that get their names together', async () => {
    const paths = ['a', 'b'].map((name) => join(folder, name));
    const [a, b] = await Promise.all(paths.map((path) => stageFile(path, 'new')));
    expect((await readdir(folder)).every((name) => PARTIAL.test(name))).toBe(true);
    await a.commit();
    await a.discard();
    await b.discard();
    await b.discard();
    expect(await readdir(folder)).toEqual(['a']);
  });
});

describe('makeFolder', () => {
  it('makes all levels, once', async () => {
    const deep = join(folder, 'a', 'b', 'c');
    await Promise.all([makeFolder(deep), makeFolder(deep)]);
    await makeFolder(deep);
    expect((await stat(deep)).isDirectory()).toBe(true);
  });

  it.each(['/proc/none/inner', '/dev/null', '/dev/null/inner', '/proc/1/task/none'])(
    'ends with a FileError at %s',
    async (path) => {
      await expect(makeFolder(path)).rejects.toThrow(FileError);
    },
  );
});

describe('openFile', () => {
  it('refuses what is no file without waiting for it', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const path of [pipe, folder, '/dev/zero', join(folder, 'none')])
      await expect(openFile(path)).rejects.toThrow(FileError);
  });
});

describe('lockFolder', () => {
  it('gives a folder to one at a time, and makes it if need be', async () => {
    const inner = join(folder, 'inner');
    const release = await lockFolder(inner);
    await expect(lockFolder(inner)).rejects.toThrow(
      new RegExp(`inner: in use by process ${process.pid} since .*remove .*${LOCK}`),
    );
    await expect(lockFolder(inner)).rejects.toThrow(FileError);
    await release();
    await release();
    expect(await readdir(inner)).toEqual([]);
    await (
      await lockFolder(inner)
    )();
  });

  it('gives a folder to one of many that ask at once', async () => {
    await writeFile(
      join(folder, LOCK),
      JSON.stringify({ pid: await gone(), host: hostname(), since: '', token: '' }),
    );
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(folder)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it.each([
    ['a process that is gone', async () => ({ pid: await gone(), host: hostname() })],
    [
      'a process whose number another one has now',
      async () => ({ pid: process.pid, host: hostname(), started: '1' }),
    ],
  ])('takes over the lock of %s', async (_title, owner) => {
    await writeFile(join(folder, LOCK), JSON.stringify({ since: 'then', token: 'x', ...(await owner()) }));
    const release = await lockFolder(folder);
    await expect(lockFolder(folder)).rejects.toThrow(`process ${process.pid}`);
    await release();
    expect(await readdir(folder)).toEqual([]);
  });

  it.each(['', '{"pid":', 'null', '7'])(
    'takes over a lock that holds %j, once it is old',
    async (content) => {
      const path = join(folder, LOCK);
      await writeFile(path, content);
      const file = await open(path);
      await file.utimes(new Date(Date.now() - 60_000), new Date(Date.now() - 60_000));
      await file.close();
      await (
        await lockFolder(folder)
      )();
    },
  );

  it('refuses the lock of another machine, and names it', async () => {
    const owner = { pid: 1, host: 'elsewhere', since: 'then', token: 'x' };
    await writeFile(join(folder, LOCK), JSON.stringify(owner));
    await expect(lockFolder(folder)).rejects.toThrow(/in use by process 1 on elsewhere since then/);
  });

  it('does not remove the lock of another', async () => {
    const release = await lockFolder(folder);
    await writeFile(join(folder, LOCK), 'of another');
    await release();
    expect(await readFile(join(folder, LOCK), 'utf8')).toBe('of another');
  });

  it('is not held up by a pipe in its place', async () => {
    execFileSync('mkfifo', [join(folder, LOCK)]);
    await expect(lockFolder(folder)).rejects.toThrow(FileError);
  });

  it('is free again once its process was killed', async () => {
    const module = new URL('../../dist/files/index.js', import.meta.url).href;
    const script = `import(${JSON.stringify(module)}).then(async ({ lockFolder }) => {
      await lockFolder(${JSON.stringify(folder)});
      process.kill(process.pid, 'SIGKILL');
    })`;
    await expect(promisify(execFile)(process.execPath, ['-e', script])).rejects.toThrow();
    expect(await readdir(folder)).toEqual([LOCK]);
    await (
      await lockFolder(folder)
    )();
  });
});
