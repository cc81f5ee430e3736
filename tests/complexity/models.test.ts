/** Formulas of whole models against what their kernels execute: prefill, decoding, a step of training. */
import { createTape } from '@freelunch/autograd';
import { cost, type CostOptions, kernelGrain, type ModelConfig as CostedConfig } from '@freelunch/complexity';
import { QuantizedTensor } from '@freelunch/kernels';
import { createModel, type LanguageModel, type ModelConfig, quantizeModel } from '@freelunch/models';
import { describe, expect, it } from 'vitest';
import { type Counts, CountingKernels } from './counting.ts';

const base = { vocabSize: 50, dModel: 32, nLayers: 2 };

/** `atMost`: attention leaves out work that depends on the scores (see kernels.test.ts). */
const models: Record<string, { config: ModelConfig; atMost?: boolean }> = {
  mamba: { config: { ...base, mixer: { type: 'mamba', dState: 8 } } },
  'mamba, no convolution': { config: { ...base, mixer: { type: 'mamba', dState: 6, dConv: 0, bias: true } } },
  mamba2: { config: { ...base, mixer: { type: 'mamba2', dState: 16, headDim: 16 } } },
  'mamba2, groups': {
    config: {
      ...base,
      mixer: { type: 'mamba2', dState: 6, headDim: 8, nGroups: 2, chunkSize: 16 },
      tieEmbeddings: false,
    },
  },
  'mamba, norms inside, multipliers': {
    config: {
      ...base,
      mixer: { type: 'mamba', dState: 6, dtRank: 3, innerNorms: 'weighted' },
      mlp: 'relu2',
      embeddingMultiplier: 3,
      residualMultiplier: 0.5,
      logitsMultiplier: 0.25,
    },
  },
  'mamba2, a norm over all channels or none, with attention of its own positions': {
    config: {
      ...base,
      nLayers: 3,
      mixer: [
        { type: 'mamba2', dState: 6, headDim: 8, nGroups: 2, normGroups: 1, outBias: true, chunkSize: 16 },
        { type: 'mamba2', dState: 6, headDim: 8, gatedNorm: false, chunkSize: 16 },
        {
          type: 'softmax-attention',
          nHeads: 2,
          qkvBias: true,
          dConv: 3,
          position: { type: 'rope', rotaryDim: 8 },
        },
      ],
    },
    atMost: true,
  },
  mamba3: { config: { ...base, mixer: { type: 'mamba3', dState: 16, headDim: 16 } } },
  'mamba3, several ranks': {
    config: {
      ...base,
      mixer: { type: 'mamba3', dState: 6, headDim: 8, nGroups: 2, mimo: true, nRanks: 3, outputNorm: true },
      tieEmbeddings: false,
    },
  },
  'linear attention': { config: { ...base, mixer: { type: 'linear-attention', nHeads: 2 }, mlp: 'swiglu' } },
  retention: {
    config: { ...base, mixer: { type: 'linear-attention', nHeads: 2, forget: 'retention' }, mlp: 'gelu' },
  },
  'gated a token': { config: { ...base, mixer: { type: 'linear-attention', nHeads: 2, forget: 'token' } } },
  'gated a channel': {
    config: { ...base, mixer: { type: 'linear-attention', nHeads: 2, forget: 'channel' } },
  },
  'linear attention, wide values': {
    config: {
      ...base,
      mixer: { type: 'linear-attention', nHeads: 2, headDim: 6, valueDim: 21 },
      mlp: 'relu',
    },
  },
  'gated a channel, narrow values': {
    config: {
      ...base,
      mixer: { type: 'linear-attention', nHeads: 3, headDim: 10, valueDim: 3, forget: 'channel' },
    },
  },
  'layers without a mixer': {
    config: {
      ...base,
      nLayers: 4,
      mixer: [
        { type: 'none' },
        { type: 'mamba', dState: 8 },
        { type: 'none' },
        { type: 'delta-rule', nHeads: 2 },
      ],
      mlp: [{ type: 'relu', dHidden: 37, bias: false }, 'none', 'relu', 'swiglu'],
    },
  },
  'no mixer at all': {
    config: {
      ...base,
      mixer: { type: 'none' },
      mlp: ['gelu', 'relu'],
      norm: 'none',
      position: { type: 'learned', maxLength: 256 },
    },
  },
  'delta rule': { config: { ...base, mixer: { type: 'delta-rule', nHeads: 2 } } },
  'delta rule with convolutions': { config: { ...base, mixer: { type: 'delta-rule', nHeads: 2, dConv: 4 } } },
  'linear attention with convolutions': {
    config: { ...base, mixer: { type: 'linear-attention', nHeads: 2, valueDim: 24, dConv: 3 } },
  },
  'gated delta rule': { config: { ...base, mixer: { type: 'delta-rule', nHeads: 2, gated: true } } },
  softmax: {
    config: { ...base, mixer: { type: 'softmax-attention', nHeads: 2 }, mlp: 'swiglu', position: 'rope' },
    atMost: true,
  },
  window: {
    config: {
      ...base,
      mixer: { type: 'softmax-attention', nHeads: 2, nKvHeads: 1, window: 16 },
      mlp: 'swiglu',
      position: 'alibi',
    },
    atMost: true,
  },
  strided: {
    config: {
      ...base,
      mixer: { type: 'softmax-attention', nHeads: 2, sparse: { pattern: 'strided', stride: 16 } },
    },
    atMost: true,
  },
  gpt2: {
    config: {
      ...base,
      mixer: { type: 'softmax-attention', nHeads: 2 },
      mlp: 'gelu',
      norm: 'layer',
      position: { type: 'learned', maxLength: 256 },
    },
    atMost: true,
  },
  'softmax, wide values': {
    config: {
      ...base,
      mixer: { type: 'softmax-attention', nHeads: 2, nKvHeads: 1, headDim: 6, valueDim: 21 },
      position: 'rope',
      mlp: 'relu',
    },
    atMost: true,
  },
  'gpt2, narrow values': {
    config: {
      ...base,
      mixer: { type: 'softmax-attention', nHeads: 2, valueDim: 5 },
      mlp: 'gelu',
      norm: 'layer',
      position: { type: 'learned', maxLength: 256 },
    },
    atMost: true,
  },
  'gated delta net and gated attention': {
    config: {
      ...base,
      mixer: [
        { type: 'gated-delta-net', nKeyHeads: 2, nValueHeads: 6, headDim: 6, valueDim: 5 },
        { type: 'softmax-attention', nHeads: 2, nKvHeads: 1, qkNorm: true, outputGate: true },
      ],
      mlp: 'swiglu',
      norm: { type: 'rms', zeroCentered: true },
      position: { type: 'rope', rotaryDim: 4 },
    },
    atMost: true,
  },
  'shared blocks': {
    config: {
      ...base,
      nLayers: 3,
      mixer: { type: 'mamba2', dState: 6, headDim: 16 },
      sharedBlocks: {
        layers: [0, 2],
        attention: { type: 'softmax-attention', nHeads: 2, headDim: 16 },
        dHidden: 24,
        bias: true,
        adapterRank: 5,
        attentionAdapters: true,
      },
      position: 'rope',
    },
    atMost: true,
  },
  'short convolutions': {
    config: {
      ...base,
      mixer: [
        { type: 'short-conv', bias: true },
        { type: 'gated-delta-net', nKeyHeads: 2, dConv: 0 },
      ],
      mlp: 'relu2',
    },
  },
  'in parallel, with multipliers': {
    config: {
      ...base,
      mixer: {
        type: 'parallel',
        branches: [
          {
            mixer: {
              type: 'mamba2',
              dState: 6,
              headDim: 8,
              nGroups: 2,
              gatedNorm: false,
              multipliers: [0.5, 2, 3, 4, 5],
            },
            inMultiplier: 2,
            outMultiplier: 0.5,
          },
          {
            mixer: { type: 'softmax-attention', nHeads: 2, keyMultiplier: 0.5, qkvBias: true },
            outMultiplier: 3,
          },
        ],
      },
      mlp: { type: 'swiglu', gateMultiplier: 2, outMultiplier: 0.5 },
      position: {
        type: 'rope',
        scaling: {
          type: 'llama3',
          factor: 8,
          lowFreqFactor: 1,
          highFreqFactor: 4,
          originalMaxLength: 64,
        },
      },
      embeddingMultiplier: 3,
      residualMultiplier: 0.25,
      logitsMultiplier: 0.5,
    },
    atMost: true,
  },
  hybrid: {
    config: {
      ...base,
      mixer: [
        { type: 'mamba', dState: 8 },
        { type: 'softmax-attention', nHeads: 2 },
      ],
      mlp: 'swiglu',
    },
    atMost: true,
  },
};

