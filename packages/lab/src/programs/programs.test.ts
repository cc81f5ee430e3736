import { loadKernels } from '@freelunch/kernels';
import { expect, it } from 'vitest';
import { dpExact } from './exact.js';
import { dpLocality } from './locality.js';
import { programNames, programOf } from './programs.js';
import { runExperiment } from '../running/runner.js';

const k = await loadKernels({ variant: 'simd' });

it('counts no wrong token where models have the size that they need, and many at half of it', async () => {
  const config = {
    tasks: ['lis:5', 'lcs:3', 'arithmetic:1', 'stairs:6'],
    instances: 8,
    halfInstances: 8,
  };
  const { rows, findings } = await runExperiment(dpExact, config, { k });
  const whole = rows.filter(({ half, unsupported }) => !half && unsupported === undefined);
  expect(whole).toHaveLength(16);
  for (const row of whole) {
    expect(row.wrong).toBe(0);
    expect(row.correct).toBe(8);
    expect(row.tokens).toBeGreaterThan(8);
  }
  const halves = rows.filter(({ half, unsupported }) => half && unsupported === undefined);
  expect(halves.filter(({ wrong }) => wrong! > 0).length).toBe(halves.length);
  expect(findings.verdicts.map(({ claim, agrees }) => [claim, agrees])).toEqual([
    ['D3', true],
    ['D1', true],
  ]);
});

it('gives the same rows again', async () => {
  const config = { tasks: ['recurrence:8'], mixers: ['mamba'], instances: 5, halfInstances: 2 };
  const run = async () => (await runExperiment(dpExact, config, { k })).rows;
  expect(await run()).toEqual(await run());
});

it('measures what a local program costs: the state of Mamba is the same for every length', async () => {
  const config = { m: [2, 4], T: [24, 48, 96], longestLinear: 48, longest: 120, passes: 1 };
  const { rows, findings } = await runExperiment(dpLocality, config, { k });
  expect(rows.reduce((wrong, row) => wrong + row.wrong, 0)).toBe(0);
  for (const row of rows) {
    if (row.countedFlops === undefined) continue;
    // Equal but for softmax attention, whose formula is of the worst order of scores.
    const least = row.mixer === 'mamba' ? 0.999 : 1;
    expect(row.flops / row.countedFlops).toBeGreaterThanOrEqual(least);
    expect(row.flops / row.countedFlops).toBeLessThan(1.05);
  }
  const kept = (mixer: string, m: number) =>
    rows.filter((row) => row.mixer === mixer && row.m === m).map(({ floatsKept }) => floatsKept);
  expect(new Set(kept('mamba', 4)).size).toBe(1);
  expect(new Set(kept('softmax-attention', 4)).size).toBe(3);
  const long = rows.find(({ T }) => T === 120)!;
  expect(long.memoryLate).toBe(long.memoryEarly);
  expect(findings.verdicts.find(({ claim }) => claim === 'D2')!.agrees).toBe(true);
  expect(findings.figures).toHaveLength(4);
});

it('refuses what it does not know', async () => {
  expect(() => programOf('lis')).toThrow(
    "tasks must be a name, a colon and a size up to 1000, as in lis:12, got 'lis'",
  );
  expect(() => programOf('sort:5')).toThrow(programNames.join(', '));
  await expect(runExperiment(dpExact, { mixers: ['lstm'] }, { k })).rejects.toThrow(
    'mixers must be of softmax-attention',
  );
});
