/** What the package weighs and says. Needs the built package. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build, type Rolldown } from 'vite';
import { expect, it } from 'vitest';
import { copy, factories, sources } from '../src/index.js';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const readme = read('README.md');

it('is at most 30 KB, all of it bundled, minified and gzipped, and the README says how much', async () => {
  const entry = fileURLToPath(new URL('../dist/index.js', import.meta.url));
  const { output } = (await build({
    configFile: false,
    logLevel: 'error',
    // Not as a library: vite leaves the white space in those.
    build: {
      rolldownOptions: { input: entry, preserveEntrySignatures: 'strict' },
      modulePreload: { polyfill: false },
      write: false,
    },
  })) as Rolldown.RolldownOutput;
  expect(output).toHaveLength(1);
  const kilobytes = gzipSync(output[0].code, { level: 9 }).length / 1000;
  expect(output[0].exports).toContain('editDistance'); // nothing was shaken off
  expect(kilobytes).toBeLessThanOrEqual(30);
  const [, said] = /minified: (\d+) KB gzip/.exec(readme)!;
  expect(Math.abs(kilobytes - Number(said))).toBeLessThan(1);
});

it('needs no package from outside this repository', () => {
  const { dependencies, peerDependencies } = JSON.parse(read('package.json'));
  expect(Object.keys({ ...dependencies, ...peerDependencies }).sort()).toEqual([
    '@freelunch/errors',
    '@freelunch/random',
  ]);
});

it('shows in its README what describe() gives', () => {
  expect(readme).toContain(`\`\`\`\n${copy().describe()}\n\`\`\``);
});

it('names the source of every task, and every task in its README', () => {
  expect(Object.keys(sources)).toEqual(Object.keys(factories));
  for (const { name } of Object.values(factories)) expect(readme).toContain(`\`${name}\``);
});
