/**
 * Arithmetic with chain of thought as a language model with hand-set weights, for the texts of the `arithmetic`
 * task of @freelunch/tasks in its canonical order: each expression is the last with its leftmost part collapsed.
 *
 *     place   0 1 2 3 4 5 6 7 8  9
 *     E_k     2 * ( 4 - 1 ) + 5  =        the part found: begins at 2, is 5 long, has the value 3
 *     E_k+1   2 * 3 + 5  =                copies of places 0 1, the value, copies of places 7 8 9
 *
 * What a token at position t works out, in this order; L = size, each line one more look-up and a few MLPs:
 *
 *   1  the ids at t-1 .. t-4. With its own: whether u op v before it may be collapsed, its value, and whether an
 *      expression begins here. Products and quotients go through logarithms to a primitive root: O(p) hidden units.
 *   2  log 4L rounds; round b looks at t - 2^b and doubles the reach: where this expression begins, and where the first
 *      token stands at which a part was found. (Two prefix maxima, the second within the expression.)
 *   3  from there: the value of that part and whether it has brackets. Then all of this from the last `=`, for which it
 *      is about the whole E_k.
 *   4  the place in E_k that it has to write a copy of, and the id from there.
 *
 * Positions are the codes of all look-ups, so each code is used once, and all three mixers can read it. No token looks
 * back further than 4L - 1, the longest expression: the text is m-local with m = 4L. So Mamba, which overwrites, gives
 * one register to all positions that are equal modulo a power of two, and keeps O(L) floats; so does softmax attention
 * with a window, up to a factor log L. Linear attention, which does not overwrite, needs a code for each position of
 * the text: O(L^2 log L) floats, since the text has up to 2 L^2 + 2 L + 2 tokens.
 *
 * @see docs/results.md, D1 to D3; Feng et al. 2023, https://arxiv.org/abs/2305.15408
 */
import { checkOptions } from '@freelunch/errors';
import { ArgumentError, type Kernels } from '@freelunch/kernels';
import type { LanguageModel } from '@freelunch/models';
import type { ArithmeticOptions, ArithmeticProblem, DpTask, Token } from '@freelunch/tasks';
import { compile, type Plan } from '../program/compile.js';
import type { LookUpMixer } from '../program/look-ups.js';
import { allOf, atLeast, bitsOf, equals, gate, maximum, modulo, tableOf } from '../program/integers.js';
import { codeBits, Expr, Program } from '../program/program.js';

export interface ArithmeticModelOptions {
  mixer: LookUpMixer;
  /** Most operators of an expression; fewer too. */
  size: number;
  /** Softmax attention sees the last `4 size` tokens only, which is all that it needs; false if absent. */
  window?: boolean;
}

type ArithmeticTask = DpTask<ArithmeticProblem, Token[]>;

/** Largest prime below which all sums of the tables of logarithms stay below 2^23: exact in float32, in any order. */
const LARGEST_FIELD = 149;

/** Tokens before `=` at most, of an expression with so many operators: each but one may have brackets. */
const longestExpression = (operators: number) => 4 * operators - 1;

/** What a model for arithmetic will be, before it is made. @throws ArgumentError as `arithmeticModel` does */
export function arithmeticModelPlan(task: ArithmeticTask, options: ArithmeticModelOptions): Plan {
  checkOptions('arithmeticModel', options, ['mixer', 'size', 'window']);
  const { mixer, size, window = false } = options;
  if (window && mixer !== 'softmax-attention')
    throw new ArgumentError(`arithmeticModel: window must be false for ${mixer}, got ${window}`);
  const { program, output } = arithmeticProgram(task, options);
  return compile(program, {
    mixer,
    output,
    ...(window && { window: longestExpression(size) + 1 }),
  });
}

/**
 * A model that writes the whole chain of thought of expressions with up to `size` operators without a wrong token:
 * `generate(E_0 =)` gives `E_1 = ... = E_L <eos>`.
 *
 * @param task  gives the field, p up to 149, and the vocabulary: order 'canonical', form 'cot'
 * @throws ArgumentError if the task has another order, form or greater p, or an option is out of range
 * @see docs/results.md, D3
 */
