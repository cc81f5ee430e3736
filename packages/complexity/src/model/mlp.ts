import type { ResolvedConfig, ResolvedMlp } from '@freelunch/config';
import { Expression, minimum, product } from '../expression.js';
import type { Elements, Op } from '../ops/op.js';
import type { Entry, Layer } from './layer.js';
import { isFused } from './softmax-attention.js';

/** Makes a product one of `count` experts, to which `rows` rows go: more of them are read the more rows there are. */
function ofExperts(entry: Entry, count: Expression, rows: Expression): void {
  const several = (elements: Elements): Elements => ({
    ...elements,
    ...Object.fromEntries(
      (['weights', 'matrices', 'unevenMatrices'] as const).flatMap((kind) => {
        const size = elements[kind];
        return size === undefined ? [] : [[kind, product(size, minimum(count, rows))]];
      }),
    ),
    ...(elements.gradients !== undefined && { gradients: product(elements.gradients, count) }),
  });
  const widened = (part: Op): Op => ({ ...part, read: several(part.read), written: several(part.written) });
  entry.params = entry.params.times(count);
  if (entry.matrix) entry.matrix = { ...entry.matrix, size: entry.matrix.size.times(count) };
  entry.forward = widened(entry.forward);
  entry.backward = entry.backward.map(widened);
}

/** An MLP, or a mixture of them. @returns how many times it uses its input */
export function addMlp(
  layer: Layer,
  config: Exclude<ResolvedMlp, { type: 'none' }>,
  model: ResolvedConfig,
): number {
  const { situation } = layer;
  const { sizes, dModel } = situation;
  const { experts, active, bias } = config;
  const fused = isFused(model);
  const rows = experts === 1 ? layer.rows : layer.rows.times(sizes.size('activeExperts', active));
  const count = experts === 1 ? Expression.of(1) : sizes.size('nExperts', experts);
  if (experts > 1) {
    layer.linear('router', count, dModel);
    layer.pointwise('router.exp', 'exp', product(layer.rows, count));
  }
  const linear = (name: string, n: Expression, k: Expression, bias: boolean, transposed: boolean) => {
    layer.linear(name, n, k, bias, transposed, rows);
    if (experts > 1) ofExperts(layer.entries[layer.entries.length - 1], count, rows);
  };
  const dHidden = sizes.size('dHidden', config.dHidden);
  if (config.type === 'swiglu') {
    linear('gate_proj', dHidden, dModel, bias, true);
    if (config.gateMultiplier !== 1) layer.scale('gate_multiplier', [dHidden], rows);
    layer.pointwise('silu', 'silu', product(rows, dHidden));
    linear('up_proj', dHidden, dModel, bias, true);
    layer.pointwise('gate', 'multiply', product(rows, dHidden));
    linear('down_proj', dModel, dHidden, bias, true);
    if (config.outMultiplier !== 1) layer.scale('out_multiplier', [dModel], rows);
    return 2;
  }
  linear(fused ? 'c_fc' : 'fc1', dHidden, dModel, bias, !fused);
  const hidden = product(rows, dHidden);
  if (config.type === 'gelu')
    layer.pointwise('gelu', config.approximate === 'tanh' ? 'geluTanh' : 'gelu', hidden);
  else layer.pointwise(config.type, config.type, hidden);
  linear(fused ? 'c_proj' : 'fc2', dModel, dHidden, bias, !fused);
  return 1;
}
