import { cost } from '@freelunch/complexity';
import { type Kernels, loadKernels } from '@freelunch/kernels';
import {
  cyk,
  defineDp,
  type DpTask,
  editDistance,
  equation,
  knapsack,
  layeredPath,
  lcs,
  lis,
  matrixChain,
  modularSum,
  parity,
  prefixMax,
  prefixSum,
  recurrence,
  wordProblem,
} from '@freelunch/tasks';
import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { dpModel, dpModelPlan } from './model.js';
import type { DpModelOptions } from './plan.js';

const k: Kernels = await loadKernels({ variant: 'simd' });
const mixers = ['softmax-attention', 'linear-attention', 'mamba'] as const;

/** What a model writes is judged by the task's own check, and token by token. */
async function wrongChains<Problem, State extends string | number>(
  task: DpTask<Problem, number, State>,
  options: DpModelOptions<Problem, State>,
  count: number,
  problem?: Problem,
): Promise<number> {
  using model = dpModel(k, task, options);
  const rng = random(11);
  let wrong = 0;
  for (let i = 0; i < count; i++) {
    const sample = problem === undefined ? task.sample(rng, options.size) : task.encode(problem);
    const output: number[] = [];
    const maxTokens = sample.tokens.length - sample.prompt.length;
    for await (const token of model.generate(sample.prompt, { maxTokens })) output.push(token);
    const same = output.join() === sample.tokens.slice(sample.prompt.length).join();
    expect(task.check(sample, output).correct).toBe(same);
    if (!same) wrong++;
  }
  return wrong;
}

/** Ways up a staircase with broken steps: a problem that no builder knows. */
const stairs = defineDp<{ whole: number[] }>({
  name: 'stairs',
  symbols: Array.from({ length: 30 }, (_, i) => i),
  size: [1, 7],
  random: (rng, n) => ({ whole: Array.from({ length: n }, () => rng.integer(2)) }),
  input: ({ whole }) => whole,
  states: ({ whole }) => whole.map((_, i) => i),
  deps: (_, i) => [i - 1, i - 2].filter((j) => j >= 0),
  reads: (_, i) => [i],
  step: (_, i, [near = 0, far = 0], [whole]) => (whole === 0 ? 0 : (i < 2 ? 1 : 0) + near + far),
  aggregate: (_, ways) => ways[ways.length - 1],
  range: [0, 29],
});

/** Values that are written as words, and an answer that is a map of one of them. */
const weather = defineDp({
  name: 'weather',
  symbols: ['dry', 'wet', 'rain', 'sun', 'yes', 'no'],
  size: [1, 9],
  random: (rng, n) => ({ days: Array.from({ length: n }, () => (rng.integer(2) === 0 ? 'rain' : 'sun')) }),
  input: ({ days }) => days,
  states: ({ days }) => days.map((_, i) => `day ${i}`),
  deps: (_, state) => (state === 'day 0' ? [] : [`day ${Number(state.slice(4)) - 1}`]),
  reads: (_, state) => [Number(state.slice(4))],
  step: (_, _state, [before = 0], [day]) => (day === 'rain' ? 1 : before === 1 ? 1 : 0),
  answerStates: ({ days }) => [`day ${days.length - 1}`],
  aggregate: (_, [last]) => 2 + last,
  range: [0, 3],
  encode: (value) => ['dry', 'wet', 'no', 'yes'][value],
  decode: ([text]) => ['dry', 'wet', 'no', 'yes'].indexOf(text),
});

