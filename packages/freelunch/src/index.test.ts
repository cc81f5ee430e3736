import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import * as freelunch from './index.js';

it('has kernels, models and tasks in one import', async () => {
  const { complexity, createModel, loadKernels, tasks } = freelunch;
  using k = await loadKernels({ variant: 'simd' });
  const { vocabulary } = tasks.copy({ length: 3 });
  const config = { vocabSize: vocabulary.size, dModel: 8, nLayers: 1, mixer: { type: 'mamba' } } as const;
  using model = createModel(k, config);
  expect(model.forward([1, 2]).shape).toEqual([1, 2, vocabulary.size]);
  expect(complexity.cost(config, { mode: 'prefill', promptLength: 2 }).params).toBe(model.parameterCount);
});

it('has the freelunch command', () => {
  const bin = fileURLToPath(new URL('../bin/freelunch.js', import.meta.url));
  expect(readFileSync(bin, 'utf8').startsWith('#!/usr/bin/env node\n')).toBe(true);
  expect(execFileSync(process.execPath, [bin, '--help'], { encoding: 'utf8' })).toContain(
    'freelunch generate',
  );
});
