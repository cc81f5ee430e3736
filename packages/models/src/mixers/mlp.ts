/**
 * The feed-forward half of a block: relu (Vaswani et al. 2017, arXiv:1706.03762), its square (So et al. 2021,
 * arXiv:2109.08668), gelu (Hendrycks & Gimpel 2016,
 * arXiv:1606.08415) or swiglu (Shazeer 2020, arXiv:2002.05202).
 */
import type { ResolvedMlp } from '@freelunch/config';
import { outputDeviation } from './mamba.js';
import { linear } from './mixer.js';
import { type Ops, scaled } from './ops.js';
import { type FloatTensor, normal, type ParameterList, type Scope, uniform, zeros } from './parameters.js';

export interface Mlp {
  declare(list: ParameterList, prefix: string): void;
  /** `[..., dModel]` to the same. */
  forward(o: Ops, p: Scope, x: FloatTensor): FloatTensor;
}

/** @param conv1d weights stored `[in, out]` under GPT-2's names */
export function createMlp(
  config: ResolvedMlp,
  dModel: number,
  branches: number,
  conv1d: boolean,
): Mlp | undefined {
  if (config.type === 'none') return undefined;
  const { type, dHidden, bias } = config;
  if (type === 'swiglu') {
    const { gateMultiplier, outMultiplier } = config;
    return {
      declare(list, prefix) {
        list.matrix(`${prefix}gate_proj.weight`, [dHidden, dModel], uniform(1 / Math.sqrt(dModel)));
        list.matrix(`${prefix}up_proj.weight`, [dHidden, dModel], uniform(1 / Math.sqrt(dModel)));
        list.matrix(`${prefix}down_proj.weight`, [dModel, dHidden], outputDeviation(dHidden, branches));
        if (!bias) return;
        for (const [name, width] of [
          ['gate_proj', dHidden],
          ['up_proj', dHidden],
          ['down_proj', dModel],
        ] as const) {
          list.other(`${prefix}${name}.bias`, [width], zeros);
        }
      },
      forward(o, p, x) {
        const gate = o.silu({ x: scaled(o, linear(o, p, 'gate_proj', x), gateMultiplier) });
        const y = linear(o, p, 'down_proj', o.multiply({ a: gate, b: linear(o, p, 'up_proj', x) }));
        return scaled(o, y, outMultiplier);
      },
    };
  }
  const approximate = config.type === 'gelu' ? config.approximate : undefined;
  const [first, last] = conv1d ? ['c_fc', 'c_proj'] : ['fc1', 'fc2'];
  const axes = conv1d ? 'in-out' : 'out-in';
  return {
    declare(list, prefix) {
      const declareMatrix = (name: string, from: number, to: number, deviation: number) =>
        list.matrix(`${prefix}${name}.weight`, conv1d ? [from, to] : [to, from], normal(deviation), axes);
      declareMatrix(first, dModel, dHidden, 0.02);
      if (bias) list.other(`${prefix}${first}.bias`, [dHidden], zeros);
      declareMatrix(last, dHidden, dModel, 0.02 / Math.sqrt(branches));
      if (bias) list.other(`${prefix}${last}.bias`, [dModel], zeros);
    },
    forward(o, p, x) {
      const hidden = linear(o, p, first, x, axes);
      const active = type === 'gelu' ? o.gelu({ x: hidden, approximate }) : o[type]({ x: hidden });
      return linear(o, p, last, active, axes);
    },
  };
}
