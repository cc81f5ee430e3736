import type { Array64 } from '@freelunch/kernels/reference';
import { type Case, gradientName, type HostArgs, type HostTensor, runReference } from './cases/case.ts';

const STEP = 1e-5;

/**
 * How fast the sum of upstream * output over all outputs of the reference grows as input `name` moves along
 * `direction`.
 */
export function slope(
  c: Case,
  args: HostArgs,
  up: Record<string, HostTensor>,
  name: string,
  direction: Float64Array,
): number {
  const x = args[name] as HostTensor;
  const objective = (shift: number) => {
    const moved: Array64 = {
      shape: x.shape,
      data: Float64Array.from(x.data, (value, i) => value + shift * direction[i]),
    };
    const outputs = runReference(c.op, args, { [name]: moved });
    let total = 0;
    for (const output of c.backward!.outputs) {
      const weights = up[gradientName(output)].data;
      outputs[output].data.forEach((value, i) => (total += value * weights[i]));
    }
    return total;
  };
  return (objective(STEP) - objective(-STEP)) / (2 * STEP);
}
