import { configJson, type MixerConfig, type MlpConfig, type ModelConfig, parseJson } from '@freelunch/config';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { FormatError, loadKernels, type Tensor, UnsupportedError } from '@freelunch/kernels';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { bytesSource } from './byte-source.js';
import { loadPretrained, savePretrained } from './checkpoint.js';
import { createModel, type LanguageModel } from '../language-model.js';
import { encodeSafetensors, loadSafetensors, readTensor } from './safetensors.js';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 }); // a busy disk may take long to flush
const k = await loadKernels({ variant: 'simd' });
const folder = await mkdtemp(join(tmpdir(), 'freelunch-checkpoint-'));
afterAll(() => rm(folder, { recursive: true }));

const mamba = {
  vocabSize: 11,
  dModel: 6,
  nLayers: 2,
  mixer: { type: 'mamba', dState: 3 },
} satisfies ModelConfig;
const mamba2: ModelConfig = { ...mamba, mixer: { type: 'mamba2', dState: 3, headDim: 4, nGroups: 3 } };
const gpt2: ModelConfig = {
  ...mamba,
  mixer: { type: 'softmax-attention', nHeads: 3 },
  mlp: 'gelu',
  norm: 'layer',
  position: { type: 'learned', maxLength: 9 },
};
const llama: ModelConfig = {
  ...mamba,
  dModel: 8,
  mixer: { type: 'softmax-attention', nHeads: 4, nKvHeads: 2 },
  mlp: 'swiglu',
  position: 'rope',
  tieEmbeddings: false,
};

const file = (name: string, content: string | Uint8Array): File =>
  new File([content as string | Uint8Array<ArrayBuffer>], name);
const filesOf = (config: object | string, tensors: ReadonlyMap<string, Tensor>): File[] => [
  file('config.json', typeof config === 'string' ? config : JSON.stringify(config)),
  file('model.safetensors', encodeSafetensors(tensors)),
];
const jsonOf = (model: LanguageModel) =>
  parseJson(configJson(model.config), 'config.json') as Record<string, unknown>;

function expectSame(got: LanguageModel, want: LanguageModel): void {
  expect([...got.parameters().keys()]).toEqual([...want.parameters().keys()]);
  for (const [name, tensor] of want.parameters())
    expect(got.parameters().get(name)!.toArray()).toEqual(tensor.toArray());
  const tokens = [
    [1, 2, 3, 4, 5],
    [5, 0, 10, 10, 1],
  ];
  k.scope(() => expect(got.forward(tokens).toArray()).toEqual(want.forward(tokens).toArray()));
}

/** Fails unless it throws such an error and frees all that was allocated. @returns its message */
async function failure(
  source: Parameters<typeof loadPretrained>[1],
  kind: new (m: string) => Error,
): Promise<string> {
  const { usedBytes } = k.memory;
  const error = await loadPretrained(k, source).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(kind);
  expect(k.memory.usedBytes).toBe(usedBytes);
  return (error as Error).message;
}

const placed = (source: File, path: string) =>
  Object.defineProperty(source, 'webkitRelativePath', { value: path });

const renamed = (model: LanguageModel, change: (name: string) => string) =>
  new Map([...model.parameters()].map(([name, tensor]) => [change(name), tensor as Tensor]));

