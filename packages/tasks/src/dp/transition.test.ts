import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { cyk, editDistance, knapsack, layeredPath, lcs, lis, matrixChain } from '../index.js';
import { prefixMax, prefixSum, recurrence } from '../index.js';
import type { DpDefinition, Token } from './definition.js';
import type { DpTask } from './task.js';
import type { Arg, Arithmetic, FixedArg, Quantity } from './transition.js';

/** A plain number, computed with as a network's layers would. */
class Plain implements Quantity<Plain> {
  constructor(readonly value: number) {}
  plus = (other: Plain | number) => new Plain(this.value + valueOf(other));
  minus = (other: Plain | number) => new Plain(this.value - valueOf(other));
  times = (factor: number) => new Plain(this.value * factor);
}
const valueOf = (x: Plain | number) => (typeof x === 'number' ? x : x.value);

const plainArithmetic = (numberOf: (token: Token) => number): Arithmetic<Plain> => ({
  number: (value) => new Plain(value),
  token: numberOf,
  atLeast: (x, least) => new Plain(Number(x.value >= least)),
  equals: (x, value) => new Plain(Number(x.value === value)),
  gate: (condition, x) => new Plain(condition.value === 1 ? x.value : 0),
  maximum: (values) => new Plain(Math.max(...values.map(valueOf))),
  minimum: (values) => new Plain(Math.min(...values.map(valueOf))),
  modulo(x, modulus, greatest) {
    expect(x.value).toBeGreaterThanOrEqual(0);
    expect(x.value).toBeLessThanOrEqual(greatest);
    return new Plain(x.value % modulus);
  },
  table: (x, first, last, f) => new Plain(f(Math.max(first, Math.min(last, x.value)))),
  tableOfMany: (xs, entries) =>
    new Plain(entries.find(({ args }) => args.every((arg, i) => arg === xs[i].value))?.value ?? 0),
});

const tasks: Record<string, [DpTask<never, number, never>, number]> = Object.fromEntries(
  Object.entries({
    lis: [lis({ length: 7 }), 7],
    'lis in pairs': [lis({ length: 6, states: 'pairs' }), 6],
    'edit distance': [editDistance({ length: 6 }), 6],
    'edit distance with the reference costs': [editDistance({ length: 5, costs: 'reference' }), 5],
    'edit distance by columns': [editDistance({ length: 5, order: 'column' }), 5],
    lcs: [lcs({ length: 6 }), 6],
    knapsack: [knapsack({ length: 5 }), 5],
    recurrence: [recurrence({ p: 5, m: 3, coefficients: [2, 0, 1], length: 9 }), 9],
    'recurrence without inputs': [recurrence({ p: 7, m: 2, driven: false, length: 9 }), 9],
    'prefix sum': [prefixSum({ length: 9 }), 9],
    'prefix max': [prefixMax({ length: 9 }), 9],
    'layered path': [layeredPath({ length: 4 }), 4],
    'matrix chain': [matrixChain({ length: 5 }), 5],
    cyk: [cyk({ length: 6 }), 6],
    'cyk of palindromes': [cyk({ length: 6, grammar: 'palindrome-even' }), 6],
  }),
) as never;

describe.each(Object.entries(tasks))('%s', (_, [task, size]) => {
  it('computes by its transition what its step computes', () => {
    const dp = task.dp as DpDefinition<object, number, number>;
    const { vocabulary } = task;
    const first = vocabulary.has('0') ? vocabulary.id('0') : vocabulary.id('1') - 1;
    const numberOf = (token: Token) => vocabulary.id(token) - first;
    const on = plainArithmetic(numberOf);
    const transition = dp.transition!(size);
    const rng = random(3);
    let counted = 0;
    for (let draw = 0; draw < 30; draw++) {
      const problem = task.draw(rng, size) as object;
      const { states, values, answer } = task.solve(problem as never) as {
        states: number[];
        values: number[];
        answer: number;
      };
      const input = dp.input(problem);
      const written = (state: number) => {
        const value = values[states.indexOf(state)];
        const token = dp.encode?.(value, state, problem) ?? value;
        return numberOf(Array.isArray(token) ? token[0] : token);
      };
      const fixed = (arg: FixedArg<number>): Plain =>
        new Plain(
          'number' in arg ? arg.number : 'state' in arg ? written(arg.state) : numberOf(input[arg.input]),
        );
      const resolve = (arg: Arg<number>): Plain => {
        if (!('by' in arg)) return fixed(arg);
        const token = input[arg.by];
        const chosen = [...arg.cases].find(([one]) => vocabulary.id(one) === vocabulary.id(token));
        return fixed(chosen![1]);
      };
      states.forEach((state, k) => {
        const kind = transition.kind?.(problem, state) ?? 0;
        expect(transition.step(on, transition.args(problem, state).map(resolve), kind).value).toBe(values[k]);
        counted++;
      });
      if (transition.answer !== undefined)
        expect(transition.answer(on, transition.answerArgs!(problem).map(resolve)).value).toBe(answer);
    }
    expect(counted).toBeGreaterThan(100);
  });
});
