import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { checkIds } from './ids.js';
import { EXP_NS } from './slices.js';
import type { Tensor } from './tensor.js';

/** Arguments of {@link crossEntropy}. */
export interface CrossEntropyArgs {
  logits: Tensor;
  targets: Tensor;
  mask?: Tensor;
  ignoreIndex?: number;
  reduction?: 'mean' | 'sum' | 'none';
}

/** The kernels' numbers for them. */
const reductions = { none: 0, sum: 1, mean: 2 } as const;

function checkArguments(check: Check, args: CrossEntropyArgs): { vocabSize: number; lossShape: number[] } {
  const { logits, targets, mask, ignoreIndex = -100, reduction = 'mean' } = args;
  if (check.rank('logits', logits) === 0) check.shape('logits', '[..., vocabSize]', logits);
  const shape = logits.shape.slice(0, -1);
  const vocabSize = logits.shape.at(-1)!;
  check.int32('targets', targets, shape);
  if (mask !== undefined) check.int32('mask', mask, shape);
  check.integer('ignoreIndex', ignoreIndex, -(2 ** 31));
  check.oneOf('reduction', reduction, Object.keys(reductions));
  const scored = mask?.data;
  const wanted = `a class from 0 to ${vocabSize - 1}, or ignoreIndex = ${ignoreIndex}`;
  checkIds(check, 'targets', targets, vocabSize, wanted, (index, target) => {
    return target !== ignoreIndex && scored?.[index] !== 0;
  });
  return { vocabSize, lossShape: reduction === 'none' ? shape : [1] };
}

/**
 * Cross-entropy of softmax: `loss = logSumExp - logits[target]`, `logSumExp = ln(sum of e^logits)`, for each row.
 * Rows whose target is `ignoreIndex`, or whose mask is 0, are not scored: their loss and logSumExp are 0.
 *
 * ```
 * targets  5  2  7  1        loss ('mean') = (a + b) / 2
 * mask     0  1  0  1        loss ('none') = 0 a 0 b
 * ```
 *
 * @param logits   `[..., vocabSize]`; -Infinity excludes a class
 * @param targets  int32 `[...]`, each from 0 to `vocabSize` - 1 where it is scored
 * @param mask     int32 `[...]`, 0 where a row is not to be scored; all are if absent
 * @param ignoreIndex  target that is not to be scored; -100 if absent
 * @param reduction    `'mean'` (default) over the scored rows, 0 if there is none; `'sum'`; `'none'`: a loss for each row
 * @returns `loss`, `[1]` or for `'none'` shaped like `targets`, and `logSumExp`, shaped like `targets`
 * @throws ShapeError, ArgumentError if a scored target is out of range: it names the target and its place
 */
export function crossEntropy(
  k: Context,
  args: CrossEntropyArgs,
): { loss: Tensor<'float32'>; logSumExp: Tensor<'float32'> } {
  const { vocabSize, lossShape } = checkArguments(new Check('crossEntropy', k), args);
  const { logits, targets, mask, ignoreIndex = -100, reduction = 'mean' } = args;
  const outputs = { loss: k.empty(lossShape), logSumExp: k.empty(targets.shape) };
  const { loss, logSumExp } = outputs;
  const rows = targets.size;
  const maskPointer = mask?.pointer ?? 0;
  const eachRow = (address: number) =>
    k.run(
      'crossEntropyForward',
      // prettier-ignore
      [
        address, logSumExp.pointer, logits.pointer, targets.pointer, maskPointer,
        rows, vocabSize, ignoreIndex, reductions[reduction],
      ],
      {
        units: rows,
        nanoseconds: rows * vocabSize * EXP_NS,
        slices: { countAt: 5, steps: [reduction === 'none' ? 4 : 8, 4, vocabSize * 4, 4, mask ? 4 : 0] },
      },
    );
  if (reduction === 'none') eachRow(loss.pointer);
  else
    k.scratch(rows * 8, (terms) => {
      eachRow(terms);
      // prettier-ignore
      k.wasm.crossEntropySum(
        loss.pointer, terms, targets.pointer, maskPointer, rows, ignoreIndex, divisor(k, args),
      );
    });
  return outputs;
}

/**
 * Gradient of {@link crossEntropy}: `dlogits = dloss (softmax(logits) - onehot(target))`, for `'mean'` divided by the
 * number of scored rows, and 0 in rows that are not scored. Arguments as there, and:
 *
 * @param logSumExp  output of the forward call; saves computing it anew
 * @param dloss      gradient of `loss`, shaped like it; ones if absent
 * @returns `dlogits`, shaped like `logits`
 */
export function crossEntropyBackward(
  k: Context,
  args: CrossEntropyArgs & { logSumExp?: Tensor; dloss?: Tensor },
): { dlogits: Tensor<'float32'> } {
  const check = new Check('crossEntropyBackward', k);
  const { vocabSize, lossShape } = checkArguments(check, args);
  const { logits, targets, mask, ignoreIndex = -100, reduction = 'mean', logSumExp, dloss } = args;
  const logSumExpPointer = check.optional('logSumExp', logSumExp, targets.shape);
  const dlossPointer = check.optional('dloss', dloss, lossShape);
  const dlogits = k.empty(logits.shape);
  const rows = targets.size;
  k.run(
    'crossEntropyBackward',
    // prettier-ignore
    [
      dlogits.pointer, logits.pointer, targets.pointer, mask?.pointer ?? 0, logSumExpPointer, dlossPointer,
      rows, vocabSize, ignoreIndex, reductions[reduction], divisor(k, args),
    ],
    {
      units: rows,
      nanoseconds: rows * vocabSize * EXP_NS,
      slices: {
        countAt: 6,
        steps: [
          vocabSize * 4,
          vocabSize * 4,
          4,
          mask ? 4 : 0,
          logSumExp ? 4 : 0,
          dloss && reduction === 'none' ? 4 : 0,
        ],
      },
    },
  );
  return { dlogits };
}

/** What the sum over rows is divided by. */
function divisor(
  k: Context,
  { targets, mask, ignoreIndex = -100, reduction = 'mean' }: CrossEntropyArgs,
): number {
  if (reduction !== 'mean') return 1;
  return k.wasm.crossEntropyDivisor(targets.pointer, mask?.pointer ?? 0, targets.size, ignoreIndex);
}

const shared = {
  logits: 'tensor',
  targets: 'tensor',
  mask: 'tensor',
  ignoreIndex: 'number',
  reduction: 'text',
} as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  crossEntropy: op(crossEntropy, shared),
  crossEntropyBackward: op(crossEntropyBackward, { ...shared, logSumExp: 'tensor', dloss: 'tensor' }),
};
