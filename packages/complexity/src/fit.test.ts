import { describe, expect, it } from 'vitest';
import type { Machine } from './compare.js';
import type { ModelConfig } from './config.js';
import { cost, type Cost } from './cost.js';
import { fitExponent, fitMachine, predict } from './fit.js';

const shared = { vocabSize: 256, dModel: 64, nLayers: 2 };
const configs: ModelConfig[] = [
  { ...shared, mixer: { type: 'mamba' } },
  { ...shared, mixer: { type: 'softmax-attention', nHeads: 4 } },
  { ...shared, mixer: { type: 'linear-attention', nHeads: 2 }, mlp: 'swiglu' },
];
const trees = configs.flatMap((config) =>
  [1, 10, 100, 1000].flatMap((promptLength) =>
    (['prefill', 'decode'] as const).map((mode) => cost(config, { mode, promptLength })),
  ),
);
const machine: Machine = { flops: 40e9, bytes: 12e9, transcendentals: 2e9, perOp: 2e-6 };

describe('fitMachine', () => {
  it('finds the machine whose times it is given', () => {
    const fitted = fitMachine(trees.map((tree) => ({ tree, seconds: predict(tree, machine) })));
    for (const part of ['flops', 'bytes', 'transcendentals', 'perOp'] as const) {
      expect(fitted[part]! / machine[part]!, part).toBeCloseTo(1, 6);
    }
  });

  it('leaves ops out whose times are known', () => {
    const slow: Machine = { flops: 1e9, bytes: 1e9, transcendentals: 1e8, perOp: 1e-5 };
    const known = (op: Cost) => (op.name === 'softmax_attention' ? slow : undefined);
    const samples = trees.map((tree) => ({ tree, seconds: predict(tree, (op) => known(op) ?? machine) }));
    const fitted = fitMachine(samples, known);
    for (const part of ['flops', 'bytes', 'transcendentals', 'perOp'] as const) {
      expect(fitted[part]! / machine[part]!, part).toBeCloseTo(1, 6);
    }
  });

  it('takes no time below 0 for anything, also of noisy samples', () => {
    const noisy = trees.map((tree, i) => ({
      tree,
      seconds: predict(tree, machine) * (i % 2 === 0 ? 1.5 : 0.7),
    }));
    const fitted = fitMachine(noisy);
    for (const part of [fitted.flops, fitted.bytes, fitted.transcendentals!, fitted.perOp!]) {
      expect(part).toBeGreaterThanOrEqual(0);
    }
    for (const { tree, seconds } of noisy) {
      expect(predict(tree, fitted) / seconds).toBeGreaterThan(0.5);
      expect(predict(tree, fitted) / seconds).toBeLessThan(2);
    }
  });
});

describe('predict', () => {
  it('adds up what each op takes on its own machine', () => {
    const [tree] = trees;
    expect(predict(tree, () => machine)).toBeCloseTo(predict(tree, machine), 15);
    const idle: Machine = { flops: Infinity, bytes: Infinity, transcendentals: Infinity };
    expect(predict(tree, (op) => (op.name === 'lm_head' ? machine : idle))).toBeLessThan(
      predict(tree, machine),
    );
  });
});

describe('fitExponent', () => {
  it('finds the power and the factor', () => {
    const lengths = [16, 64, 256, 1024];
    const { exponent, factor } = fitExponent(
      lengths,
      lengths.map((length) => 3e-6 * length ** 1.5),
    );
    expect(exponent).toBeCloseTo(1.5, 10);
    expect(factor).toBeCloseTo(3e-6, 15);
  });
});
