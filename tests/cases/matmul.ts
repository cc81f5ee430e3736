import type { Random } from '@freelunch/random';
import type { Format } from '@freelunch/kernels/reference';
import { type Case, normal, quantized, type Size } from './case.ts';

/** One size as numbers: `batch` and `heads` are leading axes, 0 if absent. */
const numbers = ({ m, n, k, batch, heads }: Size) =>
  [m, n, k, batch ?? 0, heads ?? 0].map(Number) as [number, number, number, number, number];

function inputs(size: Size, rng: Random) {
  const [m, n, k, batch, heads] = numbers(size);
  const leading = [batch, heads].filter((extent) => extent > 0);
  const transposeA = size.transposeA === true;
  const transposeB = size.transposeB === true;
  const scale = 1 / Math.sqrt(k);
  return {
    a: normal(rng, [...leading, ...(transposeA ? [k, m] : [m, k])]),
    b: normal(rng, [...(size.shared === true ? [] : leading), ...(transposeB ? [n, k] : [k, n])], scale),
    bias: size.bias === true ? normal(rng, [n]) : undefined,
    transposeA: size.transposeA === undefined ? undefined : transposeA,
    transposeB: size.transposeB === undefined ? undefined : transposeB,
  };
}

/** Each size in all four transposes. */
const transposed = (sizes: Size[]): Size[] =>
  sizes.flatMap((size) => [
    size,
    { ...size, transposeA: true },
    { ...size, transposeB: true },
    { ...size, transposeA: true, transposeB: true },
  ]);

/** Few rows and many, whole and broken groups of columns, several blocks of steps. */
const quantizedSizes = (dtype: Format): Size[] => [
  { m: 1, n: 1, k: 32 },
  { m: 1, n: 80, k: 96, bias: true },
  { m: 1, n: 17, k: 288 },
  { m: 3, n: 37, k: 64, bias: true },
  { batch: 2, m: 2, n: 6, k: 32, bias: true },
  { m: 6, n: 13, k: 64 },
  { m: 13, n: 11, k: 288, bias: true },
  { batch: 2, m: 33, n: 19, k: 32 },
  { m: 9, n: 530, k: 544, bias: true },
  ...(dtype === 'int8' || dtype === 'int4'
    ? []
    : [
        { m: 1, n: 5, k: 1 },
        { m: 2, n: 9, k: 15, bias: true },
        { m: 7, n: 9, k: 263 },
      ]),
];

const backward = { tolerance: 2e-6, inputs: ['a', 'b', 'bias'], outputs: ['y'] };

export const matmulCases: Case[] = [
  {
    op: 'matmul',
    sizes: transposed([
      { m: 1, n: 1, k: 1 },
      { m: 1, n: 17, k: 13, bias: true },
      { m: 3, n: 5, k: 7, bias: true },
      { m: 4, n: 33, k: 17 },
      { m: 5, n: 1, k: 13, bias: true },
      { m: 7, n: 8, k: 3 },
      { m: 13, n: 3, k: 33, bias: true },
      { m: 17, n: 13, k: 1, bias: true },
      { m: 33, n: 17, k: 5 },
    ]),
    inputs,
    tolerance: 1e-6,
    backward,
  },
  {
    op: 'matmul',
    title: 'matmul of a batch',
    sizes: transposed([
      { batch: 3, m: 5, n: 7, k: 3, bias: true },
      { batch: 3, m: 5, n: 7, k: 3, bias: true, shared: true },
      { batch: 2, heads: 3, m: 1, n: 5, k: 9 },
      { batch: 2, heads: 3, m: 2, n: 1, k: 5, bias: true },
      { batch: 2, heads: 2, m: 7, n: 3, k: 2, shared: true },
      { batch: 3, m: 1, n: 9, k: 4, bias: true, shared: true },
    ]),
    inputs,
    tolerance: 1e-6,
    backward,
  },
  {
    op: 'matmul',
    title: 'matmul of whole and broken tiles',
    sizes: transposed([
      { m: 64, n: 65, k: 33, bias: true },
      { m: 65, n: 64, k: 64 },
      { m: 6, n: 24, k: 65, bias: true },
      { m: 30, n: 8, k: 64 },
      { m: 10, n: 16, k: 1, bias: true },
    ]),
    inputs,
    tolerance: 1e-6,
  },
  {
    op: 'matmul',
    title: 'matmul of several blocks',
    sizes: transposed([
      { m: 5, n: 9, k: 519, bias: true }, // blocks of 256 steps
      { m: 245, n: 9, k: 3, bias: true }, // of 120 rows
      { m: 7, n: 1029, k: 5, bias: true }, // of 512 columns
      { m: 130, n: 530, k: 265, bias: true },
      { m: 3, n: 65, k: 1031, bias: true }, // few rows
    ]),
    inputs,
    tolerance: 1e-6,
  },
  ...(['float16', 'bfloat16', 'int8', 'int4'] as const).map((dtype): Case => ({
    op: 'matmul',
    title: `matmul by ${dtype}`,
    sizes: quantizedSizes(dtype),
    inputs: ({ batch, m, n, k, bias }, rng) => ({
      a: normal(rng, [...(batch === undefined ? [] : [Number(batch)]), Number(m), Number(k)]),
      b: quantized(rng, [Number(n), Number(k)], dtype, 1 / Math.sqrt(Number(k))),
      transposeB: true,
      bias: bias === true ? normal(rng, [Number(n)]) : undefined,
    }),
    // Rows of a rounded to 16 bits: an error of 2^-16 of the largest in a block, times weights that may cancel out.
    tolerance: dtype.startsWith('int') ? 2e-4 : 1e-6,
    forwardOnly: true,
  })),
];
