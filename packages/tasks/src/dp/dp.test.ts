import { describe, expect, it } from 'vitest';
import { collapsible } from '../programs/arithmetic.js';
import {
  arithmetic,
  cyk,
  defineDp,
  type DpDefinition,
  editDistance,
  DpTask,
  equation,
  factories,
  type Grammar,
  knapsack,
  layeredPath,
  lcs,
  lis,
  matrixChain,
  parity,
  prefixMax,
  prefixSum,
  random,
  recurrence,
  wordProblem,
} from '../index.js';

interface Stairs {
  steps: number[];
}

/** Ways up a staircase where some steps are broken: a problem that the package does not have. */
const stairs: DpDefinition<Stairs> = {
  name: 'stairs',
  symbols: Array.from({ length: 200 }, (_, i) => i),
  size: [3, 8],
  random: (rng, n) => ({ steps: Array.from({ length: n }, () => rng.integer(2)) }),
  input: ({ steps }) => steps,
  states: ({ steps }) => steps.map((_, i) => i),
  deps: (_, i) => [i - 1, i - 2].filter((k) => k >= 0),
  reads: (_, i) => [i],
  step: (_, i, [near = 0, far = 0], [whole]) => (whole === 0 ? 0 : (i < 2 ? 1 : 0) + near + far),
  answerStates: ({ steps }) => [steps.length - 1],
  aggregate: (_, [last]) => last,
  range: [0, 199],
};

