import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { argsOf, gradientName, type HostTensor, run, runReference, titleOf, upstream } from './cases/case.ts';
import { cases } from './cases/index.ts';
import { slope } from './finite-differences.ts';
import { guarded } from './kernels.ts';

const SAMPLES = 24;

describe.each(guarded)('%s', (_variant, k) => {
  const differentiable = cases.filter((c) => c.backward !== undefined);
  describe.each(differentiable.map((c) => [titleOf(c), c] as const))('%s', (_title, c) => {
    it.each(c.sizes)('has the gradient of its definition at %o', (size) => {
      const args = argsOf(c, size);
      const up = upstream(c, size, runReference(c.op, args));
      const got = run(k, `${c.op}Backward`, { ...args, ...up });
      const inputs = c.backward!.inputs.filter((name) => args[name] !== undefined);
      expect(Object.keys(got).sort()).toEqual(inputs.map(gradientName).sort());
      for (const name of inputs) {
        const gradient = got[gradientName(name)];
        expect(gradient.shape, name).toEqual((args[name] as HostTensor).shape);
        const values = gradient.data as Float32Array;
        expect(values.every(Number.isFinite), `${gradientName(name)} is finite`).toBe(true);
        const scale = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const rng = random(2).split(name);
        const { length } = values;

        // One direction through all elements at once, then some elements alone.
        const direction = Float64Array.from({ length }, () => (rng.integer(2) === 0 ? -1 : 1));
        const along = values.reduce((total, value, i) => total + value * direction[i], 0);
        const bound = c.backward!.tolerance * Math.max(scale, 1e-6) * Math.sqrt(length);
        expect(
          Math.abs(along - slope(c, args, up, name, direction)),
          `${gradientName(name)} along a direction`,
        ).toBeLessThanOrEqual(2 * bound + 1e-9);

        const chosen =
          length <= SAMPLES ? [...values.keys()] : Array.from({ length: SAMPLES }, () => rng.integer(length));
        for (const i of chosen) {
          const unit = new Float64Array(length);
          unit[i] = 1;
          const want = slope(c, args, up, name, unit);
          expect(
            Math.abs(values[i] - want),
            `${gradientName(name)}[${i}], wanted ${want}`,
          ).toBeLessThanOrEqual(c.backward!.tolerance * Math.max(scale, Math.abs(want)) + 1e-8);
        }
      }
    });
  });
});
