import { flag, harmless, whole, wholes } from '../fields.js';
import { limits } from '../limits.js';
import { architecture, fileOfLayers, layersOf, type Writer } from './architecture.js';
import {
  hybridAttentionFields,
  hybridFields,
  hybridFile,
  hybridMamba,
  hybridMambaFields,
  hybridMambaFile,
} from './hybrid.js';
import { llamaAttention } from './llama.js';
import { position, rotary } from './rotary.js';

const fields = {
  ...hybridFields,
  ...hybridAttentionFields,
  ...hybridMambaFields,
  ...rotary, // rope_theta: 10,000 if absent
  vocab_size: whole(128000),
  intermediate_size: whole(14336),
  num_key_value_heads: whole(8),
  mlp_bias: flag(false),
  attn_layer_indices: wholes,
  attn_rotary_emb: whole(), // half of a head
  z_loss_coefficient: harmless, // of training
};

/** Half of each head turns, whatever the file says. */
const TURNING = 0.5;

/** Bamba (IBM et al. 2024): layers of Mamba-2 and, in a few places, of attention, each with an MLP. */
export const bamba = architecture({
  type: 'bamba',
  classes: ['BambaForCausalLM'],
  fields,
  toConfig(f, place) {
    const attention = llamaAttention({ ...f, head_dim: undefined }, { bias: f.attention_bias });
    const mamba = hybridMamba(f, place, { normGroups: 1 }); // its norm is over all channels
    const { headDim = 0 } = attention;
    if ((f.attn_rotary_emb ?? TURNING * headDim) !== TURNING * headDim)
      place('attn_rotary_emb').unsupported(`half of the ${headDim} channels of a head`);
    const nLayers = f.num_hidden_layers;
    if (f.attn_layer_indices.some((i) => i >= nLayers))
      place('attn_layer_indices').bad(`below num_hidden_layers = ${nLayers}`);
    const attended = new Set(f.attn_layer_indices);
    const count = Math.min(nLayers, limits.nLayers);
    return {
      vocabSize: f.vocab_size,
      dModel: f.hidden_size,
      nLayers,
      mixer: Array.from({ length: count }, (_, i) => (attended.has(i) ? attention : mamba)),
      mlp: { type: 'swiglu', dHidden: f.intermediate_size, bias: f.mlp_bias },
      norm: { type: 'rms', eps: f.rms_norm_eps },
      position: position(f, place, 10000, { headDim, absent: TURNING }),
      tieEmbeddings: f.tie_word_embeddings,
      naming: 'bamba',
    };
  },
});

export const writeBamba: Writer = (config) => {
  const { naming, mixers, mlps, position: at, dModel } = config;
  const attention = mixers.find((mixer) => mixer.type === 'softmax-attention');
  const mamba = mixers.find((mixer) => mixer.type === 'mamba2');
  const [mlp] = mlps;
  if (naming !== 'bamba' || mamba === undefined || mlp.type === 'none') return undefined;
  return fileOfLayers(bamba, {
    ...hybridFile(config, attention),
    intermediate_size: mlp.dHidden,
    mlp_bias: mlp.bias,
    attn_layer_indices: layersOf(mixers, 'softmax-attention'),
    ...(attention && { attn_rotary_emb: TURNING * attention.headDim }),
    ...hybridMambaFile(mamba, dModel),
    rope_theta: at.type === 'rope' ? at.base : undefined,
  });
};
