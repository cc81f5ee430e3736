import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  allOf,
  atLeast,
  bitsOf,
  equals,
  fold,
  gate,
  lookUpNumber,
  matching,
  maximum,
  minimum,
  modulo,
  oneHot,
  tableOf,
  tableOfMany,
} from './integers.js';
import { bitOf, type Expr, Program } from './program.js';

const SPAN = 20; // tokens stand for -20 .. 20, positions too
const number = (x: number) => x - SPAN;

/** Builds from two numbers and compares with what is due for many pairs of them; `slack` shifts each number. */
function holds(
  build: (p: Program, x: Expr, y: Expr) => Expr,
  due: (x: number, y: number) => number,
  slack: (x: number) => number = () => 0,
): void {
  const size = 2 * SPAN + 1;
  const p = new Program({ vocabSize: size, length: size });
  const x = p.token((id) => number(id) + slack(id));
  const y = p.position((t) => number(t) + slack(t + 7));
  const result = build(p, x, y);
  const [least, greatest] = p.range(result);
  fc.assert(
    fc.property(fc.array(fc.nat(size - 1), { minLength: size, maxLength: size }), (tokens) => {
      p.evaluate(tokens).forEach((row, t) => {
        const got = result.at(row);
        expect(got).toBe(due(number(tokens[t]), number(t)));
        expect(got).toBeGreaterThanOrEqual(least);
        expect(got).toBeLessThanOrEqual(greatest);
      });
    }),
    { numRuns: 25, seed: 1 },
  );
}

const slacks = [
  { numbers: 'exact', slack: () => 0 },
  { numbers: 'off by up to 1/4', slack: (x: number) => (x % 3) / 4 - 1 / 4 },
];

describe.each(slacks)('of numbers $numbers', ({ slack }) => {
  it.each([-20, -3, 0, 1, 20])('comparisons with %i are 0 or 1', (value) => {
    holds(
      (p, x) => atLeast(p, x, value),
      (x) => Number(x >= value),
      slack,
    );
    holds(
      (p, x) => equals(p, x, value),
      (x) => Number(x === value),
      slack,
    );
  });

  it('comparisons of two, off by half as much each, are 0 or 1', () => {
    holds(
      (p, x, y) => atLeast(p, x.minus(y), 0),
      (x, y) => Number(x >= y),
      (x) => slack(x) / 2,
    );
  });

  it('tables have the values of whole numbers, and go on level beyond their ends', () => {
    const f = (x: number) => ((x * x * 7) % 11) - 5;
    const ends = (x: number) => Math.max(-6, Math.min(9, x));
    holds(
      (p, x) => tableOf(p, x, -6, 9, f),
      (x) => f(ends(x)),
      slack,
    );
    holds(
      (p, x) => tableOf(p, x, 4, 4, f),
      () => f(4),
      slack,
    );
  });

  it('bits are exact', () => {
    for (let bit = 0; bit < 6; bit++)
      holds(
        (p, x) => bitsOf(p, x.plus(SPAN), 6)[bit],
        (x) => bitOf(x + SPAN, bit),
        slack,
      );
  });
});

it('takes the greater and the lesser of two', () => {
  holds(maximum, Math.max);
  holds(minimum, Math.min);
});

it('folds lists of any length but none', () => {
  for (const count of [1, 2, 3, 7]) {
    holds(
      (p, x, y) =>
        fold(
          Array.from({ length: count }, (_, i) => (i % 2 === 0 ? x.times(i + 1) : y.minus(i))),
          (a, b) => maximum(p, a, b),
        ),
      (x, y) => Math.max(...Array.from({ length: count }, (_, i) => (i % 2 === 0 ? x * (i + 1) : y - i))),
    );
  }
  expect(() => fold([], (a) => a)).toThrow('fold: values must be at least one, got none');
});

it('lets a number through, or 0', () => {
  holds(
    (p, x, y) => gate(p, atLeast(p, y, 3), x),
    (x, y) => (y >= 3 ? x : 0),
  );
  holds(
    (p, x, y) => gate(p, atLeast(p, y, 3), p.relu(x).plus(2)),
    (x, y) => (y >= 3 ? Math.max(0, x) + 2 : 0),
  );
});

it.each([1, 2, 7, 41, 100])('has remainders of %i', (modulus) => {
  holds(
    (p, x) => modulo(p, x.plus(SPAN), modulus, 2 * SPAN),
    (x) => (x + SPAN) % modulus,
  );
});

it('joins conditions', () => {
  holds(
    (p, x, y) => allOf(p, [atLeast(p, x, -2), atLeast(p, y, 4), equals(p, x, 3)]),
    (x, y) => Number(y >= 4 && x === 3),
  );
  holds(
    (p) => allOf(p, []),
    () => 1,
  );
});

it('marks one value of a list', () => {
  const values = [-7, 0, 1, 12];
  values.forEach((value, i) =>
    holds(
      (p, x) => oneHot(p, x, values)[i],
      (x) => Number(x === value),
    ),
  );
});

it('matches a code under conditions', () => {
  const of = (x: number) => x + SPAN;
  for (const code of [0, 21, 40])
    holds(
      (p, x, y) => p.relu(matching(bitsOf(p, x.plus(SPAN), 6), code, [atLeast(p, y, 2)])),
      (x, y) => Number(of(x) === code && y >= 2),
    );
});

it('looks up tables of several numbers, 0 for what they do not have', () => {
  const entries = [-2, -1, 0, 1, 5].flatMap((a) =>
    [0, 3, 4].map((b) => ({ args: [a, b], value: a * 10 + b })),
  );
  holds(
    (p, x, y) => tableOfMany(p, [x, y], entries),
    (x, y) => entries.find(({ args }) => args[0] === x && args[1] === y)?.value ?? 0,
  );
});

describe('lookUpNumber', () => {
  const build = (mixer: 'mamba' | 'mamba2') => {
    const p = new Program({ vocabSize: 9, length: 8 });
    const code = (of: (t: number) => number) => p.positionCode(3, of);
    const look = { key: code((t) => t), query: code((t) => t >> 1), codes: [0, 1, 2, 3] };
    const token = lookUpNumber(p, mixer, { name: 'a', ...look, value: { token: (id) => 3 * id } });
    const place = lookUpNumber(p, mixer, { name: 'b', ...look, value: { position: (t) => t * t } });
    return { p, token, place };
  };

  it.each(['mamba', 'mamba2'] as const)('gives numbers of tokens and of positions for %s', (mixer) => {
    const { p, token, place } = build(mixer);
    const tokens = [5, 8, 0, 1, 7, 7, 2, 3];
    const rows = p.evaluate(tokens);
    expect(rows.map((row) => token.at(row))).toEqual(tokens.map((_, t) => 3 * tokens[t >> 1]));
    expect(rows.map((row) => place.at(row))).toEqual(tokens.map((_, t) => (t >> 1) ** 2));
  });

  it('takes one channel, or one for each bit', () => {
    const widths = (['mamba', 'mamba2'] as const).map((mixer) =>
      build(mixer).p.blocks[0].lookUps.map(({ channels }) => channels.length),
    );
    expect(widths).toEqual([
      [1, 1],
      [5, 6], // up to 24, up to 49
    ]);
  });

  it('refuses numbers that are not whole', () => {
    const p = new Program({ vocabSize: 3, length: 2 });
    const look = { name: 'a', key: [p.one], query: [p.one], codes: [1] };
    expect(() => lookUpNumber(p, 'mamba', { ...look, value: { token: (id) => 1 - id } })).toThrow(
      'lookUpNumber: value of a must be whole numbers from 0 up, got -1 for 2',
    );
  });
});
