import { cost } from '@freelunch/complexity';
import { loadKernels } from '@freelunch/kernels';
import { createModel, type LanguageModel, type ModelConfig } from '@freelunch/models';
import { random } from '@freelunch/random';
import { modularSum, parity, wordProblem } from '@freelunch/tasks';
import { afterEach, describe, expect, it } from 'vitest';
import { cyclicModel, cyclicModelPlan } from './cyclic.js';

const k = await loadKernels({ variant: 'simd', guard: true });
afterEach(() => k.checkGuards());

const FIRST = 3; // the id of 0

/** The greatest logit of each position of a text, which is read in pieces. */
function greatest(model: LanguageModel, ids: readonly number[]): number[] {
  const { vocabSize } = model.config;
  const found: number[] = [];
  using state = model.initialState();
  for (let start = 0; start < ids.length; start += 2000) {
    using logits = model.forward(ids.slice(start, start + 2000), { state });
    const { data } = logits;
    for (let row = 0; row < data.length; row += vocabSize) {
      let best = 0;
      for (let id = 1; id < vocabSize; id++) if (data[row + id] > data[row + best]) best = id;
      found.push(best);
    }
  }
  return found;
}

/** How many sums of the beginnings of a text are wrong. */
function wrongSums(model: LanguageModel, order: number, numbers: readonly number[]): number {
  let sum = 0;
  let wrong = 0;
  greatest(
    model,
    numbers.map((x) => FIRST + x),
  ).forEach((id, t) => {
    sum = (sum + numbers[t]) % order;
    wrong += Number(id !== FIRST + sum);
  });
  return wrong;
}

const drawn = (order: number, length: number, seed = 0) => {
  const rng = random(seed);
  return Array.from({ length }, () => rng.integer(order));
};

describe('sums modulo n by one layer of Mamba-3', () => {
  it.each([
    { name: 'parity', order: 2, task: parity({ length: [1, 200], form: 'direct' }) },
    { name: 'modularSum', order: 7, task: modularSum({ length: [1, 200], form: 'direct' }) },
    {
      name: 'the word problem of Z60',
      order: 60,
      task: wordProblem({ group: 'Z60', length: [1, 200], form: 'direct' }),
    },
  ])('solve $name, the answer and where it ends', async ({ order, task }) => {
    using model = cyclicModel(k, { order });
    expect(model.config.vocabSize).toBe(task.vocabulary.tokens.length);
    const rng = random(1);
    for (let i = 0; i < 20; i++) {
      const sample = task.sample(rng);
      const written: number[] = [];
      for await (const id of model.generate(sample.prompt, {
        stopTokens: [task.vocabulary.end!],
        maxTokens: 5,
      }))
        written.push(id);
      expect(task.check(sample, written).correct).toBe(true);
    }
  });

  it.each([2, 3, 7, 12, 60])('are right for every beginning of 100,000 random numbers, n = %i', (order) => {
    using model = cyclicModel(k, { order });
    expect(wrongSums(model, order, drawn(order, 100_000))).toBe(0);
  });

  it.each([2, 7, 60])('are right as far as the plan says where all turn most, n = %i', (order) => {
    const { reach } = cyclicModelPlan({ order });
    using model = cyclicModel(k, { order });
    const most = Array<number>(reach).fill(Math.floor(order / 2));
    expect(reach).toBeGreaterThan(10_000);
    expect(wrongSums(model, order, most)).toBe(0);
    // Not for ever: what tells the sums apart decays.
    if (order === 2) expect(wrongSums(model, order, Array<number>(2 * reach).fill(1))).toBeGreaterThan(0);
  });

  it('are right for longer where the state decays less', () => {
    const options = { order: 2, aFloor: 1e-12 };
    expect(cyclicModelPlan(options).reach).toBeGreaterThan(1_000_000);
    using model = cyclicModel(k, options);
    expect(wrongSums(model, 2, Array<number>(200_000).fill(1))).toBe(0);
  });

  it('are right step by step', () => {
    using model = cyclicModel(k, { order: 5 });
    using state = model.initialState();
    let sum = 0;
    for (const x of drawn(5, 2000)) {
      using logits = model.step(FIRST + x, state);
      sum = (sum + x) % 5;
      expect(logits.data.indexOf(Math.max(...logits.data))).toBe(FIRST + sum);
    }
  });

  it('take a state of 30 floats, whatever the length', () => {
    for (const order of [2, 60]) {
      const plan = cyclicModelPlan({ order });
      using model = plan.build(k);
      expect(plan.parameters).toBe(model.parameterCount);
      expect(plan.parameters).toBe(cost(plan.config, { mode: 'decode', promptLength: 9 }).params);
      for (const length of [1, 1_000_000]) {
        expect(plan.floatsKept(length)).toBe(30);
        expect(model.stateBytes(length)).toBe(4 * 30);
      }
    }
  });

  it('refuse what is out of range', () => {
    expect(() => cyclicModel(k, { order: 1 })).toThrow(
      'cyclicModel: order must be a whole number from 2 to 1024, got 1',
    );
    expect(() => cyclicModel(k, { order: 2, aFloor: 0 })).toThrow(
      'cyclicModel: aFloor must be a number from 1e-30 to 1, got 0',
    );
  });
});

