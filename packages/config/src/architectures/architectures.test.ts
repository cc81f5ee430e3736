import { FormatError, UnsupportedError } from '@freelunch/errors';
import { describe, expect, it } from 'vitest';
import {
  checkComputable,
  configJson,
  fromHuggingFace,
  parseJson,
  readConfig,
  resolveConfig,
  type ResolvedSoftmaxAttention,
  writeConfig,
} from '../index.js';

const read = (json: object) => resolveConfig(fromHuggingFace(json as Record<string, unknown>));

const falcon = {
  model_type: 'falcon_mamba',
  vocab_size: 65024,
  hidden_size: 4096,
  intermediate_size: 8192,
  expand: 16,
  state_size: 16,
  conv_kernel: 4,
  time_step_rank: 256,
  num_hidden_layers: 64,
  tie_word_embeddings: false,
};
const qwen2 = {
  model_type: 'qwen2',
  hidden_size: 896,
  num_hidden_layers: 24,
  num_attention_heads: 14,
  num_key_value_heads: 2,
  use_sliding_window: true,
  sliding_window: 64,
};
const llama = { model_type: 'llama', hidden_size: 64, num_attention_heads: 4, num_hidden_layers: 2 };

describe('an inner width', () => {
  it('of Falcon Mamba is intermediate_size, whatever expand says', () => {
    expect(read(falcon).mixers[0]).toEqual({
      type: 'mamba',
      dState: 16,
      dConv: 4,
      dInner: 8192,
      dtRank: 256,
      bias: false,
      convBias: true,
      innerNorms: 'unweighted',
      innerNormEps: 1e-6,
    });
  });

  it('of Mamba-2 is that of its heads, and a file that says otherwise is refused', () => {
    const mamba2 = { model_type: 'mamba2', hidden_size: 64, num_heads: 8, head_dim: 16, n_groups: 1 };
    expect(read(mamba2).mixers[0]).toMatchObject({ dInner: 128, headDim: 16 });
    expect(() => read({ ...mamba2, intermediate_size: 256 })).toThrow(/intermediate_size must be expand \* hidden_size = 128/); // prettier-ignore
    expect(() => read({ ...mamba2, num_heads: 4 })).toThrow(/num_heads must be .* = 8, got 4/);
  });
});

describe('the windows of Qwen2', () => {
  const windows = (json: object) =>
    read(json).mixers.map((mixer) => (mixer as ResolvedSoftmaxAttention).window);

  it('are in the layers from max_window_layers on', () => {
    expect(windows({ ...qwen2, max_window_layers: 24 })).toEqual(Array(24).fill(undefined));
    expect(windows({ ...qwen2, max_window_layers: 21 })).toEqual([...Array(21).fill(undefined), 64, 64, 64]);
    expect(windows({ ...qwen2, max_window_layers: 0 })).toEqual(Array(24).fill(64));
    expect(windows({ ...qwen2, max_window_layers: 0, use_sliding_window: false })).toEqual(
      Array(24).fill(undefined),
    );
  });

  it('are in those that layer_types names, where there is such a list', () => {
    const layer_types = ['full_attention', 'sliding_attention', 'full_attention'];
    const three = { ...qwen2, num_hidden_layers: 3, max_window_layers: 0, layer_types };
    expect(windows(three)).toEqual([undefined, 64, undefined]);
    expect(() => read({ ...three, num_hidden_layers: 2 })).toThrow(
      /layer_types must be one for each of the 2 layers/,
    );
    expect(() => read({ ...three, layer_types: ['conv', 'conv', 'conv'] })).toThrow(UnsupportedError);
  });
});

