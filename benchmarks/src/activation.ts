import { type Benchmark, filled, values } from './benchmark.js';

const size = 2 ** 20;
const shape = `[${size}]`;

/** erf to 1.5e-7 (Abramowitz & Stegun 7.1.26): JavaScript has none. */
function erf(x: number): number {
  const u = 1 / (1 + 0.3275911 * Math.abs(x));
  const p = u * (0.254829592 + u * (-0.284496736 + u * (1.421413741 + u * (-1.453152027 + u * 1.061405429))));
  return Math.sign(x) * (1 - p * Math.exp(-x * x));
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const distribution = (x: number) => (1 + erf(x * Math.SQRT1_2)) / 2;

interface PointwiseFunction {
  value(x: number): number;
  slope(x: number): number;
}

const functions = {
  silu: {
    value: (x: number) => x * sigmoid(x),
    slope: (x: number) => sigmoid(x) * (1 + x * (1 - sigmoid(x))),
  },
  gelu: {
    value: (x: number) => x * distribution(x),
    slope: (x: number) => distribution(x) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI),
  },
  softplus: { value: (x: number) => Math.log1p(Math.exp(x)), slope: sigmoid },
  logSigmoid: { value: (x: number) => -Math.log1p(Math.exp(-x)), slope: (x: number) => sigmoid(-x) },
  sigmoid: { value: sigmoid, slope: (x: number) => sigmoid(x) * (1 - sigmoid(x)) },
  tanh: { value: Math.tanh, slope: (x: number) => 1 - Math.tanh(x) ** 2 },
  relu: { value: (x: number) => Math.max(0, x), slope: (x: number) => Number(x > 0) },
  relu2: { value: (x: number) => Math.max(0, x) ** 2, slope: (x: number) => 2 * Math.max(0, x) },
  elu1: {
    value: (x: number) => (x > 0 ? x + 1 : Math.exp(x)),
    slope: (x: number) => (x > 0 ? 1 : Math.exp(x)),
  },
  exp: { value: Math.exp, slope: Math.exp },
  negate: { value: (x: number) => -x, slope: () => -1 },
} satisfies Record<string, PointwiseFunction>;

function benchmarks(op: keyof typeof functions): Benchmark[] {
  const { value, slope }: PointwiseFunction = functions[op];
  return [
    {
      op,
      pass: 'forward',
      shape,
      quick: op === 'gelu',
      elements: size,
      bytes: 8 * size,
      prepare(k) {
        const x = filled(k, [size], -4, 4);
        return () => k[op]({ x }).dispose();
      },
      plain() {
        const x = values(size, -4, 4);
        const y = new Float32Array(size);
        return () => {
          for (let i = 0; i < size; i++) y[i] = value(x[i]);
        };
      },
    },
    {
      op,
      pass: 'backward',
      shape,
      quick: false,
      elements: size,
      bytes: 12 * size,
      prepare(k) {
        const args = { x: filled(k, [size], -4, 4), dy: filled(k, [size]) };
        return () => k[`${op}Backward`](args).dx.dispose();
      },
      plain() {
        const x = values(size, -4, 4);
        const dy = values(size);
        const dx = new Float32Array(size);
        return () => {
          for (let i = 0; i < size; i++) dx[i] = dy[i] * slope(x[i]);
        };
      },
    },
  ];
}

function binaryBenchmarks(op: 'add' | 'multiply'): Benchmark[] {
  return [
    {
      op,
      pass: 'forward',
      shape,
      quick: false,
      elements: size,
      bytes: 12 * size,
      prepare(k) {
        const args = { a: filled(k, [size]), b: filled(k, [size]) };
        return () => k[op](args).dispose();
      },
      plain() {
        const a = values(size);
        const b = values(size);
        const y = new Float32Array(size);
        return op === 'add'
          ? () => {
              for (let i = 0; i < size; i++) y[i] = a[i] + b[i];
            }
          : () => {
              for (let i = 0; i < size; i++) y[i] = a[i] * b[i];
            };
      },
    },
  ];
}

const scaleBenchmark: Benchmark = {
  op: 'scale',
  pass: 'forward',
  shape,
  quick: false,
  elements: size,
  bytes: 8 * size,
  prepare(k) {
    const x = filled(k, [size]);
    return () => k.scale({ x, factor: 0.3 }).dispose();
  },
  plain() {
    const x = values(size);
    const y = new Float32Array(size);
    return () => {
      for (let i = 0; i < size; i++) y[i] = 0.3 * x[i];
    };
  },
};

export const activationBenchmarks: Benchmark[] = [
  ...(Object.keys(functions) as (keyof typeof functions)[]).flatMap(benchmarks),
  ...binaryBenchmarks('add'),
  ...binaryBenchmarks('multiply'),
  scaleBenchmark,
];
