import { createTape } from '@freelunch/autograd';
import { ArgumentError, DisposedError, loadKernels, ShapeError } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { afterEach, describe, expect, it } from 'vitest';
import { createModel, type LanguageModel, type MixerConfig, type ModelConfig } from './index.js';

const k = await loadKernels({ variant: 'simd' });
afterEach(() => expect(k.memory.tensors).toBe(0));

const vocabSize = 29;
const sizes = { vocabSize, dModel: 32, nLayers: 2 };
const learned = { type: 'learned', maxLength: 200 } as const;

/** Every mixer with every option that changes its state or its positions. */
const mixers: MixerConfig[] = [
  { type: 'mamba' },
  { type: 'mamba', dState: 5, dConv: 0, dtRank: 3, bias: true },
  { type: 'mamba', dState: 4, dConv: 1, expand: 1, convBias: false },
  { type: 'mamba2', headDim: 16, dState: 16 },
  { type: 'mamba2', headDim: 16, dState: 8, nGroups: 2, chunkSize: 16, normBeforeGate: true },
  { type: 'mamba2', headDim: 64, dState: 3, dConv: 0, bias: true, dtLimit: [0.01, 0.05] },
  { type: 'mamba3', headDim: 16, dState: 16 },
  { type: 'mamba3', headDim: 8, dState: 7, nAngles: 3, nGroups: 2, outputNorm: true, chunkSize: 5 },
  { type: 'mamba3', headDim: 16, dState: 6, mimo: true, nRanks: 3, outputNorm: true, aFloor: 0.01 },
  { type: 'linear-attention', nHeads: 4 },
  { type: 'linear-attention', nHeads: 2, headDim: 5, featureMap: 'relu', normalize: false },
  { type: 'linear-attention', nHeads: 4, featureMap: 'identity', forget: 'retention' },
  { type: 'linear-attention', nHeads: 4, forget: 'token' },
  { type: 'linear-attention', nHeads: 4, forget: 'channel' },
  { type: 'linear-attention', nHeads: 2, headDim: 5, valueDim: 9 },
  { type: 'linear-attention', nHeads: 4, headDim: 6, valueDim: 3, forget: 'channel', normalize: true },
  { type: 'delta-rule', nHeads: 4 },
  { type: 'delta-rule', nHeads: 2, headDim: 6, gated: true },
  { type: 'delta-rule', nHeads: 2, gated: true, dConv: 3 },
  { type: 'linear-attention', nHeads: 2, valueDim: 6, forget: 'token', dConv: 4 },
  { type: 'softmax-attention', nHeads: 4 },
  { type: 'softmax-attention', nHeads: 4, nKvHeads: 2, window: 5, bias: true },
  { type: 'softmax-attention', nHeads: 4, nKvHeads: 1, headDim: 6, window: 40 },
  { type: 'softmax-attention', nHeads: 4, nKvHeads: 2, headDim: 6, valueDim: 11, window: 5 },
  {
    type: 'softmax-attention',
    nHeads: 2,
    headDim: 7,
    valueDim: 3,
    sparse: { pattern: 'strided', stride: 4 },
  },
];
const none: MixerConfig = { type: 'none' };
const attention: MixerConfig = { type: 'softmax-attention', nHeads: 4, nKvHeads: 2 };
const local: MixerConfig = { ...attention, window: 7 };

const configs: ModelConfig[] = [
  ...mixers.map((mixer) => Object.assign({ mixer }, sizes)),
  { ...sizes, mixer: attention, position: 'rope', mlp: 'swiglu' },
  { ...sizes, mixer: local, position: { type: 'rope', convention: 'interleaved', rotaryDim: 4, base: 100 } },
  { ...sizes, mixer: attention, position: 'alibi', mlp: { type: 'gelu', approximate: 'none' } },
  { ...sizes, mixer: local, position: 'alibi' },
  {
    ...sizes,
    mixer: { type: 'softmax-attention', nHeads: 2 },
    position: learned,
    norm: 'layer',
    mlp: 'gelu',
  },
  { ...sizes, mixer: local, position: learned, norm: 'none', tieEmbeddings: false },
  {
    ...sizes,
    nLayers: 4,
    mixer: [{ type: 'mamba' }, local, { type: 'delta-rule', nHeads: 2 }, attention],
    position: 'rope',
    mlp: 'swiglu',
  },
  {
    ...sizes,
    mixer: { type: 'softmax-attention', nHeads: 2, headDim: 5, valueDim: 9 },
    position: learned,
    norm: 'layer',
    mlp: 'gelu',
  },
  {
    ...sizes,
    nLayers: 4,
    mixer: [none, { type: 'mamba' }, none, attention],
    mlp: [{ type: 'relu', dHidden: 7, bias: false }, 'none', 'swiglu', { type: 'gelu', dHidden: 5 }],
  },
  { ...sizes, mixer: none, mlp: ['relu', 'gelu'], position: learned, norm: 'layer' },
];

