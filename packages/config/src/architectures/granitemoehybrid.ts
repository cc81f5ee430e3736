import { harmless, layerTypes, number, only, whole } from '../fields.js';
import { limits } from '../limits.js';
import { architecture, fileOfLayers, type Writer } from './architecture.js';
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
  shared_intermediate_size: whole(1024),
  intermediate_size: harmless, // of experts
  num_local_experts: whole(8),
  num_experts_per_tok: harmless,
  // Up to Transformers 4 `mamba` and `attention`; Mamba-2 everywhere if absent.
  layer_types: layerTypes('mamba', 'linear_attention', 'attention', 'full_attention'),
  position_embedding_type: only(null, 'nope', 'rope'),
  normalization_function: only('rmsnorm'),
  embedding_multiplier: number(1),
  residual_multiplier: number(1),
  attention_multiplier: number(1),
  logits_scaling: number(1),
  init_method: harmless,
};

/** Granite 4 (IBM 2025), the models without experts: layers of Mamba-2 and of attention, each with an MLP. */
export const graniteHybrid = architecture({
  type: 'granitemoehybrid',
  classes: ['GraniteMoeHybridForCausalLM'],
  fields,
  toConfig(f, place) {
    if (f.num_local_experts > 0)
      place('num_local_experts').unsupported('0, for all layers have a shared MLP');
    if (f.logits_scaling === 0)
      place('logits_scaling').bad('a number other than 0, which logits are divided by');
    const attention = llamaAttention(
      { ...f, head_dim: undefined },
      { bias: f.attention_bias, scale: f.attention_multiplier },
    );
    const mamba = hybridMamba(f, place, { normGroups: 1 }); // its norm is over all channels
    const nLayers = f.num_hidden_layers;
    if ((f.layer_types?.length ?? nLayers) !== nLayers)
      place('layer_types').bad(`one for each of the ${nLayers} layers`);
    const types =
      f.layer_types ?? Array.from({ length: Math.min(nLayers, limits.nLayers) }, () => 'mamba' as const);
    const isMamba = (type: string) => type === 'mamba' || type === 'linear_attention';
    return {
      vocabSize: f.vocab_size,
      dModel: f.hidden_size,
      nLayers,
      mixer: types.map((type) => (isMamba(type) ? mamba : attention)),
      mlp: { type: 'swiglu', dHidden: f.shared_intermediate_size },
      norm: { type: 'rms', eps: f.rms_norm_eps },
      position: f.position_embedding_type === 'rope' ? position(f, place, 10000) : 'none',
      tieEmbeddings: f.tie_word_embeddings,
      embeddingMultiplier: f.embedding_multiplier,
      residualMultiplier: f.residual_multiplier,
      logitsMultiplier: 1 / f.logits_scaling,
      naming: 'granitemoehybrid',
    };
  },
});

/** The shortest number that 1 / `x` is the reciprocal of. */
function reciprocal(x: number): number {
  const short = Number((1 / x).toPrecision(15));
  return 1 / short === x ? short : 1 / x;
}

export const writeGraniteHybrid: Writer = (config) => {
  const { naming, mixers, mlps, position: at, dModel } = config;
  const attention = mixers.find((mixer) => mixer.type === 'softmax-attention');
  const mamba = mixers.find((mixer) => mixer.type === 'mamba2');
  const [mlp] = mlps;
  if (naming !== 'granitemoehybrid' || mlp.type === 'none') return undefined;
  return fileOfLayers(graniteHybrid, {
    ...hybridFile(config, attention),
    shared_intermediate_size: mlp.dHidden,
    intermediate_size: mlp.dHidden,
    num_local_experts: 0,
    num_experts_per_tok: 0,
    layer_types: mixers.map(({ type }) => (type === 'mamba2' ? 'mamba' : 'attention')),
    position_embedding_type: at.type === 'rope' ? 'rope' : 'nope',
    ...(at.type === 'rope' && { rope_theta: at.base }),
    embedding_multiplier: config.embeddingMultiplier,
    residual_multiplier: config.residualMultiplier,
    attention_multiplier: attention?.scale ?? 1,
    logits_scaling: reciprocal(config.logitsMultiplier),
    ...(mamba && hybridMambaFile(mamba, dModel)),
  });
};