describe('defineDp', () => {
  const task = defineDp(stairs);

  it('makes a task of a user problem: text, chain of thought, answer, locality', () => {
    const sample = task.encode({ steps: [1, 1, 1, 0, 1] });
    expect(task.vocabulary.decode(sample.tokens)).toBe('1 1 1 0 1 <sep> 1 2 3 0 3 <sep> 3 <eos>');
    expect(sample.lossMask.map(Number).join('')).toBe('00000011111111');
    expect(sample.steps).toEqual([[4], [5], [6], [3], [6]]);
    expect(task.localityOf(sample.problem)).toEqual({ mState: 2, mToken: 2, inputReach: 6 });
    expect(task.structure(sample.problem)).toMatchObject({
      deps: [[], [0], [1, 0], [2, 1], [3, 2]],
      reads: [[0], [1], [2], [3], [4]],
      maxDeps: 2,
      maxReads: 1,
    });
    expect(task.locality(20)).toEqual({ mState: 2, mToken: 2, inputReach: 21 });
  });

  it('has a direct form and one with inputs beside the steps', () => {
    const problem = { steps: [1, 1, 1] };
    const direct = defineDp(stairs, { form: 'direct' });
    expect(direct.vocabulary.decode(direct.encode(problem).tokens)).toBe('1 1 1 <sep> 3 <eos>');
    const inline = defineDp(stairs, { inputs: 'inline' });
    expect(inline.vocabulary.decode(inline.encode(problem).tokens)).toBe(
      '1 1 1 <sep> 1 1 1 2 1 3 <sep> 3 <eos>',
    );
    expect(inline.localityOf(problem)).toEqual({ mState: 2, mToken: 4, inputReach: 1, inlineReach: 6 });
  });

  it('tells a step that is wrong from one that only follows from a wrong one', () => {
    const sample = task.encode({ steps: [1, 1, 1, 1] }); // 1 2 3 5
    const output = task.vocabulary.encode('1 4 5 9 <sep> 9 <eos>');
    const result = task.check(sample, output);
    expect(result.steps).toEqual([
      { right: true, consistent: true },
      { right: false, consistent: false },
      { right: false, consistent: true },
      { right: false, consistent: true },
    ]);
    expect(result).toMatchObject({ correct: false, answerCorrect: false, firstWrong: 1, firstWrongStep: 1 });
    const lucky = task.check(sample, task.vocabulary.encode('1 4 5 9 <sep> 5 <eos>'));
    expect(lucky).toMatchObject({ correct: false, answerCorrect: true });
  });

  it('judges outputs that are no tokens at all', () => {
    const sample = task.encode({ steps: [1, 1] });
    for (const output of [[-1, NaN, 1e9], [1.5], new Int32Array(40)]) {
      expect(task.check(sample, output)).toMatchObject({
        correct: false,
        answerCorrect: false,
        firstWrongStep: 0,
      });
    }
  });

  const wrong: [string, Partial<DpDefinition<Stairs>>, RegExp][] = [
    [
      'a circle',
      { deps: ({ steps }, i) => [(i + 1) % steps.length] },
      /deps of state 0 must come before it in states, got 1; they go in a circle: 0 -> 1 -> 2/,
    ],
    [
      'an order that is not topological',
      { states: ({ steps }) => steps.map((_, i) => steps.length - 1 - i) },
      /deps of state \d must come before it in states, got \d$/,
    ],
    ['an unknown state', { deps: () => [77] }, /deps of state 0 must be states, got 77/],
    ['a state that comes twice', { states: () => [1, 1] }, /states must differ, got 1 twice/],
    ['no states', { states: () => [] }, /at least one state/],
    [
      'a value out of range',
      { step: () => 200 },
      /step at state 0 must give a whole number from 0 to 199, got 200/,
    ],
    ['a value that is no number', { step: () => NaN }, /step at state 0 must give a value, got NaN/],
    [
      'a value without a token',
      { range: undefined, step: () => 1000 },
      /the value of state 0 must be written with the symbols, got 1000/,
    ],
    [
      'an answer without a token',
      { aggregate: () => -5 },
      /the answer must be written with the symbols, got -5/,
    ],
    ['an input without a token', { input: () => ['x'] }, /input must be written with the symbols, got 'x'/],
    [
      'a dependency that was not declared',
      { deps: () => [], step: (_, _i, values) => values[0] },
      /step at state 0 has 0 deps, but uses values\[0\]/,
    ],
    [
      'an input that was not declared',
      { step: (_, _i, _values, inputs) => Number(inputs[0]) + Number(inputs[1]) },
      /step at state 0 has 1 reads, but uses inputs\[1\]/,
    ],
    [
      'an input read past the declaration',
      { step: ({ steps }, i) => steps[i] },
      /must use what deps, reads and constants declare, got problem.steps\[0\], which is not declared/,
    ],
    [
      'inputs summed past the declaration',
      { step: ({ steps }) => steps.reduce((sum, step) => sum + step, 0) },
      /got problem.steps\[0\], which is not declared/,
    ],
    [
      'a place that the input does not have',
      { reads: () => [-1] },
      /reads of state 0 must be places of its \d inputs/,
    ],
    [
      'a number that differs between inputs',
      {
        random: (rng) => ({ steps: [1, 1, 1], secret: rng.integer(50) }),
        step: (problem) => (problem as unknown as { secret: number }).secret,
      },
      /got problem.secret, which is not declared/,
    ],
    ['states that are lists', { states: () => [[0]] as never }, /states must be numbers or texts, got \[0\]/],
    [
      'data that JSON cannot hold',
      { random: () => ({ steps: [1, undefined as never] }) },
      /random must give plain data, which JSON can hold, got something else in problem.steps\[1\]/,
    ],
    ['an answer from nowhere', { answerStates: () => [99] }, /answerStates must be states, got 99/],
    [
      'a step that throws',
      { step: () => (undefined as unknown as number[])[0] },
      /step at state 0 must give a value, got an error: TypeError/,
    ],
    ['a missing part', { step: undefined as never }, /stairs: step must be a function, got undefined/],
    ['no symbols', { symbols: undefined }, /symbols must be given/],
    [
      'a problem that is no object',
      { random: () => 5 as never, input: () => [1] },
      /random must give an object, got 5/,
    ],
    [
      'two tokens for a value',
      { encode: (value) => [value, value] },
      /a value must be one token unless multiToken/,
    ],
    [
      'decode that does not undo encode',
      { decode: () => 7 },
      /decode must give back what encode wrote at state 0/,
    ],
  ];
  it.each(wrong)('names %s', (_, change, message) => {
    expect(() => defineDp({ ...stairs, ...change })).toThrow(message);
    expect(() => defineDp({ ...stairs, ...change })).toThrow(/^defineDp: stairs/);
  });

  it('lets a step use parameters: fields that are the same in all instances of a size', () => {
    const modulo = defineDp<{ p: number; numbers: number[] }>({
      name: 'modulo',
      symbols: [0, 1, 2, 3, 4],
      size: [2, 6],
      random: (rng, n) => ({ p: 5, numbers: Array.from({ length: n }, () => rng.integer(5)) }),
      input: ({ numbers }) => numbers,
      states: ({ numbers }) => numbers.map((_, i) => i),
      deps: (_, i) => (i === 0 ? [] : [i - 1]),
      reads: (_, i) => [i],
      step: ({ p }, _, [before = 0], [own]) => (before + Number(own)) % p,
      aggregate: (_, values) => Math.max(...values),
    });
    expect(modulo.solve({ p: 5, numbers: [4, 3] })).toMatchObject({ values: [4, 2], answer: 4 });
  });

  it('judges values that are texts, and a single step', () => {
    const last = defineDp({
      name: 'last',
      symbols: ['x', 'y'],
      size: [1, 3],
      random: (rng, n) => ({ word: Array.from({ length: n }, () => 'xy'[rng.integer(2)]) }),
      input: ({ word }) => word,
      states: ({ word }) => word.map((_, i) => i),
      deps: () => [],
      reads: (_, i) => [i],
      step: (_, _i, _values: string[], [own]) => String(own),
      aggregate: (_, values) => values[values.length - 1],
    });
    const sample = last.encode({ word: ['x', 'y'] });
    const output = (text: string) => last.check(sample, last.vocabulary.encode(text));
    expect(output('x y <sep> y <eos>')).toMatchObject({ correct: true, firstWrongStep: null });
    expect(output('x x <sep> y <eos>').steps).toEqual([
      { right: true, consistent: true },
      { right: false, consistent: false },
    ]);
    const single = last.encode({ word: ['x'] });
    const unmarked = last.check(single, last.vocabulary.encode('x'));
    expect(unmarked).toMatchObject({ correct: false, answerCorrect: false, firstWrongStep: null });
  });

  it('takes any value that the definition accepts', () => {
    // Each step may name any number of the same parity; the answer is the parity of the last.
    const parities = defineDp<{ bits: number[] }>({
      name: 'parities',
      symbols: [0, 1, 2, 3, 4, 5],
      size: [2, 4],
      random: (rng, n) => ({ bits: Array.from({ length: n }, () => rng.integer(2)) }),
      input: ({ bits }) => bits,
      states: ({ bits }) => bits.map((_, i) => i),
      deps: (_, i) => (i === 0 ? [] : [i - 1]),
      reads: (_, i) => [i],
      step: (_, _i, [before = 0], [bit]) => (before + Number(bit)) % 2,
      accepts: (_, _i, value, [before = 0], [bit]) => value % 2 === (before + Number(bit)) % 2,
      aggregate: (_, values) => values[values.length - 1] % 2,
    });
    const sample = parities.encode({ bits: [1, 1, 1] });
    const judge = (text: string) => parities.check(sample, parities.vocabulary.encode(text));
    for (const text of ['1 0 1 <sep> 1 <eos>', '3 4 5 <sep> 1 <eos>', '5 0 3 <sep> 1']) {
      expect(judge(text)).toMatchObject({
        correct: true,
        answerCorrect: true,
        tokenAccuracy: 1,
        firstWrong: null,
      });
    }
    expect(judge('3 3 4 <sep> 1 <eos>')).toMatchObject({ correct: false, firstWrong: 1, firstWrongStep: 1 });
    expect(judge('3 3 4 <sep> 1 <eos>').steps).toEqual([
      { right: true, consistent: true },
      { right: false, consistent: false },
      { right: false, consistent: true },
    ]);
    expect(judge('1 2 1 <sep> 0 <eos>')).toMatchObject({
      correct: false,
      answerCorrect: false,
      firstWrong: 3,
    });
    expect(judge('1 2 1 1 <eos>')).toMatchObject({ correct: false, answerCorrect: false, firstWrong: 3 });
    expect(judge('1 2 1 <sep> 1 1 <eos>')).toMatchObject({ correct: false });
    expect(judge('1 2')).toMatchObject({ correct: false, firstWrong: 2, firstWrongStep: 2 });
    expect(judge('1 2 1')).toMatchObject({ correct: false, firstWrong: 3, firstWrongStep: null });
  });

  it('names a step that remembers', () => {
    let calls = 0;
    expect(() => defineDp({ ...stairs, step: () => calls++ % 2 })).toThrow(
      /must depend on values and inputs alone, got \d and then \d from the same/,
    );
    let last = 0;
    const leaking = {
      ...stairs,
      input: ({ steps }: Stairs) => ((last = steps[0]), steps),
      step: () => last,
    };
    expect(() => defineDp(leaking)).toThrow(/must depend on values and inputs alone/);
  });

  it('finds a value out of range later as well', () => {
    const narrow = defineDp({ ...stairs, symbols: [0, 1, 2, 3, 4, 5], range: [0, 5], size: 3 });
    expect(() => narrow.encode({ steps: [1, 1, 1, 1, 1, 1] })).toThrow(
      /stairs: step at state 4 must give a whole number from 0 to 5, got 8/,
    );
  });

  it('keeps its solver in both parts of a split', () => {
    const { train, test } = task.split({ test: 0.5 });
    const sample = train.sample(random(1));
    expect(test.solve(sample.problem)).toEqual(task.solve(sample.problem));
  });
});

