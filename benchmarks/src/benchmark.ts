import type { Kernels, Tensor } from '@freelunch/kernels';

/** One thing to time: ours, and the plain loop that a user would write instead. */
export interface Benchmark {
  /** The public function. */
  op: string;
  pass: 'forward' | 'backward' | 'step';
  /** The shape, as text: `[D 256, N 16, L 512]`. */
  shape: string;
  /** Part of the quick form of `npm run bench`. */
  quick: boolean;
  /** Floating-point operations of one call (a madd counts two; transcendentals are not counted), for GFLOP/s. */
  flops?: number;
  /** Elements of one call, for ns per element: (t, d, n) in scans. */
  elements?: number;
  /** Bytes read and written by one call, where memory is the limit. */
  bytes?: number;
  /** Allocates the inputs once. @returns one call; it frees what it makes */
  prepare(k: Kernels): () => void;
  /** The same work as plain TypeScript loops over Float32Arrays. */
  plain?(): () => void;
}

/** Values that are the same in each run, in [low, high): a linear congruential sequence is enough to time with. */
export function values(size: number, low = -1, high = 1): Float32Array {
  const data = new Float32Array(size);
  let state = 12345;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = low + ((high - low) * state) / 2 ** 32;
  }
  return data;
}

/** A tensor of such values. */
export function filled(k: Kernels, shape: number[], low = -1, high = 1): Tensor<'float32'> {
  return k.tensor(
    values(
      shape.reduce((a, b) => a * b, 1),
      low,
      high,
    ),
    shape,
  );
}
