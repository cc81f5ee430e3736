import { type Field, flag, harmless, number, only, timeStepLimit, whole } from '../fields.js';
import { architecture, fileOf, type Writer } from './architecture.js';
import { llamaAttention } from './llama.js';
import { initialTimeSteps } from './mamba.js';
import { position, rotary, rotaryFile } from './rotary.js';

/** So many numbers; ones if absent. */
const numbers =
  (count: number): Field<readonly number[]> =>
  (value, place) => {
    const given = value ?? Array<number>(count).fill(1);
    return Array.isArray(given) && given.length === count && given.every(Number.isFinite)
      ? (given as number[])
      : place.bad(`${count} numbers`);
  };

const fields = {
  vocab_size: whole(128000),
  hidden_size: whole(4096),
  intermediate_size: whole(14336),
  num_hidden_layers: whole(32),
  num_attention_heads: whole(32),
  num_key_value_heads: whole(8),
  head_dim: whole(), // hidden_size / num_attention_heads if absent
  hidden_act: only('silu', 'swish'),
  rms_norm_eps: number(1e-5),
  tie_word_embeddings: flag(false),
  attention_bias: flag(false),
  mlp_bias: flag(false),
  projectors_bias: flag(false), // of the mixer's output projection
  mamba_d_ssm: whole(1024), // mamba_expand hidden_size if null
  mamba_n_heads: whole(128),
  mamba_d_head: harmless, // mamba_d_ssm / mamba_n_heads, whatever it says
  mamba_n_groups: whole(1),
  mamba_d_state: whole(256),
  mamba_d_conv: whole(4),
  mamba_expand: number(2),
  mamba_conv_bias: flag(true),
  mamba_proj_bias: flag(false), // of the mixer's input projection
  mamba_rms_norm: flag(false),
  mamba_norm_before_gate: flag(true),
  mamba_use_mlp: only(true),
  time_step_limit: timeStepLimit,
  attn_layer_indices: only(null), // attention is in every layer
  embedding_multiplier: number(1),
  lm_head_multiplier: number(1),
  key_multiplier: number(1),
  attention_in_multiplier: number(1),
  attention_out_multiplier: number(1),
  ssm_in_multiplier: number(1),
  ssm_out_multiplier: number(1),
  ssm_multipliers: numbers(5), // of z, x, B, C and dt
  mlp_multipliers: numbers(2), // of the gate and of the output
  mlp_expansion_factor: harmless, // intermediate_size counts
  mamba_chunk_size: harmless, // changes how it is computed, not what
  ...initialTimeSteps,
  ...rotary, // rope_theta: 100,000 if absent
};

/** Falcon-H1 (TII 2025, arXiv:2507.22448): Mamba-2 and attention side by side in every layer, and multipliers. */
export const falconH1 = architecture({
  type: 'falcon_h1',
  classes: ['FalconH1ForCausalLM'],
  fields,
  toConfig(f, place) {
    const [z, x, B, C, dt] = f.ssm_multipliers;
    const [gateMultiplier, outMultiplier] = f.mlp_multipliers;
    const dInner = f.mamba_d_ssm;
    if (dInner % Math.max(f.mamba_n_heads, 1) !== 0)
      place('mamba_n_heads').bad(`a divisor of mamba_d_ssm = ${dInner}`);
    return {
      vocabSize: f.vocab_size,
      dModel: f.hidden_size,
      nLayers: f.num_hidden_layers,
      mixer: {
        type: 'parallel',
        branches: [
          {
            mixer: {
              type: 'mamba2',
              dState: f.mamba_d_state,
              dConv: f.mamba_d_conv,
              dInner,
              headDim: dInner / Math.max(f.mamba_n_heads, 1),
              nGroups: f.mamba_n_groups,
              bias: f.mamba_proj_bias,
              outBias: f.projectors_bias,
              convBias: f.mamba_conv_bias,
              gatedNorm: f.mamba_rms_norm,
              normBeforeGate: f.mamba_rms_norm && f.mamba_norm_before_gate,
              dtLimit: f.time_step_limit,
              multipliers: [z, x, B, C, dt],
            },
            inMultiplier: f.ssm_in_multiplier,
            outMultiplier: f.ssm_out_multiplier,
          },
          {
            mixer: llamaAttention(f, { bias: f.attention_bias, keyMultiplier: f.key_multiplier }),
            inMultiplier: f.attention_in_multiplier,
            outMultiplier: f.attention_out_multiplier,
          },
        ],
      },
      mlp: { type: 'swiglu', dHidden: f.intermediate_size, bias: f.mlp_bias, gateMultiplier, outMultiplier },
      norm: { type: 'rms', eps: f.rms_norm_eps },
      position: position(f, place, 100000),
      tieEmbeddings: f.tie_word_embeddings,
      embeddingMultiplier: f.embedding_multiplier,
      logitsMultiplier: f.lm_head_multiplier,
      naming: 'falcon_h1',
    };
  },
});

export const writeFalconH1: Writer = (config) =>
  fileOf(falconH1, config, ({ mixer, mlp }) => {
    if (config.naming !== 'falcon_h1' || mixer.type !== 'parallel' || mlp.type !== 'swiglu') return undefined;
    const ssm = mixer.branches.find((branch) => branch.mixer.type === 'mamba2');
    const attention = mixer.branches.find((branch) => branch.mixer.type === 'softmax-attention');
    if (ssm?.mixer.type !== 'mamba2' || attention?.mixer.type !== 'softmax-attention') return undefined;
    const { mixer: m } = ssm;
    const { mixer: a } = attention;
    const rope = rotaryFile(config.position, a.headDim);
    return (
      rope && {
        vocab_size: config.vocabSize,
        hidden_size: config.dModel,
        intermediate_size: mlp.dHidden,
        num_hidden_layers: config.nLayers,
        num_attention_heads: a.nHeads,
        num_key_value_heads: a.nKvHeads,
        head_dim: a.headDim,
        hidden_act: 'silu',
        rms_norm_eps: config.norm.eps,
        tie_word_embeddings: config.tieEmbeddings,
        attention_bias: a.bias,
        mlp_bias: mlp.bias,
        projectors_bias: m.outBias,
        mamba_d_ssm: m.dInner,
        mamba_n_heads: m.dInner / m.headDim,
        mamba_d_head: m.headDim,
        mamba_n_groups: m.nGroups,
        mamba_d_state: m.dState,
        mamba_d_conv: m.dConv,
        mamba_expand: m.dInner / config.dModel,
        mamba_conv_bias: m.convBias,
        mamba_proj_bias: m.bias,
        mamba_rms_norm: m.gatedNorm,
        mamba_norm_before_gate: m.normBeforeGate,
        ...(m.dtLimit && { time_step_limit: m.dtLimit }),
        embedding_multiplier: config.embeddingMultiplier,
        lm_head_multiplier: config.logitsMultiplier,
        key_multiplier: a.keyMultiplier,
        attention_in_multiplier: attention.inMultiplier,
        attention_out_multiplier: attention.outMultiplier,
        ssm_in_multiplier: ssm.inMultiplier,
        ssm_out_multiplier: ssm.outMultiplier,
        ssm_multipliers: m.multipliers ?? [1, 1, 1, 1, 1],
        mlp_multipliers: [mlp.gateMultiplier, mlp.outMultiplier],
        ...rope,
      }
    );
  });
