import { ArgumentError } from '@freelunch/errors';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ceil, Expression, maximum, minimum, product, sum, variable } from './expression.js';

const names = ['a', 'b', 'T'] as const;
const values = fc.record({
  a: fc.integer({ min: 1, max: 40 }),
  b: fc.integer({ min: 1, max: 40 }),
  T: fc.integer({ min: 1, max: 40 }),
});

/** Expressions, each beside the function that it stands for. */
const pairs = fc.letrec<{ pair: [Expression, (v: Record<string, number>) => number] }>((tie) => ({
  pair: fc.oneof(
    { depthSize: 'small' },
    fc
      .constantFrom(...names)
      .map((name): [Expression, (v: Record<string, number>) => number] => [variable(name), (v) => v[name]]),
    fc.integer({ min: -5, max: 5 }).map((n): [Expression, () => number] => [Expression.of(n), () => n]),
    fc
      .tuple(fc.constantFrom('plus', 'times', 'minus', 'min', 'max', 'ceil'), tie('pair'), tie('pair'))
      .map(([fn, [x, f], [y, g]]): [Expression, (v: Record<string, number>) => number] => {
        switch (fn) {
          case 'plus':
            return [x.plus(y), (v) => f(v) + g(v)];
          case 'minus':
            return [x.minus(y), (v) => f(v) - g(v)];
          case 'times':
            return [x.times(y), (v) => f(v) * g(v)];
          case 'min':
            return [minimum(x, y), (v) => Math.min(f(v), g(v))];
          case 'max':
            return [maximum(x, y), (v) => Math.max(f(v), g(v))];
          default:
            return [ceil(x.times(1 / 4)), (v) => Math.ceil(f(v) / 4)];
        }
      }),
  ),
})).pair;

/** Whether all that arises is a whole number that floats hold, so that nothing is rounded. */
const isExact = (x: number) => Number.isFinite(x) && Math.abs(x) < 2 ** 40;

describe('an expression', () => {
  it('has the value of what it was made from', () => {
    fc.assert(
      fc.property(pairs, values, ([expression, f], at) => {
        fc.pre(isExact(f(at)));
        expect(expression.evaluate(at)).toBeCloseTo(f(at), 6);
      }),
    );
  });

  it('has the same value where sizes are put in first', () => {
    fc.assert(
      fc.property(pairs, values, ([expression, f], at) => {
        fc.pre(isExact(f(at)));
        expect(expression.substitute(at).evaluate()).toBeCloseTo(f(at), 6);
      }),
    );
  });

  it('adds up over a variable as its values do', () => {
    const t = variable('t');
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 50 }),
        (from, count, window) => {
          const step = sum(product(3, minimum(sum(t, 1), variable('window'))), product(2, t), 7);
          let total = 0;
          for (let i = from; i < from + count; i++) total += step.evaluate({ t: i, window });
          expect(step.sumOver('t', from, from + count).evaluate({ window })).toBe(total);
        },
      ),
    );
  });

  it('refuses a sum that has no closed form', () => {
    const t = variable('t');
    expect(() => t.times(t).sumOver('t', 0, 5)).toThrow('cannot add up t^2 over t');
    expect(() => t.times(minimum(t, 3)).sumOver('t', 0, 5)).toThrow('must stand in one factor');
  });

  it('prints as text and as LaTeX', () => {
    const [T, dModel] = [variable('T'), variable('dModel')];
    const formula = sum(product(2, T, T), product(-1, dModel), product(8, ceil(T.times(1 / 8))), 5);
    expect(formula.toString()).toBe('2 T^2 - dModel + 8 ceil(0.125 T) + 5');
    expect(formula.toLatex()).toBe(
      String.raw`2 \, T^{2} - d_{\mathrm{Model}} + 8 \, \left\lceil 0.125 \, T \right\rceil + 5`,
    );
    expect(Expression.of(0).toString()).toBe('0');
    expect(JSON.stringify({ formula })).toContain('2 T^2');
  });

  it('cancels what is taken away and divides by single products', () => {
    const [T, m] = [variable('T'), variable('m')];
    expect(T.times(m).minus(product(m, T)).constant).toBe(0);
    expect(T.times(T).times(T.inverse()).toString()).toBe('T');
    expect(T.times(m.inverse()).evaluate({ T: 12, m: 4 })).toBe(3);
    expect(() => T.plus(m).inverse()).toThrow(ArgumentError);
  });

  it('names a variable that has no value', () => {
    expect(() => variable('dState').evaluate({})).toThrow('dState must have a value');
  });
});

describe('the leading order', () => {
  const [T, m, d] = [variable('T'), variable('m'), variable('d')];

  it.each([
    [sum(product(T, T, 3), product(T, d), 7), ['T'], false, 'O(T^2)'],
    [sum(product(T, m), product(m, m)), ['T', 'm'], false, 'O(m T + m^2)'],
    [sum(product(T, m), product(m, m)), ['T', 'm'], true, 'O(m T)'], // m is at most T
    [product(T, minimum(T, m)), ['T'], false, 'O(T)'],
    [product(T, minimum(T, m)), ['T', 'm'], true, 'O(m T)'],
    [product(T, maximum(T, m)), ['T'], false, 'O(T^2)'],
    [sum(product(8, ceil(T.times(1 / 8))), d), ['T'], false, 'O(T)'],
    [product(d, d), ['T'], false, 'O(1)'],
    [product(T, variable('log T')), ['T', 'log T'], false, 'O(T log T)'],
  ] as const)('of %s in %s is, descending: %s, %s', (formula, growing, descending, order) => {
    expect(formula.order(growing, descending)).toBe(order);
  });

  it('is what the quotient of formula and leading term tends to', () => {
    const formula = sum(product(5, T, minimum(T, d)), product(3, T), product(100, d, d));
    const at = { T: 1e9, d: 64 };
    expect(formula.evaluate(at) / formula.leading(['T']).evaluate(at)).toBeCloseTo(1, 4);
  });
});
