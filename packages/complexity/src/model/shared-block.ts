import type { ResolvedConfig, ResolvedSharedBlocks } from '@freelunch/config';
import { Expression, product } from '../expression.js';
import { copy } from '../ops/activation.js';
import { rmsNorm, rmsNormBackward } from '../ops/norm.js';
import type { Layer } from './layer.js';
import { addAttention } from './softmax-attention.js';

/** Whether a layer has a shared block in front of its mixer, and whether it is the first to use that one. */
export type LeadKind = 'none' | 'first' | 'again';

export function leadOf({ sharedBlocks }: ResolvedConfig, layer: number): LeadKind {
  const index = sharedBlocks?.layers.indexOf(layer) ?? -1;
  return index === -1 ? 'none' : index < sharedBlocks!.count ? 'first' : 'again';
}

/** A shared block, which reads x beside the embeddings, and the addition of what it gives to x. */
export function addSharedBlock(
  layer: Layer,
  shared: ResolvedSharedBlocks,
  model: ResolvedConfig,
  kind: LeadKind,
): void {
  const { situation, rows } = layer;
  const { grain, sizes, dModel } = situation;
  const dHidden = sizes.size('dHidden', shared.dHidden);
  const rank = sizes.size('adapterRank', shared.adapterRank);
  const both = product(2, dModel);
  /** Parameters that this layer shares with the first one of the block count there. */
  const sharing = (add: () => void): void => {
    const from = layer.entries.length;
    add();
    if (kind === 'first') return;
    const added = layer.entries.slice(from);
    const sharedTensors = added.flatMap(({ tensors }) => tensors);
    for (const entry of added)
      Object.assign(entry, { params: Expression.of(0), matrix: undefined, tensors: [] });
    for (const size of sharedTensors) layer.used('shared', 2, size);
  };
  const norm = (name: string, dim: Expression) => {
    const shape = { rows, dim };
    sharing(() => {
      layer.add(name, rmsNorm(grain, shape), {
        tensors: [dim],
        backward: () => rmsNormBackward(grain, shape),
        outputs: product(rows, dim),
      });
    });
  };
  const adapter = (name: string, from: Expression, to: Expression) => {
    layer.linear(`${name}.0`, rank, from);
    layer.linear(`${name}.1`, to, rank);
    layer.pointwise(`${name}.add`, 'add', product(rows, to));
  };
  const size = product(rows, both);
  layer.add('shared.concat', copy(size), { backward: () => copy(size), outputs: size });
  norm('shared.mixer_norm', Expression.of(both));
  let uses = 3;
  const attention: [name: string, width: Expression][] = [];
  sharing(() => {
    const adapt = (name: string, width: Expression) => void attention.push([name, width]);
    uses = addAttention(layer, shared.attention, model, Expression.of(both), adapt);
  });
  if (shared.attentionAdapters)
    for (const [name, width] of attention) adapter(`${name}_adapter`, Expression.of(both), width);
  layer.used('shared.u', shared.attentionAdapters ? uses + 3 : uses, size);
  norm('shared.mlp_norm', dModel);
  sharing(() => layer.linear('gate_up_proj', product(2, dHidden), dModel, shared.bias));
  adapter('adapter', dModel, Expression.of(product(2, dHidden)));
  layer.used('shared.v', 2, product(rows, dModel));
  layer.split('shared.split', product(2, dHidden));
  layer.pointwise('gelu', 'gelu', product(rows, dHidden));
  layer.pointwise('gate', 'multiply', product(rows, dHidden));
  sharing(() => layer.linear('down_proj', dModel, dHidden, shared.bias));
  layer.linear('shared_linear', dModel, dModel);
  layer.pointwise('shared.add', 'add', product(rows, dModel));
}
