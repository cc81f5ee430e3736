/**
 * Arithmetic on whole numbers in ReLU layers. Numbers may be off by up to 1/4: comparisons come out as exactly 0 or 1
 * all the same, since each is a ramp that lies between two whole numbers.
 */
import { ArgumentError } from '@freelunch/kernels';
import type { LookUpMixer } from './look-ups.js';
import { bitOf, codeBits, Expr, type LookUp, type Program, type Relu } from './program.js';

/** The two parts of [x >= least], 0 or 1. */
function ramp(x: Expr, least: number, weight: number): Relu[] {
  const doubled = x.minus(least).times(2);
  return [
    { weight, of: doubled.plus(1.5) },
    { weight: -weight, of: doubled.plus(0.5) },
  ];
}

/** [x >= least]: 0 or 1. */
export const atLeast = (p: Program, x: Expr, least: number): Expr => p.node(ramp(x, least, 1), [0, 1]);

/** [x = value]: 0 or 1. */
export const equals = (p: Program, x: Expr, value: number): Expr =>
  p.node([...ramp(x, value, 1), ...ramp(x, value + 1, -1)], [0, 1]);

export const maximum = (p: Program, a: Expr, b: Expr): Expr => a.plus(p.relu(b.minus(a)));

export const minimum = (p: Program, a: Expr, b: Expr): Expr => a.minus(p.relu(a.minus(b)));

/**
 * Folds a list in a balanced tree, whose depth is the logarithm of its length.
 *
 * @throws ArgumentError if the list is empty
 */
export function fold(values: readonly Expr[], combine: (a: Expr, b: Expr) => Expr): Expr {
  if (values.length === 0) throw new ArgumentError('fold: values must be at least one, got none');
  let level = [...values];
  while (level.length > 1) {
    const next: Expr[] = [];
    for (let i = 0; i + 1 < level.length; i += 2) next.push(combine(level[i], level[i + 1]));
    if (level.length % 2 === 1) next.push(level[level.length - 1]);
    level = next;
  }
  return level[0];
}

/** x where the condition is 1, 0 where it is 0. */
export function gate(p: Program, condition: Expr, x: Expr): Expr {
  const [least, greatest] = p.range(x);
  // x's positive part, pushed below 0 where the condition is 0, and its negative part
  const shut = (bound: number) => condition.minus(1).times(bound + 1);
  const parts: Relu[] = [];
  if (greatest > 0) parts.push({ weight: 1, of: x.plus(shut(greatest)) });
  if (least < 0) parts.push({ weight: -1, of: x.times(-1).plus(shut(-least)) });
  return p.node(parts, [Math.min(0, least), Math.max(0, greatest)]);
}

/** f(x) for whole x from `first` to `last`; f(first) below, f(last) above. */
export function tableOf(p: Program, x: Expr, first: number, last: number, f: (x: number) => number): Expr {
  const parts: Relu[] = [];
  for (let value = first + 1; value <= last; value++) {
    const rise = f(value) - f(value - 1);
    if (rise !== 0) parts.push(...ramp(x, value, rise));
  }
  const rises = Array.from({ length: last - first + 1 }, (_, i) => f(first + i) - f(first));
  return p.node(parts, [Math.min(...rises), Math.max(...rises)]).plus(f(first));
}

/** x modulo p, for x from 0 to `greatest`. */
export const modulo = (p: Program, x: Expr, modulus: number, greatest: number): Expr => {
  const parts: Relu[] = [];
  for (let multiple = modulus; multiple <= greatest; multiple += modulus)
    parts.push(...ramp(x, multiple, -modulus));
  return x.plus(p.node(parts, [-greatest, 0]));
};

/** One channel for each value: [x = value]. */
export const oneHot = (p: Program, x: Expr, values: readonly number[]): Expr[] =>
  values.map((value) => equals(p, x, value));

