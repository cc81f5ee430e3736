import { flag, harmless, number, only, whole } from '../fields.js';
import { architecture, fileOf, type Writer } from './architecture.js';

const geluForms = { gelu_new: 'tanh', gelu_pytorch_tanh: 'tanh', gelu: 'none' } as const;

const fields = {
  vocab_size: whole(50257),
  n_positions: whole(1024),
  n_embd: whole(768),
  n_layer: whole(12),
  n_head: whole(12),
  n_inner: whole(), // 4 n_embd if absent
  activation_function: only('gelu_new', 'gelu_pytorch_tanh', 'gelu'),
  layer_norm_epsilon: number(1e-5),
  tie_word_embeddings: flag(true),
  scale_attn_weights: only(true),
  scale_attn_by_inverse_layer_idx: only(false),
  add_cross_attention: only(false),
  reorder_and_upcast_attn: harmless, // how scores are rounded in half precision
  n_ctx: harmless, // n_positions by an old name, which nothing reads
};

/** GPT-2 (Radford et al. 2019). */
export const gpt2 = architecture({
  type: 'gpt2',
  classes: ['GPT2LMHeadModel'],
  fields,
  toConfig: (f) => ({
    vocabSize: f.vocab_size,
    dModel: f.n_embd,
    nLayers: f.n_layer,
    mixer: { type: 'softmax-attention', nHeads: f.n_head },
    mlp: { type: 'gelu', dHidden: f.n_inner, approximate: geluForms[f.activation_function] },
    norm: { type: 'layer', eps: f.layer_norm_epsilon },
    position: { type: 'learned', maxLength: f.n_positions },
    tieEmbeddings: f.tie_word_embeddings,
    naming: 'gpt2',
  }),
});

export const writeGpt2: Writer = (model) =>
  fileOf(gpt2, model, ({ mixer, mlp }) => {
    const { naming, position, dModel, ...config } = model;
    if (naming !== 'gpt2' || position.type !== 'learned') return undefined;
    if (mixer.type !== 'softmax-attention' || mlp.type !== 'gelu') return undefined;
    const { nHeads, nKvHeads, headDim, valueDim, window, sparse } = mixer;
    const square = nKvHeads === nHeads && headDim * nHeads === dModel && valueDim === headDim;
    const biased = mixer.bias && mixer.qkvBias && mlp.bias;
    if (!square || !biased || window !== undefined || sparse !== undefined || mlp.experts > 1)
      return undefined;
    return {
      n_positions: position.maxLength,
      n_embd: dModel,
      n_layer: config.nLayers,
      n_head: nHeads,
      n_inner: mlp.dHidden,
      activation_function: mlp.approximate === 'none' ? 'gelu' : 'gelu_new',
      layer_norm_epsilon: config.norm.eps,
      vocab_size: config.vocabSize,
      tie_word_embeddings: config.tieEmbeddings,
    };
  });