export function arithmeticModel(
  k: Kernels,
  task: ArithmeticTask,
  options: ArithmeticModelOptions,
): LanguageModel {
  return arithmeticModelPlan(task, options).build(k);
}

/** The program, and the Expr that is the id of the next token. */
export function arithmeticProgram(
  task: ArithmeticTask,
  { mixer, size }: ArithmeticModelOptions,
): { program: Program; output: Expr } {
  const { p: field, order, form } = task.options as ArithmeticOptions;
  if (task.name !== 'arithmetic' || order !== 'canonical' || form !== 'cot')
    throw new ArgumentError(
      `arithmeticModel: task must be arithmetic with order 'canonical' and form 'cot', got ${task.name} with ` +
        `order '${order}' and form '${form}'`,
    );
  if (field > LARGEST_FIELD)
    throw new ArgumentError(`arithmeticModel: task must have p up to ${LARGEST_FIELD}, got ${field}`);
  if (!Number.isSafeInteger(size) || size < 1)
    throw new ArgumentError(`arithmeticModel: size must be a whole number from 1 up, got ${size}`);
  const id = (token: string) => task.vocabulary.id(token);
  const zero = id('0');
  const longest = longestExpression(size);
  // sum_{m=1}^{size} (4m - 1), the last number, a `=` for each step; `<eos>` needs no successor
  const positions = 2 * size * size + 2 * size + 1;
  const p = new Program({ vocabSize: task.vocabulary.size, length: positions });
  const own = p.token((token) => token);
  const at = p.position((t) => t);
  const bits = codeBits(positions);
  const positionBits = p.positionCode(bits, (t) => t);

  /** The code of positions for those who look back at most so far. */
  function codeFor(reach: number): { key: Expr[]; codes: number[] } {
    const used = mixer === 'mamba' ? Math.min(bits, codeBits(reach + 1)) : bits;
    const count = mixer === 'mamba' ? 2 ** used : positions;
    return { key: positionBits.slice(0, used), codes: Array.from({ length: count }, (_, code) => code) };
  }

  /** What stood so many tokens before; at the first few tokens, what stands first. */
  function before(distance: number, reach: number, values: readonly Expr[]): Expr[] {
    const { key, codes } = codeFor(reach);
    const query = p.positionCode(key.length, (t) => Math.max(t - distance, 0));
    return p.lookUp({ name: `${distance} tokens before`, key, query, values, codes });
  }

  /** What stands at a position in the last `longest` tokens. */
  function from(name: string, place: Expr, values: readonly Expr[]): Expr[] {
    const { key, codes } = codeFor(longest);
    return p.lookUp({ name, key, query: bitsOf(p, place, bits).slice(0, key.length), values, codes });
  }

  // 1. A part `u op v` ends before this token, which decides whether it may be collapsed. At the first tokens all
  // before the text reads as its first token: no number stands beside an operator that way.
  const [right, op, left, outer] = [1, 2, 3, 4].map((distance) => before(distance, 4, [own])[0]);
  const found = partEnds(p, { id, own, right, op, left, outer });
  const value = valueOf(p, field, {
    u: left.minus(zero),
    v: right.minus(zero),
    additive: among(p, op, [id('+'), id('-')]),
    inverts: among(p, op, [id('-'), id('/')]),
  });
  const bracketed = allOf(p, [equals(p, outer, id('(')), p.token((token) => Number(token === id(')')))]);

  // 2. The latest begin so far, and positions - t for the first t since then at which a part was found, 0 if none.
  let begun = equals(p, right, id('='));
  let begin = p.relu(at.plus(begun.minus(1).times(positions)));
  let first = p.node(
    found.map((of) => ({ weight: 1, of: of.times(positions).minus(at) })),
    [0, positions],
  );
  for (let distance = 1; distance <= longest; distance *= 2) {
    const [begin0, first0] = before(distance, distance, [begin, first]);
    // What was found before this expression began does not count.
    first = first.plus(p.relu(first0.minus(first).minus(begun.times(2 * positions))));
    begin = maximum(p, begin, begin0);
    begun = atLeast(p, begun.plus(begin0), 1); // in step with the other two: one MLP a round
  }

  // 3. At the `=` that ends an expression: its length, its part. From there to all that write the next one.
  const end = Expr.of(positions).minus(first); // of the part, and one more
  const [partValue, partBracketed] = from('the part', end, [value, bracketed]);
  const length = at.minus(begin);
  const start = end.minus(3).minus(partBracketed);
  const isEquals = p.token((token) => Number(token === id('=')));
  const lastEquals = begin.minus(1).plus(gate(p, isEquals, length.plus(1)));
  const [source, shift, written, brackets] = from('the last =', lastEquals, [
    length,
    length.plus(start),
    partValue,
    partBracketed,
  ]);

  // 4. at - source is the place in E_k with the index of the token to write, at - shift how far it is past the part's.
  const past = at.minus(shift);
  const isPart = equals(p, past, 0);
  const isPast = atLeast(p, past, 1);
  const skipped = isPast.plus(gate(p, isPast, brackets)).times(2);
  const [copied] = from('the token to copy', at.minus(source).plus(skipped), [own]);
  // The `=` after the whole expression, once it is a number, is the end.
  const isLast = allOf(p, [isPast, equals(p, source.minus(brackets.times(2)), 3)]);
  const output = p
    .relu(copied.minus(isPart.times(task.vocabulary.size)))
    .plus(gate(p, isPart, written.plus(zero)))
    .plus(isLast.times(id('<eos>') - id('=')));
  return { program: p, output };
}