function inverse(x: number, p: number): number {
  for (let i = 1; i < p; i++) if ((i * x) % p === 1) return i;
  throw new Error(`${x} has no inverse`);
}

describe('the built-in problems, against other ways to solve them', () => {
  const rng = random(11).split('others');
  const draws = Array.from({ length: 40 }, (_, i) => i);

  it('lis: the longest of all increasing subsets, in both forms', () => {
    const plain = lis({ length: [3, 9], numberRange: 40 });
    const pairs = lis({ length: [3, 9], numberRange: 40, states: 'pairs' });
    for (const _ of draws) {
      const problem = plain.draw(rng);
      const { numbers } = problem;
      let best = 0;
      for (let subset = 0; subset < 1 << numbers.length; subset++) {
        const chosen = numbers.filter((_x, i) => (subset >> i) & 1);
        if (chosen.every((x, i) => i === 0 || chosen[i - 1] < x)) best = Math.max(best, chosen.length);
      }
      expect(plain.solve(problem).answer).toBe(best);
      expect(pairs.solve(problem).answer).toBe(best);
      expect(pairs.structure(problem)).toMatchObject({ maxDeps: 2, maxReads: 2 });
      expect(pairs.structure(problem).states).toHaveLength((numbers.length * (numbers.length + 1)) / 2);
    }
  });

  it('edit distance: the recursive definition, in every order, with each cost', () => {
    for (const costs of ['unit', { insert: 2, delete: 1, substitute: 4, unitBorder: false }] as const) {
      const {
        insert,
        delete: remove,
        substitute,
      } = costs === 'unit' ? { insert: 1, delete: 1, substitute: 1 } : costs;
      const tasks = (['row', 'column', 'anti-diagonal'] as const).map((order) =>
        editDistance({ length: 5, costs, order }),
      );
      const distance = (a: number[], b: number[]): number => {
        if (a.length === 0) return b.length * insert;
        if (b.length === 0) return a.length * remove;
        const [x, y] = [a.slice(0, -1), b.slice(0, -1)];
        const change = a.at(-1) === b.at(-1) ? 0 : substitute;
        return Math.min(distance(x, y) + change, distance(x, b) + remove, distance(a, y) + insert);
      };
      for (const _ of draws.slice(0, 10)) {
        const problem = tasks[0].draw(rng);
        for (const task of tasks) expect(task.solve(problem).answer).toBe(distance(problem.a, problem.b));
      }
    }
  });

  it('lcs: edit distance without substitutions', () => {
    const task = lcs();
    const edits = editDistance({ costs: { insert: 1, delete: 1, substitute: 2, unitBorder: false } });
    for (const _ of draws) {
      const problem = task.draw(rng);
      const { a, b } = problem;
      expect(2 * task.solve(problem).answer).toBe(a.length + b.length - edits.solve(problem).answer);
    }
  });

  it('knapsack: the best of all subsets', () => {
    const task = knapsack();
    for (const _ of draws) {
      const problem = task.draw(rng);
      const { weights, values, capacity } = problem;
      let best = 0;
      for (let subset = 0; subset < 1 << weights.length; subset++) {
        const sum = (list: number[]) => list.reduce((total, x, i) => total + ((subset >> i) & 1) * x, 0);
        if (sum(weights) <= capacity) best = Math.max(best, sum(values));
      }
      expect(task.solve(problem).answer).toBe(best);
    }
  });

  it('matrix chain: the best of all bracketings', () => {
    const task = matrixChain();
    const best = (dims: number[]): number => {
      if (dims.length <= 2) return 0;
      let least = Infinity;
      for (let k = 1; k < dims.length - 1; k++) {
        const cost = dims[0] * dims[k] * dims.at(-1)!;
        least = Math.min(least, best(dims.slice(0, k + 1)) + best(dims.slice(k)) + cost);
      }
      return least;
    };
    for (const _ of draws) {
      const problem = task.draw(rng);
      expect(task.solve(problem).answer).toBe(best(problem.dims));
    }
  });

  it('cyk: brackets, palindromes, equal counts', () => {
    const tests = {
      dyck1: (word: number[]) => {
        let depth = 0;
        return word.every((x) => (depth += 1 - 2 * x) >= 0) && depth === 0;
      },
      'palindrome-even': (word: number[]) =>
        word.length % 2 === 0 && word.join() === word.toReversed().join(),
      'equal-count': (word: number[]) => word.filter((x) => x === 0).length * 2 === word.length,
    };
    for (const grammar of Object.keys(tests) as (keyof typeof tests)[]) {
      const task = cyk({ grammar, length: [1, 9] });
      let members = 0;
      for (let i = 0; i < 300; i++) {
        const problem = task.draw(rng);
        const member = tests[grammar](problem.word);
        if (member) members++;
        expect(task.solve(problem).answer).toBe(Number(member));
      }
      expect(members).toBeGreaterThan(40);
      expect(members).toBeLessThan(200);
    }
  });

  it('cyk takes a grammar of the user, and never hangs on one that has every word', () => {
    const all: Grammar = {
      terminals: ['a'],
      start: 0,
      unary: [[0, 0]],
      binary: [[0, 0, 0]],
    };
    const task = cyk({ grammar: all, length: 5 });
    expect(task.solve(task.draw(random(0))).answer).toBe(1);
    expect(() => cyk({ grammar: { ...all, unary: [[0, 3]] } })).toThrow(/grammar.unary must be/);
    expect(() => cyk({ grammar: 'english' as never })).toThrow(/grammar must be a grammar or one of dyck1/);
  });

  it('equation: the answer solves the equations', () => {
    const task = equation({ length: [1, 7], p: 13 });
    for (const _ of draws) {
      const problem = task.draw(rng);
      const n = problem.matrix.length;
      const solution = task.solve(problem).answer.map((row) => row[n]);
      for (const row of problem.matrix) {
        expect(row.slice(0, n).reduce((sum, x, j) => sum + x * solution[j], 0) % 13).toBe(row[n]);
      }
    }
  });

  it('arithmetic: all steps have the value of the expression, in both orders', () => {
    const p = 11;
    /** Precedence climbing, over the field. */
    const value = (tokens: (string | number)[]): number => {
      let at = 0;
      const factor = (): number => {
        const token = tokens[at++];
        if (token !== '(') return token as number;
        const inner = sum();
        at++;
        return inner;
      };
      const product = (): number => {
        let x = factor();
        while (tokens[at] === '*' || tokens[at] === '/') {
          x = tokens[at++] === '*' ? (x * factor()) % p : (x * inverse(factor(), p)) % p;
        }
        return x;
      };
      function sum(): number {
        let x = product();
        while (tokens[at] === '+' || tokens[at] === '-') {
          x = tokens[at++] === '+' ? (x + product()) % p : (x - product() + p) % p;
        }
        return x;
      }
      return sum();
    };
    for (const order of ['reference', 'canonical'] as const) {
      const task = arithmetic({ length: [1, 7], order });
      for (const _ of draws) {
        const problem = task.draw(rng);
        const { values, answer } = task.solve(problem);
        for (const step of values) expect(value(step)).toBe(answer[0]);
        expect(value(problem.expression)).toBe(answer[0]);
        expect(problem.expression.length).toBeLessThanOrEqual(4 * values.length + 1);
      }
    }
  });

  it('arithmetic: a chain in another legal order is right, and one illegal step is found', () => {
    const task = arithmetic({ length: 5 });
    let differ = 0;
    for (const _ of draws) {
      const problem = task.draw(rng);
      const order: number[] = []; // always the rightmost part
      let expression = problem.expression;
      while (expression.length > 1) {
        const { start } = collapsible(expression).at(-1)!;
        order.push(start);
        expression = task.solve({ expression, order: [start] }).answer;
      }
      const sample = task.encode(problem);
      const other = task.encode({ expression: problem.expression, order });
      const output = other.tokens.slice(other.prompt.length);
      expect(task.check(sample, output)).toMatchObject({
        correct: true,
        tokenAccuracy: 1,
        firstWrongStep: null,
      });
      if (other.tokens.join() === sample.tokens.join()) continue;
      differ++;
      const early = output.slice(other.steps![0].length + 1); // the first step left out
      expect(task.check(sample, early)).toMatchObject({
        correct: false,
        answerCorrect: true,
        firstWrongStep: 0,
      });
      const late = [...output.slice(0, -2), ((output.at(-2)! - 10 + 1) % 11) + 10];
      expect(task.check(sample, late)).toMatchObject({
        correct: false,
        answerCorrect: false,
        firstWrongStep: 4,
      });
    }
    expect(differ).toBeGreaterThan(20);
  });

  it('word problem: composing permutations; parity: counting ones', () => {
    const task = wordProblem({ group: 'S4' });
    const elements: number[][] = [];
    for (let code = 0; code < 256; code++) {
      const element = [code >> 6, (code >> 4) & 3, (code >> 2) & 3, code & 3];
      if (new Set(element).size === 4) elements.push(element);
    }
    for (const _ of draws) {
      const problem = task.draw(rng);
      let state = [0, 1, 2, 3];
      for (const g of problem.numbers) state = elements[g].map((x) => state[x]);
      expect(elements[task.solve(problem).answer]).toEqual(state);
    }
    const bits = parity();
    const problem = bits.draw(rng);
    expect(bits.solve(problem).answer).toBe(problem.numbers.reduce((sum, bit) => sum + bit, 0) % 2);
    expect(() => wordProblem({ group: 'S9' })).toThrow(/group must be S2 to S6/);
    expect(() => parity({ group: 'Z3' } as never)).toThrow(
      /parity: 'group' is not an option; the options are length, form, inputs/,
    );
  });

  it('prefix, recurrence and paths: running through by hand', () => {
    expect(prefixSum({ p: 10 }).solve({ numbers: [5, 3, 8] }).values).toEqual([5, 8, 6]);
    expect(prefixMax({ p: 10 }).solve({ numbers: [5, 3, 8] }).values).toEqual([5, 5, 8]);
    const fibonacci = recurrence({ p: 97, m: 2, length: 10, driven: false });
    expect(fibonacci.solve({ start: [1, 1], drive: [0, 0, 0, 0, 0, 0, 0, 0] }).values).toEqual([
      2, 3, 5, 8, 13, 21, 34, 55,
    ]);
    const path = layeredPath({ length: 2, width: 2 });
    const problem = {
      start: [1, 4],
      weights: [
        [
          [2, 5],
          [3, 1],
        ],
      ],
    };
    expect(path.solve(problem)).toMatchObject({ values: [1, 4, 3, 5], answer: 3 });
  });
});

