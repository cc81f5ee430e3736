import { ArgumentError } from '@freelunch/errors';
import { describe, expect, it } from 'vitest';
import { limits, type ModelConfig, resolveConfig } from './index.js';

const sizes = { vocabSize: 29, dModel: 32, nLayers: 2 };
const attention = { type: 'softmax-attention', nHeads: 4 } as const;
const resolve = (config: object) => () => resolveConfig(config as ModelConfig, 'createModel');

describe('resolveConfig', () => {
  it('fills in every default', () => {
    const mamba = {
      type: 'mamba',
      dState: 16,
      dConv: 4,
      dInner: 64,
      dtRank: 2,
      bias: false,
      convBias: true,
      innerNorms: 'none',
      innerNormEps: 1e-5,
    };
    expect(resolveConfig({ ...sizes, mixer: { type: 'mamba' } })).toEqual({
      ...sizes,
      mixers: [mamba, mamba],
      mlps: [{ type: 'none' }, { type: 'none' }],
      norm: { type: 'rms', eps: 1e-5, zeroCentered: false },
      position: { type: 'none' },
      tieEmbeddings: true,
      embeddingMultiplier: 1,
      residualMultiplier: 1,
      logitsMultiplier: 1,
      naming: 'mamba',
      embeddingStd: 0.02,
      seed: 0,
    });
  });

  it('refuses a deviation of embeddings that is not above 0', () => {
    const withStd = (embeddingStd: unknown) => () =>
      resolveConfig({ ...sizes, mixer: { type: 'mamba' }, embeddingStd } as ModelConfig);
    for (const bad of [0, -1, NaN, Infinity, '1', null])
      expect(withStd(bad)).toThrow(/^createModel: embeddingStd must be a finite number above 0, got /);
  });

  it('takes biases and names of GPT-2 and Llama from the architecture', () => {
    const gpt2 = { ...sizes, mixer: attention, mlp: 'gelu', norm: 'layer', position: { type: 'learned', maxLength: 9 } } as const; // prettier-ignore
    expect(resolveConfig(gpt2)).toMatchObject({
      naming: 'gpt2',
      mixers: [{ bias: true, qkvBias: true }, {}],
    });
    const llama = { ...sizes, mixer: attention, mlp: 'swiglu', position: 'rope' } as const;
    expect(resolveConfig(llama)).toMatchObject({
      naming: 'llama',
      mixers: [{ bias: false, nKvHeads: 4, headDim: 8, valueDim: 8 }, {}],
      mlps: [{ dHidden: 88, bias: false, experts: 1, active: 1 }, {}],
      position: { type: 'rope', base: 10000, convention: 'half' },
    });
  });

  it('fills in options of Mamba-2 and attention from others', () => {
    const mixer = { type: 'mamba2', headDim: 8, nGroups: 2, bias: true } as const;
    const norm = { type: 'rms', eps: 1e-3 } as const;
    const resolved = { outBias: true, normGroups: 2, normEps: 1e-3, gatedNorm: true };
    expect(resolveConfig({ ...sizes, mixer, norm }).mixers[0]).toMatchObject(resolved);
    const own = { ...attention, position: 'rope', bias: true } as const;
    expect(resolveConfig({ ...sizes, mixer: own }).mixers[0]).toMatchObject({
      qkvBias: true,
      position: { type: 'rope', base: 10000 },
    });
  });

  it('reads each option once', () => {
    let reads = 0;
    const config = { ...sizes, mixer: { type: 'mamba', get dState() { return ++reads; } } } as const; // prettier-ignore
    expect(resolveConfig(config).mixers[0]).toMatchObject({ dState: 1 });
  });

  it.each([
    [{ mixer: { type: 'mamba', dstate: 4 } }, "createModel: mixer: 'dstate' is not an option; did you mean 'dState'? The options are type, dState, dConv, expand, dInner, dtRank, bias, convBias, innerNorms, innerNormEps"], // prettier-ignore
    [{ mixer: { type: 'mamba', nHeads: 4 } }, "createModel: mixer: 'nHeads' is not an option"],
    [{ mixer: [attention, { type: 'delta-rule', nHeads: 4, gate: true }] }, "createModel: mixer[1]: 'gate' is not an option; did you mean 'gated'?"], // prettier-ignore
    [{ mixers: [] }, "createModel: 'mixers' is not an option; did you mean 'mixer'?"],
    [{ mlp: { type: 'relu', approximate: 'none' } }, "createModel: mlp: 'approximate' is not an option"],
    [{ mlp: { type: 'none', dHidden: 5 } }, "createModel: mlp: 'dHidden' is not an option"],
    [{ norm: { type: 'rms', epsilon: 1e-3 } }, "createModel: norm: 'epsilon' is not an option"],
    [{ position: { type: 'rope', theta: 5 } }, "createModel: position: 'theta' is not an option"],
    [{ position: { type: 'alibi', base: 5 } }, "createModel: position: 'base' is not an option"],
    [{ mixer: { ...attention, sparse: { pattern: 'fixed', stride: 4, sumary: 1 } } }, "mixer.sparse: 'sumary' is not an option; did you mean 'summary'?"], // prettier-ignore
  ])('refuses an option that there is none of: %j', (parts, message) => {
    expect(resolve({ ...sizes, mixer: { type: 'mamba' }, ...parts })).toThrow(message);
  });

  it.each([
    [{ nLayers: 1e15 }, 'nLayers must be at most 4096, got 1000000000000000'],
    [{ vocabSize: 2 ** 24 + 1 }, 'vocabSize must be at most 16777216, got 16777217'],
    [{ norm: { type: 'rms', eps: 0 } }, 'norm.eps must be a number from 1e-30 up, below 1, got 0'],
    [{ norm: { type: 'rms', eps: '0.5' } }, "norm.eps must be a number from 1e-30 up, below 1, got '0.5'"],
    [{ mixer: { ...attention, sparse: 5 } }, 'mixer.sparse must be an object with a pattern, got 5'],
    [{ mixer: { ...attention, sparse: { pattern: 'strided', stride: 0 } } }, 'mixer.sparse.stride must be a whole number from 1 up, got 0'], // prettier-ignore
    [{ mixer: { ...attention, sparse: { pattern: 'fixed', stride: 4, summary: 5 } } }, 'mixer.sparse.summary must be at most 4, got 5'], // prettier-ignore
    [{ mixer: { ...attention, sparse: { pattern: 'strided', stride: 4, summary: 1 } } }, "mixer.sparse.summary must be absent where the pattern is 'strided'"], // prettier-ignore
    [
      { mixer: { type: 'mamba2', headDim: 8, chunkSize: 5000 } },
      'mixer.chunkSize must be at most 1024, got 5000',
    ],
    [{ mixer: attention, position: { type: 'rope', rotaryDim: 10 } }, 'position.rotaryDim must be at most headDim = 8 of mixer, got 10'], // prettier-ignore
    [{ mixer: { ...attention, headDim: 5 }, position: 'rope' }, 'mixer.headDim must be even for rotary positions, or position.rotaryDim given, got 5'], // prettier-ignore
    [{ mixer: { type: 'mamba', expand: 2, dInner: 65 } }, 'mixer.dInner must be expand dModel = 64, or expand absent, got 65'], // prettier-ignore
    [{ mixer: { ...attention, scale: -1 } }, 'mixer.scale must be a finite number above 0, got -1'],
    [{ mixer: { ...attention, position: { type: 'learned', maxLength: 9 } } }, 'mixer.position must be none, rope or alibi'], // prettier-ignore
    [{ mixer: { ...attention, position: { type: 'rope', rotaryDim: 10 } } }, 'mixer.position.rotaryDim must be at most headDim = 8 of mixer, got 10'], // prettier-ignore
    [
      { mixer: { type: 'mamba3', headDim: 8, dState: 1 } },
      'mixer.dState must be a whole number from 2 up, got 1',
    ],
    [
      { mixer: { type: 'mamba3', headDim: 8, dState: 7, mimo: true } },
      'mixer.dState must be even where mimo is true, got 7',
    ],
    [
      { mixer: { type: 'mamba3', headDim: 8, nRanks: 2 } },
      'mixer.nRanks must be 1 or absent where mimo is false, got 2',
    ],
    [
      { mixer: { type: 'mamba3', headDim: 8, dState: 8, nAngles: 5 } },
      'mixer.nAngles must be at most 4, got 5',
    ],
    [{ mixer: { type: 'mamba2', headDim: 8, normGroups: 3 } }, 'mixer.normGroups must be a divisor of dInner = 64, got 3'], // prettier-ignore
    [{ mixer: { type: 'mamba2', headDim: 8, gatedNorm: false, normBeforeGate: true } }, 'mixer.normBeforeGate must be false or absent where gatedNorm is false'], // prettier-ignore
    [{ mixer: { type: 'mamba2', headDim: 8, multipliers: [1, 2, 3, 4] } }, 'mixer.multipliers must be five finite numbers, of z, x, B, C and dt'], // prettier-ignore
    [{ norm: { type: 'layer', zeroCentered: true } }, "norm.zeroCentered must be false or absent where the type is not 'rms', got true"], // prettier-ignore
    [{ residualMultiplier: NaN }, 'residualMultiplier must be a finite number, got NaN'],
    [{ naming: 'llama' }, "naming must be 'mamba': checkpoints of llama have names for softmax-attention, swiglu, rms norm and no learned positions alone, got 'llama'"], // prettier-ignore
    [{ mlp: { type: 'gelu', experts: 2, active: 3 } }, 'mlp.active must be at most 2, got 3'],
    [
      { mixer: { type: 'mamba2', headDim: 8, dtLimit: [Infinity, Infinity] } },
      'mixer.dtLimit must be [min, max]',
    ],
  ])('refuses what no model can have: %j', (parts, message) => {
    expect(resolve({ ...sizes, mixer: { type: 'mamba' }, ...parts })).toThrow(message);
    expect(resolve({ ...sizes, mixer: { type: 'mamba' }, ...parts })).toThrow(ArgumentError);
  });

  it.each([undefined, null, 5, 'x', [], {}])('refuses %j as a config', (config) => {
    expect(resolve(config as unknown as object)).toThrow(ArgumentError);
  });

  it('has limits far above the largest published models', () => {
    const llama405b = { vocabSize: 128256, dModel: 16384, nLayers: 126, mixer: { ...attention, nHeads: 128, nKvHeads: 8 }, mlp: { type: 'swiglu', dHidden: 53248 }, position: 'rope' } as const; // prettier-ignore
    expect(resolveConfig(llama405b).mlps[0]).toMatchObject({ dHidden: 53248 });
    for (const [size, most] of [
      [128256, limits.size],
      [53248, limits.size],
      [126, limits.nLayers],
      [128, limits.nHeads],
    ])
      // prettier-ignore
      expect(8 * size).toBeLessThan(most);
  });
});
