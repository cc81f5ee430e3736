import { Expression } from '../../expression.js';
import type { Grain } from '../op.js';
import { linearAttentionChunked } from './linear-attention.js';
import { mamba3, mamba3Backward, mamba3Recurrent } from './mamba3.js';
import { matmul } from './matmul.js';
import { round } from './round.js';
import { softmaxAttention, softmaxAttentionBackward, softmaxAttentionStep } from './softmax-attention.js';
import { ssd, ssdBackward, ssdRecurrent } from './ssd.js';

/** What the kernels of this project execute: tiles and vectors are filled up. Sizes must be numbers. */
export const kernelGrain: Grain = {
  kernel: {
    matmul,
    linearAttentionChunked,
    softmaxAttention,
    softmaxAttentionBackward,
    softmaxAttentionStep,
    ssd,
    ssdRecurrent,
    ssdBackward,
    mamba3,
    mamba3Recurrent,
    mamba3Backward,
  },
  round,
  tail: (x) => round(Expression.of(x).plus(1), 4),
  extra: (x) => Expression.of(x),
};