/**
 * On a text of one token again and again, a layer whose decays lie in [0, 1] says c + sum_h c_h a_h^t of any two logits'
 * difference: its convolution and its gate see the same at every step. A sum of m powers with m different bases from 0 up
 * has at most m - 1 changes of sign (Descartes, Laguerre), so H decays allow H of them; parity needs one at every step.
 */
describe('how often the better of two tokens changes in a text of ones', () => {
  const LENGTH = 400;

  /** Changes of sign that are more than rounding. */
  function changes(model: LanguageModel): number {
    const ids = Array<number>(LENGTH).fill(FIRST + 1);
    using logits = model.forward(ids);
    const { vocabSize } = model.config;
    const { data } = logits;
    const differences = ids.map((_, t) => data[t * vocabSize + FIRST + 1] - data[t * vocabSize + FIRST]);
    let [count, last] = [0, 0];
    differences.forEach((difference, t) => {
      const scale = Math.max(
        Math.abs(data[t * vocabSize + FIRST + 1]),
        Math.abs(data[t * vocabSize + FIRST]),
      );
      if (Math.abs(difference) <= 1e-3 * scale) return;
      const sign = Math.sign(difference);
      if (last !== 0 && sign !== last) count++;
      last = sign;
    });
    return count;
  }

  /** Of many models with large random weights, and decays and step sizes of every order. */
  function most(mixer: ModelConfig['mixer']): number {
    let greatest = 0;
    for (let seed = 0; seed < 150; seed++) {
      using model = createModel(k, {
        vocabSize: 5,
        dModel: 4,
        nLayers: 1,
        mixer,
        tieEmbeddings: false,
        seed,
      });
      const rng = random(seed).split('weights');
      for (const [name, { data }] of model.parameters()) {
        const spread = /A_log|dt_bias/.test(name) ? 3 : 1;
        for (let i = 0; i < data.length; i++) data[i] = spread * rng.normal();
      }
      greatest = Math.max(greatest, changes(model));
    }
    return greatest;
  }

  it.each([1, 2, 4])('is at most once per head of Mamba-2, with %i heads', (nHeads) => {
    const found = most({ type: 'mamba2', dConv: 0, dState: 4, dInner: 4, headDim: 4 / nHeads });
    expect(found).toBeGreaterThan(0);
    expect(found).toBeLessThanOrEqual(nHeads);
  });

  it.each([1, 2])('is at most once per decay of Mamba, with states of %i', (dState) => {
    const found = most({ type: 'mamba', dConv: 0, dState, dInner: 4 });
    expect(found).toBeGreaterThan(0);
    expect(found).toBeLessThanOrEqual(4 * dState);
  });

  it('is at every step with Mamba-3, as parity has it', () => {
    using model = cyclicModel(k, { order: 2 });
    expect(changes(model)).toBe(LENGTH - 1);
  });
});
