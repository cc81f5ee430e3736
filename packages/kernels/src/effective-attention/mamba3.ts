import { Check } from '../check.js';
import type { Context } from '../context.js';
import { checkRecurrence, type Mamba3Args } from '../mamba3-args.js';
import type { Tensor } from '../tensor.js';

/**
 * Effective attention matrix of `mamba3`: `y = M v + D v`, `v[r] = x mimoX[r]`, head by head. With a the cumulative sum of
 * `dt A`, `M[i, j] = exp(a[i] - a[j]) w[i, j] C'[i].B'[j]` for j <= i, where `w[i, j] = l[j] dt[j] + (1 - l[j+1]) dt[j+1]`
 * for j < i and `l[j] dt[j]` for j = i, l being `sigmoid(trap)`. What goes on from an earlier sequence is no part of it.
 *
 * @returns `[batch, nHeads, seqLen nRanks, seqLen nRanks]`, the ranks of a step side by side; zeros where a step is later
 * @throws ShapeError if a shape does not fit, ArgumentError if an option is out of its range
 */
export function mamba3Matrix(
  context: Context,
  args: Pick<
    Mamba3Args,
    | 'dt'
    | 'A'
    | 'trap'
    | 'B'
    | 'C'
    | 'angles'
    | 'BBias'
    | 'CBias'
    | 'dtBias'
    | 'dtSoftplus'
    | 'aFloor'
    | 'convention'
  >,
): Tensor<'float32'> {
  const check = new Check('effectiveAttention', context);
  const { pointers, dtBias, options } = checkRecurrence(check, args, ['batch', 'seqLen']);
  const { batch, seqLen, nHeads, nRanks, nGroups, dState, nAngles, angleHeads } = check.sizes;
  const rows = seqLen * nRanks;
  const bytes = context.wasm.mamba3MatrixForwardScratchBytes(seqLen, nRanks, dState, nAngles);
  return context.scratch(bytes, (scratch) => {
    const M = context.empty([batch, nHeads, rows, rows]);
    // prettier-ignore
    context.wasm.mamba3MatrixForward(
      M.pointer, ...pointers, dtBias, batch, seqLen, nHeads, nRanks, nGroups, dState, nAngles, angleHeads, ...options,
      scratch,
    );
    return M;
  });
}
