import type { MixerConfig, MlpConfig, ModelConfig } from './config.js';

/** A `config.json` as the Hugging Face hub has it. */
export type HuggingFaceConfig = Readonly<Record<string, unknown>>;

const softmaxTypes = ['llama', 'mistral', 'mixtral', 'qwen2'];

/**
 * The config of a published model: Mamba, Mamba-2, GPT-2, Llama, Mistral and Mixtral, Qwen2, Jamba, and the original
 * Mamba files (`d_model`, `ssm_cfg`).
 *
 * @param json  the parsed `config.json`, or its text; `Infinity`, which JSON does not know, is allowed there
 * @throws RangeError naming the field that is missing or not supported
 */
export function fromHuggingFace(json: HuggingFaceConfig | string): ModelConfig {
  const c = (
    typeof json === 'string'
      ? JSON.parse(json.replace(/:\s*-?Infinity|\bInfinity\b/g, (text) => text.replace('Infinity', '1e999')))
      : json
  ) as HuggingFaceConfig;
  const number = (name: string, absent?: number): number => {
    const value = c[name] ?? absent;
    if (typeof value !== 'number')
      throw new RangeError(`fromHuggingFace: ${name} must be a number, got ${JSON.stringify(value)}`);
    return value;
  };
  const flag = (name: string, absent: boolean): boolean => (c[name] ?? absent) as boolean;
  const type = c.model_type ?? (c.d_model !== undefined ? 'mamba_ssm' : undefined);

  if (type === 'mamba_ssm') {
    const ssm = (c.ssm_cfg ?? {}) as Record<string, number | string>;
    const multiple = number('pad_vocab_size_multiple', 1);
    const hybrid = (c.attn_layer_idx ?? []) as number[];
    if (hybrid.length > 0)
      throw new RangeError(`fromHuggingFace: attn_layer_idx must be empty, got ${JSON.stringify(hybrid)}`);
    const second = ssm.layer === 'Mamba2';
    const mixer: MixerConfig = second
      ? {
          type: 'mamba2',
          dState: Number(ssm.d_state ?? 128),
          headDim: Number(ssm.headdim ?? 64),
          nGroups: Number(ssm.ngroups ?? 1),
        }
      : { type: 'mamba', dState: Number(ssm.d_state ?? 16) };
    return {
      vocabSize: Math.ceil(number('vocab_size') / multiple) * multiple,
      dModel: number('d_model'),
      nLayers: number('n_layer'),
      mixer: { ...mixer, dConv: Number(ssm.d_conv ?? 4), expand: Number(ssm.expand ?? 2) },
      tieEmbeddings: flag('tie_embeddings', true),
    };
  }
  if (type === 'gpt2') {
    return {
      vocabSize: number('vocab_size'),
      dModel: number('n_embd'),
      nLayers: number('n_layer'),
      mixer: { type: 'softmax-attention', nHeads: number('n_head'), bias: true },
      mlp: {
        type: 'gelu',
        dHidden: number('n_inner', 4 * number('n_embd')),
        approximate: c.activation_function === 'gelu' ? 'none' : 'tanh',
      },
      norm: 'layer',
      position: { type: 'learned', maxLength: number('n_positions') },
      tieEmbeddings: flag('tie_word_embeddings', true),
    };
  }
  const shared = {
    vocabSize: number('vocab_size'),
    dModel: number('hidden_size'),
    nLayers: number('num_hidden_layers'),
  };
  const { dModel, nLayers } = shared;
  if (type === 'mamba' || type === 'mamba2' || type === 'falcon_mamba') {
    const expand = number(
      'expand',
      c.intermediate_size === undefined ? 2 : number('intermediate_size') / dModel,
    );
    const common = {
      dState: number('state_size', type === 'mamba2' ? 128 : 16),
      dConv: number('conv_kernel', 4),
      expand,
      bias: flag('use_bias', false),
      convBias: flag('use_conv_bias', true),
    };
    const rank = c.time_step_rank;
    const mixer: MixerConfig =
      type === 'mamba2'
        ? {
            type: 'mamba2',
            ...common,
            headDim: number('head_dim', 64),
            nGroups: number('n_groups', 8),
            chunkSize: number('chunk_size', 256),
            normBeforeGate: flag('norm_before_gate', false),
          }
        : { type: 'mamba', ...common, dtRank: typeof rank === 'number' ? rank : Math.ceil(dModel / 16) };
    return { ...shared, mixer, tieEmbeddings: flag('tie_word_embeddings', type !== 'mamba2') };
  }
  if (type === 'jamba' || softmaxTypes.includes(type as string)) {
    const window = type === 'qwen2' && c.use_sliding_window !== true ? undefined : c.sliding_window;
    const attention: MixerConfig = {
      type: 'softmax-attention',
      nHeads: number('num_attention_heads'),
      nKvHeads: number('num_key_value_heads', number('num_attention_heads')),
      headDim: number('head_dim', dModel / number('num_attention_heads')),
      bias: flag('attention_bias', false),
      ...(type === 'qwen2' && { qkvBias: true }),
      ...(typeof window === 'number' && { window }),
    };
    const dense: MlpConfig = {
      type: 'swiglu',
      dHidden: number('intermediate_size'),
      bias: flag('mlp_bias', false),
    };
    const rope = { type: 'rope' } as const;
    if (type !== 'jamba') {
      const experts = number('num_local_experts', 1);
      const mlp: MlpConfig =
        experts > 1 ? { ...dense, experts, active: number('num_experts_per_tok', 2) } : dense;
      return {
        ...shared,
        mixer: attention,
        mlp,
        norm: 'rms',
        position: rope,
        tieEmbeddings: flag('tie_word_embeddings', false),
      };
    }
    const scan: MixerConfig = {
      type: 'mamba',
      dState: number('mamba_d_state', 16),
      dConv: number('mamba_d_conv', 4),
      expand: number('mamba_expand', 2),
      dtRank: typeof c.mamba_dt_rank === 'number' ? c.mamba_dt_rank : Math.ceil(dModel / 16),
      bias: flag('mamba_proj_bias', false),
      convBias: flag('mamba_conv_bias', true),
      innerNorms: true,
    };
    const experts = number('num_experts', 16);
    const mixture: MlpConfig =
      experts > 1 ? { ...dense, experts, active: number('num_experts_per_tok', 2) } : dense;
    /** Whether the i-th of every `period` layers from `offset` on is of this kind. */
    const turns = (layer: number, kind: string, period: number, offset: number) =>
      layer % number(`${kind}_layer_period`, period) === number(`${kind}_layer_offset`, offset);
    const layers = Array.from({ length: nLayers }, (_, layer) => layer);
    return {
      ...shared,
      mixer: layers.map((layer) => (turns(layer, 'attn', 8, 4) ? attention : scan)),
      mlp: layers.map((layer) => (turns(layer, 'expert', 2, 1) ? mixture : dense)),
      norm: 'rms',
      position: 'none',
      tieEmbeddings: flag('tie_word_embeddings', false),
    };
  }
  throw new RangeError(
    `fromHuggingFace: model_type must be one of mamba, mamba2, falcon_mamba, gpt2, ${softmaxTypes.join(', ')}, jamba, got ${JSON.stringify(type)}`,
  );
}
