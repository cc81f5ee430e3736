/** Whatever a field of a config holds: an ArgumentError that names it, or a model that computes and has a cost. */
import { algorithmGrain, cost, kernelGrain } from '@freelunch/complexity';
import type { ModelConfig } from '@freelunch/config';
import { ArgumentError, OutOfMemoryError, UnsupportedError } from '@freelunch/errors';
import { loadKernels } from '@freelunch/kernels';
import { createModel } from '@freelunch/models';
import { describe, expect, it } from 'vitest';

const k = await loadKernels();
const values = [0, -1, 0.5, NaN, Infinity, 1e15, '1', null, [], {}];

const base = { vocabSize: 11, dModel: 8, nLayers: 1 };
const heads = { nHeads: 2, headDim: 4 };
/** Configs whose parts have every field that there is. */
const configs: Record<string, object> = {
  mamba: {
    ...base,
    mixer: { type: 'mamba', dState: 3, dConv: 4, expand: 2, dInner: 16, dtRank: 2, bias: true, convBias: true, innerNorms: 'none', innerNormEps: 1e-5 },
    mlp: { type: 'relu', dHidden: 5, bias: true, experts: 1, active: 1 },
    norm: { type: 'rms', eps: 1e-5, zeroCentered: false },
    tieEmbeddings: true,
    embeddingMultiplier: 1,
    residualMultiplier: 1,
    logitsMultiplier: 1,
    naming: 'mamba',
    seed: 1,
  },
  mamba2: {
    ...base,
    mixer: { type: 'mamba2', dState: 3, dConv: 4, expand: 2, dInner: 16, headDim: 8, nGroups: 1, chunkSize: 8, bias: true, convBias: true, outBias: true, gatedNorm: true, normBeforeGate: true, normGroups: 1, normEps: 1e-5, dtLimit: [0, 1], multipliers: undefined },
    mlp: { type: 'gelu', approximate: 'tanh', dHidden: 5 },
  },
  mamba3: {
    ...base,
    mixer: { type: 'mamba3', dState: 4, expand: 2, dInner: 16, headDim: 8, nGroups: 1, nAngles: 2, mimo: true, nRanks: 2, outputNorm: true, aFloor: 1e-4, normEps: 1e-5, chunkSize: 8 },
  },
  'linear attention': {
    ...base,
    mixer: { type: 'linear-attention', ...heads, valueDim: 4, featureMap: 'relu', normalize: true, forget: 'none' },
    mlp: 'swiglu',
    norm: 'layer',
  },
  'delta rule': { ...base, mixer: { type: 'delta-rule', ...heads, gated: true } },
  rotary: {
    ...base,
    mixer: { type: 'softmax-attention', ...heads, nKvHeads: 1, valueDim: 4, window: 3, bias: true, qkvBias: true, qkNorm: false, outputGate: false, scale: undefined, keyMultiplier: 1, dConv: 0, position: { type: 'alibi' }, sparse: { pattern: 'fixed', stride: 4, summary: 1 } },
    position: { type: 'rope', base: 100, rotaryDim: 2, convention: 'half', scaling: undefined },
  },
  learned: {
    ...base,
    mixer: { type: 'softmax-attention', ...heads, sparse: { pattern: 'strided', stride: 4 } },
    position: { type: 'learned', maxLength: 64 },
  },
  scaled: {
    ...base,
    mixer: { type: 'softmax-attention', ...heads },
    position: { type: 'rope', scaling: { type: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxLength: 64 } },
  },
  yarn: {
    ...base,
    mixer: { type: 'softmax-attention', ...heads, qkNorm: true, outputGate: true, scale: 0.4, keyMultiplier: 0.5, dConv: 2, position: { type: 'rope', scaling: { type: 'yarn', factor: 2, originalMaxLength: 9, betaFast: 3, betaSlow: 0.5, attentionFactor: 1.1, truncate: false } } },
    mlp: { type: 'swiglu', dHidden: 5, gateMultiplier: 2, outMultiplier: 0.5 },
    norm: { type: 'rms', zeroCentered: true },
    embeddingMultiplier: 2,
    residualMultiplier: 0.5,
    logitsMultiplier: 3,
  },
  dynamic: {
    ...base,
    mixer: { type: 'gated-delta-net', nKeyHeads: 1, nValueHeads: 2, headDim: 4, valueDim: 3, dConv: 2, normEps: 1e-5 },
    mlp: { type: 'relu2', dHidden: 5 },
    position: { type: 'rope', scaling: { type: 'dynamic', factor: 2, originalMaxLength: 2 } },
  },
  parallel: {
    ...base,
    mixer: {
      type: 'parallel',
      branches: [
        { mixer: { type: 'mamba2', dState: 3, headDim: 8 } },
        { mixer: { type: 'softmax-attention', ...heads }, inMultiplier: 2, outMultiplier: 0.5 },
      ],
    },
    position: { type: 'rope', scaling: { type: 'linear', factor: 2 } },
  },
  'shared blocks': {
    ...base,
    nLayers: 2,
    mixer: { type: 'mamba2', dState: 3, headDim: 8 },
    sharedBlocks: { layers: [0, 1], count: 1, attention: { ...heads, type: 'softmax-attention' }, dHidden: 5, bias: true, adapterRank: 2, attentionAdapters: true },
  },
  'per layer': {
    ...base,
    nLayers: 2,
    mixer: [{ type: 'short-conv', dConv: 2, bias: true }, { type: 'none' }],
    mlp: ['none', { type: 'swiglu', dHidden: 5, bias: true, gateMultiplier: 1, outMultiplier: 1, experts: 2, active: 1 }],
  },
}; // prettier-ignore

