import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it, vi } from 'vitest';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const folder = at('build/readme/');
const names = (await readdir(at('../packages'))).map((name) => `packages/${name}/README.md`);

/** The TypeScript blocks of a README. What they print is checked against the comments `// -> text` beside it. */
async function examples(file: string): Promise<string[]> {
  const text = await readFile(at(`../${file}`), 'utf8');
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match) => match[1]);
}

afterAll(() => rm(folder, { recursive: true, force: true }));

const readmes = await Promise.all(
  ['README.md', ...names].map(async (file) => [file, await examples(file)] as const),
);

describe.each(readmes.filter(([, blocks]) => blocks.length > 0))('%s', (file, blocks) => {
  it.each(blocks.map((code, i) => [i + 1, code] as const))(
    'has an example %i that runs and prints what it says',
    async (i, code) => {
      await mkdir(folder, { recursive: true });
      const path = `${folder}${file.replaceAll('/', '-')}-${i}.ts`;
      await writeFile(path, code);
      const printed: string[] = [];
      const log = vi
        .spyOn(console, 'log')
        .mockImplementation((...values) => void printed.push(values.join(' ')));
      try {
        await import(/* @vite-ignore */ pathToFileURL(path).href);
      } finally {
        log.mockRestore();
      }
      const promised = [...code.matchAll(/\/\/ -> (.*)$/gm)].map((match) => match[1].trim());
      expect(printed).toEqual(promised);
    },
  );
});

it('has an example in the first README', async () => {
  expect((await examples('README.md')).length).toBeGreaterThan(0);
});