describe('locality, as theory has it', () => {
  it.each([3, 8])('at size %d', (n) => {
    expect(arithmetic().locality(n).mState).toBe(1);
    const { mToken, inputReach } = arithmetic().locality(n);
    expect(Math.max(mToken, inputReach)).toBeLessThanOrEqual(4 * n + 2);
    expect(equation({ length: 8 }).locality(n).mState).toBe(1);
    expect(equation({ length: 8 }).locality(n).mToken).toBeLessThan(2 * n * (3 * n + 2));
    expect(lis().locality(n)).toMatchObject({ mState: n - 1, mToken: n - 1 });
    expect(editDistance().locality(n)).toMatchObject({ mState: n + 1, mToken: n + 2 });
    expect(editDistance({ order: 'column' }).locality(n)).toMatchObject({ mState: n + 1, mToken: n + 2 });
    const diagonal = editDistance({ order: 'anti-diagonal' }).locality(n).mState;
    expect(Math.abs(diagonal - 2 * n)).toBeLessThanOrEqual(1);
    expect(editDistance().locality(n).inputReach).toBeGreaterThan(n * n);
    expect(editDistance({ inputs: 'inline' }).locality(n)).toMatchObject({ mState: n + 1, inputReach: 2 });
    expect(lcs().locality(n)).toMatchObject({ mState: n + 1, mToken: n + 1 });
    expect(knapsack({ capacity: 10, maxWeight: 8 }).locality(n).mState).toBe(19);
    expect(matrixChain().locality(n).mState).toBe((n * (n - 1)) / 2 - 1);
    expect(cyk().locality(n).mState).toBe((n * (n + 1)) / 2 - 1);
    expect(cyk().locality(n).inputReach).toBe(n + 1);
    expect(recurrence({ m: 2 }).locality(n + 4)).toMatchObject({ mState: 2, mToken: 2, inputReach: n + 5 });
    expect(recurrence({ m: 2, driven: false }).locality(n + 4).inputReach).toBe(3);
    for (const task of [prefixSum(), prefixMax(), parity(), wordProblem()]) {
      expect(task.locality(n)).toEqual({ mState: 1, mToken: 1, inputReach: n + 1 });
    }
    expect(layeredPath({ width: 4 }).locality(n)).toMatchObject({ mState: 7, mToken: 7 });
    expect(editDistance({ length: 5 }).locality(100)).toMatchObject({ mState: 101, mToken: 102 });
    expect(lis({ length: 5 }).locality(1000)).toMatchObject({ mState: 999, inputReach: 2000 });
    expect(editDistance({ form: 'direct' }).locality(n)).toEqual({
      mState: 0,
      mToken: 0,
      inputReach: 2 * n + 2,
    });
  });
});