const counting = await CountingKernels.load();
const { k } = counting;

const tokensOf = (batch: number, seqLen: number) =>
  Array.from({ length: batch }, (_, b) =>
    Array.from({ length: seqLen }, (__, i) => (7 * i + b) % base.vocabSize),
  );

/** Counts, where tensors of a state that grow must outlive the count. */
const unscoped = (run: () => unknown) => counting.count(run, { scoped: false });

/** What a model's kernels execute. */
function counted(
  model: LanguageModel,
  batch: number,
  seqLen: number,
): Record<'prefill' | 'decode' | 'train' | 'recompute', Counts> {
  const tokens = tokensOf(batch, seqLen);
  const parameters = [...model.parameters().values()];
  using state = model.initialState(batch);
  const prefill = unscoped(() => model.forward(tokens, { state, lastOnly: true }).dispose());
  const decode = unscoped(() =>
    model
      .step(
        tokens.map(() => 3),
        state,
      )
      .dispose(),
  );
  const train = (checkpoint: boolean) =>
    counting.count(() => {
      const tape = createTape(k, parameters);
      const gradients = tape.backward(model.loss(tokens, { tape, checkpoint }));
      for (const parameter of parameters) {
        const moment = () => k.zeros(parameter.shape);
        k.adamW({
          parameter,
          gradient: gradients.get(parameter)!,
          m: moment(),
          v: moment(),
          step: 1,
          learningRate: 0,
        });
      }
    });
  return { prefill, decode, train: train(false), recompute: train(true) };
}