/** 1 for the ids in the list, 0 for others. */
function among(p: Program, x: Expr, ids: readonly number[]): Expr {
  const of = (value: number) => Number(ids.includes(value));
  return tableOf(p, x, Math.min(...ids) - 1, Math.max(...ids) + 1, of);
}

interface Surroundings {
  id: (token: string) => number;
  /** The ids of this token and the four before: `outer left op right own` is `( u op v )` or like it. */
  own: Expr;
  right: Expr;
  op: Expr;
  left: Expr;
  outer: Expr;
}

/** Two conditions, of which one is 1 if a part stands before this token that may be collapsed; others are at most 0. */
function partEnds(p: Program, { id, right, op, left, outer }: Surroundings): Expr[] {
  const zero = id('0');
  const numbers = atLeast(p, left, zero)
    .plus(atLeast(p, right, zero))
    .minus(2);
  const additive = among(p, op, [id('+'), id('-')]);
  const multiplicative = among(p, op, [id('*'), id('/')]);
  const divides = equals(p, outer, id('/'));
  const bindsLeft = among(p, outer, [id('*'), id('-')]);
  const bindsRight = p.token((token) => Number(token === id('*') || token === id('/')));
  const free = numbers.minus(divides);
  return [free.plus(additive).minus(bindsLeft).minus(bindsRight), free.plus(multiplicative)];
}

interface Operands {
  /** 0 to p - 1. */
  u: Expr;
  v: Expr;
  /** 1 for + and -, 0 for * and /. */
  additive: Expr;
  /** 1 for - and /. */
  inverts: Expr;
}

/** u op v in the field of `field` elements; 0 for u / 0. */
function valueOf(p: Program, field: number, { u, v, additive, inverts }: Operands): Expr {
  const { power, log } = logarithms(field);
  const order = field - 1; // of the group of units
  const logOf = (x: Expr) => tableOf(p, x, 0, field - 1, (value) => log[value]);
  const [logU, logV] = [logOf(u), logOf(v)];
  const sum = u.plus(v).plus(gate(p, inverts, v.times(-2).plus(field)));
  const logProduct = logU.plus(logV).plus(gate(p, inverts, logV.times(-2).plus(order)));
  const product = tableOf(p, logProduct, 0, 2 * order, (exponent) => power[exponent % order]);
  const units = allOf(p, [atLeast(p, u, 1), atLeast(p, v, 1), Expr.of(1).minus(additive)]);
  return gate(p, additive, modulo(p, sum, field, 2 * field - 1)).plus(gate(p, units, product));
}

/** The powers of the least primitive root, and the exponent of each number; 0 for 0. */
function logarithms(field: number): { power: number[]; log: number[] } {
  for (let root = 1; ; root++) {
    const power: number[] = [];
    const log = Array.from({ length: field }, () => 0);
    for (let x = 1; power.length === 0 || x !== 1; x = (x * root) % field) {
      log[x] = power.length;
      power.push(x);
    }
    if (power.length === field - 1) return { power, log };
  }
}
