/**
 * Exact expressions in named sizes: sums of products of powers, where a factor is a variable or a function (ceil, min
 * or max) of other expressions. Coefficients are floats; all that arise here are whole numbers or dyadic fractions, so
 * sums and values are exact up to 2^53.
 */
import { ArgumentError } from '@freelunch/errors';

type FunctionName = 'ceil' | 'min' | 'max';

type Atom = { name: string } | { fn: FunctionName; args: readonly Expression[] };

interface Term {
  coefficient: number;
  /** By key of the atom, so that equal products have equal keys. */
  factors: readonly (readonly [atom: Atom, power: number])[];
}

/** A number or an expression. */
export type Size = number | Expression;
export type Values = Readonly<Record<string, number>>;

const keyOf = (atom: Atom): string =>
  'name' in atom ? atom.name : `${atom.fn}(${atom.args.map((arg) => arg.toString()).join(', ')})`;

const productKey = (factors: Term['factors']): string =>
  factors.map(([atom, power]) => powerText(keyOf(atom), power)).join(' ');

const degreeOf = ({ factors }: Term): number => factors.reduce((degree, [, power]) => degree + power, 0);

export class Expression {
  readonly #terms: ReadonlyMap<string, Term>;

  private constructor(terms: ReadonlyMap<string, Term>) {
    this.#terms = terms;
  }

  static of(size: Size): Expression {
    if (size instanceof Expression) return size;
    return new Expression(size === 0 ? new Map() : new Map([['', { coefficient: size, factors: [] }]]));
  }

  static atom(atom: Atom): Expression {
    return new Expression(new Map([[keyOf(atom), { coefficient: 1, factors: [[atom, 1]] }]]));
  }

  /** The number, if no variable is left. */
  get constant(): number | undefined {
    if (this.#terms.size === 0) return 0;
    return this.#terms.size === 1 ? this.#terms.get('')?.coefficient : undefined;
  }

  plus(other: Size): Expression {
    const terms = new Map(this.#terms);
    for (const [key, term] of Expression.of(other).#terms) {
      const coefficient = term.coefficient + (terms.get(key)?.coefficient ?? 0);
      if (coefficient === 0) terms.delete(key);
      else terms.set(key, { ...term, coefficient });
    }
    return new Expression(terms);
  }

  minus(other: Size): Expression {
    return this.plus(Expression.of(other).times(-1));
  }

  times(other: Size): Expression {
    const terms = new Map<string, Term>();
    for (const a of this.#terms.values()) {
      for (const b of Expression.of(other).#terms.values()) {
        const factors = new Map<string, readonly [Atom, number]>();
        for (const [atom, power] of [...a.factors, ...b.factors]) {
          const key = keyOf(atom);
          factors.set(key, [atom, power + (factors.get(key)?.[1] ?? 0)]);
        }
        const sorted = [...factors]
          .filter(([, [, power]]) => power !== 0)
          .sort(([x], [y]) => (x < y ? -1 : 1));
        const key = productKey(sorted.map(([, factor]) => factor));
        const coefficient = a.coefficient * b.coefficient + (terms.get(key)?.coefficient ?? 0);
        if (coefficient === 0) terms.delete(key);
        else terms.set(key, { coefficient, factors: sorted.map(([, factor]) => factor) });
      }
    }
    return new Expression(terms);
  }

  /** 1 / x^power, of a single product. @throws ArgumentError for a sum */
  inverse(power = 1): Expression {
    if (this.#terms.size !== 1) throw new ArgumentError(`inverse: must be of a single product, got ${this}`);
    const [{ coefficient, factors }] = this.#terms.values();
    const inverted = factors.map(([atom, p]) => [atom, -p * power] as const);
    return new Expression(
      new Map([[productKey(inverted), { coefficient: coefficient ** -power, factors: inverted }]]),
    );
  }

  /** @throws ArgumentError naming a variable that has no value */
  evaluate(values: Values = {}): number {
    let total = 0;
    for (const { coefficient, factors } of this.#terms.values()) {
      total += factors.reduce(
        (product, [atom, power]) => product * valueOf(atom, values) ** power,
        coefficient,
      );
    }
    return total;
  }

  /** Expressions or numbers in place of variables. */
  substitute(sizes: Readonly<Record<string, Size>>): Expression {
    return this.#map((atom) => {
      if ('name' in atom) return atom.name in sizes ? Expression.of(sizes[atom.name]) : Expression.atom(atom);
      return call(
        atom.fn,
        atom.args.map((arg) => arg.substitute(sizes)),
      );
    });
  }

  /** The names that it depends on, sorted. */
  variables(): string[] {
    const names = new Set<string>();
    for (const { factors } of this.#terms.values()) {
      for (const [atom] of factors) {
        if ('name' in atom) names.add(atom.name);
        else for (const arg of atom.args) for (const name of arg.variables()) names.add(name);
      }
    }
    return [...names].sort();
  }

  /** The sum over `variable` = from .. to - 1. @throws ArgumentError if it does not stand alone to a power of at most 2 */
  sumOver(variable: string, from: Size, to: Size): Expression {
    const upTo = (end: Expression): Expression =>
      [...this.#terms.values()].reduce((total, { coefficient, factors }) => {
        const [moving, fixed] = partition(factors, ([atom]) => dependsOn(atom, variable));
        const rest = fixed.reduce(
          (product, [atom, power]) => product.times(powerOf(Expression.atom(atom), power)),
          Expression.of(coefficient),
        );
        if (moving.length === 0) return total.plus(rest.times(end));
        if (moving.length > 1)
          throw new ArgumentError(`sumOver: ${variable} must stand in one factor, got ${this}`);
        return total.plus(rest.times(sumOfPower(moving[0][0], moving[0][1], variable, end)));
      }, Expression.of(0));
    return upTo(Expression.of(to)).minus(upTo(Expression.of(from)));
  }

