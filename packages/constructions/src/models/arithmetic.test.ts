import { loadKernels } from '@freelunch/kernels';
import type { LanguageModel } from '@freelunch/models';
import { arithmetic, type ArithmeticProblem, type Sample } from '@freelunch/tasks';
import { random } from '@freelunch/random';
import { afterEach, describe, expect, it } from 'vitest';
import {
  arithmeticModel,
  type ArithmeticModelOptions,
  arithmeticModelPlan,
  arithmeticProgram,
} from './arithmetic.js';

const k = await loadKernels({ variant: 'simd', guard: true });
afterEach(() => k.checkGuards());

type ArithmeticSample = Sample<ArithmeticProblem>;

const taskOf = (length: number | [number, number], p = 11) => arithmetic({ length, p, order: 'canonical' });

const kinds: Omit<ArithmeticModelOptions, 'size'>[] = [
  { mixer: 'softmax-attention' },
  { mixer: 'softmax-attention', window: true },
  { mixer: 'linear-attention' },
  { mixer: 'mamba' },
];

/** Tokens that are not what the program says comes next, from the prompt's end on. */
function wrongOf(
  program: ReturnType<typeof arithmeticProgram>,
  samples: readonly ArithmeticSample[],
): number {
  let wrong = 0;
  for (const { tokens, prompt } of samples) {
    const rows = program.program.evaluate(tokens.slice(0, -1));
    for (let t = prompt.length - 1; t + 1 < tokens.length; t++)
      if (program.output.at(rows[t]) !== tokens[t + 1]) wrong++;
  }
  return wrong;
}

/** What the model writes after each prompt, up to `<eos>` or past where that belongs; prompts of one length at once. */
async function write(model: LanguageModel, samples: readonly ArithmeticSample[]): Promise<number[][]> {
  const written: number[][] = samples.map(() => []);
  for (const length of new Set(samples.map(({ prompt }) => prompt.length))) {
    const group = [...samples.keys()].filter((i) => samples[i].prompt.length === length);
    const longest = Math.max(...group.map((i) => samples[i].tokens.length));
    const prompts = group.map((i) => samples[i].prompt);
    const options = { maxTokens: longest - length, temperature: 0, stopTokens: [2] };
    for await (const step of model.generate(prompts, options))
      step.forEach((token, row) => token !== undefined && written[group[row]].push(token));
  }
  return written;
}

/** 1 / ( 3 / ( 1 / 3 ) ) and so on: no expression of so many operators is longer, none looks back further. */
function nested(operators: number): ArithmeticProblem {
  const opened = Array.from({ length: operators - 1 }, (_, i) => [1 + 2 * (i % 2), '/', '(']).flat();
  const closed = Array.from({ length: operators - 1 }, () => ')');
  const order = Array.from({ length: operators }, (_, k) => Math.max(3 * (operators - 1 - k) - 1, 0));
  return { expression: [...opened, 1, '/', 3, ...closed], order };
}

const draw = (task: ReturnType<typeof taskOf>, count: number, seed: number) => {
  const rng = random(seed);
  return Array.from({ length: count }, () => task.sample(rng));
};

describe('the program for arithmetic', () => {
  // Registers of `mamba` serve several positions; the others have a code for each.
  for (const mixer of ['linear-attention', 'mamba'] as const) {
    for (const size of [1, 2, 3, 8, 13]) {
      it(`writes 200 chains of up to ${size} operators (${mixer})`, () => {
        const task = taskOf([1, size]);
        const samples = [...draw(task, 180, size), ...draw(taskOf(size), 20, size)];
        expect(wrongOf(arithmeticProgram(task, { mixer, size }), samples)).toBe(0);
      });
    }
  }

  it.each([2, 3, 5, 11, 149])('computes every u op v in the field of %i elements', (p) => {
    const task = taskOf(1, p);
    const stride = p === 149 ? 7 : 1; // some of 22,201 pairs, and all of the rest
    const samples: ArithmeticSample[] = [];
    for (let u = 0; u < p; u += stride)
      for (let v = 0; v < p; v += stride)
        for (const operator of ['+', '-', '*', '/'])
          if (operator !== '/' || v !== 0)
            samples.push(task.encode({ expression: [u, operator, v], order: [0] }));
    expect(wrongOf(arithmeticProgram(task, { mixer: 'mamba', size: 1 }), samples)).toBe(0);
  });
});