function describeConfig({ mixer, position, mlp, norm }: ModelConfig): string {
  return JSON.stringify({ mixer, position, mlp, norm });
}

function tokensOf(batch: number, seqLen: number, seed = 0): number[][] {
  const rng = random(seed);
  return Array.from({ length: batch }, () => Array.from({ length: seqLen }, () => rng.integer(vocabSize)));
}

function using<T>(config: ModelConfig, test: (model: LanguageModel) => T): T {
  const model = createModel(k, config);
  try {
    return k.scope(() => test(model));
  } finally {
    model.dispose();
  }
}

/** Largest error of rows `[batch, vocabSize]` beside position `t` of `[batch, seqLen, vocabSize]`, of the largest value. */
function errorAt(step: Float32Array, full: Float32Array, batch: number, seqLen: number, t: number): number {
  let error = 0;
  let scale = 0;
  for (let b = 0; b < batch; b++) {
    for (let v = 0; v < vocabSize; v++) {
      const wanted = full[(b * seqLen + t) * vocabSize + v];
      error = Math.max(error, Math.abs(step[b * vocabSize + v] - wanted));
      scale = Math.max(scale, Math.abs(wanted));
    }
  }
  return error / scale;
}

describe.each(configs.map((config) => [describeConfig(config), config] as const))('%s', (_title, config) => {
  const batch = 2;
  const seqLen = 150; // past the first capacity of a cache, and past several windows

  it('gives by steps what it gives at once, wherever the prompt ends', () => {
    using(config, (model) => {
      const tokens = tokensOf(batch, seqLen);
      const full = model.forward(tokens).toArray();
      for (const prompt of [0, 1, 20, 131]) {
        const state = model.initialState(batch);
        let worst = 0;
        if (prompt > 0) {
          const logits = model.forward(
            tokens.map((row) => row.slice(0, prompt)),
            { state, lastOnly: true },
          );
          expect(logits.shape).toEqual([batch, 1, vocabSize]);
          worst = errorAt(logits.toArray(), full, batch, seqLen, prompt - 1);
        }
        for (let t = prompt; t < seqLen; t++) {
          using1(
            model.step(
              tokens.map((row) => row[t]),
              state,
            ),
            (logits) => (worst = Math.max(worst, errorAt(logits, full, batch, seqLen, t))),
          );
        }
        expect(state.position).toBe(seqLen);
        expect(worst).toBeLessThan(1e-5);
        state.dispose();
      }
    });
  });

  it('goes on in pieces of any length', () => {
    using(config, (model) => {
      const tokens = tokensOf(batch, seqLen, 1);
      const full = model.forward(tokens).toArray();
      const state = model.initialState(batch);
      let start = 0;
      for (const length of [1, 70, 2, 63, 14]) {
        const piece = tokens.map((row) => row.slice(start, start + length));
        const logits = model.forward(piece, { state }).toArray();
        for (let t = 0; t < length; t++) {
          const rows = Float32Array.from({ length: batch * vocabSize }, (_, i) => {
            const b = Math.floor(i / vocabSize);
            return logits[(b * length + t) * vocabSize + (i % vocabSize)];
          });
          expect(errorAt(rows, full, batch, seqLen, start + t)).toBeLessThan(1e-5);
        }
        start += length;
        expect(state.bytes).toBe(batch * model.stateBytes(start));
      }
      state.dispose();
    });
  });

  it('holds as many bytes as it says, after any number of steps', () => {
    using(config, (model) => {
      const state = model.initialState(1);
      const recurrent = ![config.mixer].flat().some((mixer) => mixer.type === 'softmax-attention');
      const first = model.stateBytes(0);
      for (const token of tokensOf(1, seqLen)[0]) {
        expect(state.bytes).toBe(model.stateBytes(state.position));
        if (recurrent) expect(state.bytes).toBe(first);
        model.step(token, state).dispose();
      }
      expect(state.bytes).toBe(model.stateBytes(seqLen));
      state.dispose();
    });
  });

  it('depends on no token that comes later', () => {
    using(config, (model) => {
      const [row] = tokensOf(1, 40);
      const other = row.map((token, t) => (t < 25 ? token : (token + 1) % vocabSize));
      const [a, b] = [row, other].map((tokens) => model.forward(tokens).toArray());
      expect(a.slice(0, 25 * vocabSize)).toEqual(b.slice(0, 25 * vocabSize));
      expect(a.slice(25 * vocabSize)).not.toEqual(b.slice(25 * vocabSize));
    });
  });

  it('has gradients that foretell how the loss changes', () => {
    using(config, (model) => {
      const tokens = tokensOf(2, 21);
      const parameters = [...model.parameters().values()];
      const tape = createTape(k, parameters);
      const gradients = tape.backward(model.loss(tokens, { tape }));
      // Along the gradient, as far in each parameter: none of them is drowned by the others.
      const sides = parameters.map((tensor) => {
        const gradient = gradients.get(tensor)!.toArray();
        const norm = Math.sqrt(gradient.reduce((sum, value) => sum + value * value, 0));
        return { tensor, start: tensor.toArray(), gradient, norm };
      });
      const distance = 1e-3;
      const [after, before] = [distance, -distance].map((shift) => {
        for (const { tensor, start, gradient, norm } of sides) {
          if (norm > 0) tensor.set(start.map((value, i) => value + (shift * gradient[i]) / norm));
        }
        return model.loss(tokens).data[0];
      });
      const slope = sides.reduce((sum, { norm }) => sum + norm, 0);
      expect((after - before) / (2 * distance) / slope).toBeCloseTo(1, 2);
    });
  });

  it('has the same gradients, bit by bit, with checkpoints as without', () => {
    using(config, (model) => {
      const tokens = tokensOf(batch, 33);
      const parameters = model.parameters();
      const [kept, again] = [false, true].map((checkpoint) => {
        const tape = createTape(k, parameters.values());
        const gradients = tape.backward(model.loss(tokens, { tape, checkpoint }));
        return [...parameters].map(([name, tensor]) => [name, gradients.get(tensor)?.toArray()]);
      });
      for (const [name, gradient] of kept) expect(gradient, String(name)).toBeDefined();
      expect(again).toEqual(kept);
    });
  });
});