describe('a file of state-spaces', () => {
  const file = { d_model: 768, n_layer: 24, vocab_size: 50277 };

  it('may say everything about its mixer', () => {
    const ssm_cfg = { dt_rank: 96, bias: true, conv_bias: false, d_state: 32, expand: 3 };
    const { mixers, vocabSize } = read({ ...file, ssm_cfg });
    expect(vocabSize).toBe(50280); // padded to a multiple of 8 where the file does not say of what
    expect(mixers[0]).toMatchObject({ dtRank: 96, bias: true, convBias: false, dState: 32, dInner: 2304 });
    expect(read({ ...file, pad_vocab_size_multiple: 16, ssm_cfg: {} }).vocabSize).toBe(50288);
    expect(read({ ...file, pad_vocab_size_multiple: 1, ssm_cfg: {} }).vocabSize).toBe(50277);
  });

  it('turns as many planes of Mamba-3 as mamba_ssm rounds rope_fraction to', () => {
    const mixer = (more: object) => read({ ...file, ssm_cfg: { layer: 'Mamba3', ...more } }).mixers[0];
    expect(mixer({})).toMatchObject({ type: 'mamba3', dState: 128, headDim: 64, nAngles: 32, mimo: false, nRanks: 1, outputNorm: false, aFloor: 1e-4, normEps: 1e-5 }); // prettier-ignore
    expect(mixer({ is_mimo: true, rope_fraction: 1 })).toMatchObject({ nAngles: 64, mimo: true, nRanks: 4 });
    expect(mixer({ d_state: 14, rope_fraction: 0.5 })).toMatchObject({ nAngles: 3 });
    // A fraction that mamba_ssm does not offer is written so that it is read again.
    const model = resolveConfig({ vocabSize: 16, dModel: 8, nLayers: 1, mixer: { type: 'mamba3', dState: 22, headDim: 4, nAngles: 7 }, naming: 'mamba_ssm' }); // prettier-ignore
    expect(resolveConfig(fromHuggingFace(configJson(model)))).toEqual(model);
  });

  it('has an MLP as wide as d_intermediate, rounded up to a multiple of 128', () => {
    const mlp = (d_intermediate: number) =>
      read({ ...file, ssm_cfg: { layer: 'Mamba2' }, d_intermediate }).mlps[0];
    expect(mlp(0)).toEqual({ type: 'none' });
    expect(mlp(2048)).toMatchObject({ type: 'swiglu', dHidden: 2048, bias: false });
    expect(mlp(2049)).toMatchObject({ type: 'swiglu', dHidden: 2176 });
  });

  it.each([
    [{ attn_layer_idx: [1] }, /attn_cfg must be with num_heads/],
    [{ ssm_cfg: { layer: 'Mamba4' } }, /ssm_cfg: layer must be 'Mamba1' or 'Mamba2' or 'Mamba3'/],
    [{ ssm_cfg: { layer: 'Mamba3', d_conv: 4 } }, /ssm_cfg: 'd_conv' is not a known field/], // it has no convolution
    [{ ssm_cfg: { layer: 'Mamba3', rope_fraction: 0 } }, /ssm_cfg must be with a rope_fraction above 0/],
    [{ ssm_cfg: { headdim: 64 } }, /ssm_cfg: 'headdim' is not a known field/], // of Mamba-2 alone
    [{ ssm_cfg: { layer: 'Mamba2', dt_rank: 3 } }, /ssm_cfg: 'dt_rank' is not a known field/], // of Mamba alone
    [{ ssm_cfg: { layer: 'Mamba2', d_ssm: 768 } }, /d_ssm/],
    [{ ssm_cfg: { layer: 'Mamba2', D_has_hdim: true } }, /D_has_hdim/],
    [{ ssm_cfg: 5 }, /ssm_cfg must be an object/],
  ])('that says %j is refused', (fields, message) => {
    expect(() => read({ ...file, ...fields })).toThrow(message);
  });
});

describe('an architecture', () => {
  it.each([
    [{ architectures: ['GPT2LMHeadModel'], vocab_size: 50257 }, 'gpt2'],
    [{ architectures: ['MistralForCausalLM'] }, 'mistral'],
    [{ d_model: 8, n_layer: 1 }, 'mamba_ssm'],
    [{ vocabSize: 8, dModel: 8, nLayers: 1, mixer: { type: 'mamba' } }, 'freelunch'],
  ])('is told by what the file has: %j', (json, architecture) => {
    expect(readConfig(json, 'config.json').architecture).toBe(architecture);
  });

  it.each([
    [
      { ...llama, architectures: ['MistralForCausalLM'] },
      FormatError,
      /architectures must be those of model_type llama/,
    ],
    [{ ...llama, architectures: 'LlamaForCausalLM' }, FormatError, /architectures must be a list/],
    [{ model_type: 'bert' }, UnsupportedError, /model_type must be one of mamba, .* got 'bert'/],
    [{}, UnsupportedError, /model_type/],
    [[], FormatError, /must hold an object/],
    [null, FormatError, /must hold an object/],
    [
      { ...llama, quantization_config: { bits: 4 } },
      UnsupportedError,
      /quantization_config must be absent or have quant_method 'freelunch'/,
    ],
    [
      { ...llama, quantization_config: { quant_method: 'freelunch', dtype: 'int3' } },
      FormatError,
      /dtype must be one of int8, int4, mixed, got 'int3'/,
    ],
  ])('is refused where the file does not make sense: %j', (json, kind, message) => {
    const run = () => readConfig(json, 'config.json');
    expect(run).toThrow(kind);
    expect(run).toThrow(message);
  });
});

