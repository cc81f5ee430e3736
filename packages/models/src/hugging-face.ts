/**
 * Configs of published checkpoints, as `config.json` has them, read into ours and written from ours.
 *
 *   mamba, mamba2, gpt2, llama, mistral  Hugging Face's Transformers, by `model_type`
 *   d_model, n_layer, ssm_cfg            state-spaces/mamba, which has no `model_type`
 *   freelunch                            our own, for what no other can say
 *
 * What changes the numbers and has no place in a model here is refused, never left out.
 */
import { FormatError, UnsupportedError } from '@freelunch/kernels';
import type { MixerConfig, ModelConfig, PositionConfig, ResolvedConfig } from './config.js';
import { isObject, shown } from './checkpoints/json.js';

/** A config read from a file, and what tensors of its checkpoint are called here. */
export interface Published {
  config: ModelConfig;
  /** Our name of a tensor, or undefined for a buffer that is no weight. */
  rename(name: string): string | undefined;
}

/** Fields of a config.json; an absent one and null are the same. */
class Fields {
  readonly #json: Record<string, unknown>;
  readonly #where: string;

  constructor(json: Record<string, unknown>, where: string) {
    this.#json = json;
    this.#where = where;
  }

  get(name: string): unknown {
    return Object.hasOwn(this.#json, name) ? (this.#json[name] ?? undefined) : undefined;
  }

  isNull(name: string): boolean {
    return Object.hasOwn(this.#json, name) && this.#json[name] === null;
  }

  whole(name: string, absent: number): number {
    const value = this.get(name) ?? absent;
    if (!Number.isSafeInteger(value) || (value as number) < 0) this.bad(name, 'a whole number from 0 up');
    return value as number;
  }

  number(name: string, absent: number): number {
    const value = this.get(name) ?? absent;
    if (typeof value !== 'number') this.bad(name, 'a number');
    return value as number;
  }

  flag(name: string, absent: boolean): boolean {
    const value = this.get(name) ?? absent;
    if (typeof value !== 'boolean') this.bad(name, 'true or false');
    return value as boolean;
  }

  inside(name: string): Fields {
    const value = this.get(name) ?? {};
    if (!isObject(value)) this.bad(name, 'an object');
    return new Fields(value as Record<string, unknown>, `${this.#where}: ${name}`);
  }

  /** Refuses values that a model here cannot have. */
  only(name: string, ...values: readonly unknown[]): void {
    const value = this.get(name);
    if (value !== undefined && !values.includes(value))
      this.unsupported(name, values.map((item) => shown(item)).join(' or '));
  }

  /** Refuses fields other than these. */
  names(known: readonly string[]): void {
    const other = Object.keys(this.#json).find((name) => !known.includes(name));
    if (other !== undefined) this.unsupported(other, 'absent');
  }

  bad(name: string, wanted: string): never {
    throw new FormatError(`${this.#where}: ${name} must be ${wanted}, got ${shown(this.get(name))}`);
  }

  unsupported(name: string, wanted: string): never {
    throw new UnsupportedError(
      `${this.#where}: ${name} must be ${wanted} for models here, got ${shown(this.get(name))}`,
    );
  }
}

/** How many times `dModel` the inner width is. */
function expandOf(fields: Fields, dModel: number): number {
  const inner =
    fields.get('intermediate_size') === undefined ? undefined : fields.whole('intermediate_size', 0);
  const times = inner === undefined ? fields.number('expand', 2) : inner / dModel;
  if (!Number.isSafeInteger(times)) {
    if (inner === undefined) fields.unsupported('expand', 'a whole number');
    fields.unsupported('intermediate_size', `a multiple of hidden_size = ${dModel}`);
  }
  return times;
}

function dtRankOf(fields: Fields, name: string, dModel: number): number {
  return fields.get(name) === 'auto' ? Math.ceil(dModel / 16) : fields.whole(name, Math.ceil(dModel / 16));
}

function dtLimitOf(fields: Fields, name: string): readonly [number, number] | undefined {
  const limit = fields.get(name);
  if (limit === undefined) return undefined;
  if (!Array.isArray(limit) || limit.length !== 2 || !limit.every((bound) => typeof bound === 'number'))
    fields.bad(name, 'two numbers');
  const [least, most] = limit as [number, number];
  return least === 0 && most === Infinity ? undefined : [least, most];
}

/** Adds a prefix that copies of a bare model lack. */
const prefixed = (prefix: string, roots: RegExp) => (name: string) =>
  roots.test(name) ? prefix + name : name;

const withBackbone = prefixed('backbone.', /^(embeddings?|layers|norm_f)\./);
const renameMamba = (name: string) =>
  withBackbone(name).replace(/^backbone\.embedding\./, 'backbone.embeddings.');

const withTransformer = prefixed('transformer.', /^(wte|wpe|h|ln_f)\./);
const renameGpt2 = (name: string) => {
  const full = withTransformer(name);
  // Causal masks, which old checkpoints hold as tensors.
  return /^transformer\.h\.\d+\.attn\.(masked_)?bias$/.test(full) ? undefined : full;
};

const withModel = prefixed('model.', /^(embed_tokens|layers|norm)\./);
const renameLlama = (name: string) => {
  const full = withModel(name);
  // Rotary frequencies, which old checkpoints hold as tensors.
  return /^model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq$/.test(full) ? undefined : full;
};

function readMamba(fields: Fields): Published {
  fields.only('hidden_act', 'silu', 'swish');
  const dModel = fields.whole('hidden_size', 768);
  const mixer: MixerConfig = {
    type: 'mamba',
    dState: fields.whole('state_size', 16),
    dConv: fields.whole('conv_kernel', 4),
    expand: expandOf(fields, dModel),
    dtRank: dtRankOf(fields, 'time_step_rank', dModel),
    bias: fields.flag('use_bias', false),
    convBias: fields.flag('use_conv_bias', true),
  };
  const config: ModelConfig = {
    vocabSize: fields.whole('vocab_size', 50280),
    dModel,
    nLayers: fields.whole('num_hidden_layers', 32),
    mixer,
    norm: { type: 'rms', eps: fields.number('layer_norm_epsilon', 1e-5) },
    tieEmbeddings: fields.flag('tie_word_embeddings', true),
    naming: 'mamba',
  };
  return { config, rename: renameMamba };
}

function readMamba2(fields: Fields): Published {
  fields.only('hidden_act', 'silu', 'swish');
  fields.only('rms_norm', true);
  // `norm_before_gate` is true in many published files, and Transformers gates first all the same.
  const dModel = fields.whole('hidden_size', 4096);
  const expand = expandOf(fields, dModel);
  const headDim = fields.whole('head_dim', 64);
  const nHeads = fields.whole('num_heads', 128);
  if (nHeads * headDim !== expand * dModel)
    fields.bad('num_heads', `expand * hidden_size / head_dim = ${(expand * dModel) / headDim}`);
  const mixer: MixerConfig = {
    type: 'mamba2',
    dState: fields.whole('state_size', 128),
    dConv: fields.whole('conv_kernel', 4),
    expand,
    headDim,
    nGroups: fields.whole('n_groups', 8),
    bias: fields.flag('use_bias', false),
    convBias: fields.flag('use_conv_bias', true),
    dtLimit: dtLimitOf(fields, 'time_step_limit'),
  };
  const config: ModelConfig = {
    vocabSize: fields.whole('vocab_size', 32768),
    dModel,
    nLayers: fields.whole('num_hidden_layers', 64),
    mixer,
    norm: { type: 'rms', eps: fields.number('layer_norm_epsilon', 1e-5) },
    tieEmbeddings: fields.flag('tie_word_embeddings', false),
    naming: 'mamba',
  };
  return { config, rename: renameMamba };
}

/** state-spaces/mamba: https://github.com/state-spaces/mamba/blob/main/mamba_ssm/models/config_mamba.py */
function readStateSpaces(fields: Fields): Published {
  const attention = fields.get('attn_layer_idx');
  if (attention !== undefined && !(Array.isArray(attention) && attention.length === 0))
    fields.unsupported('attn_layer_idx', 'empty');
  fields.only('d_intermediate', 0);
  fields.only('bidirectional', false);
  const dModel = fields.whole('d_model', 2560);
  const ssm = fields.inside('ssm_cfg');
  ssm.only('layer', 'Mamba1', 'Mamba2');
  const second = ssm.get('layer') === 'Mamba2';
  const expand = ssm.number('expand', 2);
  if (!Number.isSafeInteger(expand)) ssm.unsupported('expand', 'a whole number');
  const common = {
    dConv: ssm.whole('d_conv', 4),
    expand,
    bias: ssm.flag('bias', false),
    convBias: ssm.flag('conv_bias', true),
  };
  // These say how weights start, or which kernel computes.
  const harmless = ['layer', 'd_state', 'd_conv', 'expand', 'bias', 'conv_bias', 'conv_init', 'A_init_range', 'dt_min', 'dt_max', 'dt_init', 'dt_scale', 'dt_init_floor', 'use_fast_path', 'use_mem_eff_path', 'chunk_size']; // prettier-ignore
  let mixer: MixerConfig;
  if (second) {
    ssm.names([
      ...harmless,
      'headdim',
      'ngroups',
      'dt_limit',
      'd_ssm',
      'D_has_hdim',
      'rmsnorm',
      'norm_before_gate',
    ]);
    ssm.only('D_has_hdim', false);
    ssm.only('rmsnorm', true);
    ssm.only('d_ssm', expand * dModel);
    mixer = {
      type: 'mamba2',
      ...common,
      dState: ssm.whole('d_state', 128),
      headDim: ssm.whole('headdim', 64),
      nGroups: ssm.whole('ngroups', 1),
      normBeforeGate: ssm.flag('norm_before_gate', false),
      dtLimit: dtLimitOf(ssm, 'dt_limit'),
    };
  } else {
    ssm.names([...harmless, 'dt_rank']);
    mixer = {
      type: 'mamba',
      ...common,
      dState: ssm.whole('d_state', 16),
      dtRank: dtRankOf(ssm, 'dt_rank', dModel),
    };
  }
  const multiple = Math.max(fields.whole('pad_vocab_size_multiple', 8), 1);
  const config: ModelConfig = {
    vocabSize: Math.ceil(fields.whole('vocab_size', 50277) / multiple) * multiple,
    dModel,
    nLayers: fields.whole('n_layer', 64),
    mixer,
    norm: { type: fields.flag('rms_norm', true) ? 'rms' : 'layer', eps: fields.number('norm_epsilon', 1e-5) },
    tieEmbeddings: fields.flag('tie_embeddings', true),
    naming: 'mamba',
  };
  return { config, rename: renameMamba };
}

const geluForms = { gelu_new: 'tanh', gelu_pytorch_tanh: 'tanh', gelu: 'none' } as const;

function readGpt2(fields: Fields): Published {
  fields.only('activation_function', ...Object.keys(geluForms));
  fields.only('scale_attn_weights', true);
  fields.only('scale_attn_by_inverse_layer_idx', false);
  fields.only('add_cross_attention', false);
  const dModel = fields.whole('n_embd', 768);
  const activation = (fields.get('activation_function') ?? 'gelu_new') as keyof typeof geluForms;
  const config: ModelConfig = {
    vocabSize: fields.whole('vocab_size', 50257),
    dModel,
    nLayers: fields.whole('n_layer', 12),
    mixer: { type: 'softmax-attention', nHeads: fields.whole('n_head', 12) },
    mlp: { type: 'gelu', dHidden: fields.whole('n_inner', 4 * dModel), approximate: geluForms[activation] },
    norm: { type: 'layer', eps: fields.number('layer_norm_epsilon', 1e-5) },
    position: { type: 'learned', maxLength: fields.whole('n_positions', 1024) },
    tieEmbeddings: fields.flag('tie_word_embeddings', true),
    naming: 'gpt2',
  };
  return { config, rename: renameGpt2 };
}

/** The base of rotary positions; it stands at the top level, or since Transformers 5 in `rope_parameters`. */
function ropeBase(fields: Fields): number {
  fields.only('partial_rotary_factor', 1);
  let base = fields.number('rope_theta', 10000);
  for (const name of ['rope_scaling', 'rope_parameters']) {
    const inside = fields.inside(name);
    inside.only('rope_type', 'default');
    inside.only('type', 'default');
    inside.only('partial_rotary_factor', 1);
    inside.names(['rope_type', 'type', 'rope_theta', 'partial_rotary_factor']);
    base = inside.number('rope_theta', base);
  }
  return base;
}

function readLlama(fields: Fields, mistral: boolean): Published {
  fields.only('hidden_act', 'silu', 'swish');
  const nHeads = fields.whole('num_attention_heads', 32);
  const dModel = fields.whole('hidden_size', 4096);
  // Absent and null differ here: a Mistral without the field has the window of the first one.
  const window =
    !mistral || fields.isNull('sliding_window') ? undefined : fields.whole('sliding_window', 4096);
  const config: ModelConfig = {
    vocabSize: fields.whole('vocab_size', 32000),
    dModel,
    nLayers: fields.whole('num_hidden_layers', 32),
    mixer: {
      type: 'softmax-attention',
      nHeads,
      nKvHeads: fields.whole('num_key_value_heads', mistral ? 8 : nHeads),
      headDim: fields.whole('head_dim', Math.floor(dModel / Math.max(nHeads, 1))),
      bias: mistral ? false : fields.flag('attention_bias', false),
      window,
    },
    mlp: {
      type: 'swiglu',
      dHidden: fields.whole('intermediate_size', mistral ? 14336 : 11008),
      bias: mistral ? false : fields.flag('mlp_bias', false),
    },
    norm: { type: 'rms', eps: fields.number('rms_norm_eps', 1e-6) },
    position: { type: 'rope', base: ropeBase(fields) },
    tieEmbeddings: fields.flag('tie_word_embeddings', false),
    naming: 'llama',
  };
  return { config, rename: renameLlama };
}

const ownFields = ['vocabSize', 'dModel', 'nLayers', 'mixer', 'mlp', 'norm', 'position', 'tieEmbeddings', 'naming', 'seed'] as const; // prettier-ignore

function readOwn(fields: Fields): Published {
  const given = ownFields.map((name) => [name, fields.get(name)]).filter(([, value]) => value !== undefined);
  return { config: Object.fromEntries(given) as ModelConfig, rename: (name) => name };
}

const byArchitecture: Record<string, string> = {
  MambaForCausalLM: 'mamba',
  Mamba2ForCausalLM: 'mamba2',
  GPT2LMHeadModel: 'gpt2',
  LlamaForCausalLM: 'llama',
  MistralForCausalLM: 'mistral',
};

/**
 * The model that a config.json describes.
 *
 * @throws FormatError naming the field that is not what it should be, UnsupportedError naming the one that asks for
 *   what models here do not have
 */
export function readConfig(json: unknown, where: string): Published {
  if (!isObject(json)) throw new FormatError(`${where}: file must hold an object, got ${shown(json)}`);
  const fields = new Fields(json, where);
  if (fields.get('quantization_config') !== undefined) fields.unsupported('quantization_config', 'absent');
  const [architecture] = Array.isArray(json.architectures) ? json.architectures : [];
  const type = fields.get('model_type') ?? byArchitecture[String(architecture)];
  switch (type) {
    case 'freelunch':
      return readOwn(fields);
    case 'mamba':
      return readMamba(fields);
    case 'mamba2':
      return readMamba2(fields);
    case 'gpt2':
      return readGpt2(fields);
    case 'llama':
    case 'mistral':
      return readLlama(fields, type === 'mistral');
    case undefined:
      if (fields.get('d_model') !== undefined && fields.get('n_layer') !== undefined)
        return readStateSpaces(fields);
  }
  return fields.unsupported('model_type', 'mamba, mamba2, gpt2, llama, mistral or freelunch');
}

/**
 * What config.json says of a model: in Hugging Face's form where that says all of it, so that others can load the
 * checkpoint too, else in ours.
 */
export function writeConfig(config: ResolvedConfig): Record<string, unknown> {
  return writePublished(config) ?? writeOwn(config);
}

/** Whether every layer's is the first one's. */
const alike = (layers: readonly object[]): boolean =>
  layers.every((layer) => JSON.stringify(layer) === JSON.stringify(layers[0]));

function writeOwn({ mixers, mlps, ...config }: ResolvedConfig): Record<string, unknown> {
  const given = {
    ...config,
    mixer: alike(mixers) ? mixers[0] : mixers,
    mlp: alike(mlps) ? mlps[0] : mlps,
  };
  return { model_type: 'freelunch', ...Object.fromEntries(ownFields.map((name) => [name, given[name]])) };
}

/** Undefined where the form has no place for something. */
function writePublished(config: ResolvedConfig): Record<string, unknown> | undefined {
  const { mixers, mlps, norm, position, dModel, naming } = config;
  if (!alike(mixers) || !alike(mlps)) return undefined;
  const [mixer] = mixers;
  const [mlp] = mlps;
  const common = {
    vocab_size: config.vocabSize,
    tie_word_embeddings: config.tieEmbeddings,
    torch_dtype: 'float32',
  };
  if (mixer.type === 'mamba' || mixer.type === 'mamba2') {
    const { dState, dConv = 4, expand = 2, bias = false, convBias = true } = mixer;
    if (mlp.type !== 'none' || norm.type !== 'rms' || position.type !== 'none' || dConv === 0)
      return undefined;
    const shared = {
      hidden_size: dModel,
      num_hidden_layers: config.nLayers,
      conv_kernel: dConv,
      expand,
      intermediate_size: expand * dModel,
      layer_norm_epsilon: norm.eps,
      use_bias: bias,
      use_conv_bias: convBias,
      hidden_act: 'silu',
      residual_in_fp32: true,
      ...common,
    };
    if (mixer.type === 'mamba') {
      return {
        architectures: ['MambaForCausalLM'],
        model_type: 'mamba',
        state_size: dState ?? 16,
        time_step_rank: mixer.dtRank ?? Math.ceil(dModel / 16),
        ...shared,
      };
    }
    if (mixer.normBeforeGate) return undefined;
    const { headDim = 64, nGroups = 1, dtLimit } = mixer;
    return {
      architectures: ['Mamba2ForCausalLM'],
      model_type: 'mamba2',
      state_size: dState ?? 128,
      num_heads: (expand * dModel) / headDim,
      head_dim: headDim,
      n_groups: nGroups,
      chunk_size: 256,
      rms_norm: true,
      norm_before_gate: false,
      ...(dtLimit === undefined ? {} : { time_step_limit: dtLimit }),
      ...shared,
    };
  }
  if (mixer.type !== 'softmax-attention' || mixer.sparse !== undefined) return undefined;
  const { nHeads, nKvHeads = nHeads, window } = mixer;
  const headDim = mixer.headDim ?? dModel / nHeads;
  if ((mixer.valueDim ?? headDim) !== headDim) return undefined;
  if (naming === 'gpt2' && position.type === 'learned') {
    const plain = window === undefined && nKvHeads === nHeads && headDim * nHeads === dModel;
    if (!plain || mixer.bias === false || mlp.bias === false) return undefined;
    return {
      architectures: ['GPT2LMHeadModel'],
      model_type: 'gpt2',
      n_positions: position.maxLength,
      n_embd: dModel,
      n_layer: config.nLayers,
      n_head: nHeads,
      n_inner: mlp.dHidden ?? 4 * dModel,
      activation_function: mlp.approximate === 'none' ? 'gelu' : 'gelu_new',
      layer_norm_epsilon: norm.eps,
      ...common,
    };
  }
  if (naming !== 'llama' || position.type !== 'rope' || !isPlainRope(position, headDim)) return undefined;
  const biased = mixer.bias === true || mlp.bias === true;
  if (window !== undefined && biased) return undefined;
  return {
    architectures: [window === undefined ? 'LlamaForCausalLM' : 'MistralForCausalLM'],
    model_type: window === undefined ? 'llama' : 'mistral',
    hidden_size: dModel,
    intermediate_size: mlp.dHidden ?? Math.ceil((8 * dModel) / 3 / 8) * 8,
    num_hidden_layers: config.nLayers,
    num_attention_heads: nHeads,
    num_key_value_heads: nKvHeads,
    head_dim: headDim,
    hidden_act: 'silu',
    rms_norm_eps: norm.eps,
    rope_theta: position.base ?? 10000,
    ...(window === undefined
      ? { attention_bias: mixer.bias ?? false, mlp_bias: mlp.bias ?? false }
      : { sliding_window: window }),
    ...common,
  };
}

function isPlainRope(position: PositionConfig & { type: 'rope' }, headDim: number): boolean {
  return (position.convention ?? 'half') === 'half' && (position.rotaryDim ?? headDim) === headDim;
}
