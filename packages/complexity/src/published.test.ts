import { describe, expect, it } from 'vitest';
import { cost } from './cost.js';
import { fromHuggingFace, publishedModels } from '@freelunch/config';

const paramsOf = (config: Parameters<typeof fromHuggingFace>[0]) =>
  cost(fromHuggingFace(config), { mode: 'decode', promptLength: 1 }).params;

const mamba = (hidden_size: number, num_hidden_layers: number) => ({
  model_type: 'mamba',
  vocab_size: 50280,
  hidden_size,
  num_hidden_layers,
  state_size: 16,
  time_step_rank: Math.ceil(hidden_size / 16),
});
const gpt2 = (n_embd: number, n_layer: number, n_head: number) => ({
  model_type: 'gpt2',
  vocab_size: 50257,
  n_positions: 1024,
  n_embd,
  n_layer,
  n_head,
});
const llama = (
  hidden_size: number,
  intermediate_size: number,
  num_hidden_layers: number,
  num_attention_heads: number,
  num_key_value_heads: number,
  vocab_size: number,
) => ({
  model_type: 'llama',
  hidden_size,
  intermediate_size,
  num_hidden_layers,
  num_attention_heads,
  num_key_value_heads,
  vocab_size,
});

/** What model cards and the headers of files say. */
const counts: Readonly<Record<string, number>> = {
  'mamba-130m': 129_135_360,
  'mamba-370m': 371_516_416,
  'mamba-790m': 793_204_224,
  'mamba-1.4b': 1_372_178_432,
  'mamba-2.8b': 2_768_345_600,
  'mamba2-130m': 128_989_632,
  'mamba2-2.7b': 2_702_599_680,
  'falcon-mamba-7b': 7_272_665_088,
  'jamba-v0.1': 51_570_323_328,
  'zamba2-1.2b': 1_215_064_704,
  'nemotron-h-8b': 8_100_852_736,
  'falcon-h1-0.5b': 521_411_104,
  'granite-4.0-h-350m': 340_332_224,
  'granite-4.0-h-micro': 3_191_396_096,
  'granite-4.0-350m': 352_379_904,
  'granite-4.0-1b': 1_631_750_144,
  'granite-4.0-micro': 3_402_836_480,
  'lfm2-350m': 354_483_968,
  'qwen3.5-0.8b': 752_393_024,
  gpt2: 124_439_808,
  'llama-3.2-1b': 1_235_814_400,
  'qwen3-0.6b': 596_049_920,
};
/** To three digits, where no more is published. */
const rounded: Readonly<Record<string, string>> = {
  'mamba2-370m': '368M',
  'mamba2-780m': '780M',
  'mamba2-1.3b': '1.34B',
  'bamba-9b': '9.78B',
  'granite-4.0-h-1b': '1.5B',
};

describe('models with a short name have as many parameters as was published', () => {
  it.each(Object.entries(publishedModels))('%s', (name, { config }) => {
    const params = paramsOf(config);
    if (name in counts) expect(params).toBe(counts[name]);
    else
      expect([
        `${Math.round(params / 1e6)}M`,
        `${(params / 1e9).toFixed(2)}B`,
        `${(params / 1e9).toFixed(1)}B`,
      ]).toContain(rounded[name]);
  });
});

describe('other published models have as many parameters as was published', () => {
  it.each([
    ['mamba-130m', mamba(768, 24), 129_135_360],
    ['mamba-370m', mamba(1024, 48), 371_516_416],
    ['mamba-790m', mamba(1536, 48), 793_204_224],
    ['gpt2-medium', gpt2(1024, 24, 16), 354_823_168],
    ['gpt2-large', gpt2(1280, 36, 20), 774_030_080],
    ['gpt2-xl', gpt2(1600, 48, 25), 1_557_611_200],
    ['Llama-2-7b', llama(4096, 11008, 32, 32, 32, 32000), 6_738_415_616],
    ['Llama-3-8B', llama(4096, 14336, 32, 32, 8, 128256), 8_030_261_248],
    ['TinyLlama-1.1B', llama(2048, 5632, 22, 32, 4, 32000), 1_100_048_384],
    [
      'Mistral-7B-v0.1',
      { ...llama(4096, 14336, 32, 32, 8, 32000), model_type: 'mistral', sliding_window: 4096 },
      7_241_732_096,
    ],
    [
      'Mixtral-8x7B-v0.1',
      { ...llama(4096, 14336, 32, 32, 8, 32000), model_type: 'mixtral', num_local_experts: 8 },
      46_702_792_704,
    ],
    [
      'Qwen2-0.5B',
      { ...llama(896, 4864, 24, 14, 2, 151936), model_type: 'qwen2', tie_word_embeddings: true },
      494_032_768,
    ],
  ])('%s', (_, config, params) => {
    expect(paramsOf(config)).toBe(params);
  });
});

