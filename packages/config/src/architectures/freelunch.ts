import { isHarmless } from '../harmless.js';
import type { Json } from '../json.js';
import { modelOptions } from '../resolve.js';
import type { ModelConfig, ResolvedConfig } from '../types.js';
import { type Architecture, isAlike } from './architecture.js';

/** Our own form, for what no other can say: a config as it is. `resolveConfig` checks what it says. */
export const freelunch: Architecture = {
  type: 'freelunch',
  classes: [],
  read(json) {
    const said = Object.entries(json).filter(
      ([name, value]) =>
        value !== null && (modelOptions.includes(name as keyof ModelConfig) || !isHarmless(name)),
    );
    return Object.fromEntries(said) as unknown as ModelConfig;
  },
};

export function writeFreelunch({ mixers, mlps, ...config }: ResolvedConfig): Json {
  const said: ModelConfig = {
    ...config,
    mixer: isAlike(mixers) ? mixers[0] : mixers,
    mlp: isAlike(mlps) ? mlps[0] : mlps,
  };
  return { model_type: 'freelunch', ...Object.fromEntries(modelOptions.map((name) => [name, said[name]])) };
}
