/**
 * Linear attention (Katharopoulos et al. 2020, arXiv:2006.16236), with a decay (retention: Sun et al. 2023,
 * arXiv:2307.08621) or a gate (Yang et al. 2023, arXiv:2312.06635).
 *
 *   q, k, gate  [batch, seqLen, nHeads, dKey]
 *   v, o        [batch, seqLen, nHeads, dValue]
 *   decay       [nHeads] or [batch, seqLen, nHeads]
 *   S           [batch, nHeads, dKey, dValue]
 *   z           [batch, nHeads, dKey]
 *
 * A step has no seqLen.
 */
import type { Array64 } from './array64.js';

/** Arguments of {@link linearAttention}: see the public function. */
interface LinearAttentionArgs {
  q: Array64;
  k: Array64;
  v: Array64;
  featureMap?: 'identity' | 'relu' | 'elu1';
  normalize?: boolean;
  eps?: number;
  scale?: number;
  decay?: Array64;
  gate?: Array64;
  initialState?: Array64;
  initialNormalizer?: Array64;
}

const featureMaps = {
  identity: (x: number) => x,
  relu: (x: number) => Math.max(x, 0),
  elu1: (x: number) => (x > 0 ? x + 1 : Math.exp(x)),
};

/**
 * `S_t = f_t S_(t-1) + phi(k_t) v_t^T`, `z_t = f_t z_(t-1) + phi(k_t)`, `o_t = scale phi(q_t) S_t`, over
 * `scale phi(q_t) z_t + eps` if normalised; the forget factor `f_t` is `e^decay` or, one a key channel, `e^gate`.
 */
export function linearAttention(args: LinearAttentionArgs): Record<string, Array64> {
  const { q, k, v, decay, gate, initialState, initialNormalizer } = args;
  const { normalize = false, eps = 1e-6, scale = 1 } = args;
  const [batch, seqLen, nHeads, dKey] = q.shape;
  const dValue = v.shape[3];
  const phi = featureMaps[args.featureMap ?? 'identity'];
  const o = new Float64Array(v.data.length);
  const S = initialState?.data.slice() ?? new Float64Array(batch * nHeads * dKey * dValue);
  const z = initialNormalizer?.data.slice() ?? new Float64Array(batch * nHeads * dKey);
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < seqLen; t++) {
      for (let h = 0; h < nHeads; h++) {
        const step = (b * seqLen + t) * nHeads + h;
        const head = b * nHeads + h;
        let denominator = eps;
        for (let i = 0; i < dKey; i++) {
          let logForget = 0;
          if (decay !== undefined) logForget = decay.data[decay.shape.length === 1 ? h : step];
          if (gate !== undefined) logForget = gate.data[step * dKey + i];
          const forget = Math.exp(logForget);
          const query = scale * phi(q.data[step * dKey + i]);
          const key = phi(k.data[step * dKey + i]);
          z[head * dKey + i] = forget * z[head * dKey + i] + key;
          denominator += query * z[head * dKey + i];
          for (let j = 0; j < dValue; j++) {
            const cell = (head * dKey + i) * dValue + j;
            S[cell] = forget * S[cell] + key * v.data[step * dValue + j];
            o[step * dValue + j] += query * S[cell];
          }
        }
        if (normalize) for (let j = 0; j < dValue; j++) o[step * dValue + j] /= denominator;
      }
    }
  }
  return {
    o: { shape: v.shape, data: o },
    lastState: { shape: [batch, nHeads, dKey, dValue], data: S },
    ...(normalize && { lastNormalizer: { shape: [batch, nHeads, dKey], data: z } }),
  };
}

interface LinearAttentionStepArgs extends Omit<LinearAttentionArgs, 'initialState' | 'initialNormalizer'> {
  state: Array64;
  normalizer?: Array64;
}

const sequence = ({ shape: [batch, ...rest], data }: Array64): Array64 => ({
  shape: [batch, 1, ...rest],
  data,
});

/** One step: {@link linearAttention} over a sequence of one. */
export function linearAttentionStep(args: LinearAttentionStepArgs): Record<string, Array64> {
  const { q, k, v, decay, gate, state, normalizer } = args;
  const { o, lastState, lastNormalizer } = linearAttention({
    ...args,
    q: sequence(q),
    k: sequence(k),
    v: sequence(v),
    decay: decay !== undefined && decay.shape.length > 1 ? sequence(decay) : decay,
    gate: gate && sequence(gate),
    initialState: state,
    initialNormalizer: normalizer,
  });
  return {
    y: { shape: v.shape, data: o.data },
    state: lastState,
    ...(lastNormalizer && { normalizer: lastNormalizer }),
  };
}