describe('costs follow every field of a config.json that changes them', () => {
  const stateOf = (json: object, promptLength: number) =>
    cost(fromHuggingFace(json as Record<string, unknown>), { mode: 'decode', promptLength }).stateBytes;

  it('of Falcon Mamba, where intermediate_size wins over expand and norms have no weights', () => {
    const falcon = { model_type: 'falcon_mamba', vocab_size: 65024, hidden_size: 4096, intermediate_size: 8192, expand: 16, state_size: 16, conv_kernel: 4, time_step_rank: 256, num_hidden_layers: 64, tie_word_embeddings: false }; // prettier-ignore
    expect(paramsOf(falcon)).toBe(7_272_665_088);
    expect(stateOf(falcon, 0)).toBe(39_845_888);
  });

  it('of Qwen2, whose window lies on the layers from max_window_layers on', () => {
    const qwen2 = { model_type: 'qwen2', hidden_size: 896, num_hidden_layers: 24, num_attention_heads: 14, num_key_value_heads: 2, use_sliding_window: true, sliding_window: 64 }; // prettier-ignore
    expect(stateOf({ ...qwen2, max_window_layers: 24 }, 1000)).toBe(24_600_576);
    expect(stateOf({ ...qwen2, max_window_layers: 21 }, 1000)).toBe(21_722_112);
    expect(stateOf({ ...qwen2, max_window_layers: 0 }, 1000)).toBe(1_572_864);
  });

  it.each([
    [{ pad_vocab_size_multiple: 8, ssm_cfg: { dt_rank: 96, bias: true, conv_bias: false, d_state: 32, expand: 3 } }, 182_422_272],
    [{ pad_vocab_size_multiple: 16, ssm_cfg: { layer: 'Mamba2' }, d_intermediate: 2048 }, 242_254_272],
    [{ ssm_cfg: {} }, 129_135_360],
  ])('of state-spaces with %j', (fields, params) => {
    expect(paramsOf({ d_model: 768, n_layer: 24, vocab_size: 50277, ...fields })).toBe(params);
  }); // prettier-ignore

  it('of GPT-2 that only its class tells', () => {
    const { model_type: _, ...untyped } = gpt2(768, 12, 12);
    expect(paramsOf({ ...untyped, architectures: ['GPT2LMHeadModel'] })).toBe(124_439_808);
  });
});

describe('the tiny checkpoints of the golden vectors have as many parameters as formulas say', () => {
  const tiny = { ...mamba(24, 2), vocab_size: 50, state_size: 8 };
  const tinySecond = {
    ...tiny,
    model_type: 'mamba2',
    num_heads: 6,
    head_dim: 8,
    n_groups: 1,
    tie_word_embeddings: true,
  };
  it.each([
    ['model_mamba1_tiny', tiny, 11_544],
    [
      'model_mamba1_bias_untied',
      {
        ...tiny,
        vocab_size: 30,
        hidden_size: 16,
        state_size: 4,
        num_hidden_layers: 1,
        conv_kernel: 3,
        time_step_rank: 3,
        use_bias: true,
        tie_word_embeddings: false,
      },
      3376,
    ],
    ['model_mamba2_tiny', tinySecond, 10_012],
    ['model_gpt2_tiny', { ...gpt2(24, 2, 3), vocab_size: 50, n_positions: 64, n_inner: null }, 17_232],
    ['train_gpt2_tiny', { ...gpt2(20, 1, 4), vocab_size: 40, n_positions: 24 }, 6380],
    ['model_llama_tiny', llama(32, 48, 2, 4, 2, 50), 18_720],
    ['train_llama_tiny', llama(24, 40, 2, 4, 2, 50), 11_736],
  ])('%s', (_, config, params) => {
    expect(paramsOf(config)).toBe(params);
  });
});

describe('fromHuggingFace', () => {
  it('reads what JSON does not know', () => {
    const text = `{"model_type": "mamba2", "vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 6,
      "head_dim": 4, "num_heads": 8, "n_groups": 2, "chunk_size": 16, "time_step_limit": [0.0, Infinity]}`;
    expect(paramsOf(text)).toBe(5840);
  });

  it('keeps the window of Mistral, by which its cache stops growing', () => {
    const config = fromHuggingFace({
      ...llama(64, 128, 2, 4, 2, 100),
      model_type: 'mistral',
      sliding_window: 32,
    });
    const stateBytes = (promptLength: number) => cost(config, { mode: 'decode', promptLength }).stateBytes;
    expect(stateBytes(1000)).toBe(stateBytes(32));
    expect(stateBytes(20)).toBeLessThan(stateBytes(32));
  });

  it('alternates the layers of Jamba, and counts the experts that a token takes', () => {
    const config = fromHuggingFace({ ...llama(64, 128, 8, 4, 2, 100), model_type: 'jamba' });
    const mixer = config.mixer as { type: string }[];
    expect(mixer.map(({ type }) => type === 'softmax-attention')).toEqual([
      false,
      false,
      false,
      false,
      true,
      false,
      false,
      false,
    ]);
    const { flops, params } = cost(config, { mode: 'decode', promptLength: 1 });
    expect(flops).toBeLessThan(params); // 2 FLOPs a parameter, of the 2 of 16 experts
  });

  it.each([
    [
      { model_type: 'bert', vocab_size: 1, hidden_size: 1, num_hidden_layers: 1 },
      'model_type must be one of',
    ],
    [{ model_type: 'gpt2', n_embd: '8' }, "n_embd must be a whole number from 0 up, got '8'"],
  ])('refuses %j', (config, message) => {
    expect(() => fromHuggingFace(config)).toThrow(message);
  });
});
