import { ArgumentError } from '@freelunch/errors';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ModelConfig } from '@freelunch/config';
import { cost, type Cost, type CostOptions, figures } from './cost.js';
import { kernelGrain } from './ops/kernel/grain.js';
import { algorithmGrain } from './ops/op.js';

const mamba: ModelConfig = { vocabSize: 50280, dModel: 768, nLayers: 24, mixer: { type: 'mamba' } };
const gpt2: ModelConfig = {
  vocabSize: 50257,
  dModel: 768,
  nLayers: 12,
  mixer: { type: 'softmax-attention', nHeads: 12 },
  mlp: 'gelu',
  norm: 'layer',
  position: { type: 'learned', maxLength: 1024 },
};

const small = { vocabSize: 50, dModel: 32, nLayers: 3 };
const mixers = {
  mamba: (n: number) => ({ type: 'mamba', dState: n }) as const,
  mamba2: (n: number) => ({ type: 'mamba2', dState: n, headDim: 16 }) as const,
  linear: () => ({ type: 'linear-attention', nHeads: 2 }) as const,
  gated: () => ({ type: 'linear-attention', nHeads: 2, forget: 'channel' }) as const,
  wide: (n: number) => ({ type: 'linear-attention', nHeads: 2, headDim: 4, valueDim: n }) as const,
  delta: () => ({ type: 'delta-rule', nHeads: 2, gated: true }) as const,
  softmax: () => ({ type: 'softmax-attention', nHeads: 2, nKvHeads: 1 }) as const,
  wideSoftmax: (n: number) => ({ type: 'softmax-attention', nHeads: 2, valueDim: n }) as const,
  window: (n: number) => ({ type: 'softmax-attention', nHeads: 2, window: 4 * n }) as const,
};
const modes = ['train', 'prefill', 'decode', 'generate'] as const;
const cases = Object.keys(mixers).flatMap((name) =>
  modes.map((mode) => [name as keyof typeof mixers, mode] as const),
);

const leaves = (tree: Cost): Cost[] => (tree.children.length === 0 ? [tree] : tree.children.flatMap(leaves));

/** How a figure of a step, and the FLOPs of training, grow. */
const grows = (config: ModelConfig, figure: 'stateBytes' | 'flops') =>
  cost(config, { mode: 'decode', promptLength: 100 }).formulas[figure].order(['position']);
const training = (config: ModelConfig) =>
  cost(config, { mode: 'train', promptLength: 100 }).formulas.flops.order(['seqLen']);

