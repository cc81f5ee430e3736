import { type Benchmark, filled, values } from './benchmark.js';

const size = 2 ** 20;

export const sgdBenchmarks: Benchmark[] = [
  {
    op: 'sgd',
    pass: 'step',
    shape: `[${size}]`,
    quick: false,
    elements: size,
    bytes: 20 * size,
    prepare(k) {
      const [parameter, gradient, velocity] = [filled(k, [size]), filled(k, [size]), filled(k, [size])];
      return () => k.sgd({ parameter, gradient, velocity, momentum: 0.9, learningRate: 1e-3 });
    },
    plain() {
      const [parameter, gradient, velocity] = [values(size), values(size), values(size)];
      return () => {
        for (let i = 0; i < size; i++) {
          velocity[i] = 0.9 * velocity[i] + gradient[i];
          parameter[i] -= 1e-3 * velocity[i];
        }
      };
    },
  },
];