const optionsOf = (mode: string, batch: number, promptLength: number): CostOptions =>
  mode === 'recompute'
    ? { mode: 'train', recompute: true, batch, promptLength }
    : { mode: mode as CostOptions['mode'], batch, promptLength };

describe.each(Object.entries(models))('%s', (_, { config, atMost = false }) => {
  const model = createModel(k, config);

  it.each(['float16', 'bfloat16', 'int8', 'int4'] as const)('takes the bytes that it says as %s', (dtype) => {
    k.scope(() => {
      const bytes = [...quantizeModel(model, { dtype }).weights().values()].map((weight) =>
        weight instanceof QuantizedTensor ? weight.bytes : 4 * weight.size,
      );
      const { weightBytes } = cost(config, { mode: 'decode', promptLength: 1, dtype: { weights: dtype } });
      expect(bytes.reduce((total, some) => total + some, 0)).toBe(weightBytes);
    });
  });

  it.each([
    [1, 5],
    [2, 33],
    [1, 150],
  ])('executes what its formula says, batch %i of %i tokens', (batch, seqLen) => {
    for (const [mode, counts] of Object.entries(counted(model, batch, seqLen))) {
      const formula = cost(config, { ...optionsOf(mode, batch, seqLen), grain: kernelGrain });
      expect(formula.macs, `macs of ${mode}`).toBe(counts.macs);
      for (const figure of ['flops', 'transcendentals'] as const) {
        const message = `${figure} of ${mode}`;
        if (!atMost) {
          expect(formula[figure], message).toBe(counts[figure]);
          continue;
        }
        expect(formula[figure], message).toBeGreaterThanOrEqual(counts[figure]);
        // Tiles of sparse passes are short: their exps that a new maximum asks for weigh more.
        const most = figure === 'flops' || !JSON.stringify(config).includes('sparse') ? 1.02 : 1.04;
        expect(formula[figure], message).toBeLessThan(most * counts[figure]);
      }
    }
  });

  it('has as many parameters', () => {
    expect(cost(config, { mode: 'prefill', promptLength: 1 }).params).toBe(model.parameterCount);
  });

  it('keeps as much for the backward pass', () => {
    const [batch, seqLen] = [2, 64];
    k.scope(() => {
      const before = k.memory.usedBytes;
      const tape = createTape(k, model.parameters().values());
      model.loss(tokensOf(batch, seqLen), { tape });
      const kept = k.memory.usedBytes - before;
      const { activationBytes } = cost(config, { mode: 'train', batch, promptLength: seqLen });
      // Token ids and targets are kept besides, and blocks are rounded up.
      expect(kept).toBeGreaterThanOrEqual(activationBytes);
      expect(kept).toBeLessThan(1.02 * activationBytes + 8192);
    });
  });

  // Caches have room for a power of two, which 128 tokens fill; that of a window for two of it, and for 64 tokens at least.
  it('has a state of as many bytes', () => {
    const { stateBytes } = cost(config, { mode: 'decode', promptLength: 127 });
    const window = 'window' in config.mixer ? config.mixer.window : undefined;
    const room = window === undefined ? 1 : Math.max(64, 2 * window) / window;
    expect(room * stateBytes).toBe(model.stateBytes(128));
  });
});

