import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { build, type Rolldown } from 'vite';
import { expect, it } from 'vitest';

it('is at most 20 KB compressed, and needs nothing else', async () => {
  const result = await build({
    root: fileURLToPath(new URL('..', import.meta.url)),
    logLevel: 'silent',
    configFile: false,
    build: { write: false, lib: { entry: 'src/index.ts', formats: ['iife'], name: 'complexity' } },
  });
  const [{ output }] = result as Rolldown.RolldownOutput[];
  expect(output).toHaveLength(1);
  expect(output[0].imports).toEqual([]);
  expect(gzipSync(output[0].code).length).toBeLessThanOrEqual(20 * 1024);
  console.info(`@freelunch/complexity: ${gzipSync(output[0].code).length} bytes compressed`);
});