  /**
   * What is left as the variables grow: of each function what it tends to, of the products those that no other
   * outgrows.
   *
   * @param growing  variables; with `descending` each is at most the one before it, as a window is at most a length
   */
  leading(growing: readonly string[], descending = false): Expression {
    const limit = this.#limit(growing, descending);
    const terms = [...limit.#terms.values()].map((term) => ({
      term,
      degrees: growing.map((name) =>
        term.factors.reduce(
          (sum, [atom, power]) => sum + ('name' in atom && atom.name === name ? power : 0),
          0,
        ),
      ),
    }));
    const rank = (degrees: number[]) => {
      let sum = 0;
      return descending ? degrees.map((degree) => (sum += degree)) : degrees;
    };
    const kept = terms.filter(({ degrees }) => {
      const own = rank(degrees);
      return !terms.some((other) => {
        const theirs = rank(other.degrees);
        return theirs.every((degree, i) => degree >= own[i]) && theirs.some((degree, i) => degree > own[i]);
      });
    });
    return kept.reduce((sum, { term }) => sum.plus(fromTerm(term)), Expression.of(0));
  }

  /** Such as `O(T^2)` or `O(m T)`: the leading order, without coefficients and what does not grow. */
  order(growing: readonly string[], descending = false): string {
    const products = new Set(
      [...this.leading(growing, descending).#terms.values()].map(({ factors }) => {
        const names = factors.filter(([atom]) => 'name' in atom && growing.includes(atom.name));
        const texts = names.map(([atom, power]) => powerText(keyOf(atom), power));
        return texts.sort(inReadingOrder).join(' ') || '1';
      }),
    );
    return `O(${[...products].join(' + ') || '1'})`;
  }

  toString(): string {
    return this.#print(
      (atom) => keyOf(atom),
      ' ',
      (text, power) => powerText(text, power),
    );
  }

  toLatex(): string {
    return this.#print(
      (atom) => {
        if ('name' in atom) return latexName(atom.name);
        const args = atom.args.map((arg) => arg.toLatex());
        return atom.fn === 'ceil'
          ? `\\left\\lceil ${args[0]} \\right\\rceil`
          : `\\${atom.fn}\\left(${args.join(', ')}\\right)`;
      },
      ' \\, ',
      (text, power) => (power === 1 ? text : `${text}^{${power}}`),
    );
  }

  toJSON(): string {
    return this.toString();
  }

  /** What consoles of Node, Deno and Bun print. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** Each function replaced by what it tends to, until nothing changes. */
  #limit(growing: readonly string[], descending: boolean): Expression {
    const next = this.#map((atom) => tendency(atom, growing, descending));
    return next.toString() === this.toString() ? next : next.#limit(growing, descending);
  }

  #map(replace: (atom: Atom) => Expression): Expression {
    return [...this.#terms.values()].reduce(
      (sum, { coefficient, factors }) =>
        sum.plus(
          factors.reduce(
            (product, [atom, power]) => product.times(powerOf(replace(atom), power)),
            Expression.of(coefficient),
          ),
        ),
      Expression.of(0),
    );
  }

  #print(
    atomText: (atom: Atom) => string,
    between: string,
    raise: (text: string, power: number) => string,
  ): string {
    const terms = [...this.#terms.values()].sort((a, b) => degreeOf(b) - degreeOf(a));
    const text = terms.map(({ coefficient, factors }, i) => {
      const size = Math.abs(coefficient);
      const product = factors.map(([atom, power]) => raise(atomText(atom), power));
      if (size !== 1 || product.length === 0) product.unshift(String(size));
      const sign = coefficient < 0 ? (i === 0 ? '-' : ' - ') : i === 0 ? '' : ' + ';
      return sign + product.join(between);
    });
    return text.join('') || '0';
  }
}

