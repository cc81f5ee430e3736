import { cost } from '@freelunch/complexity';
import { loadKernels } from '@freelunch/kernels';
import type { LanguageModel } from '@freelunch/models';
import { copy, type Sample } from '@freelunch/tasks';
import { random } from '@freelunch/random';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LookUpMixer } from '../program/look-ups.js';
import { copyModel, type CopyModelOptions, copyModelPlan } from './copy.js';
import { copyCodebook } from './keyed-copy.js';
import { decayError, predictAccuracy } from '../mixers/prediction.js';

const k = await loadKernels({ variant: 'simd', guard: true });
afterEach(() => k.checkGuards());

const mixers: LookUpMixer[] = ['softmax-attention', 'linear-attention', 'mamba', 'mamba2', 'mamba3'];

/** What the model writes after each prompt, up to `maxTokens`. */
async function written(model: LanguageModel, samples: readonly Sample[]): Promise<number[][]> {
  const out: number[][] = samples.map(() => []);
  for await (const row of model.generate(samples.map(({ prompt }) => prompt)))
    row.forEach((token, i) => out[i].push(token!));
  return out;
}

const draw = (options: { vocabSize: number; length: number }, count: number, seed: number) => {
  const rng = random(seed).split('strings');
  const task = copy(options);
  return { task, samples: Array.from({ length: count }, () => task.sample(rng)) };
};

describe.each(mixers)('a model with %s', (mixer) => {
  it.each([
    { length: 1, vocabSize: 2 },
    { length: 1, vocabSize: 200 },
    { length: 7, vocabSize: 26 },
    { length: 33, vocabSize: 2 },
    { length: 64, vocabSize: 26 },
    { length: 71, vocabSize: 200 },
  ])('copies up to $length letters of $vocabSize without a wrong one', async ({ length, vocabSize }) => {
    const model = copyModel(k, { mixer, length, vocabSize });
    for (const shorter of new Set([length, length - 1, (length + 1) >> 1, 1])) {
      if (shorter === 0) continue;
      const { task, samples } = draw({ vocabSize, length: shorter }, 8, shorter);
      const answers = await written(model, samples);
      samples.forEach((sample, i) => {
        expect(answers[i].slice(0, shorter + 1)).toEqual(sample.tokens.slice(shorter + 2));
        expect(task.check(sample, answers[i]).correct).toBe(true);
      });
    }
    model.dispose();
  });

  it('copies letters of a vocabulary that numbers do not tell apart', async () => {
    const model = copyModel(k, { mixer, length: 9, vocabSize: 5000 });
    const { task, samples } = draw({ vocabSize: 5000, length: 9 }, 8, 0);
    const answers = await written(model, samples);
    samples.forEach((sample, i) => expect(task.check(sample, answers[i]).correct).toBe(true));
    model.dispose();
  });

  it('needs a position more for each two tokens, and nothing else of the text', () => {
    const sizes = [16, 32, 64].map((length) => copyModelPlan({ mixer, length, vocabSize: 26 }));
    sizes.forEach(({ config }, i) =>
      expect(config.position).toEqual({ type: 'learned', maxLength: 2 * 16 * 2 ** i + 2 }),
    );
    const kept = sizes.map((plan, i) => plan.floatsKept(2 * 16 * 2 ** i + 2));
    expect(kept).toEqual(kept.toSorted((a, b) => a - b));
    expect(kept[2]).toBeGreaterThan(64); // no less than a float a letter
  });
});

it('gives logits step by step as at once', () => {
  for (const mixer of mixers) {
    const model = copyModel(k, { mixer, length: 12, vocabSize: 5 });
    const { samples } = draw({ vocabSize: 5, length: 12 }, 1, 3);
    const tokens = samples[0].tokens.slice(0, -1);
    const logits = model.forward(tokens);
    const width = model.config.vocabSize;
    using state = model.initialState();
    tokens.forEach((token, t) => {
      const step = model.step(token, state);
      if (t > 12)
        step.data.forEach((value, id) =>
          expect(Math.abs(value - logits.data[t * width + id])).toBeLessThan(1e-3),
        );
      step.dispose();
    });
    logits.dispose();
    model.dispose();
  }
});

describe('a window', () => {
  it('copies what it sees, from as many letters back as it has tokens less one', async () => {
    const model = copyModel(k, { mixer: 'softmax-attention', length: 40, vocabSize: 26, window: 16 });
    for (const length of [1, 8, 15, 16, 17, 40]) {
      const { task, samples } = draw({ vocabSize: 26, length }, 10, length);
      const answers = await written(model, samples);
      const right = samples.filter((sample, i) => task.check(sample, answers[i]).correct).length;
      expect(right, `${length} letters`).toBe(length < 16 ? 10 : 0);
    }
    model.dispose();
  });
});

/** Share of the letters that models with keys of width dState write right, one model a seed. */
async function accuracy(
  options: CopyModelOptions,
  seeds: number,
  strings: (seed: number) => Sample[],
): Promise<number> {
  let [right, all] = [0, 0];
  for (let seed = 0; seed < seeds; seed++) {
    const model = copyModel(k, { ...options, seed });
    const samples = strings(seed);
    const answers = await written(model, samples);
    samples.forEach(({ tokens }, i) => {
      for (let t = 0; t < options.length; t++)
        right += Number(answers[i][t] === tokens[options.length + 2 + t]);
      expect(answers[i][options.length]).toBe(options.vocabSize + 2); // `.`
      all += options.length;
    });
    model.dispose();
  }
  return right / all;
}

