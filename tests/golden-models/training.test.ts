import { createTape } from '@freelunch/autograd';
import { describe, expect, it } from 'vitest';
import { readGolden } from '../golden/golden.ts';
import { guarded } from '../kernels.ts';
import { expectGolden, loadGolden } from './checkpoint.ts';

const cases = await readGolden('training');

describe.each(guarded)('%s', (_variant, k) => {
  it.each(cases.map((golden) => [golden.name, golden] as const))(
    'trains %s as the reference does',
    async (_name, golden) => {
      const { steps, lr, betas, eps, weight_decay, decoupled_weight_decay } = golden.config;
      using model = await loadGolden(k, golden);
      const parameters = model.parameters();
      const moments = new Map(
        [...parameters].map(([name, { shape }]) => [name, { m: k.zeros(shape), v: k.zeros(shape) }]),
      );
      const { shape, data } = golden.tensors['in.batches'];
      const batchSize = shape[1] * shape[2];
      const losses: number[] = [];
      const norms: number[] = [];
      const expectParameters = (when: string) => {
        const wanted = Object.keys(golden.tensors).filter((name) => name.startsWith(`out.${when}.`));
        expect([...parameters.keys()].map((name) => `out.${when}.${name}`).sort()).toEqual(wanted.sort());
        for (const [name, tensor] of parameters) expectGolden(golden, `out.${when}.${name}`, tensor.data);
      };
      for (let step = 1; step <= steps; step++) {
        k.scope(() => {
          const batch = Int32Array.from(data.subarray((step - 1) * batchSize, step * batchSize));
          const tape = createTape(k, parameters.values());
          const loss = model.loss(k.tensor(batch, shape.slice(1)), { tape });
          const gradients = tape.backward(loss);
          losses.push(loss.data[0]);
          let square = 0;
          for (const [name, parameter] of parameters) {
            const gradient = gradients.get(parameter)!;
            for (const value of gradient.data) square += value * value;
            const { m, v } = moments.get(name)!;
            k.adamW({
              parameter,
              gradient,
              m,
              v,
              step,
              learningRate: lr,
              beta1: betas[0],
              beta2: betas[1],
              eps,
              weightDecay: weight_decay,
              decoupled: decoupled_weight_decay,
            });
          }
          norms.push(Math.sqrt(square));
        });
        if (step === 1) expectParameters('step1');
      }
      expectParameters('final');
      expectGolden(golden, 'out.losses', losses);
      expectGolden(golden, 'out.grad_norms', norms);
      k.checkGuards();
      for (const { m, v } of moments.values()) for (const moment of [m, v]) moment.dispose();
    },
  );
});
