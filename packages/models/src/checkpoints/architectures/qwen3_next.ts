import type { ResolvedMixer } from '@freelunch/config';
import type { Layout } from '../layout.js';

const nHeads = (mixer: ResolvedMixer): number => (mixer.type === 'softmax-attention' ? mixer.nHeads : 1);
const nKeyHeads = (mixer: ResolvedMixer): number => (mixer.type === 'gated-delta-net' ? mixer.nKeyHeads : 1);

const inDelta = (...names: readonly string[]) => names.map((name) => `gated-delta-net.${name}`);

/** What Qwen3-Next and Qwen3.5 have alike. @param prefix of the model's parts */
const qwen = (prefix: string, modules: Layout['modules'], packed: Layout['packed']): Layout => ({
  model: { embedding: `${prefix}embed_tokens`, final_norm: `${prefix}norm`, head: 'lm_head' },
  layer: `${prefix}layers.#.`,
  modules: {
    mixer_norm: 'input_layernorm',
    'gated-delta-net': 'linear_attn',
    'softmax-attention': 'self_attn',
    mlp_norm: 'post_attention_layernorm',
    mlp: 'mlp',
    ...modules,
  },
  packed: {
    'linear_attn.conv1d': inDelta('q_conv1d', 'k_conv1d', 'v_conv1d'),
    // By heads, first the query, then the gate of the output.
    'self_attn.q_proj': {
      parts: ['softmax-attention.q_proj', 'softmax-attention.gate_proj'],
      blocks: nHeads,
    },
    ...packed,
  },
  // Layers that guess several tokens ahead, and what sees images.
  read: (name) => (/^(mtp|model\.visual|visual)\./.test(name) ? undefined : name),
});

export const qwen3Next: Layout = qwen(
  'model.',
  {},
  {
    // By heads of keys, with the heads of values that share them.
    'linear_attn.in_proj_qkvz': { parts: inDelta('q_proj', 'k_proj', 'v_proj', 'z_proj'), blocks: nKeyHeads },
    'linear_attn.in_proj_ba': { parts: inDelta('b_proj', 'a_proj'), blocks: nKeyHeads },
  },
);

const modulesOf35 = {
  'gated-delta-net.z_proj': 'linear_attn.in_proj_z',
  'gated-delta-net.b_proj': 'linear_attn.in_proj_b',
  'gated-delta-net.a_proj': 'linear_attn.in_proj_a',
};
const packedOf35 = { 'linear_attn.in_proj_qkv': inDelta('q_proj', 'k_proj', 'v_proj') };

export const qwen35Text: Layout = qwen('model.', modulesOf35, packedOf35);
export const qwen35: Layout = qwen('model.language_model.', modulesOf35, packedOf35);
