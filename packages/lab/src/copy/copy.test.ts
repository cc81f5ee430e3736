import { loadKernels } from '@freelunch/kernels';
import { expect, it } from 'vitest';
import { copyCapacity } from './capacity.js';
import { copyCost } from './cost.js';
import { copyDistance } from './distance.js';
import { copyExact } from './exact.js';
import type { Findings } from '../experiments/experiment.js';
import { finishedShape } from '../report/finished.js';
import { drawPlot } from '../report/plot.js';
import { runExperiment } from '../running/runner.js';
import { experiments } from '../running/registry.js';

/** That its figures are as plain as findings.json, and without a place that is no number. */
function expectDrawn(findings: Findings): void {
  const plain: unknown = JSON.parse(
    JSON.stringify({ name: '', summary: '', command: '', machine: '', findings }),
  );
  expect(finishedShape(plain, '').findings.figures).toEqual(findings.figures);
  expect(findings.figures.map(({ plot }) => drawPlot(plot)).join('')).not.toContain('NaN');
}

const k = await loadKernels({ variant: 'simd' });

it('every experiment has pieces with keys of their own in both presets, and a name to be found by', () => {
  for (const [name, { presets, pieces }] of Object.entries(experiments))
    for (const config of Object.values(presets)) {
      const keys = pieces(config).map(({ key }) => key);
      expect(keys.length, name).toBeGreaterThan(0);
      expect(new Set(keys).size, name).toBe(keys.length);
    }
});

it('copy-capacity: measured shares lie on the predicted curve, for both mixers', async () => {
  const config = { lengths: [33], ratios: [0.25, 1, 3], tokensRead: 33 * 60, seed: 3 };
  const { rows, findings } = await runExperiment(copyCapacity, config, { k });
  expect(rows).toHaveLength(6);
  for (const row of rows) {
    expect(Math.abs(row.accuracy - row.predicted)).toBeLessThan(0.02 + 3 * row.standardError);
    expect(row.coherence).toBeGreaterThanOrEqual(row.welch - 1e-6);
  }
  expect(rows[4].accuracy).toBeGreaterThan(rows[0].accuracy + 0.5);
  expect(findings.verdicts.map(({ claim }) => claim)).toEqual(['C1']);
  expectDrawn(findings);
});

it('copy-distance: errors, reaches and scores are those of the closed forms', async () => {
  const config = {
    rates: [0.03],
    deltas: [0.5, 2],
    errors: [0.1],
    distance: 100,
    keeps: [0.6],
    scoreDistances: [1, 3, 9, 27, 54],
  };
  const { rows, findings } = await runExperiment(copyDistance, config, { k });
  for (const row of rows) {
    if (row.kind === 'decay')
      expect(row.measured).toBeCloseTo(1 - Math.exp(-row.rate * row.delta * row.distance), 4);
    // log(0.9) / -0.015 = 7.02, / -0.06 = 1.76
    else if (row.kind === 'reach') expect(row.measured).toBe(row.delta === 0.5 ? 7 : 1);
    else if (row.mixer === 'softmaxAttention') expect(row.measured).toBeCloseTo(Math.log(row.distance), 4);
    else {
      let needed = 0; // the nearer tokens' weights over the far one's
      for (let i = 0; i < row.distance; i++) needed += 0.6 ** (i - row.distance);
      expect(row.measured / needed).toBeCloseTo(1, 4);
    }
  }
  expect(findings.verdicts.map(({ agrees }) => agrees)).toEqual([true, true]);
  expectDrawn(findings);
});

it('copy-cost: exact ways copy all at T^2, a constant state copies what it holds at T', async () => {
  const config = { lengths: [32, 64, 128], constantSlots: 16, longestTimed: 64, passes: 1 };
  const { rows, findings } = await runExperiment(copyCost, config, { k });
  const at = (way: string, length: number) => rows.find((row) => row.way === way && row.length === length)!;
  for (const way of ['addressed', 'registerFile', 'softmaxAttention']) expect(at(way, 64).accuracy).toBe(1);
  expect(at('constantState', 64).accuracy).toBe(0.25);
  expect(at('addressed', 128)).toMatchObject({ accuracy: null, elapsedMs: null });
  expect(at('addressed', 128).flops / at('addressed', 64).flops).toBeCloseTo(4, 1);
  expect(at('constantState', 128).flops / at('constantState', 64).flops).toBe(2);
  expect(findings.figures).toHaveLength(3);
  expectDrawn(findings);
});

it('copy-exact: states keep as many values as they have slots, to the last bit; softmax stays below its bound', async () => {
  const config = { lengths: [20, 33], ratios: [0.3, 1], betas: [1, 3, 12] };
  const { rows, findings } = await runExperiment(copyExact, config, { k });
  for (const row of rows) {
    if (row.slots !== null) expect(row).toMatchObject({ exact: row.slots, error: 0 });
    else expect(row.error).toBeLessThan(row.bound + 1e-6);
  }
  // A bound that is met by far says little: at beta = 1 the error is of its size.
  const blunt = rows.find(({ beta, length }) => beta === 1 && length === 33)!;
  expect(blunt.error).toBeGreaterThan(0.1 * blunt.bound);
  expect(findings.verdicts.map(({ claim, agrees }) => [claim, agrees])).toEqual([
    ['C2', true],
    ['C4', true],
  ]);
});
