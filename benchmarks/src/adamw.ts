import { type Benchmark, filled, values } from './benchmark.js';

const size = 2 ** 20;

export const adamWBenchmarks: Benchmark[] = [
  {
    op: 'adamW',
    pass: 'step',
    shape: `[${size}]`,
    quick: false,
    elements: size,
    bytes: 28 * size,
    prepare(k) {
      const [parameter, gradient, m] = [filled(k, [size]), filled(k, [size]), filled(k, [size])];
      const v = filled(k, [size], 0, 1);
      return () => k.adamW({ parameter, gradient, m, v, step: 10, learningRate: 1e-3 });
    },
    plain() {
      const [parameter, gradient, m] = [values(size), values(size), values(size)];
      const v = values(size, 0, 1);
      const correction1 = 1 - 0.9 ** 10;
      const correction2 = 1 - 0.999 ** 10;
      return () => {
        for (let i = 0; i < size; i++) {
          m[i] = 0.9 * m[i] + 0.1 * gradient[i];
          v[i] = 0.999 * v[i] + 0.001 * gradient[i] ** 2;
          const update = m[i] / correction1 / (Math.sqrt(v[i] / correction2) + 1e-8);
          parameter[i] -= 1e-3 * (0.01 * parameter[i] + update);
        }
      };
    },
  },
];
