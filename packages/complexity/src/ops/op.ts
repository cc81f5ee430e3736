import { fail } from '../check.js';
import { ceil, Expression, type Size, sum } from '../expression.js';

/** What elements are, for they may be stored in different widths. */
export const elementKinds = ['weights', 'activations', 'state', 'gradients', 'moments', 'ids'] as const;
export type ElementKind = (typeof elementKinds)[number];
export type Elements = Partial<Record<ElementKind, Size>>;

/**
 * What one call of an op takes. FLOPs are + - * / and square roots, a multiply-add being two; minima, maxima, signs,
 * comparisons and conversions are none. A transcendental call is one exp, log, sine or the like of one number, and no
 * FLOP.
 */
export interface Op {
  /** Multiply-adds. */
  macs: Expression;
  flops: Expression;
  transcendentals: Expression;
  /** Elements that must come from memory and go there once, however often caches serve them. */
  read: Elements;
  written: Elements;
}

export interface OpParts {
  macs?: Size;
  /** FLOPs beside the multiply-adds. */
  other?: Size;
  transcendentals?: Size;
  read?: Elements;
  written?: Elements;
}

export function op({ macs = 0, other = 0, transcendentals = 0, read = {}, written = {} }: OpParts): Op {
  return {
    macs: Expression.of(macs),
    flops: Expression.of(macs).times(2).plus(other),
    transcendentals: Expression.of(transcendentals),
    read,
    written,
  };
}

/**
 * How finely sizes count. `algorithm`: what the formula of an op needs. `kernel`: what the kernels execute, whose tiles
 * and vectors are filled up; sizes are numbers there.
 */
export interface Grain {
  readonly kernel: boolean;
  /** x, in kernels rounded up to a multiple of `unit`. */
  round(x: Size, unit: number): Expression;
  /** x, in kernels the whole vectors of it and one more, which is there even if it is empty. */
  tail(x: Size): Expression;
  /** What kernels do beside the formula: they sum up lanes, copy with a factor of 1, and so on. */
  extra(x: Size): Expression;
}

const roundUp = (x: Size, unit: number) => ceil(Expression.of(x).times(1 / unit)).times(unit);

export const grains: Record<'algorithm' | 'kernel', Grain> = {
  algorithm: {
    kernel: false,
    round: (x) => Expression.of(x),
    tail: (x) => Expression.of(x),
    extra: () => Expression.of(0),
  },
  kernel: {
    kernel: true,
    round(x, unit) {
      // Not by way of 1 / unit, which is not exact.
      const size = Expression.of(x).constant;
      return size === undefined ? roundUp(x, unit) : Expression.of(Math.ceil(size / unit) * unit);
    },
    tail: (x) => grains.kernel.round(Expression.of(x).plus(1), 4),
    extra: (x) => Expression.of(x),
  },
};

/** A size as a number: in kernels all are. */
export function numberOf(size: Size): number {
  const value = Expression.of(size).constant;
  if (value === undefined) fail('cost', 'sizes of kernels', 'numbers', String(size));
  return value;
}

export const addElements = (a: Elements, b: Elements): Elements => {
  const total: Elements = { ...a };
  for (const kind of elementKinds) if (b[kind] !== undefined) total[kind] = sum(total[kind] ?? 0, b[kind]);
  return total;
};