/** 1 where all conditions, each 0 or 1, are 1. */
export const allOf = (p: Program, conditions: readonly Expr[]): Expr =>
  p.node(
    [
      {
        weight: 1,
        of: conditions.reduce((sum, condition) => sum.plus(condition), Expr.of(1 - conditions.length)),
      },
    ],
    [0, 1],
  );

/** The part that is 1 where bits of +1 and -1 are those of a code, and all conditions, each 0 or 1, hold. */
export function matching(bits: readonly Expr[], code: number, conditions: readonly Expr[] = []): Expr {
  let sum = Expr.of(1 - bits.length);
  bits.forEach((bit, i) => (sum = sum.plus(bit.times(bitOf(code, i)))));
  // A wrong bit takes 2 off, so does a condition that does not hold.
  for (const condition of conditions) sum = sum.plus(condition.minus(1).times(2));
  return sum;
}

/**
 * The bits of a whole number from 0 to 2^bits - 1, +1 and -1, lowest first: one block each, the highest first, and one
 * more that makes them exact. (A ramp of a large number is the difference of two large ones, each rounded.)
 */
export function bitsOf(p: Program, x: Expr, bits: number): Expr[] {
  const found: Expr[] = [];
  let rest = x;
  for (let bit = bits - 1; bit >= 0; bit--) {
    const set = atLeast(p, rest, 2 ** bit);
    found.unshift(set);
    rest = rest.minus(set.times(2 ** bit));
  }
  return found.map((set) => atLeast(p, set, 1).times(2).minus(1));
}

/**
 * A table of several whole numbers: the value of the entry whose arguments all agree, 0 if there is none.
 *
 * @param entries arguments and value; each argument is tested by a channel of its own, each entry is a hidden unit
 */
export function tableOfMany(
  p: Program,
  xs: readonly Expr[],
  entries: readonly { args: readonly number[]; value: number }[],
): Expr {
  const tests = xs.map((x, i) => {
    const values = [...new Set(entries.map(({ args }) => args[i]))];
    const channels = oneHot(p, x, values);
    return new Map(values.map((value, at) => [value, channels[at]]));
  });
  const given = entries.map(({ value }) => value);
  return p.node(
    entries
      .filter(({ value }) => value !== 0)
      .map(({ args, value }) => ({
        weight: value,
        of: args.reduce((sum, arg, i) => sum.plus(tests[i].get(arg)!), Expr.of(1 - args.length)),
      })),
    [Math.min(0, ...given), Math.max(0, ...given)],
  );
}

/** A whole number from 0 up that the token, or the position, decides. */
export type WholeNumber = { token: (id: number) => number } | { position: (position: number) => number };

/**
 * Looks up one whole number, as a number or, where the mixer carries nothing else (Mamba-2, whose gated norm spoils
 * sizes), as its bits.
 *
 * @throws ArgumentError unless all numbers are whole, from 0 up
 */
export function lookUpNumber(
  p: Program,
  mixer: LookUpMixer,
  { value, ...lookUp }: Omit<LookUp, 'values'> & { value: WholeNumber },
): Expr {
  const [of, count] = 'token' in value ? [value.token, p.vocabSize] : [value.position, p.length];
  const column = (at: (x: number) => number) => ('token' in value ? p.token(at) : p.position(at));
  let most = 0;
  for (let x = 0; x < count; x++) {
    const number = of(x);
    if (!Number.isSafeInteger(number) || number < 0)
      throw new ArgumentError(
        `lookUpNumber: value of ${lookUp.name} must be whole numbers from 0 up, got ${number} for ${x}`,
      );
    most = Math.max(most, number);
  }
  if (mixer !== 'mamba2') return p.lookUp({ ...lookUp, values: [column(of)] })[0];
  const values = Array.from({ length: codeBits(most + 1) }, (_, bit) => column((x) => bitOf(of(x), bit)));
  return p
    .lookUp({ ...lookUp, values })
    .reduce((sum, bit, i) => sum.plus(bit.plus(1).times(2 ** i / 2)), Expr.of(0));
}
