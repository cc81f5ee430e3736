import { createTape } from '@freelunch/autograd';
import type { ModelConfig } from '@freelunch/config';
import { ArgumentError, FormatError, UnsupportedError } from '@freelunch/errors';
import { QuantizedTensor, type WeightDType } from '@freelunch/kernels';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { k } from '../../tests/checkpoint-samples.js';
import { createModel, evaluate, LanguageModel, quantizeModel, train } from '../index.js';
import { bytesSource } from './byte-source.js';
import { loadPretrained, type LoadPretrainedOptions } from './checkpoint.js';
import { encodeSafetensors, readSafetensorsHeader } from './safetensors.js';
import { savePretrained } from './save.js';

const folder = await mkdtemp(join(tmpdir(), 'freelunch-quantized-'));
afterAll(() => rm(folder, { recursive: true }));

// Rows of 32 and 64, and one of 48 that has no blocks: the output of a swiglu.
const sizes = { vocabSize: 40, dModel: 32, nLayers: 2, seed: 4 };
const mamba: ModelConfig = { ...sizes, mixer: { type: 'mamba', dState: 4, dtRank: 2 } };
const mamba2: ModelConfig = {
  ...sizes,
  mixer: { type: 'mamba2', dState: 8, headDim: 16 },
  tieEmbeddings: false,
};
const mamba3: ModelConfig = { ...sizes, mixer: { type: 'mamba3', dState: 8, headDim: 16, mimo: true } };
const llama: ModelConfig = {
  ...sizes,
  mixer: { type: 'softmax-attention', nHeads: 2 },
  mlp: { type: 'swiglu', dHidden: 48 },
  position: 'rope',
};
const gpt2: ModelConfig = {
  ...sizes,
  naming: 'gpt2',
  mixer: { type: 'softmax-attention', nHeads: 2, bias: true },
  mlp: { type: 'gelu', bias: true },
  norm: 'layer',
  position: { type: 'learned', maxLength: 16 },
};
const models = { mamba, mamba2, mamba3, llama, gpt2 };
const dtypes: WeightDType[] = ['float16', 'bfloat16', 'int8', 'int4'];
const every = Object.entries(models).flatMap(([name, config]) =>
  dtypes.map((dtype) => ({ name, config, dtype })),
);

const tokens = [3, 1, 4, 1, 5, 9, 2, 6];
const logitsOf = (model: LanguageModel) => k.scope(() => model.forward(tokens).toArray());

/** The weights of a model as bytes, by name. */
function bitsOf(model: LanguageModel): Map<string, string> {
  return new Map(
    [...model.weights()].map(([name, weight]) => {
      const bytes =
        weight instanceof QuantizedTensor ? weight.toBytes() : new Uint8Array(weight.toArray().buffer);
      return [name, `${weight.dtype} [${weight.shape.join(', ')}] ${Buffer.from(bytes).toString('hex')}`];
    }),
  );
}

/** What a quantised model computes, in float32: with a model whose matrices were rounded, by the kernels, and put back. */
function rounded(config: ModelConfig, dtype: WeightDType): LanguageModel {
  const model = createModel(k, config);
  using few = quantizeModel(model, { dtype });
  const weights = few.weights();
  for (const [name, parameter] of model.parameters()) {
    const weight = weights.get(name)!;
    if (!(weight instanceof QuantizedTensor)) continue;
    k.scope(() => {
      const values = k.dequantize({ x: weight });
      const [out, width] = values.shape;
      const { data } = values;
      const across = parameter.shape[0] !== out || name.includes('c_');
      parameter.set(across ? data.map((_, i) => data[(i % out) * width + Math.floor(i / out)]) : data);
    });
  }
  return model;
}