const cases: Record<string, [DpTask<never, number, never>, number]> = Object.fromEntries(
  (
    [
      ['lis', lis({ length: 7 }), 7],
      ['lis, inputs inline', lis({ length: 6, inputs: 'inline' }), 6],
      ['lis in pairs', lis({ length: 5, states: 'pairs' }), 5],
      ['edit distance', editDistance({ length: 4 }), 4],
      ['edit distance of one letter', editDistance({ length: 1 }), 1],
      [
        'edit distance, reference costs, columns, inline',
        editDistance({ length: 3, costs: 'reference', order: 'column', inputs: 'inline' }),
        3,
      ],
      ['lcs, anti-diagonals', lcs({ length: 4, order: 'anti-diagonal' }), 4],
      ['knapsack', knapsack({ length: 3, capacity: 6, maxWeight: 7 }), 3],
      ['recurrence', recurrence({ m: 3, p: 5, length: 12, coefficients: [1, 0, 4] }), 12],
      ['recurrence, inline', recurrence({ m: 2, length: 9, inputs: 'inline' }), 9],
      ['prefix sums', prefixSum({ length: 9 }), 9],
      ['prefix maxima', prefixMax({ length: 9, p: 40 }), 9],
      ['layered path', layeredPath({ length: 4 }), 4],
      ['matrix chain', matrixChain({ length: 4, maxDim: 3 }), 4],
      ['cyk', cyk({ length: 4 }), 4],
      ['word problem', wordProblem({ length: 8, group: 'S3' }), 8],
      ['parity', parity({ length: 10 }), 10],
      ['modular sum', modularSum({ length: 8, p: 6 }), 8],
      ['a table of its own', stairs, 6],
      ['words for values', weather, 7],
    ] as const
  ).map(([name, task, size]) => [name, [task as never, size]]),
);

describe.each(Object.entries(cases))('%s', (_, [task, size]) => {
  it.each(mixers)('is written by %s without a wrong token', async (mixer) => {
    expect(await wrongChains(task, { mixer, size }, 12)).toBe(0);
  });

  it('takes what its plan says', () => {
    for (const mixer of mixers) {
      const plan = dpModelPlan(task, { mixer, size });
      using model = plan.build(k);
      expect(model.parameterCount).toBe(plan.parameters);
      const formula = cost(plan.config, { mode: 'decode', promptLength: plan.textLength - 1 });
      expect(formula.params).toBe(plan.parameters);
      expect(formula.stateBytes / 4).toBe(plan.floatsKept(plan.textLength));
      const floats = model.stateBytes(plan.textLength) / 4;
      // A cache of attention has room for a power of two of tokens, from 64 up.
      if (mixer === 'softmax-attention') {
        const room = Math.max(64, 2 ** Math.ceil(Math.log2(plan.textLength)));
        expect(floats).toBe((plan.floatsKept(plan.textLength) / plan.textLength) * room);
      } else expect(floats).toBe(plan.floatsKept(plan.textLength));
    }
  });
});

it('keeps as many registers as a local program needs, however long the text is', () => {
  const floats = [40, 80, 160].map((length) => {
    const plan = dpModelPlan(recurrence({ m: 4, length, driven: false }), { mixer: 'mamba', size: length });
    expect(plan.slots).toBe(4);
    return plan.floatsKept(plan.textLength);
  });
  expect(new Set(floats).size).toBe(1);
});

it('keeps a register for each value that is still needed: more in longer texts where a program is not local', () => {
  const slots = [10, 20, 40].map(
    (length) => dpModelPlan(lis({ length, states: 'pairs' }), { mixer: 'mamba', size: length }).slots,
  );
  expect(slots).toEqual([10, 20, 40]);
});

it('writes a local program in the window that it needs', async () => {
  const task = recurrence({ m: 3, length: 60, driven: false });
  const plan = dpModelPlan(task, { mixer: 'sliding-window', size: 60 });
  expect(plan.slots).toBe(plan.reach + 1);
  expect(plan.reach).toBeLessThanOrEqual(4);
  expect(await wrongChains(task, { mixer: 'sliding-window', size: 60 }, 5)).toBe(0);
});

it('sees in its window what says which token to read', async () => {
  const task = knapsack({ length: 3 });
  expect(await wrongChains(task, { mixer: 'sliding-window', size: 3 }, 30)).toBe(0);
});