/** Logarithms last, as in `m T log T`. */
const inReadingOrder = (a: string, b: string): number => {
  const [x, y] = [a, b].map((text) => (text.startsWith('log ') ? '~' : '') + text.toLowerCase());
  return x < y ? -1 : x > y ? 1 : 0;
};

const powerText = (text: string, power: number) => (power === 1 ? text : `${text}^${power}`);

/** `dModel` as d_{Model}, as papers write sizes; a name of one letter stays. */
function latexName(name: string): string {
  if (name.startsWith('log ')) return `\\log ${name.slice(4)}`;
  const [, head, tail] = /^([a-z])([A-Z0-9].*)$/.exec(name) ?? [];
  return head ? `${head}_{\\mathrm{${tail}}}` : name.length === 1 ? name : `\\mathrm{${name}}`;
}

function fromTerm({ coefficient, factors }: Term): Expression {
  return factors.reduce(
    (product, [atom, power]) => product.times(powerOf(Expression.atom(atom), power)),
    Expression.of(coefficient),
  );
}

/** Negative powers are of single products. */
function powerOf(base: Expression, power: number): Expression {
  if (power < 0) return base.inverse(-power);
  let result = base;
  for (let i = 1; i < power; i++) result = result.times(base);
  return result;
}

function valueOf(atom: Atom, values: Values): number {
  if ('name' in atom) {
    const value = values[atom.name];
    if (value === undefined) throw new ArgumentError(`evaluate: ${atom.name} must have a value, got none`);
    return value;
  }
  const args = atom.args.map((arg) => arg.evaluate(values));
  return atom.fn === 'ceil' ? Math.ceil(args[0]) : Math[atom.fn](...args);
}

const dependsOn = (atom: Atom, variable: string): boolean =>
  'name' in atom ? atom.name === variable : atom.args.some((arg) => arg.variables().includes(variable));

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}

/** Sum of atom^power over variable = 0 .. end - 1. */
function sumOfPower(atom: Atom, power: number, variable: string, end: Expression): Expression {
  const before = end.minus(1);
  if ('name' in atom && power === 1) return end.times(before).times(1 / 2);
  if (!('name' in atom) && atom.fn === 'min' && power === 1) {
    // min(variable + shift, bound): grows by one a step, then stands still.
    const [first, second] = atom.args;
    const [rising, bound] = first.variables().includes(variable) ? [first, second] : [second, first];
    const shift = rising.minus(Expression.atom({ name: variable }));
    if (!shift.variables().includes(variable) && !bound.variables().includes(variable)) {
      // s steps rise: sum of shift + i for i < s, s = min(end, bound - shift)
      const steps = minimum(end, bound.minus(shift));
      return shift
        .times(steps)
        .plus(steps.times(steps.minus(1)).times(1 / 2))
        .plus(end.minus(steps).times(bound));
    }
  }
  throw new ArgumentError(`sumOver: cannot add up ${keyOf(atom)}^${power} over ${variable}`);
}

/** What a function tends to as the variables grow. */
function tendency(atom: Atom, growing: readonly string[], descending: boolean): Expression {
  if ('name' in atom) return Expression.atom(atom);
  const [first, second] = atom.args;
  if (atom.fn === 'ceil')
    return growing.some((name) => first.variables().includes(name)) ? first : Expression.atom(atom);
  // The one that grows in an earlier variable is larger at last.
  for (const name of descending ? growing : [...growing]) {
    const [a, b] = [first.variables().includes(name), second.variables().includes(name)];
    if (a !== b) return a === (atom.fn === 'max') ? first : second;
  }
  return Expression.atom(atom);
}

function call(fn: FunctionName, args: Expression[]): Expression {
  const numbers = args.map((arg) => arg.constant);
  if (numbers.every((value) => value !== undefined)) {
    return Expression.of(fn === 'ceil' ? Math.ceil(numbers[0]!) : Math[fn](...(numbers as number[])));
  }
  if (args.length === 2 && args[0].toString() === args[1].toString()) return args[0];
  return Expression.atom({ fn, args });
}

export const variable = (name: string): Expression => Expression.atom({ name });
export const minimum = (a: Size, b: Size): Expression => call('min', [Expression.of(a), Expression.of(b)]);
export const maximum = (a: Size, b: Size): Expression => call('max', [Expression.of(a), Expression.of(b)]);
/** The next whole number from x up. */
export const ceil = (x: Size): Expression => call('ceil', [Expression.of(x)]);
export const sum = (...sizes: Size[]): Expression =>
  sizes.reduce<Expression>((total, size) => total.plus(size), Expression.of(0));
export const product = (...sizes: Size[]): Expression =>
  sizes.reduce<Expression>((total, size) => total.times(size), Expression.of(1));