describe('a model of fewer bits', () => {
  it.each(every)('computes with the rounded weights: $name, $dtype', ({ config, dtype }) => {
    using float = createModel(k, config);
    using few = quantizeModel(float, { dtype });
    using expected = rounded(config, dtype);
    const wanted = logitsOf(expected);
    const got = logitsOf(few);
    const largest = Math.max(...wanted.map(Math.abs));
    // Blocks meet activations of 16 bits, which the kernels' tests bound.
    const allowed = (dtype === 'int8' || dtype === 'int4' ? 2e-3 : 1e-5) * largest;
    got.forEach((logit, i) => expect(Math.abs(logit - wanted[i])).toBeLessThanOrEqual(allowed));
    // And not with those that it came from.
    expect(got).not.toEqual(logitsOf(float));
    expect(few.weightBytes).toBeLessThan(float.weightBytes);
  });

  it.each(every)('steps as it reads: $name, $dtype', ({ config, dtype }) => {
    using float = createModel(k, config);
    using few = quantizeModel(float, { dtype });
    const wanted = logitsOf(few).slice(-sizes.vocabSize);
    using state = few.initialState();
    let last: Float32Array | undefined;
    for (const token of tokens) last = k.scope(() => few.step(token, state).toArray());
    const largest = Math.max(...wanted.map(Math.abs));
    last!.forEach((logit, i) => expect(Math.abs(logit - wanted[i])).toBeLessThanOrEqual(2e-3 * largest));
  });

  it.each(every)('is the same when saved and loaded: $name, $dtype', async ({ name, config, dtype }) => {
    using float = createModel(k, config);
    using few = quantizeModel(float, { dtype });
    const directory = join(folder, `${name}-${dtype}`);
    await savePretrained(directory, few, { maxShardBytes: 5000 });
    // Half floats are as others write them, and become float32 unless they are asked for.
    using back = await loadPretrained(k, directory, { dtype: 'auto' });
    expect(bitsOf(back)).toEqual(bitsOf(few));
    using asUsual = await loadPretrained(k, directory);
    if (dtype === 'int8' || dtype === 'int4') expect(bitsOf(asUsual)).toEqual(bitsOf(few));
    else expect([...asUsual.weights().values()].map((weight) => weight.dtype)).not.toContain(dtype);
    // Rounded once, they are float32 without another error.
    using unpacked = await loadPretrained(k, directory, { dtype: 'float32' });
    using expected = rounded(config, dtype);
    expect(bitsOf(unpacked)).toEqual(bitsOf(expected));
  });

  it.each(every)(
    'is the same when it is rounded as it is loaded: $name, $dtype',
    async ({ name, config, dtype }) => {
      using float = createModel(k, config);
      using few = quantizeModel(float, { dtype });
      const directory = join(folder, `${name}-float32`);
      await savePretrained(directory, float);
      using loaded = await loadPretrained(k, directory, { dtype });
      expect(bitsOf(loaded)).toEqual(bitsOf(few));
    },
  );

  it('keeps in float32 what is small, sensitive or named', async () => {
    using float = createModel(k, mamba);
    const directory = join(folder, 'except');
    await savePretrained(directory, float);
    const kept = async (options: LoadPretrainedOptions) => {
      using model = await loadPretrained(k, directory, options);
      return [...model.weights()]
        .filter(([, { dtype }]) => dtype !== 'int8')
        .map(([name]) => name.split('.').slice(-2).join('.'));
    };
    const always = [
      'mixer.A_log',
      'mixer.D',
      'conv1d.weight',
      'conv1d.bias',
      'dt_proj.weight',
      'dt_proj.bias',
      'norm.weight',
      'norm_f.weight',
    ];
    expect(new Set(await kept({ dtype: 'int8' }))).toEqual(new Set(always));
    const except = ['backbone.embeddings.weight', /x_proj/];
    expect(new Set(await kept({ dtype: 'int8', except }))).toEqual(
      new Set([...always, 'embeddings.weight', 'x_proj.weight']),
    );
  });

  it('keeps rows in float32 that are no blocks', () => {
    using float = createModel(k, llama);
    using few = quantizeModel(float, { dtype: 'int4' });
    const dtypesOf = [...few.weights()]
      .filter(([name]) => name.includes('mlp.'))
      .map(([name, { dtype }]) => [name.split('.').at(-2), dtype]);
    expect(dtypesOf.slice(0, 3)).toEqual([
      ['gate_proj', 'int4'],
      ['up_proj', 'int4'],
      ['down_proj', 'float32'],
    ]);
  });

  it('needs, to be loaded, no more memory than its weights and a piece of the file', async () => {
    const directory = join(folder, 'peak');
    using float = createModel(k, { ...mamba, vocabSize: 40_000 });
    await savePretrained(directory, float);
    k.resetPeak();
    const { usedBytes } = k.memory;
    using few = await loadPretrained(k, directory, { dtype: 'int8' });
    const piece = 4 * 2 ** 20;
    expect(k.memory.peakBytes - usedBytes).toBeLessThan(few.weightBytes + piece + 100_000);
    expect(few.weightBytes).toBeLessThan(0.3 * float.weightBytes);
  });

  it('refuses a second embedding in the file that is another', async () => {
    const directory = join(folder, 'tied');
    using float = createModel(k, llama);
    await savePretrained(directory, float);
    const embedding = float.parameters().get('model.embed_tokens.weight')!;
    const write = async (head: Float32Array) => {
      using other = k.tensor(head, embedding.shape);
      const all = new Map([...float.parameters(), ['lm_head.weight', other] as const]);
      await writeFile(join(directory, 'model.safetensors'), encodeSafetensors(all));
    };
    await write(embedding.toArray());
    using same = await loadPretrained(k, directory, { dtype: 'int8' });
    expect(same.weights().get('model.embed_tokens.weight')!.dtype).toBe('int8');
    await write(embedding.toArray().map((value) => 2 * value));
    await expect(loadPretrained(k, directory, { dtype: 'int8' })).rejects.toThrow(/must be equal/);
  });

  it('refuses blocks that no config.json announces, of other sizes, or without a scale', async () => {
    const directory = join(folder, 'blocks');
    using float = createModel(k, llama);
    using few = quantizeModel(float, { dtype: 'int8' });
    await savePretrained(directory, few);
    const path = join(directory, 'config.json');
    const json = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    const attempt = async (quantization: unknown) => {
      await writeFile(path, JSON.stringify({ ...json, quantization_config: quantization }));
      return loadPretrained(k, directory);
    };
    await expect(attempt(undefined)).rejects.toThrow(/must be \[40, 32\], got \[40, 1, 34\]/);
    await expect(attempt({ quant_method: 'freelunch', dtype: 'int4' })).rejects.toThrow(
      /must be \[40, 1, 18\]/,
    );
    await expect(attempt({ quant_method: 'gptq' })).rejects.toThrow(UnsupportedError);
    const weights = join(directory, 'model.safetensors');
    const bytes = await readFile(weights);
    const header = await readSafetensorsHeader(bytesSource(bytes));
    bytes.writeUInt16LE(0x7c00, header.entries.get('model.embed_tokens.weight')!.offset); // infinite
    await writeFile(weights, bytes);
    const { usedBytes } = k.memory;
    const broken = attempt(json.quantization_config);
    await expect(broken).rejects.toThrow(FormatError);
    await expect(broken).rejects.toThrow(/finite scales/);
    expect(k.memory.usedBytes).toBe(usedBytes);
  });

  it('is not trained', async () => {
    using float = createModel(k, llama);
    using few = quantizeModel(float, { dtype: 'int8' });
    const wanted = /all weights must be float32 to be trained, got model.embed_tokens.weight as int8/;
    expect(() => few.parameters()).toThrow(UnsupportedError);
    expect(() => few.parameters()).toThrow(wanted);
    const batch = { inputs: new Int32Array(4), targets: new Int32Array(4), batchSize: 1, seqLen: 4 };
    await expect(train(few, [batch], { steps: 1 }).next()).rejects.toThrow(wanted);
    k.scope(() => expect(() => few.loss(tokens, { tape: createTape(k, []) })).toThrow(UnsupportedError));
    expect(() => quantizeModel(few, { dtype: 'int4' })).toThrow(wanted);
  });

  it.each<[string, LoadPretrainedOptions, string]>([
    [
      'an unknown dtype',
      { dtype: 'int3' as never },
      'dtype must be one of float32, float16, bfloat16, int8, int4, auto',
    ],
    [
      'names that are no list',
      { dtype: 'int8', except: 'lm_head' as never },
      'except must be a list of names',
    ],
  ])('refuses %s', async (_, options, message) => {
    await expect(loadPretrained(k, folder, options)).rejects.toThrow(message);
    await expect(loadPretrained(k, folder, options)).rejects.toThrow(ArgumentError);
  });

  it('predicts a text about as well, the more so the more bits it has', async () => {
    using float = createModel(k, mamba);
    const text = Array.from({ length: 200 }, (_, i) => (i * i) % sizes.vocabSize);
    const { crossEntropy } = await evaluate(float, text);
    const loss = async (dtype: WeightDType) => {
      using few = quantizeModel(float, { dtype });
      return Math.abs((await evaluate(few, text)).crossEntropy - crossEntropy);
    };
    expect(await loss('int8')).toBeLessThan(2e-3);
    expect(await loss('float16')).toBeLessThan(2e-4);
  });
});
