import { UnsupportedError } from '@freelunch/errors';
import type { ResolvedConfig, ResolvedMixer, ResolvedMlp } from './types.js';

/** Of one layer: what models cannot compute yet, and what the field must be. */
function lacking(mixer: ResolvedMixer, mlp: ResolvedMlp): string | undefined {
  if (mixer.type === 'mamba' && mixer.innerNorms !== 'none')
    return `mixer.innerNorms must be 'none', got '${mixer.innerNorms}'`;
  if (mixer.type === 'softmax-attention' && mixer.qkvBias !== mixer.bias)
    return `mixer.qkvBias must be what mixer.bias is, ${mixer.bias}, got ${mixer.qkvBias}`;
  if (mlp.type !== 'none' && mlp.experts > 1) return `mlp.experts must be 1, got ${mlp.experts}`;
  return undefined;
}

/**
 * Refuses what a config can say, and costs are known of, but the models of @freelunch/models cannot compute yet.
 *
 * @param where the function, or the file, that messages name
 * @throws UnsupportedError naming the field
 */
export function checkComputable(config: ResolvedConfig, where: string): void {
  const { mixers, mlps, position } = config;
  const scaling =
    position.type === 'rope' && position.scaling !== undefined
      ? `position.scaling must be absent, got '${position.scaling.type}'`
      : undefined;
  const layer = mixers.findIndex((mixer, i) => lacking(mixer, mlps[i]) !== undefined);
  const found =
    scaling ?? (layer < 0 ? undefined : `${lacking(mixers[layer], mlps[layer])} in layer ${layer}`);
  if (found !== undefined)
    throw new UnsupportedError(`${where}: ${found}: models cannot compute it yet, its cost is known`);
}
