import { type Case, normal, quantized } from './case.ts';

const dtypes = ['float16', 'bfloat16', 'int8', 'int4'] as const;
const sizes = [
  { rows: 1, k: 32 },
  { rows: 7, k: 96 },
  { rows: 12, k: 64 },
];
const halves = [
  { rows: 1, k: 1 },
  { rows: 5, k: 7 },
];

export const quantizationCases: Case[] = dtypes.flatMap((dtype): Case[] => {
  const all = dtype.startsWith('int') ? sizes : [...sizes, ...halves];
  return [
    {
      op: 'quantize',
      title: `quantize to ${dtype}`,
      sizes: all,
      inputs: ({ rows, k }, rng) => ({ x: normal(rng, [Number(rows), Number(k)]), dtype }),
      tolerance: 0,
    },
    {
      op: 'dequantize',
      title: `dequantize ${dtype}`,
      sizes: all,
      inputs: ({ rows, k }, rng) => ({ x: quantized(rng, [Number(rows), Number(k)], dtype) }),
      tolerance: 0,
    },
  ];
});
