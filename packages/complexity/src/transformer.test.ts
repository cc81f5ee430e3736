import type { ModelConfig } from '@freelunch/config';
import { describe, expect, it } from 'vitest';
import { cost } from './cost.js';
import { transformerLike } from './transformer.js';

const paramsOf = (config: ModelConfig) => cost(config, { mode: 'decode', promptLength: 1 }).params;
const base = { vocabSize: 1000, dModel: 256, nLayers: 8 };
const attention = { type: 'softmax-attention', nHeads: 2, nKvHeads: 1, headDim: 96 } as const;

describe('transformerLike', () => {
  it.each<[string, ModelConfig, number, object]>([
    [
      'of Mamba, two layers of which are one',
      { ...base, mixer: { type: 'mamba' } },
      4,
      { nHeads: 4, nKvHeads: 1, headDim: 64 },
    ],
    [
      'of a hybrid with its heads',
      {
        ...base,
        mixer: [0, 1, 2, 3, 4, 5, 6, 7].map((i) => (i === 5 ? attention : { type: 'mamba2' as const })),
        mlp: 'swiglu',
      },
      8,
      { nHeads: 2, nKvHeads: 1, headDim: 96 },
    ],
    [
      'of layers that are one or the other',
      {
        ...base,
        mixer: [0, 1, 2, 3, 4, 5, 6, 7].map((i) =>
          i % 2 === 0 ? { type: 'mamba2' as const } : { type: 'none' as const },
        ),
        mlp: [0, 1, 2, 3, 4, 5, 6, 7].map((i) => (i % 2 === 0 ? 'none' : 'relu')),
      },
      4,
      { headDim: 64 },
    ],
  ])('has as many parameters: %s', (_title, config, nLayers, heads) => {
    const like = transformerLike(config);
    expect(like).toMatchObject({
      vocabSize: 1000,
      dModel: 256,
      nLayers,
      position: 'rope',
      mixer: { type: 'softmax-attention', ...heads },
    });
    const width = (like.mlp as { dHidden: number }).dHidden;
    const apart = Math.abs(paramsOf(like) - paramsOf(config));
    for (const other of [width - 8, width + 8])
      expect(apart).toBeLessThanOrEqual(Math.abs(paramsOf({ ...like, mlp: { type: 'swiglu', dHidden: other } }) - paramsOf(config))); // prettier-ignore
    expect(apart / paramsOf(config)).toBeLessThan(0.01);
  });

  it('has experts where the model has them', () => {
    const mlp = [1, 4].map((experts) => ({ type: 'swiglu' as const, dHidden: 512, experts, active: 1 }));
    const config: ModelConfig = { ...base, nLayers: 2, mixer: { type: 'mamba2' }, mlp };
    const like = transformerLike(config);
    expect(like.mlp).toMatchObject([{ experts: 1 }, { experts: 4, active: 1 }]);
    expect(Math.abs(paramsOf(like) / paramsOf(config) - 1)).toBeLessThan(0.01);
    expect(() => transformerLike({ ...config, mlp: ['none', mlp[1]] })).not.toThrow();
    expect(() => transformerLike({ ...config, nLayers: 4, mlp: ['none', 'none', 'none', mlp[1]] })).toThrow(
      /if there are experts/,
    );
  });

  it('counts mixers side by side as one layer, and shared blocks as often as they are used', () => {
    const branches = [{ mixer: { type: 'mamba2' as const } }, { mixer: attention }];
    const parallel: ModelConfig = { ...base, mixer: { type: 'parallel', branches }, mlp: 'swiglu' };
    expect(transformerLike(parallel)).toMatchObject({ nLayers: 8, mixer: { nHeads: 2, headDim: 96 } });
    const shared: ModelConfig = {
      ...base,
      mixer: { type: 'mamba2' },
      sharedBlocks: {
        layers: [1, 3, 5],
        attention: { type: 'softmax-attention', nHeads: 4 },
        dHidden: 512,
        adapterRank: 8,
      },
    };
    expect(transformerLike(shared)).toMatchObject({ nLayers: 7, mixer: { nHeads: 4, headDim: 128 } });
  });

  it('is the model itself, of a Transformer of that form', () => {
    const llama: ModelConfig = { ...base, mixer: attention, mlp: { type: 'swiglu', dHidden: 320 }, position: 'rope', tieEmbeddings: false }; // prettier-ignore
    const like = transformerLike(llama);
    expect([like.nLayers, like.mlp, like.tieEmbeddings, paramsOf(like)]).toEqual([8, { type: 'swiglu', dHidden: 320 }, false, paramsOf(llama)]); // prettier-ignore
  });

  it('is refused where attention alone is larger', () => {
    const tiny: ModelConfig = { ...base, mixer: { type: 'mamba', dInner: 4, dState: 1, dtRank: 1 } };
    expect(() => transformerLike(tiny)).toThrow(
      /transformerLike: config must have at least the \d+ parameters/,
    );
  });
});
