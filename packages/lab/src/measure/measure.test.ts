import { expect, it } from 'vitest';
import { median, type MeasuredCrossover, summary } from './measure.js';
import { calibrationFor, defaultModels } from './models.js';
import { builtIn } from '../files/model-config.js';

it('fits to no model and no length that it predicts', () => {
  const { models, pairs } = defaultModels();
  const lengths = [16, 80, 320, 1000];
  const calibration = calibrationFor(models, lengths);
  const known = models.map(({ config }) => JSON.stringify(config));
  for (const { config } of calibration.models) {
    expect(known).not.toContain(JSON.stringify(config));
    expect(models.map((model) => model.config.dModel)).not.toContain(config.dModel);
  }
  expect(calibration.lengths).toEqual([12, 24, 48, 160, 640]); // 80 and 320 are asked for, 1,280 is beyond 1,000
  expect(pairs.every(([a, b]) => a !== b && models[a] !== undefined && models[b] !== undefined)).toBe(true);

  // Also if what is asked for is a calibration model.
  const own = calibrationFor(calibration.models.slice(0, 2), lengths).models;
  const names = own.map(({ name }) => name);
  expect(names).not.toContain(calibration.models[0].name);
  expect(names).not.toContain(calibration.models[1].name);
});

it('fits to the mixers that models have, and always to attention', () => {
  const kinds = (...names: string[]) => {
    const models = names.map((name) => ({ name, config: builtIn(name)! }));
    return [...new Set(calibrationFor(models, [2000]).models.map(({ name }) => name.split('-')[0]))];
  };
  expect(kinds('mamba-small')).toEqual(['softmax', 'softmax+mlp', 'window+mlp', 'mamba']);
  expect(kinds('hybrid-small', 'delta-small')).toEqual([
    'softmax',
    'softmax+mlp',
    'window+mlp',
    'mamba',
    'delta+mlp',
  ]);
});

it('sums up how far crossovers are off', () => {
  const entry = (part: Partial<MeasuredCrossover>): MeasuredCrossover => ({
    first: 'a',
    second: 'b',
    mode: 'decode',
    cheaper: 'b',
    predictedCheaper: 'b',
    ...part,
  });
  const entries = [
    entry({ measured: 100, predicted: 75, off: -0.25 }),
    entry({ measured: 100, predicted: 103, off: 0.03 }),
    entry({ measured: 100, predicted: 160, off: 0.6 }),
    entry({}),
    entry({ predictedCheaper: 'a' }),
    entry({ measured: 100 }),
    entry({ predicted: 100 }),
  ];
  expect(summary(entries)).toEqual({ both: 3, within: 2, median: 0.25, worst: 0.6, neither: 1, missed: 3 });
  expect(median([])).toBe(0);
});
