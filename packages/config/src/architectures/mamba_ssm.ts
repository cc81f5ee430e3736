import {
  type Field,
  type FieldTable,
  flag,
  group,
  harmless,
  number,
  only,
  type Place,
  placeOf,
  rank,
  readFields,
  timeStepLimit,
  type Values,
  whole,
  wholes,
} from '../fields.js';
import { isObject, type Json } from '../json.js';
import { limits } from '../limits.js';
import type {
  MixerConfig,
  ModelConfig,
  ResolvedMixer,
  ResolvedSoftmaxAttention,
  SoftmaxAttentionConfig,
} from '../types.js';
import { architecture, layersOf, type Writer } from './architecture.js';

/** Of the gated norm, and of all norms where files do not say otherwise, as none that mamba_ssm writes do. */
const EPS = 1e-5;

const roundUp = (size: number, multiple: number) => Math.ceil(size / multiple) * multiple;

/** How weights start */
const initialSteps = { dt_min: harmless, dt_max: harmless, dt_init_floor: harmless };

const common = {
  d_conv: whole(4),
  expand: number(2),
  bias: flag(false),
  conv_bias: flag(true),
  // How weights start, or which kernel computes
  conv_init: harmless,
  A_init_range: harmless,
  dt_init: harmless,
  dt_scale: harmless,
  ...initialSteps,
  use_fast_path: harmless,
  use_mem_eff_path: harmless,
  chunk_size: harmless,
};

/** What an `ssm_cfg` becomes, and back. A new layer is one more, with its fields. */
interface Layer {
  read(ssm: Json, dModel: number, place: Place): MixerConfig;
  /** Undefined for a mixer of another type. */
  write(mixer: ResolvedMixer, dModel: number): Json | undefined;
}

const layer = <F extends FieldTable>(
  fields: F,
  toMixer: (values: Values<NoInfer<F>>, dModel: number, place: Place) => MixerConfig,
  write: Layer['write'],
): Layer => ({
  read: (ssm, dModel, place) => toMixer(readFields(ssm, fields, place.inside), dModel, place),
  write,
});

const mamba1 = layer(
  { layer: only('Mamba1'), d_state: whole(16), dt_rank: rank, ...common },
  (f, dModel) => ({
    type: 'mamba',
    dState: f.d_state,
    dConv: f.d_conv,
    dInner: Math.floor(f.expand * dModel),
    dtRank: f.dt_rank,
    bias: f.bias,
    convBias: f.conv_bias,
  }),
  (mixer, dModel) => {
    if (mixer.type !== 'mamba') return undefined;
    return {
      layer: 'Mamba1',
      d_state: mixer.dState,
      d_conv: mixer.dConv,
      expand: mixer.dInner / dModel,
      dt_rank: mixer.dtRank,
      bias: mixer.bias,
      conv_bias: mixer.convBias,
    };
  },
);

const mamba2 = layer(
  {
    layer: only('Mamba2'),
    d_state: whole(128),
    headdim: whole(64),
    ngroups: whole(1),
    d_ssm: whole(), // expand d_model if absent
    dt_limit: timeStepLimit,
    D_has_hdim: only(false),
    rmsnorm: flag(true),
    norm_before_gate: flag(false),
    ...common,
  },
  (f, dModel, place) => {
    const dInner = Math.floor(f.expand * dModel);
    if ((f.d_ssm ?? dInner) !== dInner)
      place.unsupported(`without a d_ssm other than expand * d_model = ${dInner}`);
    return {
      type: 'mamba2',
      dState: f.d_state,
      dConv: f.d_conv,
      dInner,
      headDim: f.headdim,
      nGroups: f.ngroups,
      bias: f.bias,
      convBias: f.conv_bias,
      gatedNorm: f.rmsnorm,
      normBeforeGate: f.rmsnorm && f.norm_before_gate,
      normEps: EPS,
      dtLimit: f.dt_limit,
    };
  },
  (mixer, dModel) => {
    if (mixer.type !== 'mamba2') return undefined;
    return {
      layer: 'Mamba2',
      d_state: mixer.dState,
      d_conv: mixer.dConv,
      expand: mixer.dInner / dModel,
      headdim: mixer.headDim,
      ngroups: mixer.nGroups,
      rmsnorm: mixer.gatedNorm,
      norm_before_gate: mixer.normBeforeGate,
      ...(mixer.dtLimit && { dt_limit: mixer.dtLimit }),
      bias: mixer.bias,
      conv_bias: mixer.convBias,
    };
  },
);

