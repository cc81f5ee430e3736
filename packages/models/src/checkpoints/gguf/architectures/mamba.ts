import { inBlock, type Place, type Places } from './place.js';

const top: Readonly<Record<string, string>> = {
  'token_embd.weight': 'backbone.embeddings.weight',
  'output_norm.weight': 'backbone.norm_f.weight',
  'output.weight': 'lm_head.weight',
};

const modules: Readonly<Record<string, string>> = {
  attn_norm: 'norm',
  ssm_in: 'mixer.in_proj',
  ssm_conv1d: 'mixer.conv1d',
  ssm_x: 'mixer.x_proj',
  ssm_dt: 'mixer.dt_proj',
  ssm_norm: 'mixer.norm',
  ssm_out: 'mixer.out_proj',
};

/** Mamba and Mamba-2, whose bias of dt stands alone. */
const places =
  (dtBias: string): Places =>
  (name) => {
    if (Object.hasOwn(top, name)) return { parameter: top[name] };
    const found = inBlock(name);
    if (found === undefined) return undefined;
    const { layer, module, suffix } = found;
    const prefix = `backbone.layers.${layer}.`;
    const at = (parameter: string): Place => ({ parameter: prefix + parameter });
    if (module === 'ssm_a' && suffix === '')
      return { ...at('mixer.A_log'), arrangement: { kind: 'logarithm' } };
    if (module === 'ssm_d' && suffix === '') return at('mixer.D');
    if (module === 'ssm_dt' && suffix === '.bias') return at(dtBias);
    return suffix !== '' && Object.hasOwn(modules, module) ? at(modules[module] + suffix) : undefined;
  };

export const mamba = places('mixer.dt_proj.bias');
export const mamba2 = places('mixer.dt_bias');