function using1(
  logits: { toArray(): Float32Array; dispose(): void },
  use: (values: Float32Array) => void,
): void {
  use(logits.toArray());
  logits.dispose();
}

describe('initial weights', () => {
  const config: ModelConfig = {
    ...sizes,
    nLayers: 4,
    mixer: [
      { type: 'mamba' },
      { type: 'mamba2', headDim: 16 },
      attention,
      { type: 'linear-attention', nHeads: 4 },
    ],
    mlp: 'gelu',
  };

  it('are those of the seed', () => {
    const [a, b, c] = [3, 3, 4].map((seed) =>
      using(Object.assign({ seed }, config), (model) =>
        [...model.parameters()].map(([name, tensor]) => [name, tensor.toArray()]),
      ),
    );
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
  });

  it('of a layer stay what they are when layers are added', () => {
    const [alone, among] = [1, 3].map((nLayers) =>
      using({ ...sizes, nLayers, mixer: { type: 'mamba' } }, (model) =>
        model.parameters().get('backbone.layers.0.mixer.in_proj.weight')!.toArray(),
      ),
    );
    expect(alone).toEqual(among);
  });

  it('predict nearly uniformly', () => {
    using(config, (model) => {
      const loss = model.loss(tokensOf(4, 50)).data[0];
      expect(Math.abs(loss - Math.log(vocabSize))).toBeLessThan(0.1);
    });
  });

  it('start decays at -1, -2 ..., step sizes in [0.001, 0.1], skips and norms at 1', () => {
    using(config, (model) => {
      const get = (name: string) => model.parameters().get(`backbone.layers.${name}`)!.toArray();
      const ALog = get('0.mixer.A_log');
      ALog.forEach((value, i) => expect(Math.exp(value)).toBeCloseTo((i % 16) + 1, 4));
      for (const bias of [get('0.mixer.dt_proj.bias'), get('1.mixer.dt_bias')]) {
        for (const value of bias) {
          const delta = Math.log1p(Math.exp(value));
          expect(delta).toBeGreaterThan(0.001 * (1 - 1e-4));
          expect(delta).toBeLessThan(0.1 * (1 + 1e-4));
        }
      }
      for (const value of get('1.mixer.A_log')) expect(value >= 0 && value <= Math.log(16)).toBe(true);
      for (const name of ['0.mixer.D', '1.mixer.D', '0.norm.weight', '1.mixer.norm.weight'])
        expect(new Set(get(name))).toEqual(new Set([1]));
    });
  });

  it('have the deviation that their kind asks for', () => {
    using({ ...config, dModel: 128, vocabSize: 100 }, (model) => {
      const deviation = (name: string) => {
        const data = model.parameters().get(name)!.toArray();
        return Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length);
      };
      expect(deviation('backbone.embeddings.weight') / 0.02).toBeCloseTo(1, 1);
      // Uniform in +-1/sqrt(fanIn) has deviation 1/sqrt(3 fanIn); output projections have 8 branches to share.
      expect(deviation('backbone.layers.0.mixer.in_proj.weight') * Math.sqrt(3 * 128)).toBeCloseTo(1, 1);
      expect(deviation('backbone.layers.0.mixer.out_proj.weight') * Math.sqrt(3 * 256 * 8)).toBeCloseTo(1, 1);
      expect(deviation('backbone.layers.2.mlp.fc1.weight') / 0.02).toBeCloseTo(1, 1);
    });
  });

  it('have the embeddings that embeddingStd asks for, and the rest as without it', () => {
    const rows = { ...config, position: { type: 'learned', maxLength: 64 }, tieEmbeddings: false } as const;
    using(rows, (model) =>
      using({ ...rows, embeddingStd: 0.5 }, (wide) => {
        for (const [name, tensor] of model.parameters()) {
          const factor = name.endsWith('embeddings.weight') ? 25 : 1;
          const got = wide.parameters().get(name)!.toArray();
          const off = tensor.toArray().map((value, i) => Math.abs(got[i] - factor * value));
          expect(Math.max(...off), name).toBeLessThan(1e-6);
        }
      }),
    );
  });

  it('decay but for biases, norms, decays and skips', () => {
    using(config, ({ specs }) => {
      const still = specs.filter(({ decays }) => !decays).map(({ name }) => name);
      expect(still.every((name) => /(bias|norm\w*\.weight|A_log|\.D)$/.test(name))).toBe(true);
      expect(specs.filter(({ decays, shape }) => decays && shape.length < 2)).toEqual([]);
    });
  });
});

