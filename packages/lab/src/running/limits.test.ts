import { expect, it } from 'vitest';
import { completeConfig } from './config.js';
import { limits } from './limits.js';
import { experiments } from './registry.js';

/** All fields of a configuration that hold numbers, or lists of them. */
function numbers(config: object): string[] {
  return Object.entries(config).flatMap(([name, value]) =>
    typeof value === 'number' || (Array.isArray(value) && typeof value[0] === 'number')
      ? [name]
      : typeof value === 'object' && value !== null && !Array.isArray(value)
        ? numbers(value as object)
        : [],
  );
}

it('every number of every experiment has its limits, and the presets keep to them', () => {
  for (const experiment of Object.values(experiments))
    for (const preset of ['quick', 'full'] as const) {
      const config = experiment.presets[preset];
      const unlimited = numbers(config).filter((name) => !Object.hasOwn(limits, name));
      expect(unlimited, experiment.name).toEqual([]);
      expect(completeConfig(experiment, preset, {})).toEqual(config);
    }
});

it('refuses lists that ask for more than anybody waits for, before it lists them', () => {
  const many = Array.from({ length: 1000 }, (_, i) => i + 2);
  const complete = (fields: object) => () => completeConfig(experiments['copy-capacity'], 'quick', fields);
  expect(complete({ lengths: [...many, 1] })).toThrow(/lengths must be a list of at most 1000 elements/);
  expect(complete({ lengths: many, ratios: many.map((n) => n / 1000) })).toThrow(
    /the lengths of all lists multiplied must be at most 100000, got 1000000 \(lengths 1000, ratios 1000\)/,
  );
});