describe('cost', () => {
  it.each(cases)('has formulas that hold at other sizes: %s, %s', (name, mode) => {
    const sizes = fc.record({
      batch: fc.integer({ min: 2, max: 5 }),
      promptLength: fc.integer({ min: 3, max: 200 }),
      newTokens: fc.integer({ min: 1, max: 60 }),
      n: fc.integer({ min: 3, max: 20 }),
    });
    const at = ({
      batch,
      promptLength,
      newTokens,
      n,
    }: {
      batch: number;
      promptLength: number;
      newTokens: number;
      n: number;
    }) => cost({ ...small, mixer: mixers[name](n) }, { mode, batch, promptLength, newTokens });
    // No two sizes are equal here, so that every one has a name of its own.
    const formulas = at({ batch: 7, promptLength: 211, newTokens: 61, n: 23 });
    fc.assert(
      fc.property(sizes, (other) => {
        const tree = at(other);
        for (const figure of figures) {
          // Values as wide as keys have no name of their own.
          const values = { ...formulas.values, valueDim: tree.values.headDim, ...tree.values };
          expect(formulas.formulas[figure].evaluate(values), figure).toBeCloseTo(tree[figure], 3);
        }
      }),
      { numRuns: 15 },
    );
  });

  it.each(cases)('adds up over its parts: %s, %s', (name, mode) => {
    const tree = cost({ ...small, mixer: mixers[name](8) }, { mode, promptLength: 40, newTokens: 9 });
    for (const figure of ['macs', 'flops', 'transcendentals', 'bytesRead', 'bytesWritten'] as const) {
      expect(
        leaves(tree).reduce((total, leaf) => total + leaf[figure], 0),
        figure,
      ).toBeCloseTo(tree[figure], 3);
    }
  });

  it.each(Object.keys(mixers) as (keyof typeof mixers)[])(
    'of generating is that of the prompt and of each step: %s',
    (name) => {
      const config = { ...small, mixer: mixers[name](8) };
      for (const grain of [algorithmGrain, kernelGrain]) {
        const tree = cost(config, { mode: 'generate', promptLength: 20, newTokens: 30, grain });
        let { flops, bytesRead } = cost(config, { mode: 'prefill', promptLength: 20, grain });
        for (let position = 20; position < 50; position++) {
          const step = cost(config, { mode: 'decode', promptLength: position, grain });
          flops += step.flops;
          bytesRead += step.bytesRead;
        }
        expect(tree.flops).toBeCloseTo(flops, 3);
        expect(tree.bytesRead).toBeCloseTo(bytesRead, 3);
        expect(tree.stateBytes).toBe(cost(config, { mode: 'decode', promptLength: 49, grain }).stateBytes);
      }
    },
  );

  it('names different sizes of layers apart', () => {
    const config: ModelConfig = { ...small, mixer: [mixers.mamba(4), mixers.mamba(9), mixers.softmax()] };
    const { formulas, values } = cost(config, { mode: 'decode', promptLength: 10 });
    expect(values).toMatchObject({ dState: 4, dState2: 9, nMamba: 1, nSoftmaxAttention: 1 });
    expect(formulas.stateBytes.evaluate(values)).toBe(4 * (64 * (4 + 3) + 64 * (9 + 3) + 2 * 11 * 16));
  });

  it('counts a layer that is its MLP alone as such, and values by their own width', () => {
    const config: ModelConfig = {
      ...small,
      mixer: [
        { type: 'none' },
        { type: 'linear-attention', nHeads: 2, headDim: 3, valueDim: 5 },
        { type: 'none' },
      ],
      mlp: ['relu', 'none', 'relu'],
    };
    const tree = cost(config, { mode: 'decode', promptLength: 10 });
    expect(tree.values).toMatchObject({
      nMlp: 2,
      nLinearAttention: 1,
      headDim: 3,
      valueDim: 5,
      dHidden: 128,
    });
    const layers = tree.children.find(({ name }) => name === 'layers')!.children;
    expect(layers.map(({ children }) => children.map(({ name }) => name))).toEqual([
      ['mlp'],
      ['linear-attention'],
      ['mlp'],
    ]);
    const mlp = 32 + 2 * 32 * 128 + 128 + 32; // norm, weights, biases
    const mixer = 32 + 2 * 32 * 6 + 2 * 32 * 10; // norm, q and k, v and o
    expect(layers.map(({ params }) => params)).toEqual([mlp, mixer, mlp]);
    expect(tree.params).toBe(50 * 32 + 2 * mlp + mixer + 32);
    expect(tree.stateBytes).toBe(4 * 2 * (3 * 5 + 3));
    expect(tree.formulas.stateBytes.toString()).toBe(
      '4 batch headDim nHeads nLinearAttention valueDim + 4 batch headDim nHeads nLinearAttention',
    );

    const cached = {
      ...small,
      mixer: { type: 'softmax-attention', nHeads: 4, nKvHeads: 2, valueDim: 5 },
    } as const;
    expect(cost(cached, { mode: 'decode', promptLength: 10 }).stateBytes).toBe(4 * 3 * 11 * 2 * (8 + 5));
  });

  it('knows what grows: the cache of attention, not the state of Mamba', () => {
    expect(grows(mamba, 'stateBytes')).toBe('O(1)');
    expect(grows(gpt2, 'stateBytes')).toBe('O(position)');
    expect(grows(gpt2, 'flops')).toBe('O(position)');
    expect(grows({ ...small, mixer: mixers.window(8) }, 'stateBytes')).toBe('O(1)');
    expect(training(mamba)).toBe('O(seqLen)');
    expect(training(gpt2)).toBe('O(seqLen^2)');
  });

  it('refuses a kind of count that there is none of', () => {
    const options = { mode: 'decode', promptLength: 9, grain: 'kernel' } as unknown as CostOptions;
    expect(() => cost(gpt2, options)).toThrow(
      "cost: grain must be algorithmGrain or kernelGrain, got 'kernel'",
    );
  });

  it('takes elements as wide as they are', () => {
    const options: CostOptions = { mode: 'decode', promptLength: 99 };
    const full = cost(gpt2, options);
    const half = cost(gpt2, { ...options, dtype: 'float16' });
    const mixed = cost(gpt2, { ...options, dtype: { weights: 'int4', state: 'int8' } });
    expect(full.weightBytes).toBe(4 * 124_439_808);
    expect(half.weightBytes).toBe(2 * 124_439_808);
    expect(half.bytesWritten).toBe(full.bytesWritten / 2);
    // Biases, norms and learned positions stay float32; a block of 32 has a scale of 2 bytes.
    const matrices = 768 * (50_257 + 12 * 12 * 768);
    expect(mixed.weightBytes).toBe((matrices * 18) / 32 + 4 * (124_439_808 - matrices));
    expect(cost(gpt2, { ...options, dtype: { weights: 'float16' } }).weightBytes).toBe(
      2 * matrices + 4 * (124_439_808 - matrices),
    );
    expect(full.stateBytes).toBe(2 * 12 * 100 * 768 * 4);
    expect(mixed.stateBytes).toBe(full.stateBytes / 4);
  });

  it('trades one more forward pass for the memory of activations', () => {
    const options: CostOptions = { mode: 'train', promptLength: 512 };
    const whole = cost(gpt2, options);
    const again = cost(gpt2, { ...options, recompute: true });
    expect(again.activationBytes).toBeLessThan(whole.activationBytes / 3);
    expect(again.flops).toBeGreaterThan(whole.flops);
    expect(again.flops).toBeLessThan(1.34 * whole.flops);
    expect(whole.optimizerBytes).toBe(8 * whole.params);
    expect(whole.gradientBytes).toBe(4 * whole.params);
    expect(cost(gpt2, { ...options, optimizer: 'none' }).optimizerBytes).toBe(0);
  });

  it('takes three times the FLOPs of a forward pass to train, and 2 a parameter and token forward', () => {
    const wide: ModelConfig = { ...gpt2, dModel: 4096, mixer: { type: 'softmax-attention', nHeads: 32 } };
    const train = cost(wide, { mode: 'train', promptLength: 256, optimizer: 'none' });
    const forward = cost(wide, { mode: 'prefill', promptLength: 256, allLogits: true });
    expect(train.flops / forward.flops).toBeCloseTo(3, 1);
    const matrices = forward.params - 1024 * 4096;
    expect(forward.flops / (2 * matrices * 256)).toBeCloseTo(1, 1);
  });

  it.each([
    [
      { ...small, mixer: { type: 'mamba', dState: 0 } },
      {},
      'cost: mixer.dState must be a whole number from 1 up, got 0',
    ],
    [{ ...small, mixer: { type: 'rwkv' } }, {}, 'cost: mixer.type must be one of'],
    [{ ...small, mixer: [mixers.linear()] }, {}, 'mixer must be one, or 3 as there are layers, got 1'],
    [
      { ...small, dModel: 2.5, mixer: mixers.linear() },
      {},
      'dModel must be a whole number from 1 up, got 2.5',
    ],
    [
      { ...small, mixer: { type: 'softmax-attention', nHeads: 5 } },
      {},
      'nHeads must be a divisor of dModel = 32',
    ],
    [
      { ...small, mixer: mixers.linear(), mlp: 'tanh' },
      {},
      "mlp must be one of 'none', 'relu', 'relu2', 'gelu', 'swiglu', got 'tanh'",
    ],
    [
      { ...small, mixer: { type: 'none' }, mlp: ['relu', 'none', 'relu'] },
      {},
      "mlp[1] must be other than 'none' in layer 1, which has no mixer, got 'none'",
    ],
    [
      { ...small, mixer: { ...mixers.linear(), valueDim: 0 } },
      {},
      'mixer.valueDim must be a whole number from 1 up, got 0',
    ],
    [mamba, { promptLength: NaN }, 'promptLength must be a whole number'],
    [mamba, { dtype: 'int3' }, "dtype must be 'float64', 'float32'"],
    [mamba, { mode: 'infer' }, "mode must be 'train'"],
  ])('refuses %j with %j', (config, options, message) => {
    const all = { mode: 'decode', promptLength: 5, ...options } as CostOptions;
    expect(() => cost(config as ModelConfig, all)).toThrow(message);
    expect(() => cost(config as ModelConfig, all)).toThrow(ArgumentError);
  });
});
