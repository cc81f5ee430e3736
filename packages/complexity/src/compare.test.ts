import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compare, crossing, crossover, order, roofline } from './compare.js';
import type { ModelConfig } from '@freelunch/config';
import { cost } from './cost.js';
import { kernelGrain } from './ops/kernel/grain.js';

const shared = { vocabSize: 256, dModel: 64, nLayers: 2 };
const mamba: ModelConfig = { ...shared, mixer: { type: 'mamba' } };
const softmax: ModelConfig = { ...shared, mixer: { type: 'softmax-attention', nHeads: 4 } };

const flopsOfStep = (dState: number) =>
  cost({ ...shared, mixer: { type: 'mamba', dState } }, { mode: 'decode', promptLength: 2000 }).flops;

describe('crossing', () => {
  it('is the first whole number past where two lines meet', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 0, max: 1e9 }), (slope, offset) => {
        const { at, cheaper } = crossing(
          (x) => slope * x,
          () => offset + 0.5,
        );
        const meet = Math.floor((offset + 0.5) / slope) + 1;
        expect(at).toBe(meet > 1 ? meet : undefined);
        expect(cheaper).toBe('second');
      }),
    );
  });

  it('finds that one stays cheaper, or that both cost the same', () => {
    expect(
      crossing(
        (x) => x,
        (x) => x + 1,
      ),
    ).toEqual({ cheaper: 'first', crossings: [] });
    expect(
      crossing(
        (x) => x,
        (x) => x,
      ),
    ).toEqual({ cheaper: 'equal', crossings: [] });
  });

  it('finds every change', () => {
    const { at, crossings } = crossing(
      (x) => (x < 10 || x > 1000 ? 0 : 2),
      () => 1,
      { to: 1e5 },
    );
    expect(crossings).toEqual([
      { at: 10, cheaper: 'second' },
      { at: 1001, cheaper: 'first' },
    ]);
    expect(at).toBe(1001);
  });
});

describe('crossover', () => {
  it.each(['flops', 'bytesRead', 'stateBytes'] as const)(
    'is where the costs themselves cross, in %s of a step',
    (figure) => {
      const { at, cheaper } = crossover(mamba, softmax, { figure, mode: 'decode' });
      expect(cheaper).toBe('first');
      const difference = (promptLength: number) =>
        cost(mamba, { mode: 'decode', promptLength })[figure] -
        cost(softmax, { mode: 'decode', promptLength })[figure];
      expect(difference(at!)).toBeLessThan(0);
      expect(difference(at! - 1)).toBeGreaterThanOrEqual(0);
    },
  );

  it('looks along any size: up to which state a step of Mamba is cheaper', () => {
    const { at, cheaper } = crossover(mamba, softmax, {
      figure: 'flops',
      mode: 'decode',
      promptLength: 2000,
      along: 'dState',
    });
    expect(cheaper).toBe('second');
    const { flops: limit } = cost(softmax, { mode: 'decode', promptLength: 2000 });
    expect(flopsOfStep(at!)).toBeGreaterThan(limit);
    expect(flopsOfStep(at! - 1)).toBeLessThanOrEqual(limit);
  });

  it('never comes where one has more of everything', () => {
    const larger = { ...mamba, nLayers: 3 };
    expect(crossover(mamba, larger, { figure: 'flops', mode: 'prefill' })).toEqual({
      cheaper: 'first',
      crossings: [],
    });
  });
});

describe('compare', () => {
  it('gives the figures of each model at each length, and their order', () => {
    const table = compare({ mamba, softmax }, [16, 64, 256], { figure: 'flops', mode: 'prefill' });
    expect(table).toMatchObject({ figure: 'flops', along: 'seqLen', lengths: [16, 64, 256] });
    expect(table.rows.map(({ name, order: growth }) => [name, growth])).toEqual([
      ['mamba', 'O(seqLen)'],
      ['softmax', 'O(seqLen^2)'],
    ]);
    expect(table.rows[1].values[1]).toBe(cost(softmax, { mode: 'prefill', promptLength: 64 }).flops);
    expect(order(table.rows[1].formula, ['seqLen', 'nLayers'])).toBe('O(nLayers seqLen^2)');
  });
});

describe('roofline', () => {
  const machine = { flops: 50e9, bytes: 10e9 };

  it('is bound by memory in a step and by arithmetic in a long prompt', () => {
    const step = roofline(cost(softmax, { mode: 'decode', promptLength: 10 }), machine);
    expect(step.bound).toBe('memory');
    const prompt = roofline(
      cost({ ...softmax, dModel: 1024 }, { mode: 'prefill', promptLength: 1024 }),
      machine,
    );
    expect(prompt.bound).toBe('compute');
  });

  it('is no shorter than arithmetic or traffic alone take, and no longer than both', () => {
    const tree = cost(mamba, { mode: 'train', promptLength: 100 });
    const { seconds } = roofline(tree, machine);
    const compute = (tree.flops + tree.transcendentals) / machine.flops;
    const memory = (tree.bytesRead + tree.bytesWritten) / machine.bytes;
    expect(seconds).toBeGreaterThanOrEqual(Math.max(compute, memory) * (1 - 1e-12));
    expect(seconds).toBeLessThanOrEqual(compute + memory);
  });
});

describe('kernelGrain', () => {
  const options = { figure: 'flops', grain: kernelGrain } as const;

  it('compares what the kernels execute', () => {
    for (const mode of ['train', 'prefill', 'decode'] as const) {
      const { rows } = compare({ mamba, softmax }, [3, 40, 100], { ...options, mode });
      const values = [mamba, softmax].map((config) =>
        [3, 40, 100].map((promptLength) => cost(config, { mode, promptLength, grain: kernelGrain }).flops),
      );
      expect(rows.map((row) => row.values)).toEqual(values);
    }
    const long = { ...options, mode: 'generate', promptLength: 20 } as const;
    expect(compare({ softmax }, [7], long).rows[0].values).toEqual([
      cost(softmax, { mode: 'generate', promptLength: 20, newTokens: 7, grain: kernelGrain }).flops,
    ]);
    expect(compare({ softmax }, [3], { ...long, along: 'batch', newTokens: 7 }).rows[0].values).toEqual([
      cost(softmax, { mode: 'generate', promptLength: 20, newTokens: 7, batch: 3, grain: kernelGrain }).flops,
    ]);
  });

  it('finds the first length from which on the kernels execute less', () => {
    const { at, cheaper } = crossover(mamba, softmax, { ...options, mode: 'decode' });
    const flops = (config: ModelConfig, promptLength: number) =>
      cost(config, { mode: 'decode', promptLength, grain: kernelGrain }).flops;
    expect(cheaper).toBe('first');
    expect(flops(mamba, at!)).toBeLessThan(flops(softmax, at!));
    expect(flops(mamba, at! - 1)).toBeGreaterThanOrEqual(flops(softmax, at! - 1));
    expect(at).not.toBe(crossover(mamba, softmax, { figure: 'flops', mode: 'decode' }).at);
  });

  it('knows no sizes by name', () => {
    for (const along of ['dState', 'toString', 'newTokens'])
      expect(() => compare({ mamba }, [1], { ...options, mode: 'prefill', along })).toThrow(
        `compare: along must be seqLen or batch to count what kernels execute, got '${along}'`,
      );
  });
});