/** As mamba_ssm rounds it. */
const anglesOf = (dState: number, fraction: number): number => Math.floor(Math.trunc(dState * fraction) / 2);

const mamba3 = layer(
  {
    layer: only('Mamba3'),
    d_state: whole(128),
    expand: number(2),
    headdim: whole(64),
    ngroups: whole(1),
    rope_fraction: number(0.5),
    is_mimo: flag(false),
    mimo_rank: whole(4),
    is_outproj_norm: flag(false),
    A_floor: number(1e-4),
    ...initialSteps,
    // Which kernel computes
    chunk_size: harmless,
    fuse_pregate_headwise_norm: harmless,
  },
  (f, dModel, place) => {
    const nAngles = anglesOf(f.d_state, f.rope_fraction);
    if (nAngles < 1 || 2 * nAngles > f.d_state)
      place.bad('with a rope_fraction above 0, up to 1, that turns at least two of the d_state channels');
    return {
      type: 'mamba3',
      dState: f.d_state,
      dInner: Math.floor(f.expand * dModel),
      headDim: f.headdim,
      nGroups: f.ngroups,
      nAngles,
      mimo: f.is_mimo,
      nRanks: f.is_mimo ? f.mimo_rank : 1,
      outputNorm: f.is_outproj_norm,
      aFloor: f.A_floor,
      normEps: EPS,
    };
  },
  (mixer, dModel) => {
    if (mixer.type !== 'mamba3') return undefined;
    const { dState, nAngles, mimo } = mixer;
    // mamba_ssm knows one half and the whole.
    const fraction =
      [0.5, 1].find((one) => anglesOf(dState, one) === nAngles) ?? (2 * nAngles + 0.5) / dState;
    return {
      layer: 'Mamba3',
      d_state: dState,
      expand: mixer.dInner / dModel,
      headdim: mixer.headDim,
      ngroups: mixer.nGroups,
      rope_fraction: fraction,
      is_mimo: mimo,
      ...(mimo && { mimo_rank: mixer.nRanks }),
      is_outproj_norm: mixer.outputNorm,
      A_floor: mixer.aFloor,
    };
  },
);

const layers: Readonly<Record<string, Layer>> = { Mamba1: mamba1, Mamba2: mamba2, Mamba3: mamba3 };

const layerOf = (ssm: Json, where: string): Layer => {
  const name = only('Mamba1', ...Object.keys(layers).slice(1))(ssm.layer, placeOf(ssm, where, 'layer'));
  return layers[name];
};

/** The fields are read with the width of the model, which they do not hold. */
const ssmConfig: Field<Json> = (value, place) => {
  const ssm = value ?? {};
  return isObject(ssm) ? ssm : place.bad('an object');
};

const attentionFields = {
  num_heads: whole(),
  num_heads_kv: whole(), // num_heads if absent
  head_dim: whole(), // d_model / num_heads if absent
  qkv_proj_bias: flag(true),
  out_proj_bias: flag(true),
  softmax_scale: number(), // head_dim ** -0.5 if absent
  causal: flag(false),
  d_conv: whole(0),
  rotary_emb_dim: whole(0),
  rotary_emb_base: number(10000),
  rotary_emb_interleaved: flag(false),
  mlp_dim: only(0),
};

function attentionOf(
  f: Values<typeof attentionFields>,
  dModel: number,
  place: Place,
): SoftmaxAttentionConfig {
  if (f.num_heads === undefined) return place.bad('with num_heads, of the layers in attn_layer_idx');
  if (!f.causal) place.unsupported('with causal true');
  return {
    type: 'softmax-attention',
    nHeads: f.num_heads,
    nKvHeads: f.num_heads_kv,
    headDim: f.head_dim ?? (Math.floor(dModel / Math.max(f.num_heads, 1)) || undefined),
    bias: f.out_proj_bias,
    qkvBias: f.qkv_proj_bias,
    scale: f.softmax_scale,
    dConv: f.d_conv,
    position:
      f.rotary_emb_dim === 0
        ? undefined
        : {
            type: 'rope',
            rotaryDim: f.rotary_emb_dim,
            base: f.rotary_emb_base,
            convention: f.rotary_emb_interleaved ? 'interleaved' : 'half',
          },
  };
}