describe('a state of constant size', () => {
  const size = { length: 64, vocabSize: 26 };
  const seeds = 30;
  const strings = (seed: number) => draw(size, 6, seed).samples;
  const widths = [4, 16, 32, 48];
  let predictions: ((dState: number) => number)[]; // for one string of each seed

  beforeAll(() => {
    predictions = Array.from({ length: seeds }, (_, seed) => {
      const tokens = strings(seed)[0].tokens.slice(1, 65);
      return predictAccuracy({ ...copyCodebook({ vocabSize: 26, seed }), tokens });
    });
  }, 120_000);

  describe.each(['linear-attention', 'mamba', 'mamba3'] as const)('of %s', (mixer) => {
    it.each(widths)('copies as many of 64 letters as is predicted for keys of width %i', async (dState) => {
      const got = await accuracy({ mixer, ...size, dState }, seeds, strings);
      const predicted = predictions.reduce((sum, predict) => sum + predict(dState), 0) / predictions.length;
      expect(Math.abs(got - predicted)).toBeLessThan(0.02);
    });

    it.each([64, 65, 100])('copies all of 64 letters with %i unit vectors as keys', async (dState) => {
      expect(await accuracy({ mixer, ...size, dState }, 2, strings)).toBe(1);
    });

    it.each([1, 2, 7])('copies strings of %i letters', async (length) => {
      const options = { length, vocabSize: 3 };
      const got = await accuracy({ mixer, ...options, dState: length }, 2, () => draw(options, 5, 1).samples);
      expect(got).toBe(1);
    });

    it('has the size that its plan says', () => {
      for (const dState of [5, 16, 70]) {
        const plan = copyModelPlan({ mixer, ...size, dState, dValue: 9 });
        const model = plan.build(k);
        const counted = cost(plan.config, { mode: 'decode', promptLength: 100 });
        expect(plan.parameters).toBe(model.parameterCount);
        expect(plan.parameters).toBe(counted.params);
        expect(plan.floatsKept(130)).toBe(model.stateBytes(130) / 4);
        expect(plan.floatsKept(130)).toBe(counted.stateBytes / 4);
        const wanted = {
          mamba: dState * 4 * Math.ceil((dState + 2 * 9 + 3) / 4),
          mamba3: (dState + 1) * (9 + 1), // with what the last step leaves
          'linear-attention': dState * 9,
        };
        expect(plan.floatsKept(130)).toBe(wanted[mixer]);
        model.dispose();
      }
    });
  });
});

describe('a rate of decay', () => {
  const vocabSize = 5;

  /** The logits of the letters at each position that predicts one, and the letter that is due. */
  function read(length: number, rate: number): { logits: Float32Array; due: number }[] {
    const model = copyModel(k, { mixer: 'mamba', length, vocabSize, dState: length, rate });
    const { samples } = draw({ vocabSize, length }, 1, length);
    const { tokens } = samples[0];
    const logits = model.forward(tokens.slice(0, -1));
    const width = model.config.vocabSize;
    const rows = Array.from({ length }, (_, i) => {
      const first = (length + 1 + i) * width;
      return { logits: logits.data.slice(first, first + vocabSize), due: tokens[length + 2 + i] };
    });
    logits.dispose();
    model.dispose();
    return rows;
  }

  it.each([
    { rate: 0, length: 50 },
    { rate: 0.001, length: 100 },
    { rate: 0.02, length: 7 },
    { rate: 0.02, length: 60 },
    { rate: 0.3, length: 21 },
  ])('scales what comes back by e^-(rate distance): %o', ({ rate, length }) => {
    const error = decayError({ rate, distance: length });
    for (const { logits, due } of read(length, rate)) {
      expect(Math.abs(logits[due] - (1 - error))).toBeLessThan(1e-5); // letters are unit vectors
      expect(logits.indexOf(Math.max(...logits))).toBe(due); // smaller, but in the right direction
    }
  });

  it('makes near tokens drown far ones where keys are not orthogonal', async () => {
    const size = { length: 48, vocabSize: 26 };
    const options = { mixer: 'mamba', ...size, dState: 24 } as const;
    const strings = (seed: number) => draw(size, 4, seed).samples;
    const held = await accuracy(options, 10, strings);
    const faded = await accuracy({ ...options, rate: 0.1 }, 10, strings);
    expect(faded).toBeLessThan(held - 0.1);
  });
});

it('refuses options that do not fit', () => {
  const options: CopyModelOptions = { mixer: 'mamba', length: 8, vocabSize: 4 };
  const refusal = (more: object) => () => copyModel(k, { ...options, ...more });
  expect(refusal({ length: 0 })).toThrow('copyModel: length must be a whole number from 1 up, got 0');
  expect(refusal({ vocabSize: 2.5 })).toThrow(
    'copyModel: vocabSize must be a whole number from 1 up, got 2.5',
  );
  expect(refusal({ mixer: 'hyena' })).toThrow('compile: mixer must be one of');
  expect(refusal({ window: 5 })).toThrow('compile: window must be absent for mamba, got 5');
  expect(refusal({ dState: 0 })).toThrow('copyModel: dState must be a whole number from 1 up, got 0');
  expect(refusal({ dState: 4, window: 5 })).toThrow(
    'copyModel: window must be absent where dState is given, got 5',
  );
  expect(refusal({ dState: 4, mixer: 'softmax-attention' })).toThrow(
    'copyModel: dState must be absent for softmax-attention, got 4',
  );
  expect(refusal({ dState: 4, mixer: 'linear-attention', rate: 0.1 })).toThrow(
    'copyModel: rate must be absent for linear-attention, got 0.1',
  );
  expect(refusal({ dState: 4, rate: -1 })).toThrow(
    'copyModel: rate must be a finite number from 0 up, got -1',
  );
  expect(refusal({ rate: 0.1 })).toThrow('copyModel: rate must be absent where dState is, got 0.1');
});