/** A server of one folder; `slow` sends model.safetensors in two parts and never the second. */
async function serve(directory: string, slow = false) {
  const requests: string[] = [];
  const answer = async (path: string, response: ServerResponse) => {
    requests.push(path);
    const content = await readFile(join(directory, path.replace('/sub/', '').replace(/\?.*/, ''))).catch(
      () => undefined,
    );
    if (content === undefined) return void response.writeHead(404).end('none');
    response.writeHead(200, { 'content-length': content.length });
    if (slow && path.endsWith('.safetensors')) response.write(content.subarray(0, content.length >> 1));
    else response.end(content);
  };
  const server = createServer((request, response) => void answer(request.url!, response));
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sub`;
  return { url, requests, close: () => (server.closeAllConnections(), server.close()) };
}

type Typed = string | { type: string };
function typeAt(value: Typed | readonly Typed[], layer: number): string {
  const one = Array.isArray(value) ? (value as readonly Typed[])[layer] : (value as Typed);
  return typeof one === 'string' ? one : one.type;
}

describe('a saved model', () => {
  const mixers: fc.Arbitrary<MixerConfig> = fc.oneof(
    fc.record({ type: fc.constant('mamba' as const), dState: fc.integer({ min: 1, max: 5 }), dConv: fc.nat(4), bias: fc.boolean(), convBias: fc.boolean(), dtRank: fc.constantFrom(undefined, 2) }),
    fc.record({ type: fc.constant('mamba2' as const), dState: fc.integer({ min: 1, max: 5 }), headDim: fc.constantFrom(4, 8), nGroups: fc.constantFrom(1, 2), normBeforeGate: fc.boolean(), bias: fc.boolean(), dtLimit: fc.constantFrom(undefined, [0.01, Infinity] as const, [0, 0.5] as const) }),
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

describe('a published checkpoint', () => {
  it.each([
    ['Mamba', mamba, /^backbone\./],
    ['Mamba-2', mamba2, /^backbone\./],
    ['GPT-2', gpt2, /^transformer\./],
    ['Llama', llama, /^model\./],
  ])('may lack the prefix of the bare model: %s', async (_name, config, prefix) => {
    using model = createModel(k, config);
    using back = await loadPretrained(
      k,
      filesOf(
        jsonOf(model),
        renamed(model, (name) => name.replace(prefix, '')),
      ),
    );
    expectSame(back, model);
  });

  it.each([
    ['h.0.attn.bias', 'transformer.h.1.attn.masked_bias', gpt2],
    ['model.layers.0.self_attn.rotary_emb.inv_freq', 'model.layers.1.self_attn.rotary_emb.inv_freq', llama],
  ])('may hold buffers that are no weights: %s', async (first, second, config) => {
    using model = createModel(k, config);
    const buffers = new Map([
      [first, k.zeros([1, 1, 9, 9]) as Tensor],
      [second, k.tensor([-1e4])],
    ]);
    using back = await loadPretrained(
      k,
      filesOf(jsonOf(model), new Map([...model.parameters(), ...buffers])),
    );
    expectSame(back, model);
    for (const buffer of buffers.values()) buffer.dispose();
  });

  it('may hold tied weights as the embedding, the head, or both if they are equal', async () => {
    using model = createModel(k, mamba);
    const asHead = renamed(model, (name) =>
      name === 'backbone.embeddings.weight' ? 'lm_head.weight' : name,
    );
    using fromHead = await loadPretrained(k, filesOf(jsonOf(model), asHead));
    expectSame(fromHead, model);
    // Once with the head after the embedding, once before it.
    for (const both of [
      new Map([...model.parameters(), ...asHead]),
      new Map([...asHead, ...model.parameters()]),
    ]) {
      using back = await loadPretrained(k, filesOf(jsonOf(model), both));
      expectSame(back, model);
      const other = k.tensor(asHead.get('lm_head.weight')!.toArray(), [11, 6]);
      other.data[65] += 1e-3;
      const message = await failure(
        filesOf(jsonOf(model), new Map([...both, ['lm_head.weight', other]])),
        FormatError,
      );
      expect(message).toMatch(/head and embedding must be equal/);
      other.dispose();
    }
  });

  it("may have the original names and config of state-spaces' Mamba", async () => {
    using model = createModel(k, { ...mamba, vocabSize: 16 });
    const config = { d_model: 6, n_layer: 2, vocab_size: 11, pad_vocab_size_multiple: 8, ssm_cfg: { d_state: 3 }, rms_norm: true, residual_in_fp32: true, fused_add_norm: true }; // prettier-ignore
    const named = renamed(model, (name) => name.replace('.embeddings.', '.embedding.'));
    const embedding = named.get('backbone.embedding.weight')!;
    using back = await loadPretrained(k, filesOf(config, new Map([...named, ['lm_head.weight', embedding]])));
    expectSame(back, model);

    using layered = createModel(k, { ...mamba, norm: 'layer' });
    const unpadded = { ...config, pad_vocab_size_multiple: 1, rms_norm: false };
    using backLayered = await loadPretrained(k, filesOf(unpadded, layered.parameters()));
    expectSame(backLayered, layered);

    using second = createModel(k, {
      ...mamba,
      mixer: { type: 'mamba2', dState: 3, headDim: 4, normBeforeGate: true },
    });
    const ssm_cfg = { layer: 'Mamba2', d_state: 3, headdim: 4, norm_before_gate: true, chunk_size: 256 };
    const files = filesOf(
      { ...unpadded, rms_norm: true, ssm_cfg, d_intermediate: 0, attn_layer_idx: [] },
      second.parameters(),
    );
    using backSecond = await loadPretrained(k, files);
    expectSame(backSecond, second);
  });

  it.each([
    ['rope_theta', { rope_theta: 500 }],
    [
      'rope_parameters',
      { rope_theta: undefined, rope_parameters: { rope_type: 'default', rope_theta: 500 } },
    ],
    ['rope_scaling', { rope_theta: 500, rope_scaling: { type: 'default' } }],
    ['null', { rope_theta: 500, rope_scaling: null, quantization_config: null }],
  ])('may say the base of its rotary positions in several places: %s', async (_name, fields) => {
    using model = createModel(k, { ...llama, position: { type: 'rope', base: 500 } });
    using back = await loadPretrained(k, filesOf({ ...jsonOf(model), ...fields }, model.parameters()));
    expectSame(back, model);
  });

  it.each([
    [{ intermediate_size: 13 }, 13],
    [{ intermediate_size: undefined, expand: 1.5 }, 9],
    [{ intermediate_size: 13, expand: 16 }, 13],
  ])('of Mamba may have an inner width that is no multiple of its width: %j', async (fields, dInner) => {
    using model = createModel(k, { ...mamba, mixer: { type: 'mamba', dState: 3, dInner } });
    expect(jsonOf(model)).toMatchObject({ model_type: 'mamba', intermediate_size: dInner });
    using back = await loadPretrained(k, filesOf({ ...jsonOf(model), ...fields }, model.parameters()));
    expectSame(back, model);
  });

  it('of Mistral has a window of 4096 where it does not say otherwise, and none where that is null', async () => {
    using model = createModel(k, llama);
    const {
      attention_bias: _a,
      mlp_bias: _m,
      ...json
    } = { ...jsonOf(model), model_type: 'mistral' } as Record<string, unknown>;
    for (const [fields, window] of [
      [{}, 4096],
      [{ sliding_window: null }, undefined],
      [{ sliding_window: 3 }, 3],
    ] as const) {
      using back = await loadPretrained(k, filesOf({ ...json, ...fields }, model.parameters()));
      expect(back.config.mixers[0]).toMatchObject({ window });
    }
  });

  it('with time_step_limit and bare Infinity keeps the limit', async () => {
    using model = createModel(k, {
      ...mamba2,
      mixer: { ...(mamba2.mixer as object), type: 'mamba2', dtLimit: [0.25, Infinity] },
    });
    expect(configJson(model.config)).toContain('Infinity');
    using back = await loadPretrained(k, filesOf(configJson(model.config), model.parameters()));
    expect(back.config.mixers[0]).toMatchObject({ dtLimit: [0.25, Infinity] });
  });

  const unsupported: [string, ModelConfig, object, RegExp][] = [
    [
      'linear scaling of positions',
      llama,
      { rope_scaling: { type: 'linear', factor: 2 } },
      /position.scaling must be absent, got 'linear'/,
    ],
    [
      'llama3 scaling of positions',
      llama,
      { rope_parameters: { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 9 } }, // prettier-ignore
      /position.scaling must be absent, got 'llama3'/,
    ],
    ['a scaling without a type', llama, { rope_scaling: { factor: 8 } }, /factor/],
    ['partly rotary heads', llama, { partial_rotary_factor: 0.5 }, /partial_rotary_factor/],
    [
      'another activation',
      gpt2,
      { activation_function: 'relu' },
      /activation_function must be .* got 'relu'/,
    ],
    ['another activation in Mamba', mamba, { hidden_act: 'relu' }, /hidden_act/],
    ['unscaled scores', gpt2, { scale_attn_weights: false }, /scale_attn_weights/],
    [
      'scores scaled by layer',
      gpt2,
      { scale_attn_by_inverse_layer_idx: true },
      /scale_attn_by_inverse_layer_idx/,
    ],
    ['cross attention', gpt2, { add_cross_attention: true }, /add_cross_attention/],
    ['Mamba-2 without its norm', mamba2, { rms_norm: false }, /rms_norm must be true .*got false/],
    ['quantized weights', llama, { quantization_config: { bits: 4 } }, /quantization_config/],
    ['another architecture', llama, { model_type: 'bert' }, /model_type must be .* got 'bert'/],
    ['norms of delta, B and C', mamba, { model_type: 'falcon_mamba', architectures: undefined }, /innerNorms must be 'none', got 'unweighted'/], // prettier-ignore
    ['biases of q, k and v alone', llama, { model_type: 'qwen2', architectures: undefined, attention_bias: undefined, mlp_bias: undefined }, /qkvBias must be/], // prettier-ignore
    ['experts', llama, { model_type: 'mixtral', architectures: undefined, attention_bias: undefined, mlp_bias: undefined }, /experts must be 1, got 8/], // prettier-ignore
    ['a field that nobody knows', llama, { logit_scale: 2 }, /'logit_scale' is not a known field/],
  ];
  it.each(unsupported)('that wants %s gives an UnsupportedError', async (_title, config, fields, message) => {
    using model = createModel(k, config);
    expect(
      await failure(filesOf({ ...jsonOf(model), ...fields }, model.parameters()), UnsupportedError),
    ).toMatch(message);
  });

  it.each([
    ['a part with attention', { attn_layer_idx: [1] }, /attn_layer_idx/],
    ['an MLP', { d_intermediate: 5 }, /d_intermediate/],
    ['another layer', { ssm_cfg: { layer: 'Mamba3' } }, /layer must be 'Mamba1' or 'Mamba2'/],
    ['a wider skip', { ssm_cfg: { layer: 'Mamba2', D_has_hdim: true } }, /D_has_hdim/],
    [
      'an unknown option',
      { ssm_cfg: { d_stat: 5 } },
      /'d_stat' is not a known field; did you mean 'd_state'/,
    ],
  ])('of state-spaces that wants %s gives an UnsupportedError', async (_title, fields, message) => {
    using model = createModel(k, mamba);
    const config = { d_model: 6, n_layer: 2, vocab_size: 11, ...fields };
    expect(await failure(filesOf(config, model.parameters()), UnsupportedError)).toMatch(message);
  });
});

describe('a checkpoint that does not fit', () => {
  it('gives one FormatError that lists all that is missing, left over or of another shape', async () => {
    using model = createModel(k, mamba);
    const tensors = new Map<string, Tensor>(model.parameters());
    tensors.delete('backbone.norm_f.weight');
    tensors.delete('backbone.layers.1.mixer.D');
    tensors.set('backbone.layers.2.mixer.D', k.zeros([12]));
    tensors.set('extra', k.zeros([1]));
    tensors.set('backbone.layers.0.mixer.D', k.zeros([3, 4]));
    tensors.set('backbone.layers.0.norm.weight', k.tensor(new Int32Array(6)));
    expect(await failure(filesOf(jsonOf(model), tensors), FormatError)).toBe(
      [
        'files: weights must fit config.json, got',
        '  missing:',
        '    backbone.layers.1.mixer.D [12]',
        '    backbone.norm_f.weight [6]',
        '  unexpected:',
        '    "backbone.layers.2.mixer.D" [12]',
        '    "extra" [1]',
        '  not fitting:',
        '    "backbone.layers.0.norm.weight" must be F32, F16, BF16 or F64, got I32',
        '    "backbone.layers.0.mixer.D" must be [12], got [3, 4]',
      ].join('\n'),
    );
  });

  it('names what is there twice under two names', async () => {
    using model = createModel(k, mamba);
    const tensors = new Map<string, Tensor>(model.parameters());
    tensors.set('norm_f.weight', model.parameters().get('backbone.norm_f.weight')!);
    expect(await failure(filesOf(jsonOf(model), tensors), FormatError)).toMatch(
      /norm_f.weight must be there once/,
    );
  });

  it.each([
    ['no object', '[]', /must hold an object/],
    ['no JSON', '{', /must be JSON/],
    ['a text for a size', { hidden_size: '6' }, /hidden_size must be a whole number.* got '6'/],
    ['a negative size', { hidden_size: -6 }, /hidden_size must be/],
    ['NaN for a number', '{"model_type": "mamba", "hidden_size": NaN}', /hidden_size must be .* got NaN/],
    ['a text for a flag', { use_bias: 'yes' }, /use_bias must be true or false/],
    ['a size of zero', { state_size: 0 }, /dState must be a whole number from 1 up, got 0/],
    ['more layers than there are tensors', { num_hidden_layers: 2 ** 50 }, /must hold \d+ layers/],
    [
      'huge sizes',
      { hidden_size: 2 ** 40, intermediate_size: 2 ** 41 },
      /dModel must be at most 16777216, got 1099511627776/,
    ],
    ['an eps that is none', { layer_norm_epsilon: -1 }, /norm.eps/],
  ])('has %s in config.json: a FormatError', async (_title, fields, message) => {
    using model = createModel(k, mamba);
    const config = typeof fields === 'string' ? fields : { ...jsonOf(model), ...fields };
    expect(await failure(filesOf(config, model.parameters()), FormatError)).toMatch(message);
  });

  it('gives a FormatError or an UnsupportedError, whatever config.json says', async () => {
    using model = createModel(k, { ...llama, position: 'alibi' });
    const good = jsonOf(model);
    expect(good.model_type).toBe('freelunch');
    const own = fc.tuple(fc.constantFrom(...Object.keys(good).slice(1)), fc.jsonValue());
    const inMixer = fc.tuple(
      fc.constantFrom('type', 'nHeads', 'nKvHeads', 'headDim', 'bias', 'window'),
      fc.jsonValue(),
    );
    await fc.assert(
      fc.asyncProperty(own, inMixer, fc.boolean(), async ([name, value], [inner, part], deep) => {
        const config = deep
          ? { ...good, mixer: { ...(good.mixer as object), [inner]: part } }
          : { ...good, [name]: value };
        try {
          (await loadPretrained(k, filesOf(config, model.parameters()))).dispose();
        } catch (error) {
          expect(error instanceof FormatError || error instanceof UnsupportedError, String(error)).toBe(true);
        }
      }),
      { numRuns: 400, seed: 4 },
    );
  });

  it('lacks a file: a FormatError that names it', async () => {
    using model = createModel(k, mamba);
    const [config, weights] = filesOf(jsonOf(model), model.parameters());
    expect(await failure([weights], FormatError)).toMatch(/must hold config\.json/);
    expect(await failure([config], FormatError)).toMatch(/must hold model\.safetensors or/);
    expect(await failure(join(folder, 'nowhere'), FormatError)).toMatch(/must hold config\.json/);
    expect(await failure([config, weights, weights], FormatError)).toMatch(/once, got it 2 times/);
  });

  it.each([
    ['no map', '{}', /weight_map must be an object/],
    [
      'a path out of its folder',
      '{"weight_map":{"a":"../a.safetensors"}}',
      /must lie in a .safetensors file/,
    ],
    ['another kind of file', '{"weight_map":{"a":"config.json"}}', /must lie in a .safetensors file/],
    ['a file that is not there', '{"weight_map":{"a":"b.safetensors"}}', /must hold b\.safetensors/],
    ['a tensor that is not there', '{"weight_map":{"a":"part.safetensors"}}', /must hold "a"/],
  ])('has an index with %s: a FormatError', async (_title, index, message) => {
    using model = createModel(k, mamba);
    const [config, weights] = filesOf(jsonOf(model), model.parameters());
    const part = new File([weights], 'part.safetensors');
    const files = [config, part, file('model.safetensors.index.json', index)];
    expect(await failure(files, FormatError)).toMatch(message);
  });
});

describe('loading', () => {
  it('from a URL gives the same model, whole or in shards, and fetches one file once', async () => {
    using model = createModel(k, gpt2);
    const directory = join(folder, 'served');
    for (const maxShardBytes of [Infinity, 2000]) {
      await savePretrained(directory, model, { maxShardBytes });
      const { url, requests, close } = await serve(directory);
      for (const source of [url, new URL(`${url}/?token=1`)]) {
        using back = await loadPretrained(k, source);
        expectSame(back, model);
      }
      if (maxShardBytes === Infinity) {
        expect(requests).toEqual([
          '/sub/config.json',
          '/sub/model.safetensors',
          '/sub/config.json?token=1',
          '/sub/model.safetensors?token=1',
        ]);
      }
      close();
    }
  });

  it('reports its progress over all files and stops where it is told to', async () => {
    using model = createModel(k, llama);
    const directory = join(folder, 'progress');
    await savePretrained(directory, model, { maxShardBytes: 2000 });
    const seen: number[] = [];
    let total = 0;
    using _back = await loadPretrained(k, directory, {
      onProgress: ({ doneBytes, totalBytes }) => {
        seen.push(doneBytes);
        total = totalBytes;
      },
    });
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(total);
    expect(total).toBeGreaterThan(4 * model.parameterCount);

    const { usedBytes } = k.memory;
    const stop = new AbortController();
    const options = { signal: stop.signal, onProgress: () => stop.abort(new Error('enough')) };
    await expect(loadPretrained(k, directory, options)).rejects.toThrow('enough');
    await expect(loadPretrained(k, directory, options)).rejects.toThrow('enough');
    expect(k.memory.usedBytes).toBe(usedBytes);
  });

  it('from a chosen directory takes the files at its top', async () => {
    using model = createModel(k, mamba);
    const [config, weights] = filesOf(jsonOf(model), model.parameters());
    const deeper = file('config.json', '{}');
    placed(config, 'chosen/config.json');
    placed(weights, 'chosen/model.safetensors');
    using back = await loadPretrained(k, [placed(deeper, 'chosen/onnx/config.json'), config, weights]);
    expectSame(back, model);
  });

  it('from a server that stops sending ends when it is told to', async () => {
    using model = createModel(k, llama);
    const directory = join(folder, 'slow');
    await savePretrained(directory, model);
    const { url, close } = await serve(directory, true);
    const { usedBytes } = k.memory;
    await expect(loadPretrained(k, url, { signal: AbortSignal.timeout(200) })).rejects.toThrow(/time|abort/i);
    expect(k.memory.usedBytes).toBe(usedBytes);
    close();
  });

  it('holds no more than a piece of the file beside the weights', async () => {
    const size = 2 ** 22 + 7;
    const tensor = k.zeros([size]);
    const bytes = encodeSafetensors(new Map([['a', tensor as Tensor]]));
    let longest = 0;
    let read = 0;
    const source = bytesSource(bytes);
    const counting = {
      ...source,
      read: (offset: number, length: number) => {
        longest = Math.max(longest, length);
        read += length;
        return source.read(offset, length);
      },
    };
    k.resetPeak();
    const { usedBytes } = k.memory;
    const { tensors } = await loadSafetensors(k, counting);
    expect(longest).toBe(2 ** 22); // 4 MB of 16
    expect(read).toBe(bytes.length); // each byte once
    expect(k.memory.peakBytes - usedBytes).toBe(Math.ceil((4 * size) / 64) * 64);
    await readTensor(
      source,
      { name: 'a', dtype: 'F32', shape: [size], offset: bytes.length - 4 * size, bytes: 4 * size },
      tensor,
    );
    for (const each of [...tensors.values(), tensor]) each.dispose();
  });

  it.each([[undefined], [null], [''], [7], [[]], [[7]], [{}]])('refuses %j for a source', async (source) => {
    await expect(loadPretrained(k, source as never)).rejects.toThrow(/source must be/);
  });
});
