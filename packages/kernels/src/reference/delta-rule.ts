/**
 * The delta rule (Schlag et al. 2021, arXiv:2102.11174) and its gated form (Yang et al. 2024, arXiv:2412.06464).
 *
 *   q, k         [batch, seqLen, nHeads, dKey]
 *   v, o         [batch, seqLen, nHeads, dValue]
 *   beta, decay  [batch, seqLen, nHeads]
 *   S            [batch, nHeads, dKey, dValue]
 *
 * A step has no seqLen.
 */
import type { Array64 } from './array64.js';

/** Arguments of {@link deltaRule}: see the public function. */
interface DeltaRuleArgs {
  q: Array64;
  k: Array64;
  v: Array64;
  beta: Array64;
  scale?: number;
  l2Normalize?: boolean;
  eps?: number;
  initialState?: Array64;
}

interface GatedDeltaRuleArgs extends DeltaRuleArgs {
  decay: Array64;
}

/** Rows of x, each divided by the root of its sum of squares plus eps. */
function unitRows({ shape, data }: Array64, eps: number): Array64 {
  const size = shape[shape.length - 1];
  const out = data.slice();
  for (let start = 0; start < data.length; start += size) {
    let squares = 0;
    for (let i = start; i < start + size; i++) squares += data[i] * data[i];
    for (let i = start; i < start + size; i++) out[i] = data[i] / Math.sqrt(squares + eps);
  }
  return { shape, data: out };
}

/** `S_t = S_(t-1) + beta_t k_t (v_t - S_(t-1)^T k_t)^T`, `o_t = scale q_t S_t`. */
export function deltaRule(args: DeltaRuleArgs): Record<string, Array64> {
  return gatedDeltaRule({
    ...args,
    decay: { shape: args.beta.shape, data: new Float64Array(args.beta.data.length) },
  });
}

/** The delta rule on a state that is first multiplied by `e^decay_t`. */
export function gatedDeltaRule(args: GatedDeltaRuleArgs): Record<string, Array64> {
  const { v, beta, decay, initialState, scale = 1, l2Normalize = false, eps = 1e-6 } = args;
  const q = l2Normalize ? unitRows(args.q, eps) : args.q;
  const k = l2Normalize ? unitRows(args.k, eps) : args.k;
  const [batch, seqLen, nHeads, dKey] = q.shape;
  const dValue = v.shape[3];
  const o = new Float64Array(v.data.length);
  const S = initialState?.data.slice() ?? new Float64Array(batch * nHeads * dKey * dValue);
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < seqLen; t++) {
      for (let h = 0; h < nHeads; h++) {
        const step = (b * seqLen + t) * nHeads + h;
        const forget = Math.exp(decay.data[step]);
        for (let j = 0; j < dValue; j++) {
          const cell = (i: number) => ((b * nHeads + h) * dKey + i) * dValue + j;
          let recalled = 0; // what the state holds under this key
          for (let i = 0; i < dKey; i++) {
            S[cell(i)] *= forget;
            recalled += S[cell(i)] * k.data[step * dKey + i];
          }
          const written = beta.data[step] * (v.data[step * dValue + j] - recalled);
          for (let i = 0; i < dKey; i++) {
            S[cell(i)] += k.data[step * dKey + i] * written;
            o[step * dValue + j] += scale * q.data[step * dKey + i] * S[cell(i)];
          }
        }
      }
    }
  }
  return {
    o: { shape: v.shape, data: o },
    lastState: { shape: [batch, nHeads, dKey, dValue], data: S },
  };
}

const sequence = ({ shape: [batch, ...rest], data }: Array64): Array64 => ({
  shape: [batch, 1, ...rest],
  data,
});

type StepArgs<Args> = Omit<Args, 'initialState'> & { state: Array64 };

/** One step: {@link deltaRule} over a sequence of one. */
export function deltaRuleStep(args: StepArgs<DeltaRuleArgs>): Record<string, Array64> {
  const { beta } = args;
  return gatedDeltaRuleStep({
    ...args,
    decay: { shape: beta.shape, data: new Float64Array(beta.data.length) },
  });
}

/** One step: {@link gatedDeltaRule} over a sequence of one. */
export function gatedDeltaRuleStep(args: StepArgs<GatedDeltaRuleArgs>): Record<string, Array64> {
  const { o, lastState } = gatedDeltaRule({
    ...args,
    q: sequence(args.q),
    k: sequence(args.k),
    v: sequence(args.v),
    beta: sequence(args.beta),
    decay: sequence(args.decay),
    initialState: args.state,
  });
  return { y: { shape: args.v.shape, data: o.data }, state: lastState };
}
