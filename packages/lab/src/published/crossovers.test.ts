import { cost, crossover, transformerLike } from '@freelunch/complexity';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { runInMemory } from '../experiments/in-memory.js';
import { builtIn } from '../files/model-config.js';
import { loadKernels } from '@freelunch/kernels';
import { modelCrossovers } from './crossovers.js';

const k = await loadKernels({ variant: 'simd' });
const run = (models: string[], lengths: number[]) =>
  runInMemory(modelCrossovers, k, { models, lengths }, { signal: AbortSignal.timeout(60_000) });

it('has the crossovers and the states that the formulas give', async () => {
  const lengths = [100, 2000];
  const { rows } = await run(['mamba-130m', 'mamba2-130m'], lengths);
  const expected = ['mamba-130m', 'mamba2-130m'].flatMap((model) => {
    const config = builtIn(model)!;
    const like = transformerLike(config);
    const stateOf = (one: typeof config, promptLength: number) =>
      cost(one, { mode: 'decode', promptLength }).stateBytes;
    return lengths.map((length) => ({
      model,
      params: cost(config, { mode: 'decode', promptLength: 1 }).params,
      transformerParams: cost(like, { mode: 'decode', promptLength: 1 }).params,
      stateFrom: crossover(config, like, { mode: 'decode', figure: 'stateBytes' }).at,
      tokenFrom: crossover(config, like, { mode: 'decode', figure: 'flops' }).at,
      promptFrom: crossover(config, like, { mode: 'prefill', figure: 'flops' }).at,
      length,
      stateBytes: stateOf(config, length),
      transformerStateBytes: stateOf(like, length),
    }));
  });
  expect(rows).toMatchObject(expected);
  // Until there the cache of keys and values is the smaller one, from there on it is not.
  const { stateFrom } = rows[0];
  const cache = (length: number) => cost(transformerLike(builtIn('mamba-130m')!), { mode: 'decode', promptLength: length }).stateBytes; // prettier-ignore
  expect([cache(stateFrom! - 1) > rows[0].stateBytes, cache(stateFrom!) > rows[0].stateBytes]).toEqual([
    false,
    true,
  ]);
});

it('says how much less is kept: at most as the caches grow, without attention without limit', async () => {
  const { rows, findings } = await run(['mamba-130m', 'jamba-v0.1', 'gpt2'], [65536]);
  const [mamba, jamba, gpt2] = rows;
  expect([mamba.slower, jamba.slower]).toEqual([null, 8]); // 4 of 32 layers have attention
  expect([gpt2.slower, gpt2.stateFrom]).toEqual([1, null]);
  expect(findings.verdicts).toMatchObject([{ claim: 'M1', agrees: true }]);
  expect(findings.text[0]).toContain('(never: gpt2)');
  const [table] = findings.tables;
  expect(table.rows.map((row) => [row[0], row.at(-1)])).toEqual([['mamba-130m', 'no limit'], ['jamba-v0.1', '8 x'], ['gpt2', '1 x']]); // prettier-ignore
});

it('refuses models and lengths that cannot be', () => {
  const pieces = (models: string[], lengths: number[]) => () => modelCrossovers.pieces({ models, lengths });
  expect(pieces(['mamba-131m'], [1])).toThrow(/models must be of .*, got 'mamba-131m'/);
  expect(pieces(['gpt2', 'gpt2'], [1])).toThrow(/models must differ/);
  expect(pieces(['gpt2'], [0])).toThrow(/lengths must be a whole number from 1/);
});

it('gives what the README says', async () => {
  const readme = readFileSync(new URL('../../../../README.md', import.meta.url), 'utf8');
  const { findings } = await run(['granite-4.0-h-350m', 'zamba2-1.2b', 'mamba-2.8b'], [262144]);
  for (const [name, layers, , state, token, prompt, , most] of findings.tables[0].rows)
    expect(readme).toContain(`| ${name} | ${layers} | ${state} | ${token} | ${prompt} | ${most} |`);
});