const make = (config: object) => () => createModel(k, config as ModelConfig);

describe('a layer without a mixer', () => {
  it('has no parameters but those of its MLP, and no state', () => {
    using({ ...sizes, mixer: [none, { type: 'mamba' }], mlp: ['relu', 'none'] }, (model) => {
      const ofLayer = [...model.parameters()].filter(([name]) => name.startsWith('backbone.layers.0.'));
      expect(ofLayer.map(([name, { shape }]) => `${name.slice(18)} ${shape.join('x')}`)).toEqual([
        'norm2.weight 32',
        'mlp.fc1.weight 128x32',
        'mlp.fc1.bias 128',
        'mlp.fc2.weight 32x128',
        'mlp.fc2.bias 32',
      ]);
      const state = model.initialState(3);
      expect(state.layers[0].tensors).toEqual({});
      state.dispose();
    });
  });

  it('is x + fc2(relu(fc1(norm2(x))))', () => {
    using({ ...sizes, nLayers: 1, mixer: none, mlp: 'relu', seed: 5 }, (model) => {
      const hidden: Float32Array[] = [];
      model.forward(tokensOf(1, 9), { observe: (_name, value) => void hidden.push(value.toArray()) });
      const get = (name: string) => model.parameters().get(`backbone.layers.0.mlp.${name}`)!.toArray();
      const [w1, w2] = [get('fc1.weight'), get('fc2.weight')]; // norm weights are 1, biases 0
      const { dModel } = sizes;
      for (let t = 0; t < 9; t++) {
        const x = Array.from(hidden[0].slice(t * dModel, (t + 1) * dModel));
        const rms = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / dModel + 1e-5);
        const inner = Array.from({ length: 4 * dModel }, (_, j) =>
          Math.max(
            0,
            x.reduce((sum, value, i) => sum + (value / rms) * w1[j * dModel + i], 0),
          ),
        );
        const wanted = x.map(
          (value, i) => value + inner.reduce((sum, h, j) => sum + h * w2[i * 4 * dModel + j], 0),
        );
        wanted.forEach((value, i) => expect(hidden[1][t * dModel + i]).toBeCloseTo(value, 6));
      }
    });
  });

  it('leaves a state that counts, and knows when it was freed, where no layer has a mixer', () => {
    using({ ...sizes, mixer: none, mlp: 'gelu', position: { type: 'learned', maxLength: 5 } }, (model) => {
      const state = model.initialState(2);
      expect(model.stateBytes(100)).toBe(0);
      model.forward(tokensOf(2, 4), { state });
      model.step([1, 2], state);
      expect([state.position, state.bytes, state.disposed]).toEqual([5, 0, false]);
      expect(() => model.step([1, 2], state)).toThrow('5 learned positions, got 6');
      state.dispose();
      expect(state.disposed).toBe(true);
      expect(() => model.step([1, 2], state)).toThrow(DisposedError);
    });
  });

  it('takes no share of the deviation of output projections', () => {
    const weights = (config: object) =>
      using({ ...sizes, ...config } as ModelConfig, (model) =>
        model.parameters().get('backbone.layers.0.mixer.out_proj.weight')!.toArray(),
      );
    const mamba: MixerConfig = { type: 'mamba' };
    const three = weights({ mixer: [mamba, none], mlp: 'relu' });
    const four = weights({ mixer: mamba, mlp: 'relu' });
    three.forEach((value, i) => expect(value / four[i]).toBeCloseTo(Math.sqrt(4 / 3), 5));
  });
});

