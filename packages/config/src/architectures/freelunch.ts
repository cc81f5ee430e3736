import { isHarmless } from '../harmless.js';
import { modelOptions } from '../resolve.js';
import type { ModelConfig, ResolvedConfig } from '../types.js';
import type { Architecture } from './architecture.js';

const isAlike = (layers: readonly object[]): boolean =>
  layers.every((layer) => layer === layers[0] || JSON.stringify(layer) === JSON.stringify(layers[0]));

/** Our own form, for what no other can say: a config as it is. `resolveConfig` checks what it says. */
export const freelunch = {
  type: 'freelunch',
  classes: [],
  read(json) {
    const said = Object.entries(json).filter(
      ([name, value]) =>
        value !== null && (modelOptions.includes(name as keyof ModelConfig) || !isHarmless(name)),
    );
    return Object.fromEntries(said) as unknown as ModelConfig;
  },
  write({ mixers, mlps, ...config }: ResolvedConfig) {
    const said: ModelConfig = {
      ...config,
      mixer: isAlike(mixers) ? mixers[0] : mixers,
      mlp: isAlike(mlps) ? mlps[0] : mlps,
    };
    return { model_type: 'freelunch', ...Object.fromEntries(modelOptions.map((name) => [name, said[name]])) };
  },
} satisfies Architecture;
