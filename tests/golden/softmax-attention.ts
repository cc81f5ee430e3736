import { give, type GoldenCase, type GoldenRunner, take } from './golden.ts';
import type { Kernels } from '@freelunch/kernels';

const attention: GoldenRunner = (k: Kernels, golden: GoldenCase) => {
  const { causal, scale, window, q_offset: queryOffset, cache_len: keyLengths } = golden.config;
  const args = {
    q: give(k, golden, 'in.q')!,
    k: give(k, golden, 'in.k')!,
    v: give(k, golden, 'in.v')!,
    alibiSlopes: give(k, golden, 'in.alibi_slopes'),
    causal,
    scale,
    window: window ?? undefined,
    queryOffset,
    keyLengths,
  };
  const { o, logSumExp } = k.softmaxAttention(args);
  const results: Record<string, ArrayLike<number>> = { 'out.o': take(o), 'out.lse': take(logSumExp) };
  const dO = give(k, golden, 'up.o');
  const dLogSumExp = give(k, golden, 'up.lse');
  if (dO !== undefined || dLogSumExp !== undefined) {
    const { dq, dk, dv } = k.softmaxAttentionBackward({ ...args, o, logSumExp, do: dO, dLogSumExp });
    results['grad.q'] = take(dq);
    results['grad.k'] = take(dk);
    results['grad.v'] = take(dv);
  }
  return results;
};

export const softmaxAttentionRunners: Record<string, GoldenRunner> = {
  attention,
  attention_decode: attention,
  alibi_slopes: (k, golden) =>
    Object.fromEntries(
      (golden.config.head_counts as number[]).map((nHeads) => [
        `out.slopes_${nHeads}`,
        take(k.alibiSlopes({ nHeads })),
      ]),
    ),
};
