import { Check } from '../check.js';
import type { Context } from '../context.js';
import { checkLimit, type SsdArgs } from '../ssd.js';
import type { Tensor } from '../tensor.js';

/**
 * Effective attention matrix of `ssd`: `y = M (dt x) + D x`, before the gate, head by head, with
 * `M[i, j] = C[i].B[j] exp(A (S[i] - S[j]))` for j <= i, and S the cumulative sum of dt. Here dt is the step size that
 * the recurrence uses, after bias, softplus and limits. The initial state is no part of it.
 *
 * @returns `[batch, nHeads, seqLen, seqLen]`, zeros above the diagonal
 * @throws ShapeError if a shape does not fit, ArgumentError if an option is out of its range
 * @see Dao & Gu 2024, section 3, https://arxiv.org/abs/2405.21060
 */
export function ssdMatrix(
  context: Context,
  args: Pick<SsdArgs, 'dt' | 'A' | 'B' | 'C' | 'dtBias' | 'dtSoftplus' | 'dtLimit'>,
): Tensor<'float32'> {
  const check = new Check('effectiveAttention', context);
  const { dt, A, B, C, dtBias, dtSoftplus, dtLimit } = args;
  check.float32('dt', dt, ['batch', 'seqLen', 'nHeads']);
  check.float32('A', A, ['nHeads']);
  check.float32('B', B, ['batch', 'seqLen', 'nGroups', 'dState']);
  check.float32('C', C, ['batch', 'seqLen', 'nGroups', 'dState']);
  const { batch, seqLen, nHeads, nGroups, dState } = check.sizes;
  if (nHeads % nGroups !== 0) {
    check.shape('B', `[..., nGroups, dState] with nGroups a divisor of nHeads = ${nHeads}`, B);
  }
  const [min, max] = checkLimit(check, dtLimit);
  const bias = check.optional('dtBias', dtBias, ['nHeads']);
  // prettier-ignore
  const inputs = [
    dt.pointer, A.pointer, B.pointer, C.pointer, bias,
    batch, seqLen, nHeads, nGroups, dState, Number(dtSoftplus ?? false), min, max,
  ] as const;
  return context.scratch(context.wasm.ssdMatrixForwardScratchBytes(seqLen, nHeads, dState), (scratch) => {
    const M = context.empty([batch, nHeads, seqLen, seqLen]);
    context.wasm.ssdMatrixForward(M.pointer, ...inputs, scratch);
    return M;
  });
}