/** The same config with one field, however deep, of another value. */
function* variants(
  value: unknown,
  path: string[] = [],
): Generator<{ path: string[]; config: (to: unknown) => unknown }> {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, item] of Object.entries(value)) {
    const here = [...path, key];
    yield {
      path: here,
      config: (to) => (Array.isArray(value) ? value.with(Number(key), to) : { ...value, [key]: to }),
    };
    for (const { path: deeper, config } of variants(item, here))
      yield {
        path: deeper,
        config: (to) =>
          Array.isArray(value) ? value.with(Number(key), config(to)) : { ...value, [key]: config(to) },
      };
  }
}

const outcomeOf = (run: () => void): unknown => {
  try {
    return run();
  } catch (error) {
    return error;
  }
};

describe.each(Object.entries(configs))('%s', (_, config) => {
  const fields = [...variants(config)].map((variant) => [variant.path.join('.'), variant] as const);

  it.each(fields)(
    'has a field %s whose every value is refused by name, or works',
    (_name, { path, config: change }) => {
      for (const value of values) {
        const changed = change(value) as ModelConfig;
        const named = (error: unknown) =>
          path.filter((key) => !/^\d+$/.test(key)).some((key) => (error as Error).message.includes(key));
        const costed = outcomeOf(() => {
          for (const mode of ['train', 'prefill', 'decode', 'generate'] as const)
            for (const grain of [algorithmGrain, kernelGrain])
              expect(cost(changed, { mode, grain, promptLength: 9, newTokens: 2 }).flops).toBeGreaterThan(0);
        });
        if (costed !== undefined) {
          expect(costed).toBeInstanceOf(ArgumentError);
          expect(named(costed), String(costed)).toBe(true);
        }
        const made = outcomeOf(() => {
          using model = createModel(k, changed);
          expect(model.forward([1, 2, 3]).data.every(Number.isFinite)).toBe(true);
          using state = model.initialState();
          expect(model.step(1, state).data.every(Number.isFinite)).toBe(true);
        });
        if (made === undefined) expect(costed).toBe(undefined);
        else if (costed !== undefined) {
          expect(made).toBeInstanceOf(ArgumentError);
          expect((made as Error).message.replace('createModel', 'cost')).toBe((costed as Error).message);
        } else {
          // Configs say more than models compute, and larger models than memory holds.
          expect(made instanceof UnsupportedError || made instanceof OutOfMemoryError, String(made)).toBe(
            true,
          );
        }
      }
    },
  );
});
