import { configJson, type ModelConfig } from '@freelunch/config';
import { FormatError, UnsupportedError } from '@freelunch/errors';
import { type Tensor } from '@freelunch/kernels';
import { describe, expect, it, vi } from 'vitest';
import { loadPretrained } from './checkpoint.js';
import { createModel } from '../language-model.js';
import {
  k,
  mamba,
  mamba2,
  gpt2,
  llama,
  filesOf,
  jsonOf,
  expectSame,
  failure,
  renamed,
} from '../../tests/checkpoint-samples.js';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 }); // a busy disk may take long to flush
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

    using layered = createModel(k, { ...mamba, norm: 'layer', naming: 'mamba_ssm' });
    const unpadded = { ...config, pad_vocab_size_multiple: 1, rms_norm: false };
    using backLayered = await loadPretrained(k, filesOf(unpadded, layered.parameters()));
    expectSame(backLayered, layered);

    using second = createModel(k, {
      ...mamba,
      mixer: { type: 'mamba2', dState: 3, headDim: 4, normBeforeGate: true },
      naming: 'mamba_ssm',
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
    } = { ...jsonOf(model), model_type: 'mistral', architectures: ['MistralForCausalLM'] } as Record<
      string,
      unknown
    >;
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

  it('of Mamba-2 has the norm of Transformers, that of mamba_ssm, or the one that it is told to have', async () => {
    using model = createModel(k, mamba2);
    const json = jsonOf(model);
    const { transformers_version: _v, ...unversioned } = json;
    const normGroups = async (config: object, options?: { normGroups: number }) => {
      using loaded = await loadPretrained(k, filesOf(config, model.parameters()), options);
      const [mixer] = loaded.config.mixers;
      return mixer.type === 'mamba2' && mixer.normGroups;
    };
    expect(await normGroups(json)).toBe(1);
    expect(await normGroups(unversioned)).toBe(3);
    expect(await normGroups(json, { normGroups: 3 })).toBe(3);
    await expect(normGroups(json, { normGroups: 5 })).rejects.toThrow(
      'loadPretrained: mixer.normGroups must be a divisor of dInner = 12, got 5',
    );
    using other = createModel(k, mamba);
    await expect(
      loadPretrained(k, filesOf(jsonOf(other), other.parameters()), { normGroups: 2 }),
    ).rejects.toThrow('normGroups must be absent where no layer is Mamba-2, got 2');
  });

  it.each([
    [
      'pytorch_model.bin',
      /got pytorch_model.bin; convert it there: python -c ".*save_file.*'model.safetensors'\)"$/,
    ],
    ['pytorch_model.bin.index.json', /convert it there: python -c ".*save_pretrained/],
  ])('in %s is refused, and how to convert it is said in one line', async (name, message) => {
    using model = createModel(k, mamba);
    const files = [new File([JSON.stringify(jsonOf(model))], 'config.json'), new File(['PK'], name)];
    const said = await failure(files, FormatError);
    expect(said).toMatch(message);
    expect(said).not.toContain('\n');
  });

  const unsupported: [string, ModelConfig, object, RegExp][] = [
    [
      'factors of positions that it holds',
      llama,
      { rope_scaling: { type: 'longrope', factor: 2, short_factor: [1], long_factor: [2] } },
      /position.scaling must be absent, got 'longrope'/,
    ],
    [
      'the yarn of DeepSeek',
      llama,
      { max_position_embeddings: 9, rope_scaling: { rope_type: 'yarn', factor: 2, mscale: 1 } },
      /rope_scaling must be without mscale/,
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
    ['attention that looks ahead', { attn_layer_idx: [1], attn_cfg: { num_heads: 2 } }, /attn_cfg must be with causal true/], // prettier-ignore
    ['another layer', { ssm_cfg: { layer: 'Mamba4' } }, /layer must be 'Mamba1' or 'Mamba2' or 'Mamba3'/],
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