describe('a field', () => {
  it.each([
    [{ ...llama, logit_softcapping: 30 }, /'logit_softcapping' is not a known field/],
    [{ ...llama, num_key_value_head: 2 }, /did you mean 'num_key_value_heads'\?/],
    [{ ...llama, rope_theta: 10, rope_parameters: { rope_theta: 20 } }, /rope_theta other than the 10/],
    [
      { ...llama, rope_scaling: { rope_type: 'yarn', type: 'linear', factor: 2 } },
      /without a type other than its rope_type/,
    ],
    [{ ...llama, rope_scaling: { factor: 2 } }, /factor/],
    [{ ...llama, rope_scaling: { type: 'llama3', factor: 2 } }, /low_freq_factor/],
    [{ ...llama, partial_rotary_factor: 0.5 }, /partial_rotary_factor must be 1/],
    [{ ...llama, hidden_act: 'gelu' }, /hidden_act must be 'silu' or 'swish'/],
    [{ model_type: 'mamba', d_inner: 5 }, /d_inner must be 1536, as other fields say, got 5/],
    [
      { model_type: 'mamba', time_step_limit: [0, 1] },
      /time_step_limit must be \[0, Infinity\] to be supported, got \[0,1\]/,
    ],
    [{ model_type: 'mamba', n_layer: 5 }, /n_layer must be 32/],
    [{ model_type: 'mamba2', rms_norm: false }, /rms_norm must be true/],
    [{ model_type: 'gpt2', add_cross_attention: true }, /add_cross_attention must be false/],
    [{ model_type: 'jamba', sliding_window: 9 }, /sliding_window/],
  ])('that changes the computation or contradicts another is refused: %j', (json, message) => {
    expect(() => fromHuggingFace(json)).toThrow(message);
  });

  it.each([
    {
      torch_dtype: 'float16',
      transformers_version: '4.40.0',
      use_cache: false,
      _name_or_path: 'x',
      unsloth_fixed: true,
    },
    {
      dtype: 'bfloat16',
      bos_token_id: 1,
      eos_token_id: [2, 3],
      attention_dropout: 0.1,
      initializer_range: 0.5,
    },
    {
      task_specific_params: { 'text-generation': { do_sample: true } },
      max_position_embeddings: 99,
      temperature: 2,
    },
    {
      rope_scaling: null,
      quantization_config: null,
      something: null,
      rope_parameters: { rope_type: 'default' },
    },
  ])('that does not change it is read past: %j', (fields) => {
    expect(fromHuggingFace({ ...llama, ...fields })).toEqual(fromHuggingFace(llama));
  });

  it.each([
    ['{"__float__": "Infinity"}', Infinity],
    ['Infinity', Infinity],
    ['0.5', 0.5],
  ])('may be a number as each release writes it: %s', (text, most) => {
    const json = `{"model_type": "mamba2", "hidden_size": 16, "head_dim": 4, "num_heads": 8, "time_step_limit": [0.25, ${text}]}`;
    expect(fromHuggingFace(json).mixer).toMatchObject({ dtLimit: [0.25, most] });
    const parsed: unknown = parseJson(json, 'config.json');
    expect(readConfig(parsed, 'config.json').config.mixer).toMatchObject({ dtLimit: [0.25, most] });
  });

  it('of Mamba-2 may stand in a file of Mamba where it says nothing', () => {
    const mamba = { model_type: 'mamba', hidden_size: 768 };
    expect(fromHuggingFace({ ...mamba, time_step_limit: [0, Infinity] })).toEqual(fromHuggingFace(mamba));
  });

  it.each(['NaN', '-Infinity', 'Infinity'])(
    'that wants a finite number refuses {"__float__": "%s"}',
    (name) => {
      const special = { __float__: name };
      expect(() => read({ ...llama, rms_norm_eps: special })).toThrow(/eps/);
      expect(() => read({ ...llama, rope_theta: special })).toThrow(/rope_theta|base/);
      expect(() => read({ ...llama, hidden_size: special })).toThrow(/hidden_size must be a whole number/);
    },
  );

  it('that bounds nothing is no bound', () => {
    for (const limit of ['[0, Infinity]', '[0.0, {"__float__": "Infinity"}]'])
      expect(fromHuggingFace(`{"model_type": "mamba2", "time_step_limit": ${limit}}`).mixer).toMatchObject({
        dtLimit: undefined,
      });
  });
});

