/** C5: what storing and reading a sequence costs, by formula. */
import { checkOptions } from '@freelunch/errors';
import { positionBits } from './copy.js';

/** Ways to copy, by the function that does it. */
export type CopyMixer =
  'linearAttention' | 'selectiveScan' | 'addressed' | 'registerFile' | 'softmaxAttention';

export interface CopyPriceArgs {
  mixer: CopyMixer;
  /** Tokens stored, T. */
  seqLen: number;
  /** Tokens read back, R. */
  reads: number;
  dValue: number;
  /** dKey, dState or the number of registers, N; of no effect on softmax attention. */
  slots: number;
}

export interface CopyPrice {
  /** Floats between two steps (state, or cache of keys and values), and the width of a key. */
  floats: number;
  /** Multiplications, additions, divisions and exponentials, each counted as one. */
  flops: number;
}

/** The formulas of {@link copyPrice}, for people. */
export const copyPriceFormulas: Record<CopyMixer, { floats: string; flops: string }> = {
  linearAttention: { floats: 'N v + N', flops: '(T + R) 4 N v' },
  selectiveScan: { floats: 'N v + N', flops: '(T + R) v (7 N + 1)' },
  addressed: { floats: 'N v + N', flops: '(T + R) v (7 N + 1)' },
  registerFile: { floats: 'N v + 1', flops: '(T + R) 8 N v + R N v (5 + 2 v)' },
  softmaxAttention: { floats: 'T (b + v) + b', flops: 'R T (2 b + 2 v + 3) + R v' },
};

/**
 * Floats kept and FLOPs spent, with v = dValue and b = ceil(log2 T):
 *
 * | mixer | floats | FLOPs | where they go |
 * | --- | --- | --- | --- |
 * | linear attention | N v + N | (T + R) 4 N v | k v^T added to the state, state times q |
 * | selective scan | N v + N | (T + R) v (7 N + 1) | delta A, exp, decay h + (delta u) B, C . h; delta u |
 * | register file | N v + 1 | (T + R) 8 N v + R N v (5 + 2 v) | the same at dState 1; silu(z), y times it; projection |
 * | softmax attention | T (b + v) + b | R T (2 b + 2 v + 3) + R v | q . k, minus the greatest, exp, sum, times v; quotient |
 *
 * A recurrent step costs the same whether it writes or reads. Softmax attention pays for reads only.
 */
export function copyPrice(args: CopyPriceArgs): CopyPrice {
  checkOptions('copyPrice', args, ['mixer', 'seqLen', 'reads', 'dValue', 'slots']);
  const { mixer, seqLen: T, reads: R, dValue: v, slots: N } = args;
  const b = positionBits(T);
  switch (mixer) {
    case 'linearAttention':
      return { floats: N * v + N, flops: (T + R) * 4 * N * v };
    case 'selectiveScan':
    case 'addressed':
      return { floats: N * v + N, flops: (T + R) * v * (7 * N + 1) };
    case 'registerFile':
      return { floats: N * v + 1, flops: (T + R) * 8 * N * v + R * N * v * (5 + 2 * v) };
    case 'softmaxAttention':
      return { floats: T * (b + v) + b, flops: R * T * (2 * b + 2 * v + 3) + R * v };
  }
}
