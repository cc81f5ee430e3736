import { createTape, type Differentiable, rules } from '@freelunch/autograd';
import { type Tensor, Tensor as TensorClass } from '@freelunch/kernels';
import type { Array64 } from '@freelunch/kernels/reference';
import { random } from '@freelunch/random';
import { afterEach, describe, expect, it } from 'vitest';
import {
  argsOf,
  give,
  gradientName,
  type HostTensor,
  isTensor,
  runReference,
  titleOf,
  upstream,
} from './cases/case.ts';
import { cases } from './cases/index.ts';
import { guarded } from './kernels.ts';

const STEP = 1e-5;

type Call = (args: Record<string, unknown>) => unknown;

const differentiable = cases.filter((c) => c.backward !== undefined);

describe.each(guarded)('%s', (_variant, k) => {
  afterEach(() => expect(k.memory.tensors).toBe(0));

  describe.each(differentiable.map((c) => [titleOf(c), c] as const))('%s', (_title, c) => {
    it.each(c.sizes)('has on the tape the gradient of its definition at %o', (size) => {
      const args = argsOf(c, size);
      const wanted = runReference(c.op, args);
      const up = upstream(c, size, wanted);
      const inputs = rules[c.op as Differentiable].inputs.filter((name) => isTensor(args[name]));
      expect([...inputs].sort()).toEqual(c.backward!.inputs.filter((name) => isTensor(args[name])).sort());

      k.scope(() => {
        const given = give(k, args);
        const watched = inputs.map((name) => given[name] as Tensor<'float32'>);
        const tape = createTape(k, watched);
        const result = (tape as unknown as Record<string, Call>)[c.op](given);
        const outputs = (result instanceof TensorClass ? { y: result } : result) as Record<
          string,
          Tensor<'float32'>
        >;
        // One number that depends on every output: its gradient needs all upstream gradients at once.
        const total = c.backward!.outputs.map((name) => {
          const { data } = up[gradientName(name)];
          return tape.matmul({
            a: tape.reshape(outputs[name], [1, data.length]),
            b: k.tensor(data as Float32Array, [data.length, 1]),
          });
        });
        const gradients = tape.backward(total.reduce((a, b) => tape.add({ a, b })));

        inputs.forEach((name, i) => {
          const gradient = gradients.get(watched[i])!.toArray();
          const x = args[name] as HostTensor;
          const rng = random(3).split(name);
          const direction = Float64Array.from(x.data, () => (rng.integer(2) === 0 ? -1 : 1));
          const objective = (shift: number): number => {
            const data = Float64Array.from(x.data, (value, j) => value + shift * direction[j]);
            const moved: Record<string, Array64> = runReference(c.op, args, {
              [name]: { shape: x.shape, data },
            });
            return c.backward!.outputs.reduce((sum, output) => {
              const weights = up[gradientName(output)].data;
              return moved[output].data.reduce((dot, value, j) => dot + value * weights[j], sum);
            }, 0);
          };
          const slope = (objective(STEP) - objective(-STEP)) / (2 * STEP);
          const along = gradient.reduce((sum, value, j) => sum + value * direction[j], 0);
          const scale = gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
          const bound = 2 * c.backward!.tolerance * scale * Math.sqrt(gradient.length) + 1e-9;
          expect(Math.abs(along - slope), gradientName(name)).toBeLessThanOrEqual(bound);
        });
        k.checkGuards();
      });
    });
  });
});

it('has a case for every op on the tape', () => {
  expect([...new Set(differentiable.map(({ op }) => op))].sort()).toEqual(Object.keys(rules).sort());
});
