import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ArgumentError } from '@freelunch/errors';
import { expect, it } from 'vitest';
import { serve } from '../../tests/server.js';
import { type ByteSource, readAll } from './byte-source.js';
import { type FolderSource, openFolder } from './folder.js';

it('names its file where the source is one, and finds it and what lies beside it', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'freelunch-folder-'));
  await writeFile(join(directory, 'a b.gguf'), 'model');
  await writeFile(join(directory, 'tokenizer.json'), 'tokens');
  const paths: Record<string, string> = { 'a%20b.gguf': 'model', 'tokenizer.json': 'tokens' };
  using server = await serve((path, response) => response.end(paths[path.replace(/^.*\//, '')]));
  const path = join(directory, 'a b.gguf');
  const sources: FolderSource[] = [
    path,
    pathToFileURL(path),
    `${server.url}/deep/a%20b.gguf`,
    new URL(`${server.url}/a b.gguf`),
    'hf:owner/name/a b.gguf',
    'hf:owner/name@v1/deep/a b.gguf',
  ];
  for (const source of sources) {
    const folder = openFolder('f', source, { endpoint: server.url });
    expect(folder.file).toBe('a b.gguf');
    for (const [name, text] of [
      [folder.file!, 'model'],
      ['tokenizer.json', 'tokens'],
    ]) {
      // prettier-ignore
      const file = (await folder.open(name)) as ByteSource;
      expect(new TextDecoder().decode(await readAll(file, 100))).toBe(text);
      await file.close();
    }
  }
  expect(server.asked.map((asked) => asked.path)).toEqual([
    'deep/a%20b.gguf', 'deep/tokenizer.json', 'a%20b.gguf', 'tokenizer.json',
    'owner/name/resolve/main/a%20b.gguf', 'owner/name/resolve/main/tokenizer.json',
    'owner/name/resolve/v1/deep/a%20b.gguf', 'owner/name/resolve/v1/deep/tokenizer.json',
  ]); // prettier-ignore
  expect(openFolder('f', [new File(['model'], 'x.GGUF')]).file).toBe('x.GGUF');
  expect(openFolder('f', [new File([''], 'x.gguf'), new File([''], 'y')]).file).toBeUndefined();
  expect(openFolder('f', directory).file).toBeUndefined();
  expect(openFolder('f', 'hf:owner/name').file).toBeUndefined();
  await rm(directory, { recursive: true });
});

it.each(['file://[', 'http://[', 'ftp://host/x', 'https://user@host/'])('%s is refused', async (source) => {
  await expect(async () => openFolder('f', source).open('x')).rejects.toThrow(ArgumentError);
});
