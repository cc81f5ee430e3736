import { inBlock, type Places } from './place.js';

const top: Readonly<Record<string, string>> = {
  'token_embd.weight': 'transformer.wte.weight',
  'position_embd.weight': 'transformer.wpe.weight',
  'output_norm.weight': 'transformer.ln_f.weight',
  'output_norm.bias': 'transformer.ln_f.bias',
  'output.weight': 'lm_head.weight',
};

const norms: Readonly<Record<string, string>> = { attn_norm: 'ln_1', ffn_norm: 'ln_2' };

/** GPT-2 stores these [in, out]. */
const matrices: Readonly<Record<string, string>> = {
  attn_qkv: 'attn.c_attn',
  attn_output: 'attn.c_proj',
  ffn_up: 'mlp.c_fc',
  ffn_down: 'mlp.c_proj',
};

export const gpt2: Places = (name) => {
  if (Object.hasOwn(top, name)) return { parameter: top[name] };
  const { layer, module = '', suffix = '' } = inBlock(name) ?? {};
  const prefix = `transformer.h.${layer}.`;
  if (suffix === '') return undefined;
  if (Object.hasOwn(norms, module)) return { parameter: prefix + norms[module] + suffix };
  if (!Object.hasOwn(matrices, module)) return undefined;
  const parameter = prefix + matrices[module] + suffix;
  return suffix === '.bias' ? { parameter } : { parameter, arrangement: { kind: 'transposed' } };
};