describe('formulas without tiles', () => {
  const sizes = { vocabSize: 256, dModel: 128, nLayers: 2 };
  const heads = { nHeads: 2 };
  const wide: Record<string, CostedConfig> = {
    mamba: { ...sizes, mixer: { type: 'mamba' } },
    mamba2: { ...sizes, mixer: { type: 'mamba2', dState: 64 } },
    'linear attention': { ...sizes, mixer: { type: 'linear-attention', ...heads }, mlp: 'swiglu' },
    'gated linear attention': { ...sizes, mixer: { type: 'linear-attention', ...heads, forget: 'channel' } },
    'delta rule': { ...sizes, mixer: { type: 'delta-rule', ...heads }, mlp: 'swiglu' },
    softmax: { ...sizes, mixer: { type: 'softmax-attention', ...heads }, mlp: 'swiglu', position: 'rope' },
    window: {
      ...sizes,
      mixer: { type: 'softmax-attention', ...heads, window: 120 },
      mlp: 'swiglu',
      position: 'rope',
    },
    hybrid: { ...sizes, mixer: [{ type: 'mamba' }, { type: 'softmax-attention', ...heads }], mlp: 'swiglu' },
  };

  // The kernels' own formulas are equal to the counts (above); so they stand for counts at sizes that are slow to count.
  it.each(Object.entries(wide))('are within 2 % of the executed FLOPs: %s', (_, config) => {
    for (const promptLength of [240, 480, 600, 960, 1920]) {
      for (const mode of ['prefill', 'train'] as const) {
        const executed = cost(config, { mode, promptLength, grain: kernelGrain }).flops;
        expect(
          Math.abs(cost(config, { mode, promptLength }).flops / executed - 1),
          `${mode} ${promptLength}`,
        ).toBeLessThan(0.02);
      }
    }
  });

  // A product with one row sums the lanes of each of its outputs: 4 FLOPs more to 2 k of them.
  it.each(Object.entries(wide))(
    'are within 2 % of the FLOPs of a step at the width of a published model: %s',
    (_, config) => {
      const large = JSON.parse(
        JSON.stringify({ ...config, dModel: 768 }).replaceAll('"nHeads":2', '"nHeads":12'),
      ) as CostedConfig;
      for (const promptLength of [1, 100, 500, 1000, 4000]) {
        const executed = cost(large, { mode: 'decode', promptLength, grain: kernelGrain }).flops;
        expect(
          Math.abs(cost(large, { mode: 'decode', promptLength }).flops / executed - 1),
          `${promptLength}`,
        ).toBeLessThan(0.02);
      }
    },
  );
});
