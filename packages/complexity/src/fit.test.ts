import { describe, expect, it } from 'vitest';
import type { Machine } from './compare.js';
import type { ModelConfig } from '@freelunch/config';
import { cost, type Cost } from './cost.js';
import { fitExponent, fitMachine, fitMachines, predict } from './fit.js';

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

describe('fitMachines', () => {
  const attention: Machine = { flops: 1e9, bytes: 3e9, transcendentals: 1e8, perOp: 1e-5 };
  const steps: Machine = { flops: 7e9, bytes: 2e9, transcendentals: 1e9, perOp: 1e-6 };
  const machines: Record<string, Machine> = { attention, steps, rest: machine };
  const classOf = (op: Cost, { step }: { step: boolean }) =>
    op.name === 'softmax_attention' && !step ? 'attention' : step ? 'steps' : 'rest';
  const samples = [...configs, { ...configs[1], dModel: 96 }, { ...configs[2], dModel: 128 }].flatMap(
    (config) =>
      [1, 10, 60, 100, 400, 1000].flatMap((promptLength) =>
        [false, true].map((step) => {
          const tree = cost(config, { mode: step ? 'decode' : 'prefill', promptLength });
          return { tree, step, seconds: predict(tree, (op) => machines[classOf(op, { step })]) };
        }),
      ),
  );

  it('finds one machine for each class of ops, also where an op is of another class in another sample', () => {
    const fitted = fitMachines(samples, classOf);
    expect(Object.keys(fitted).sort()).toEqual(['attention', 'rest', 'steps']);
    for (const { tree, step, seconds } of samples)
      expect(predict(tree, (op) => fitted[classOf(op, { step })]) / seconds).toBeCloseTo(1, 6);
    for (const part of ['flops', 'bytes', 'transcendentals', 'perOp'] as const)
      expect(fitted.steps[part]! / steps[part]!, part).toBeCloseTo(1, 4);
  });

  it('fits a length and a model that no sample had', () => {
    const fitted = fitMachines(samples, classOf);
    const tree = cost(
      { ...shared, dModel: 160, mixer: { type: 'softmax-attention', nHeads: 5 }, mlp: 'swiglu' },
      { mode: 'prefill', promptLength: 700 },
    );
    const at = (all: Record<string, Machine>) => predict(tree, (op) => all[classOf(op, { step: false })]);
    expect(at(fitted) / at(machines)).toBeCloseTo(1, 4);
  });

  it('reaches the least squares of all fits from zero up', () => {
    // At the least, none that is 0 would make the error smaller if it rose, and none above 0 if it moved.
    const noisy = samples.map((sample, i) => ({
      ...sample,
      seconds: sample.seconds * (0.5 + ((i * 37) % 101) / 101),
    }));
    const fitted = fitMachines(noisy, classOf);
    const error = (all: Record<string, Machine>) =>
      noisy.reduce(
        (total, { tree, step, seconds }) =>
          total + (predict(tree, (op) => all[classOf(op, { step })]) / seconds - 1) ** 2,
        0,
      );
    const least = error(fitted);
    const seconds = (all: Machine) => [1 / all.flops, 1 / all.bytes, 1 / all.transcendentals!, all.perOp!];
    let zeros = 0;
    for (const [name, own] of Object.entries(fitted)) {
      seconds(own).forEach((value, i) => {
        if (value === 0) zeros++;
        const scale = seconds(machines[name])[i];
        for (const change of value === 0 ? [1e-3] : [1e-3, -1e-3]) {
          const moved = seconds(own).map((part, j) => (j === i ? Math.max(0, part + change * scale) : part));
          const [flop, byte, exp, perOp] = moved;
          const other = { flops: 1 / flop, bytes: 1 / byte, transcendentals: 1 / exp, perOp };
          expect(error({ ...fitted, [name]: other }), `${name} ${i}`).toBeGreaterThanOrEqual(least - 1e-9);
        }
      });
    }
    expect(zeros).toBeGreaterThan(0); // without one, the bound at 0 would not have been tried
  });

  it('refuses times that are none', () => {
    const [{ tree }] = samples;
    expect(() => fitMachines([{ tree, seconds: 0 }], () => '')).toThrow(
      /fitMachines: seconds must be above 0/,
    );
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
