import { ceil, Expression, product, type Size, sum } from '../expression.js';
import { type Grain, numberOf, op, type Op } from './op.js';

export interface RopeSizes {
  batch: Size;
  seqLen: Size;
  nHeads: Size;
  headDim: Size;
  rotaryDim?: Size;
  interleaved?: boolean;
  /** The rule by which frequencies are changed; `dynamic` changes none within the original context. */
  scaling?: 'linear' | 'llama3' | 'yarn' | 'dynamic';
}

/** Operations per frequency, and once; logarithms are counted beside them. */
const scalingWork = { linear: [5, 0, 0], llama3: [11, 0, 0], yarn: [9, 14, 5], dynamic: [0, 0, 0] };

/** Rotations of pairs; cosines and sines are made anew every 32 positions, and turned by a step between. */
export function rope(
  g: Grain,
  { batch, seqLen, nHeads, headDim, rotaryDim = headDim, interleaved = false, scaling }: RopeSizes,
): Op {
  const pairs = product(1 / 2, rotaryDim);
  const size = product(batch, seqLen, nHeads, headDim);
  const anchors = g.kernel ? Math.ceil(numberOf(seqLen) / 32) : ceil(product(1 / 32, seqLen));
  const steps = sum(seqLen, product(-1, anchors));
  const single = Expression.of(seqLen).constant === 1; // there is no step to turn by
  const [perPair, once, logarithms] = scaling === undefined ? [0, 0, 0] : scalingWork[scaling];
  return op({
    macs: product(batch, seqLen, nHeads, interleaved ? g.round(rotaryDim, 4) : product(2, g.round(pairs, 4))),
    other: sum(
      product(3, pairs), // frequencies
      product(perPair, pairs),
      once,
      product(3, anchors, pairs),
      seqLen,
      product(6, steps, g.round(pairs, 4)),
      product(batch, seqLen, nHeads, interleaved ? g.round(rotaryDim, 4) : product(2, g.round(pairs, 4))),
      interleaved ? g.extra(product(2, seqLen, g.round(pairs, 4))) : 0,
    ),
    transcendentals: sum(product(pairs, sum(product(2, anchors), single ? 1 : 3)), logarithms),
    read: { activations: size },
    written: { activations: size },
  });
}
