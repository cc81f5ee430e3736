import { configJson, type MixerConfig, type MlpConfig, type ModelConfig } from '@freelunch/config';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { loadPretrained } from './checkpoint.js';
import { savePretrained } from './save.js';
import { createModel } from '../language-model.js';
import { encodeSafetensors, loadSafetensors } from './safetensors.js';
import {
  k,
  mamba,
  mamba2,
  gpt2,
  llama,
  filesOf,
  jsonOf,
  expectSame,
} from '../../tests/checkpoint-samples.js';
import * as fc from 'fast-check';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 }); // a busy disk may take long to flush
const folder = await mkdtemp(join(tmpdir(), 'freelunch-checkpoint-'));
afterAll(() => rm(folder, { recursive: true }));

type Typed = string | { type: string };
function typeAt(value: Typed | readonly Typed[], layer: number): string {
  const one = Array.isArray(value) ? (value as readonly Typed[])[layer] : (value as Typed);
  return typeof one === 'string' ? one : one.type;
}

describe('a saved model', () => {
  const mixers: fc.Arbitrary<MixerConfig> = fc.oneof(
    fc.record({ type: fc.constant('mamba' as const), dState: fc.integer({ min: 1, max: 5 }), dConv: fc.nat(4), bias: fc.boolean(), convBias: fc.boolean(), dtRank: fc.constantFrom(undefined, 2) }),
    fc.record({ type: fc.constant('mamba2' as const), dState: fc.integer({ min: 1, max: 5 }), headDim: fc.constantFrom(4, 8), nGroups: fc.constantFrom(1, 2), normBeforeGate: fc.boolean(), bias: fc.boolean(), dtLimit: fc.constantFrom(undefined, [0.01, Infinity] as const, [0, 0.5] as const) }),
    fc.record({ type: fc.constant('mamba3' as const), dState: fc.constantFrom(2, 6), headDim: fc.constantFrom(4, 8), nGroups: fc.constantFrom(1, 2), mimo: fc.boolean(), outputNorm: fc.boolean(), aFloor: fc.constantFrom(undefined, 0.01), chunkSize: fc.constantFrom(undefined, 7) }),
    fc.record({ type: fc.constant('softmax-attention' as const), nHeads: fc.constant(4), nKvHeads: fc.constantFrom(undefined, 2), headDim: fc.constantFrom(undefined, 2, 6), valueDim: fc.constantFrom(undefined, undefined, 3), window: fc.constantFrom(undefined, 3), bias: fc.constantFrom(undefined, true, false), sparse: fc.constantFrom(undefined, { pattern: 'strided' as const, stride: 2 }) }),
    fc.record({ type: fc.constant('linear-attention' as const), nHeads: fc.constant(2), headDim: fc.constantFrom(undefined, 3), valueDim: fc.constantFrom(undefined, 5), forget: fc.constantFrom('none' as const, 'retention' as const, 'token' as const, 'channel' as const) }),
    fc.record({ type: fc.constant('delta-rule' as const), nHeads: fc.constant(2), gated: fc.boolean() }),
    fc.record({ type: fc.constant('none' as const) }),
  ); // prettier-ignore
  const mlps = fc.constantFrom<MlpConfig | MlpConfig['type']>('none', 'relu', 'gelu', 'swiglu', { type: 'gelu', bias: false, approximate: 'none', dHidden: 5 }, { type: 'swiglu', bias: true }); // prettier-ignore
  const configs: fc.Arbitrary<ModelConfig> = fc
    .record({
      vocabSize: fc.constant(11),
      dModel: fc.constant(8),
      nLayers: fc.constant(2),
      mixer: fc.oneof(mixers, fc.tuple(mixers, mixers)),
      mlp: fc.oneof(mlps, fc.tuple(mlps, mlps)),
      norm: fc.constantFrom<ModelConfig['norm']>('rms', 'layer', 'none', { type: 'rms', eps: 1e-3 }),
      position: fc.constantFrom<ModelConfig['position']>('none', 'rope', 'alibi', { type: 'learned', maxLength: 7 }, { type: 'rope', base: 500, convention: 'interleaved' }, { type: 'rope', base: 77, rotaryDim: 2 }), // prettier-ignore
      tieEmbeddings: fc.boolean(),
      seed: fc.nat(9),
    })
    .filter(({ mixer, mlp }) =>
      [0, 1].every((layer) => typeAt(mixer, layer) !== 'none' || typeAt(mlp!, layer) !== 'none'),
    );
  const windowed: ModelConfig = { ...llama, mixer: { type: 'softmax-attention', nHeads: 4, window: 3 } };
  const examples = [mamba, mamba2, gpt2, llama, windowed].map((config) => [config] as [ModelConfig]);

  it('is the same model when loaded, whatever its config', async () => {
    const forms = new Set<unknown>();
    await fc.assert(
      fc.asyncProperty(configs, async (config) => {
        using model = createModel(k, config);
        forms.add(jsonOf(model).model_type);
        using back = await loadPretrained(k, filesOf(configJson(model.config), model.parameters()));
        expectSame(back, model);
      }),
      { numRuns: 300, seed: 3, examples },
    );
    expect([...forms].sort()).toEqual(['freelunch', 'gpt2', 'llama', 'mamba', 'mamba2', 'mistral']);
  });

  it.each([
    ['mamba', mamba, 'MambaForCausalLM'],
    ['mamba2', mamba2, 'Mamba2ForCausalLM'],
    ['gpt2', gpt2, 'GPT2LMHeadModel'],
    ['llama', llama, 'LlamaForCausalLM'],
    ['mistral', windowed, 'MistralForCausalLM'],
  ])("has Hugging Face's form: %s", (type, config, architecture) => {
    using model = createModel(k, config);
    expect(jsonOf(model)).toMatchObject({ model_type: type, architectures: [architecture] });
  });

  it.each([
    ['values wider than keys', { ...gpt2, mixer: { type: 'softmax-attention', nHeads: 3, valueDim: 4 } }],
    [
      'values wider than keys, as Llama',
      { ...llama, mixer: { type: 'softmax-attention', nHeads: 4, valueDim: 4 } },
    ],
    ['MLPs that differ', { ...llama, mlp: ['swiglu', { type: 'swiglu', dHidden: 5 }] }],
    ['an MLP in one layer only', { ...mamba, mlp: ['none', 'relu'] }],
    ['a layer without a mixer', { ...mamba, mixer: [{ type: 'none' }, mamba.mixer], mlp: ['gelu', 'none'] }],
  ] satisfies [string, ModelConfig][])(
    'has our own form where no published one has room: %s',
    async (_what, config) => {
      using model = createModel(k, config as ModelConfig);
      expect(jsonOf(model).model_type).toBe('freelunch');
      using back = await loadPretrained(k, filesOf(configJson(model.config), model.parameters()));
      expectSame(back, model);
    },
  );

  it('lies in a directory as one file, or in shards, and takes the place of the one before it', async () => {
    const directory = join(folder, 'shards');
    using first = createModel(k, { ...llama, seed: 1 });
    using second = createModel(k, { ...llama, seed: 2 });
    await savePretrained(directory, first, { maxShardBytes: 1000 });
    await writeFile(join(directory, 'tokenizer.json'), '{}');
    const shards = (await readdir(directory)).filter((name) =>
      /^model-\d{5}-of-\d{5}\.safetensors$/.test(name),
    );
    expect(shards.length).toBeGreaterThan(2);
    const index = JSON.parse(await readFile(join(directory, 'model.safetensors.index.json'), 'utf8'));
    expect(Object.keys(index.weight_map)).toEqual([...first.parameters().keys()]);
    expect(index.metadata.total_size).toBe(4 * first.parameterCount);
    for (const source of [directory, pathToFileURL(directory)]) {
      using back = await loadPretrained(k, source);
      expectSame(back, first);
    }
    await savePretrained(directory, second);
    expect((await readdir(directory)).sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json']);
    using back = await loadPretrained(k, directory);
    expectSame(back, second);
    await savePretrained(directory, first, { maxShardBytes: 1000 });
    expect(await readdir(directory)).not.toContain('model.safetensors');
    using again = await loadPretrained(k, directory);
    expectSame(again, first);
  });

  it.each(['F16', 'BF16'] as const)('is half as long in %s and loads rounded', async (dtype) => {
    const directory = join(folder, dtype);
    using model = createModel(k, mamba);
    await savePretrained(directory, model, { dtype });
    using back = await loadPretrained(k, directory);
    const { tensors } = await loadSafetensors(k, encodeSafetensors(model.parameters(), { dtype }));
    for (const [name, tensor] of back.parameters()) {
      expect(tensor.toArray()).toEqual(tensors.get(name)!.toArray());
      tensors.get(name)!.dispose();
    }
  });
});
