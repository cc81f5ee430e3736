import { ceil, Expression, type Size } from '../../expression.js';

/** A number rounded up to a multiple of `unit`. */
export const up = (size: number, unit: number): number => Math.ceil(size / unit) * unit;

/** The same of a size. */
export function round(x: Size, unit: number): Expression {
  // A number not by way of 1 / unit, which is not exact.
  const { constant } = Expression.of(x);
  return constant === undefined
    ? ceil(Expression.of(x).times(1 / unit)).times(unit)
    : Expression.of(up(constant, unit));
}
