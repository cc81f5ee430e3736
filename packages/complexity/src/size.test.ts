import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { build, type Rolldown } from 'vite';
import { expect, it } from 'vitest';
import * as complexity from './index.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const entry = 'virtual:entry';

/** Bytes of what a page loads that imports this, compressed; it must be one file that needs nothing else. */
async function bytesOf(code: string): Promise<number> {
  const result = await build({
    root,
    logLevel: 'silent',
    configFile: false,
    plugins: [
      {
        name: 'entry',
        resolveId: (id) => (id === entry ? id : null),
        load: (id) => (id === entry ? code : null),
      },
    ],
    build: {
      write: false,
      minify: true,
      rolldownOptions: { input: entry, preserveEntrySignatures: 'strict', output: { format: 'es' } },
      modulePreload: false,
    },
  });
  const { output } = (Array.isArray(result) ? result[0] : result) as Rolldown.RolldownOutput;
  expect(output).toHaveLength(1);
  expect(output[0].imports).toEqual([]);
  return gzipSync(output[0].code).length;
}

const index = JSON.stringify(`${root}src/index.ts`);
const apart = new Set(['fromHuggingFace', 'kernelGrain']);
const formulas = Object.keys(complexity).filter((name) => !apart.has(name));

it.each([
  ['cost alone, with the checks of configs', `export { cost } from ${index};`, 21 * 1024],
  ['all formulas', `export { ${formulas.join(', ')} } from ${index};`, 26 * 1024],
  ['everything, with kernelGrain and the reader of config.json', `export * from ${index};`, 40 * 1024],
])('has no dependency beyond this project, and is small: %s', async (_what, code, most) => {
  const bytes = await bytesOf(code);
  console.info(`@freelunch/complexity, ${_what}: ${bytes} bytes compressed`);
  expect(bytes).toBeLessThanOrEqual(most);
});
