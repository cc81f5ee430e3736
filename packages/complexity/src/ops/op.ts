import { fail } from '../check.js';
import { Expression, type Size, sum } from '../expression.js';
import type { AttentionSizes, LinearAttentionSizes, Mamba3Sizes, SsdSizes } from './sizes.js';

/**
 * What elements are, for they may be stored in different widths. `matrices` are weights that may be quantised, those of
 * linear layers and embeddings; in `unevenMatrices` rows are not whole blocks of 32.
 */
export const elementKinds = [
  'weights',
  'matrices',
  'unevenMatrices',
  'activations',
  'state',
  'gradients',
  'moments',
  'ids',
] as const;
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
 * How finely sizes count: {@link algorithmGrain} or `kernelGrain`, which is a module apart, so that pages that only need
 * the formulas do not load what kernels count tile by tile.
 */
export interface Grain {
  /** What kernels execute where no formula says it, of sizes that are numbers; absent for the algorithm. */
  readonly kernel?: KernelWork;
  /** x, in kernels rounded up to a multiple of `unit`. */
  round(x: Size, unit: number): Expression;
  /** x, in kernels the whole vectors of it and one more, which is there even if it is empty. */
  tail(x: Size): Expression;
  /** What kernels do beside the formula: they sum up lanes, copy with a factor of 1, and so on. */
  extra(x: Size): Expression;
}

/** Operations of kernels, without their reads and writes, which are those of the formula. */
export interface KernelWork {
  matmul(
    [m, n, k]: readonly number[],
    transposed: boolean,
    leftTransposed: boolean,
  ): { macs: number; other: number };
  /** Undefined where the kernel goes step by step. */
  linearAttentionChunked(sizes: LinearAttentionSizes): Op | undefined;
  softmaxAttention(sizes: AttentionSizes): Op;
  softmaxAttentionBackward(sizes: AttentionSizes): Op;
  softmaxAttentionStep(sizes: AttentionSizes, position: number): Op;
  ssd(sizes: SsdSizes): Op;
  ssdRecurrent(sizes: SsdSizes): Op;
  ssdBackward(sizes: SsdSizes): Op;
  mamba3(sizes: Mamba3Sizes): Op;
  mamba3Recurrent(sizes: Mamba3Sizes): Op;
  mamba3Backward(sizes: Mamba3Sizes): Op;
}

/** What the formula of an op needs, and no more. */
export const algorithmGrain: Grain = {
  round: (x) => Expression.of(x),
  tail: (x) => Expression.of(x),
  extra: () => Expression.of(0),
};

/** The grain that an option gives. @throws ArgumentError if it is none */
export function grainOf(where: string, given: Grain = algorithmGrain): Grain {
  if (typeof given?.round !== 'function') fail(where, 'grain', 'algorithmGrain or kernelGrain', given);
  return given;
}

/** Several ops as one. */
export const total = (parts: readonly Op[]): Op => ({
  macs: sum(...parts.map(({ macs }) => macs)),
  flops: sum(...parts.map(({ flops }) => flops)),
  transcendentals: sum(...parts.map(({ transcendentals }) => transcendentals)),
  read: parts.map(({ read }) => read).reduce(addElements, {}),
  written: parts.map(({ written }) => written).reduce(addElements, {}),
});

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