it('builds for the shape of one problem, with registers that are used again', async () => {
  const task = editDistance({ length: 6 });
  const problem = { a: [0, 1, 2, 3, 4, 5], b: [1, 2, 3, 3, 5, 5] };
  const whole = dpModelPlan(task, { mixer: 'mamba', size: 6 });
  const one = dpModelPlan(task, { mixer: 'mamba', size: 6, problem });
  expect(one.shapes).toBe(1);
  expect(one.slots).toBeLessThan(whole.slots / 3);
  expect(await wrongChains(task, { mixer: 'mamba', size: 6, problem }, 1, problem)).toBe(0);
});

describe('a model that is too small', () => {
  const task = lis({ length: 9, states: 'pairs' });
  it.each([
    [{ mixer: 'sliding-window', size: 9, window: 20 } as const, /window must be 47 or more, got 20$/],
    [{ mixer: 'mamba', size: 9, registers: 5 } as const, /registers must be \d+ or more, got 5$/],
    [{ mixer: 'linear-attention', size: 9, keys: 5 } as const, /keys must be \d+ or more, got 5$/],
  ])('is refused, naming the look-up: %o', (options, message) => {
    expect(() => dpModelPlan(task, options)).toThrow(message);
    expect(() => dpModelPlan(task, options)).toThrow(
      /dpModel: lis: (state \d+|the answer) looks \d+ tokens back/,
    );
  });

  it.each([
    { mixer: 'sliding-window', size: 9, window: 20, anyway: true } as const,
    { mixer: 'mamba', size: 9, registers: 5, anyway: true } as const,
    { mixer: 'linear-attention', size: 9, keys: 5, anyway: true } as const,
  ])('is built anyway, and fails: %o', async (options) => {
    expect(await wrongChains(task, options, 10)).toBeGreaterThan(5);
  });
});

it('takes a transition where a table would be too large', async () => {
  const largest = defineDp<{ numbers: number[] }>({
    name: 'largest-two',
    symbols: Array.from({ length: 90 }, (_, i) => i),
    size: 8,
    random: (rng, n) => ({ numbers: Array.from({ length: n }, () => rng.integer(80)) }),
    input: ({ numbers }) => numbers,
    states: ({ numbers }) => numbers.map((_, i) => i),
    deps: (_, i) => (i === 0 ? [] : [i - 1]),
    reads: (_, i) => (i === 0 ? [i] : [i, i - 1]),
    step: (_, _i, [before = 0], [own, other = 0]) => Math.max(before, own as number, (other as number) - 3),
    aggregate: (_, values) => Math.max(...values),
    range: [0, 89],
  });
  expect(() => dpModelPlan(largest, { mixer: 'mamba', size: 8 })).toThrow(/combinations.*give a transition$/);
  const transition = {
    args: (_, i) => [
      i === 0 ? { number: 0 } : { state: i - 1 },
      { input: i },
      i === 0 ? { number: 0 } : { input: i - 1 },
    ],
    step: (on, [before, own, other]) => on.maximum([before, own, other.minus(3)]),
  } satisfies DpModelOptions<{ numbers: number[] }, number>['transition'];
  expect(await wrongChains(largest, { mixer: 'mamba', size: 8, transition }, 20)).toBe(0);
});

it('says what it cannot build', () => {
  const refuse = (task: unknown, options: object, message: string | RegExp) =>
    expect(() =>
      dpModelPlan(task as DpTask<never, number, never>, options as DpModelOptions<never, never>),
    ).toThrow(message);
  refuse(lis({ form: 'direct' }), { mixer: 'mamba', size: 8 }, "form must be 'cot', got 'direct'");
  refuse(equation(), { mixer: 'mamba', size: 3 }, 'values must be of one token, got several');
  refuse(lis(), { mixer: 'lstm', size: 8 }, 'mixer must be one of softmax-attention');
  refuse(lis(), { mixer: 'mamba', size: 0 }, 'size must be a whole number from 1 up, got 0');
  refuse(lis(), { mixer: 'mamba', size: 8, window: 4 }, 'window must be absent for mamba, got 4');
  refuse(editDistance({ length: 4 }), { mixer: 'sliding-window', size: 4 }, 'give a problem');
});
