import type { ResolvedConfig } from '@freelunch/config';
import { inBlock, type Places } from './place.js';

const top: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
};

const modules: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};

/** Llama's names, also of Qwen2, whose queries and keys lie as they do here. */
export const qwen2: Places = (name) => {
  if (Object.hasOwn(top, name)) return { parameter: top[name] };
  const { layer, module = '', suffix = '' } = inBlock(name) ?? {};
  if (module === 'attn_rot_embd') return 'ignored'; // rotary frequencies, which old files hold
  if (suffix === '' || !Object.hasOwn(modules, module)) return undefined;
  return { parameter: `model.layers.${layer}.${modules[module]}${suffix}` };
};

/** Of Llama 3: factors that rotary frequencies are divided by. */
export const ROPE_FACTORS = 'rope_freqs.weight';

export const llama =
  ({ mixers }: ResolvedConfig): Places =>
  (name) => {
    if (name === ROPE_FACTORS) return 'ignored'; // a part of the config: see ../load.ts
    const place = qwen2(name);
    const { layer, module } = inBlock(name) ?? {};
    if (typeof place !== 'object' || (module !== 'attn_q' && module !== 'attn_k')) return place;
    const mixer = mixers[Number(layer)];
    if (mixer?.type !== 'softmax-attention') return place;
    const nHeads = module === 'attn_q' ? mixer.nHeads : mixer.nKvHeads;
    return { ...place, arrangement: { kind: 'pairs-to-halves', nHeads } };
  };
