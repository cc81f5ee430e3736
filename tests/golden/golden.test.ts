import { describe, expect, it } from 'vitest';
import { relativeError } from '../compare.ts';
import { guarded } from '../kernels.ts';
import { readGolden } from './golden.ts';
import { runners } from './index.ts';

const ops = [
  'selective_scan',
  'selective_state_update',
  'ssd',
  'ssd_step',
  'mamba3',
  'mamba3_step',
  'mamba3_mimo',
  'mamba3_mimo_step',
  'causal_conv1d',
  'causal_conv1d_step',
  'linear_attention',
  'retention',
  'simple_gla',
  'gla',
  'delta_rule',
  'gated_delta_rule',
  'attention',
  'attention_decode',
  'alibi_slopes',
  'rms_norm',
  'layer_norm',
  'gated_rms_norm',
  'unary',
  'embedding',
  'cross_entropy',
  'adamw',
  'adam',
  'rope',
];
const golden = await Promise.all(ops.map(async (op) => [op, await readGolden(op)] as const));

describe.each(guarded)('%s', (_variant, k) => {
  describe.each(golden)('%s', (op, cases) => {
    it.each(cases.map((c) => [c.name, c] as const))('agrees with %s', (_name, c) => {
      expect(runners[op], `a runner for ${op}`).toBeDefined();
      const got = k.scope(() => {
        const results = runners[op](k, c);
        k.checkGuards();
        return results;
      });
      const wanted = Object.keys(c.tensors).filter((name) => /^(out|grad)\./.test(name));
      expect(wanted.length).toBeGreaterThan(0);
      for (const name of wanted) {
        expect(got[name], `${name} is missing`).toBeDefined();
        const error = relativeError(got[name], c.tensors[name].data);
        expect(error, `error of ${name}`).toBeLessThanOrEqual(
          c.tolerance[name] ?? (name.startsWith('out') ? 1e-5 : 1e-4),
        );
      }
    });
  });
});