function attentionFile(mixer: ResolvedSoftmaxAttention): Json {
  const { position: at } = mixer;
  return {
    causal: true,
    num_heads: mixer.nHeads,
    num_heads_kv: mixer.nKvHeads,
    head_dim: mixer.headDim,
    qkv_proj_bias: mixer.qkvBias,
    out_proj_bias: mixer.bias,
    ...(mixer.scale !== undefined && { softmax_scale: mixer.scale }),
    d_conv: mixer.dConv,
    ...(at?.type === 'rope' && {
      rotary_emb_dim: at.rotaryDim ?? mixer.headDim,
      rotary_emb_base: at.base,
      rotary_emb_interleaved: at.convention === 'interleaved',
    }),
  };
}

const fields = {
  vocab_size: whole(50277),
  pad_vocab_size_multiple: whole(8),
  d_model: whole(2560),
  n_layer: whole(64),
  d_intermediate: whole(0),
  rms_norm: flag(true),
  norm_epsilon: number(EPS),
  tie_embeddings: flag(true),
  bidirectional: only(false),
  attn_layer_idx: wholes,
  attn_cfg: group(attentionFields),
  fused_add_norm: harmless,
  ssm_cfg: ssmConfig,
};

/**
 * Transformers has a form for these models, and names that are the same but for the embedding's: they are taken, so that
 * the model is saved as what both read.
 */
function isOfTransformers({ mixer, mlp, norm }: ModelConfig): boolean {
  if (Array.isArray(mixer) || mlp !== 'none' || typeof norm !== 'object' || norm.type !== 'rms') return false;
  const one = mixer as MixerConfig;
  if (one.type === 'mamba') return true;
  return (
    one.type === 'mamba2' &&
    one.nGroups === 1 &&
    one.gatedNorm === true &&
    one.normBeforeGate === false &&
    norm.eps === one.normEps
  );
}

/**
 * Mamba, Mamba-2, Mamba-3 and hybrids of them with attention, as state-spaces publishes them, without a `model_type`:
 * https://github.com/state-spaces/mamba/blob/main/mamba_ssm/models/config_mamba.py
 */
export const mambaSsm = architecture({
  type: 'mamba_ssm',
  classes: ['MambaLMHeadModel'],
  fields,
  toConfig(f, place) {
    const { d_model: dModel, n_layer: nLayers, attn_layer_idx: attended } = f;
    const at = place('ssm_cfg');
    const ssm = layerOf(f.ssm_cfg, at.inside).read(f.ssm_cfg, dModel, at);
    if (attended.some((i) => i >= nLayers)) place('attn_layer_idx').bad(`below n_layer = ${nLayers}`);
    const attention = attended.length === 0 ? ssm : attentionOf(f.attn_cfg, dModel, place('attn_cfg'));
    const isAttended = new Set(attended);
    const count = Math.min(nLayers, limits.nLayers);
    const config: ModelConfig = {
      vocabSize: roundUp(f.vocab_size, Math.max(f.pad_vocab_size_multiple, 1)),
      dModel,
      nLayers,
      mixer:
        attended.length === 0
          ? ssm
          : Array.from({ length: count }, (_, i) => (isAttended.has(i) ? attention : ssm)),
      mlp: f.d_intermediate === 0 ? 'none' : { type: 'swiglu', dHidden: roundUp(f.d_intermediate, 128) },
      norm: { type: f.rms_norm ? 'rms' : 'layer', eps: f.norm_epsilon },
      tieEmbeddings: f.tie_embeddings,
    };
    return { ...config, naming: isOfTransformers(config) ? 'mamba' : 'mamba_ssm' };
  },
});

export const writeMambaSsm: Writer = (config) => {
  const { naming, mixers, mlps, norm, vocabSize, dModel, nLayers } = config;
  if (naming !== 'mamba_ssm') return undefined;
  const attention = mixers.find((mixer) => mixer.type === 'softmax-attention');
  const other = mixers.find((mixer) => mixer.type !== 'softmax-attention');
  const ssm = other && Object.values(layers).flatMap(({ write }) => write(other, dModel) ?? [])[0];
  if (ssm === undefined) return undefined;
  return {
    d_model: dModel,
    d_intermediate: mlps[0].type === 'none' ? 0 : mlps[0].dHidden,
    n_layer: nLayers,
    vocab_size: vocabSize,
    ssm_cfg: ssm,
    attn_layer_idx: layersOf(mixers, 'softmax-attention'),
    attn_cfg: attention === undefined ? {} : attentionFile(attention),
    rms_norm: norm.type === 'rms',
    ...(norm.eps !== EPS && { norm_epsilon: norm.eps }),
    residual_in_fp32: true,
    fused_add_norm: true,
    pad_vocab_size_multiple: vocabSize % 8 === 0 ? 8 : 1,
    tie_embeddings: config.tieEmbeddings,
  };
};