describe('a model', () => {
  it('counts its parameters, tied weights once', () => {
    const count = (tieEmbeddings: boolean) =>
      using({ ...sizes, mixer: attention, tieEmbeddings }, (model) => {
        expect(model.parameterCount).toBe(
          [...model.parameters().values()].reduce((sum, t) => sum + t.size, 0),
        );
        return model.parameterCount;
      });
    expect(count(false) - count(true)).toBe(vocabSize * sizes.dModel);
  });

  it('scores the targets and mask that it is given', () => {
    using({ ...sizes, mixer: { type: 'mamba' } }, (model) => {
      const tokens = tokensOf(2, 6);
      const targets = tokens.map((row) => [...row.slice(1), -100]);
      const loss = model.loss(tokens).data[0];
      expect(model.loss(tokens, { targets }).data[0]).toBe(loss);
      const mask = new Uint8Array(12).fill(1);
      expect(model.loss(tokens, { targets, mask }).data[0]).toBe(loss);
      mask.fill(0);
      mask[3] = 1;
      const { logits, ids } = {
        logits: model.forward(tokens),
        ids: k.tensor(targets.flat(), [2, 6], 'int32'),
      };
      const each = k.crossEntropy({ logits, targets: ids, reduction: 'none' }).loss.data[3];
      expect(model.loss(tokens, { targets, mask }).data[0]).toBeCloseTo(each, 6);
    });
  });

  it('shows the residual stream at every layer', () => {
    using({ ...sizes, mixer: { type: 'mamba' } }, (model) => {
      const seen: string[] = [];
      model.forward([1, 2, 3], {
        observe: (name, value) => void seen.push(`${name} ${value.shape.join('x')}`),
      });
      const names = ['hidden.0', 'hidden.1', 'hidden.2', 'final_norm'];
      expect(seen).toEqual(names.map((name) => `${name} 1x3x32`));
    });
  });

  it('refuses what does not fit, and names it', () => {
    using({ ...sizes, mixer: local, position: { type: 'learned', maxLength: 8 } }, (model) => {
      expect(() => model.forward([])).toThrow(ShapeError);
      expect(() => model.forward([[1, 2], [3]])).toThrow('rows of one length, got 2 and 1');
      expect(() => model.forward([1, vocabSize])).toThrow(
        /tokens\[0, 1\] must be an id from 0 to 28, got 29/,
      );
      expect(() => model.forward([1, -1])).toThrow(ArgumentError);
      expect(() => model.forward([1, 1.5])).toThrow(/integers, got 1.5/);
      expect(() => model.forward(Array.from({ length: 9 }, () => 1))).toThrow('8 learned positions, got 9');
      expect(() => model.loss([1, 2, 3], { targets: [1, 2] })).toThrow(/targets must be shaped like tokens/);
      expect(() => model.loss([1, 2, 3], { mask: [1, 1, 1, 1] })).toThrow(/mask must be shaped like tokens/);
      expect(() => model.initialState(0)).toThrow(ArgumentError);
      expect(() => model.stateBytes(-1)).toThrow(ArgumentError);
      const state = model.initialState(2);
      expect(() => model.step(1, state)).toThrow('2 sequences as the state has, got 1');
      const tape = createTape(k, model.parameters().values());
      expect(() => model.forward([[1], [1]], { tape, state })).toThrow(/state must be absent/);
      state.dispose();
      expect(() => model.step([1, 1], state)).toThrow(DisposedError);
    });
  });

  it('names the field of a config that is wrong', () => {
    const mixer = { type: 'mamba' };
    const base = { ...sizes, mixer };
    expect(make({ ...base, dModel: 0 })).toThrow(
      'createModel: dModel must be a whole number from 1 up, got 0',
    );
    expect(make({ ...base, mixer: { type: 'rnn' } })).toThrow(/mixer\.type must be one of .* got 'rnn'/);
    expect(make({ ...base, mixer: [mixer] })).toThrow('mixer must be one, or 2 as there are layers, got 1');
    expect(make({ ...base, mixer: { type: 'softmax-attention', nHeads: 3 } })).toThrow(/mixer\.nHeads/);
    expect(make({ ...base, mixer: { ...attention, nKvHeads: 3 } })).toThrow(/mixer\.nKvHeads/);
    expect(make({ ...base, mixer: { type: 'mamba2', headDim: 48 } })).toThrow(/mixer\.headDim/);
    expect(make({ ...base, mlp: 'tanh' })).toThrow(
      "mlp must be one of 'none', 'relu', 'relu2', 'gelu', 'swiglu', got 'tanh'",
    );
    expect(make({ ...base, mlp: ['gelu'] })).toThrow('mlp must be one, or 2 as there are layers, got 1');
    expect(make({ ...base, mlp: ['gelu', { type: 'relu', dHidden: 0 }] })).toThrow(
      'mlp[1].dHidden must be a whole number from 1 up, got 0',
    );
    expect(make({ ...base, mlp: ['none', { type: 'gelu', bias: 1 }] })).toThrow(
      'mlp[1].bias must be true or false, got 1',
    );
    expect(make({ ...base, mixer: [mixer, { type: 'none' }], mlp: ['gelu', 'none'] })).toThrow(
      "mlp[1] must be other than 'none' in layer 1, which has no mixer, got 'none'",
    );
    for (const type of ['linear-attention', 'softmax-attention'])
      expect(make({ ...base, mixer: { type, nHeads: 4, valueDim: 1.5 } })).toThrow(
        'mixer.valueDim must be a whole number from 1 up, got 1.5',
      );
    const asGpt2 = { ...base, mixer: attention, norm: 'layer', position: learned, naming: 'gpt2' };
    expect(make({ ...asGpt2, mlp: ['gelu', 'relu'] })).toThrow(/naming must be 'mamba'.* got 'gpt2'/);
    expect(make({ ...base, norm: 'batch' })).toThrow(/norm must be/);
    expect(make({ ...base, position: 'sine' })).toThrow(/position must be/);
    expect(make({ ...base, naming: 'gpt2' })).toThrow(/naming must be/);
    expect(make({ ...base, seed: -1 })).toThrow(/seed must be/);
  });
});