describe.each(
  Object.entries(factories).flatMap(([name, factory]) => {
    const task = factory({} as never);
    return task instanceof DpTask ? [[name, task] as const] : [];
  }),
)('%s', (name, plain) => {
  const options = plain.options as Record<string, unknown>;
  const forms =
    'inputs' in options
      ? [plain, factories[name]({ inputs: 'inline' } as never) as DpTask<unknown>]
      : [plain];

  it('says where in its text each value stands, and how far it looks from there', () => {
    const rng = random(4).split(name);
    for (const task of forms) {
      const sample = task.sample(rng);
      const { problem } = sample;
      const { tokens, inlineStart, start, end, answerStart, answerEnd, promptLength } = task.layout(problem);
      expect(tokens).toEqual(sample.tokens);
      expect(promptLength).toBe(sample.prompt.length);
      expect(tokens.slice(answerStart, answerEnd)).toEqual(sample.answer);
      expect(inlineStart.map((at, k) => tokens.slice(at, end[k]))).toEqual(sample.steps);
      const distances = task.distances(sample);
      let farthest = 0;
      start.forEach((_, k) => {
        for (let t = inlineStart[k]; t < end[k]; t++) farthest = Math.max(farthest, distances[t]);
      });
      const { mToken, inputReach, inlineReach = 0 } = task.localityOf(problem);
      expect(Math.max(mToken, inputReach, inlineReach)).toBe(farthest);
    }
  });

  it('passes its own validation on other problems than those it was tried on', () => {
    const rng = random(5).split(name);
    for (let i = 0; i < 5; i++) for (const task of forms) task.validate(task.draw(rng));
  });
});