describe.each(kinds)('a model for arithmetic (%o)', (kind) => {
  it('writes 1,000 chains of up to 3 operators without a wrong token', async () => {
    const task = taskOf([1, 3]);
    using model = arithmeticModel(k, task, { ...kind, size: 3 });
    const samples = draw(task, 1000, 31);
    const written = await write(model, samples);
    expect(samples.filter((sample, i) => !task.check(sample, written[i]).correct)).toEqual([]);
    expect(written).toEqual(samples.map(({ tokens, prompt }) => tokens.slice(prompt.length)));
  });

  it('writes chains of 8 operators and fewer', async () => {
    const task = taskOf([1, 8]);
    using model = arithmeticModel(k, task, { ...kind, size: 8 });
    const samples = [...draw(task, 15, 32), ...draw(taskOf(8), 5, 33), task.encode(nested(8))];
    expect(samples[20].tokens.length).toBe(2 * 8 * 8 + 2 * 8 + 2); // as many positions as the model has, and the end
    const written = await write(model, samples);
    expect(samples.filter((sample, i) => !task.check(sample, written[i]).correct)).toEqual([]);
  });

  it('computes in the largest field', async () => {
    const task = taskOf([1, 2], 149);
    using model = arithmeticModel(k, task, { ...kind, size: 2 });
    const samples = draw(task, 300, 34);
    const written = await write(model, samples);
    expect(samples.filter((sample, i) => !task.check(sample, written[i]).correct)).toEqual([]);
  });

  it('has as many parameters as planned, and keeps as many floats', () => {
    const plan = arithmeticModelPlan(taskOf(3), { ...kind, size: 3 });
    using model = plan.build(k);
    const sizes = [...model.parameters().values()].map(({ size }) => size);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(plan.parameters);
    if (kind.mixer === 'softmax-attention') return; // its cache has room for more
    using state = model.initialState(1);
    model.forward([3, 4, 5], { state }).dispose();
    expect(state.bytes).toBe(4 * plan.floatsKept(3));
  });
});

describe('what a model for arithmetic keeps', () => {
  const kept = (kind: (typeof kinds)[number], size: number) =>
    arithmeticModelPlan(taskOf(1), { ...kind, size }).floatsKept(2 * size * size + 2 * size + 1);

  it('grows with the text, whose length is quadratic, where nothing is overwritten or out of sight', () => {
    for (const mixer of ['softmax-attention', 'linear-attention'] as const)
      expect(kept({ mixer }, 32) / kept({ mixer }, 16)).toBeGreaterThan(3.5);
  });

  it('grows with one expression where it is', () => {
    for (const kind of [{ mixer: 'mamba' }, { mixer: 'softmax-attention', window: true }] as const)
      expect(kept(kind, 32) / kept(kind, 16)).toBeLessThan(3);
  });
});

describe('arithmeticModel', () => {
  it('refuses what it cannot do', () => {
    const options = { mixer: 'mamba', size: 3 } as const;
    expect(() => arithmeticModelPlan(arithmetic({ order: 'reference' }), options)).toThrow(
      /order 'canonical'/,
    );
    expect(() => arithmeticModelPlan(arithmetic({ order: 'canonical', form: 'direct' }), options)).toThrow(
      /form 'cot'/,
    );
    expect(() => arithmeticModelPlan(taskOf(3), { ...options, size: 0 })).toThrow(/size must be/);
    expect(() => arithmeticModelPlan(taskOf(3), { ...options, window: true })).toThrow(/window must be/);
    expect(() => arithmeticModelPlan(taskOf(3, 151), options)).toThrow(/p up to 149/);
  });
});
