import {
  empty,
  type Field,
  flag,
  harmless,
  number,
  only,
  placeOf,
  rank,
  readFields,
  timeStepLimit,
  type Values,
  whole,
} from '../fields.js';
import { isObject } from '../json.js';
import type { MixerConfig } from '../types.js';
import { architecture } from './architecture.js';

const roundUp = (size: number, multiple: number) => Math.ceil(size / multiple) * multiple;

const common = {
  d_conv: whole(4),
  expand: number(2),
  bias: flag(false),
  conv_bias: flag(true),
  // How weights start, or which kernel computes
  conv_init: harmless,
  A_init_range: harmless,
  dt_min: harmless,
  dt_max: harmless,
  dt_init: harmless,
  dt_scale: harmless,
  dt_init_floor: harmless,
  use_fast_path: harmless,
  use_mem_eff_path: harmless,
  chunk_size: harmless,
};

const first = { layer: only('Mamba1'), d_state: whole(16), dt_rank: rank, ...common };

const second = {
  layer: only('Mamba2'),
  d_state: whole(128),
  headdim: whole(64),
  ngroups: whole(1),
  d_ssm: whole(), // expand d_model if absent
  dt_limit: timeStepLimit,
  D_has_hdim: only(false),
  rmsnorm: only(true),
  norm_before_gate: flag(false),
  ...common,
};

/** Options of the mixer; Mamba-2 has others than Mamba. */
const mixer: Field<Values<typeof first> | Values<typeof second>> = (value, place) => {
  const ssm = value ?? {};
  if (!isObject(ssm)) return place.bad('an object');
  const layer = only('Mamba1', 'Mamba2')(ssm.layer, placeOf(ssm, place.inside, 'layer'));
  return layer === 'Mamba2' ? readFields(ssm, second, place.inside) : readFields(ssm, first, place.inside);
};

const fields = {
  vocab_size: whole(50277),
  pad_vocab_size_multiple: whole(8),
  d_model: whole(2560),
  n_layer: whole(64),
  d_intermediate: whole(0),
  rms_norm: flag(true),
  norm_epsilon: number(1e-5),
  tie_embeddings: flag(true),
  bidirectional: only(false),
  attn_layer_idx: empty,
  attn_cfg: harmless, // of the layers that attn_layer_idx names
  fused_add_norm: harmless,
  ssm_cfg: mixer,
};

/**
 * Mamba and Mamba-2 as state-spaces publishes them, without a `model_type`:
 * https://github.com/state-spaces/mamba/blob/main/mamba_ssm/models/config_mamba.py
 */
export const mambaSsm = architecture({
  type: 'mamba_ssm',
  classes: ['MambaLMHeadModel'],
  fields,
  toConfig(f, place) {
    const ssm = f.ssm_cfg;
    const dInner = Math.floor(ssm.expand * f.d_model);
    const common = {
      dState: ssm.d_state,
      dConv: ssm.d_conv,
      dInner,
      bias: ssm.bias,
      convBias: ssm.conv_bias,
    };
    if (ssm.layer === 'Mamba2' && (ssm.d_ssm ?? dInner) !== dInner)
      place('ssm_cfg').unsupported(`without a d_ssm other than expand * d_model = ${dInner}`);
    const mixer: MixerConfig =
      ssm.layer === 'Mamba1'
        ? { type: 'mamba', ...common, dtRank: ssm.dt_rank }
        : {
            type: 'mamba2',
            ...common,
            headDim: ssm.headdim,
            nGroups: ssm.ngroups,
            normBeforeGate: ssm.norm_before_gate,
            dtLimit: ssm.dt_limit,
          };
    return {
      vocabSize: roundUp(f.vocab_size, Math.max(f.pad_vocab_size_multiple, 1)),
      dModel: f.d_model,
      nLayers: f.n_layer,
      mixer,
      mlp: f.d_intermediate === 0 ? 'none' : { type: 'swiglu', dHidden: roundUp(f.d_intermediate, 128) },
      norm: { type: f.rms_norm ? 'rms' : 'layer', eps: f.norm_epsilon },
      tieEmbeddings: f.tie_embeddings,
      naming: 'mamba',
    };
  },
});
