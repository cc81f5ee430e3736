import { loadKernels } from '@freelunch/kernels';
import { describe, expect, inject, it } from 'vitest';
import { configs, STEPS, trainingRun, variant } from '../training-run.ts';

describe('training in Chromium', async () => {
  const k = await loadKernels({ variant });

  it.each(configs.map((config, i) => [(config.mixer as { type: string }).type, config, i] as const))(
    'of %s has the same bits as in Node, after every step and in what it then generates',
    async (_type, config, i) => {
      const here = await trainingRun(k, config);
      expect(here).toHaveLength(STEPS + 1);
      expect(here).toEqual(inject('nodeTraining')[i]);
      const [first, last] = [here[0], here[STEPS - 1]].map(parseFloat);
      expect(last).toBeLessThan(0.8 * first);
    },
  );
});