describe('what is written', () => {
  const layer = { type: 'mamba2', dState: 3, headDim: 4, dtLimit: [0.25, Infinity] } as const;

  it.each([
    ['mamba', { mixer: { type: 'mamba', dInner: 13 } }],
    ['mamba2', { mixer: layer }],
    ['llama', { mixer: { type: 'softmax-attention', nHeads: 4 }, mlp: 'swiglu', position: { type: 'rope', base: 500, scaling: { type: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxLength: 9 } } }], // prettier-ignore
    [
      'mistral',
      { mixer: { type: 'softmax-attention', nHeads: 4, window: 9 }, mlp: 'swiglu', position: 'rope' },
    ],
    ['gpt2', { mixer: { type: 'softmax-attention', nHeads: 4 }, mlp: 'gelu', norm: 'layer', position: { type: 'learned', maxLength: 9 } }], // prettier-ignore
    [
      'freelunch',
      { mixer: [layer, { type: 'none' }], mlp: ['none', { type: 'swiglu', experts: 4, active: 2 }] },
    ],
    ['freelunch', { mixer: { type: 'mamba', innerNorms: 'weighted' } }],
    [
      'qwen2',
      { mixer: { type: 'softmax-attention', nHeads: 4, qkvBias: true }, mlp: 'swiglu', position: 'rope' },
    ],
    ['freelunch', { mixer: { type: 'softmax-attention', nHeads: 4 }, mlp: 'swiglu', position: 'rope', logitsMultiplier: 2 }], // prettier-ignore
    ['freelunch', { mixer: { ...layer, headDim: 2, nGroups: 2 } }],
    ['mamba2', { mixer: { ...layer, headDim: 2, nGroups: 2, normGroups: 1 } }],
  ] as const)('is read back the same, in the form of %s', (type, parts) => {
    const config = resolveConfig({ vocabSize: 11, dModel: 8, nLayers: 2, ...parts, tieEmbeddings: false });
    expect(writeConfig(config).model_type).toBe(type);
    const text = configJson(config);
    expect({ ...resolveConfig(fromHuggingFace(text)), seed: 0 }).toEqual(config);
    if (text.includes('time_step_limit')) expect(text).toContain('Infinity'); // bare, as Python reads it
  });
});

describe('what models cannot compute yet', () => {
  it.each([
    [{ model_type: 'mixtral' }, /experts must be 1, got 8/],
    [{ model_type: 'jamba' }, /experts must be 1, got 16 in layer 1/],
    [
      { ...llama, rope_scaling: { type: 'longrope', factor: 2, short_factor: [1], long_factor: [2] } },
      /position.scaling must be absent, got 'longrope'/,
    ],
  ])('is named: %j', (json, message) => {
    const config = read(json);
    expect(() => checkComputable(config, 'config.json')).toThrow(UnsupportedError);
    expect(() => checkComputable(config, 'config.json')).toThrow(message);
  });

  it('is nothing in plain models', () => {
    for (const json of [
      llama,
      { model_type: 'mamba' },
      { model_type: 'gpt2' },
      { ...qwen2, model_type: 'mistral', use_sliding_window: null },
    ])
      // prettier-ignore
      expect(() => checkComputable(read(json), 'config.json')).not.toThrow();
  });

  it.each(['int8', 'int4', 'mixed'] as const)('says which dtype its weights have in blocks: %s', (dtype) => {
    const config = resolveConfig(fromHuggingFace(llama), 'test');
    const file = writeConfig(config, dtype);
    expect(readConfig(file, 'config.json')).toEqual({
      ...readConfig(writeConfig(config), 'config.json'),
      quantized: dtype,
    });
    expect(file.quantization_config).toEqual({ quant_method: 'freelunch', dtype });
  });

  it('says which dtype its weights have as Transformers does: float16', () => {
    const config = resolveConfig(fromHuggingFace(llama), 'test');
    const { torch_dtype: dtype, ...file } = writeConfig(config, 'float16');
    expect(dtype).toBe('float16');
    const { torch_dtype: usual, ...plain } = writeConfig(config);
    expect(usual).toBe('float32');
    expect(file).toEqual(plain);
  });
});
