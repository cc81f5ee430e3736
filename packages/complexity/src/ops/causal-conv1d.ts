import { Expression, product, type Size, sum } from '../expression.js';
import { type Grain, numberOf, op, type Op } from './op.js';

export interface ConvSizes {
  batch: Size;
  seqLen: Size;
  channels: Size;
  width: number;
  bias?: boolean;
  silu?: boolean;
  /** Whether inputs from before the first step are given. */
  initialState?: boolean;
}

const stateSize = ({ batch, channels, width }: ConvSizes) => product(batch, width - 1, channels);
const weights = ({ channels, width, bias = false }: ConvSizes) => product(channels, width + (bias ? 1 : 0));

/** Products of one channel and sequence: inputs before the first step are not there to be multiplied. */
const taps = ({ seqLen, width, initialState }: ConvSizes) =>
  product(width, seqLen).minus(initialState ? 0 : (width * (width - 1)) / 2);

/** `y[t] = bias + sum_k weight[k] x[t - (width - 1) + k]`, then SiLU; for sequences of at least `width` - 1 steps. */
export function causalConv1d(g: Grain, sizes: ConvSizes): Op {
  const { batch, seqLen, channels, silu } = sizes;
  const lanes = product(batch, g.round(channels, 4));
  const size = product(batch, seqLen, channels);
  return op({
    macs: product(lanes, taps(sizes)),
    other: silu ? product(2, lanes, seqLen) : 0,
    transcendentals: silu ? product(lanes, seqLen) : 0,
    read: {
      activations: size,
      weights: weights(sizes),
      ...(sizes.initialState && { state: stateSize(sizes) }),
    },
    written: { activations: size, state: stateSize(sizes) },
  });
}

/** Steps that the kernel takes four at a time; the first product of each is then no addition. */
function blockedSteps(g: Grain, { seqLen, channels, width }: ConvSizes): Expression {
  if (!g.kernel || width !== 4) return Expression.of(0);
  const vectors = Math.floor(numberOf(channels) / 4) * 4;
  return Expression.of(Math.floor(Math.max(numberOf(seqLen) - 3, 0) / 4) * 4 * vectors);
}

export function causalConv1dBackward(g: Grain, sizes: ConvSizes): Op {
  const { batch, seqLen, channels, width, bias, silu } = sizes;
  const lanes = product(batch, g.round(channels, 4));
  const size = product(batch, seqLen, channels);
  // dx: the steps of the sequence, and width - 1 beyond it whose products complete the last ones.
  const spread = product(width, seqLen).plus(g.kernel ? (width * (width - 1)) / 2 : 0);
  const given = product(lanes, taps(sizes));
  const blocked = product(batch, blockedSteps(g, sizes));
  return op({
    macs: sum(product(silu ? 2 : 1, given), product(lanes, spread), silu ? product(lanes, seqLen) : 0).minus(
      blocked,
    ),
    other: sum(
      silu ? product(5, lanes, seqLen) : 0,
      bias || g.kernel ? product(lanes, seqLen) : 0, // the kernel adds up dbias in any case
      blocked,
    ),
    transcendentals: silu ? product(lanes, seqLen) : 0,
    read: { activations: product(2, size), weights: silu ? weights(sizes) : product(channels, width) },
    written: { activations: size, gradients: weights(sizes) },
  });
}

export function causalConv1dStep(g: Grain, sizes: Omit<ConvSizes, 'seqLen' | 'initialState'>): Op {
  const { batch, channels, width, silu } = sizes;
  const all = { ...sizes, seqLen: 1 };
  const lanes = product(batch, g.round(channels, 4));
  const size = product(batch, channels);
  return op({
    macs: product(width, lanes),
    other: silu ? product(2, lanes) : 0,
    transcendentals: silu ? lanes : 0,
    read: { activations: size, weights: weights(all), state: stateSize(all) },
    written: { activations: size, state: stateSize(all) },
  });
}
