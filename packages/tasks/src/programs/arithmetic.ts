/**
 * Arithmetic in the field of p elements, one collapsed operator a step.
 *
 *     2 * ( 2 / 10 - 10 ) = 2 * ( 9 - 10 ) = 2 * 10 = 9      (p = 11)
 *
 * @see Feng et al. 2023, https://arxiv.org/abs/2305.15408
 */
import type { DpOptions, Token } from '../dp/definition.js';
import { defineDp } from '../dp/dp.js';
import type { DpTask } from '../dp/task.js';
import { refuse } from '../errors.js';
import { upTo } from '../lists.js';
import { checkChoice, checkSize, type Size, takeOptions } from '../options.js';
import { checkPrime, inverses } from './field.js';
import type { Random } from '@freelunch/random';
import { numberTokens } from '../vocabulary.js';

export interface ArithmeticOptions extends Pick<DpOptions, 'form'> {
  /** Number of operators. */
  length: Size;
  /** Size of the field, prime. */
  p: number;
  /**
   * Which operator a step collapses: `reference`, the reverse of the order in which the expression grew at random;
   * `canonical`, the leftmost that may be. Only the second follows from the expression.
   */
  order: 'reference' | 'canonical';
}

export interface ArithmeticProblem {
  expression: Token[];
  /** For each step, where in its expression the collapsed part begins. */
  order: number[];
}

const OPERATORS = ['+', '-', '*', '/'];

/** A part `u op v` of an expression, brackets included. */
interface Part {
  start: number;
  length: number;
}

/** All parts that may be collapsed: bracketed, or where precedence lets them come first. From left to right. */
export function collapsible(expression: readonly Token[]): Part[] {
  const parts: Part[] = [];
  for (let i = 0; i + 2 < expression.length; i++) {
    const operator = expression[i + 1];
    if (typeof expression[i] !== 'number' || typeof expression[i + 2] !== 'number') continue;
    const left = expression[i - 1];
    const right = expression[i + 3];
    if (left === '(' && right === ')') {
      parts.push({ start: i - 1, length: 5 });
      continue;
    }
    const additive = operator === '+' || operator === '-';
    const blocked =
      left === '/' || (additive && (left === '*' || left === '-' || right === '*' || right === '/'));
    if (!blocked) parts.push({ start: i, length: 3 });
  }
  return parts;
}

/**
 * An expression grows from its value: a number, chosen at random, becomes `u op v` of the same value.
 *
 * @throws TaskError if an option is out of range, or `p` is no prime
 */
export function arithmetic(given?: Partial<ArithmeticOptions>): DpTask<ArithmeticProblem, Token[]> {
  const where = 'arithmetic';
  const options = takeOptions<ArithmeticOptions>(where, given, {
    length: 4,
    p: 11,
    order: 'reference',
    form: 'cot',
  });
  const { length, p, order, form } = options;
  checkSize(where, 'length', length, 1, 2 ** 16);
  checkPrime(where, p);
  checkChoice(where, 'order', order, ['reference', 'canonical']);
  const inverse = inverses(p);

  function apply(u: number, operator: Token, v: number): number | undefined {
    if (operator === '+') return (u + v) % p;
    if (operator === '-') return (u - v + p) % p;
    if (operator === '*') return (u * v) % p;
    return v === 0 ? undefined : (u * inverse[v]) % p;
  }

  /** The expression with one part replaced by its value; undefined if it has none. */
  function collapse(expression: readonly Token[], part: Part): Token[] | undefined {
    const { start } = part;
    const first = part.length === 5 ? start + 1 : start;
    const [u, operator, v] = expression.slice(first, first + 3);
    const value = apply(u as number, operator, v as number);
    if (value === undefined) return undefined;
    return [...expression.slice(0, start), value, ...expression.slice(start + part.length)];
  }

  /** `u op v` of value x, u and op uniform. */
  function expand(rng: Random, x: number): [number, string, number] {
    for (;;) {
      const u = rng.integer(p);
      const operator = OPERATORS[rng.integer(4)];
      if (operator === '+') return [u, operator, (x - u + p) % p];
      if (operator === '-') return [u, operator, (u - x + p) % p];
      if (operator === '*') {
        if (u !== 0) return [u, operator, (x * inverse[u]) % p];
        if (x === 0) return [u, operator, rng.integer(p)];
      } else if (u !== 0 && x !== 0) {
        return [u, operator, (u * inverse[x]) % p];
      } else if (u === 0 && x === 0) {
        return [u, operator, 1 + rng.integer(p - 1)];
      }
    }
  }

  function grow(rng: Random, operators: number): ArithmeticProblem {
    let expression: Token[] = [rng.integer(p)];
    const grown: number[] = [];
    for (let i = 0; i < operators; i++) {
      const numbers = expression.flatMap((token, at) => (typeof token === 'number' ? [at] : []));
      const at = numbers[rng.integer(numbers.length)];
      const [u, operator, v] = expand(rng, expression[at] as number);
      const left = expression[at - 1];
      const right = expression[at + 1];
      const additive = operator === '+' || operator === '-';
      const bracketed =
        left === '/' || (additive && (left === '*' || left === '-' || right === '*' || right === '/'));
      const part = bracketed ? ['(', u, operator, v, ')'] : [u, operator, v];
      expression = [...expression.slice(0, at), ...part, ...expression.slice(at + 1)];
      grown.push(at);
    }
    return { expression, order: order === 'reference' ? grown.toReversed() : canonicalOrder(expression) };
  }

  function canonicalOrder(start: Token[]): number[] {
    const starts: number[] = [];
    let expression = start;
    while (expression.length > 1) {
      const [leftmost] = collapsible(expression);
      starts.push(leftmost.start);
      expression = collapse(expression, leftmost)!;
    }
    return starts;
  }

  return defineDp<ArithmeticProblem, Token[]>(
    {
      name: 'arithmetic',
      summary: 'collapse one operator a step',
      options,
      vocabulary: ['<pad>', '<cls>', '<eos>', '+', '-', '*', '/', '(', ')', '=', ...numberTokens(0, p)],
      size: length,
      random: grow,
      input: ({ expression }) => expression,
      states: (problem) => upTo(problem.order.length),
      deps: (_, k) => (k === 0 ? [] : [k - 1]),
      reads: ({ expression }, k) => (k === 0 ? expression.map((_, i) => i) : []),
      constants: ['order'],
      step(problem, k, [previous], inputs) {
        const expression = k === 0 ? inputs : previous;
        const start = problem.order[k];
        const part = { start, length: expression[start] === '(' ? 5 : 3 };
        return (
          collapse(expression, part) ?? refuse(where, 'expression', 'without division by zero', expression)
        );
      },
      aggregate: (_, values) => values[values.length - 1],
      encode: (value) => value,
      decode: (tokens) => tokens.map((token) => (/^\d+$/.test(token) ? Number(token) : token)),
      multiToken: true,
      aligned: true,
      accepts(_, k, value, [previous], inputs) {
        const expression = k === 0 ? inputs : previous;
        const text = value.join(' ');
        return collapsible(expression).some((part) => collapse(expression, part)?.join(' ') === text);
      },
      key: ({ expression }) => expression.join(' '),
      layout: {
        query: '=',
        answer: null,
        separator: (_problem, _state, k, count) => (k < count - 1 ? '=' : undefined),
        scoreEnd: false,
      },
    },
    { form },
  );
}
