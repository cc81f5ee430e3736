import { loadKernels } from '@freelunch/kernels';
import type { LanguageModel } from '@freelunch/models';
import {
  associativeRecall,
  inductionHeads,
  mqar,
  mqarForgetting,
  type Sample,
  type Task,
} from '@freelunch/tasks';
import { random } from '@freelunch/random';
import { afterEach, describe, expect, it } from 'vitest';
import type { LookUpMixer } from '../program/look-ups.js';
import { recallModel, recallModelPlan } from './recall.js';

const k = await loadKernels({ variant: 'simd', guard: true });
afterEach(() => k.checkGuards());

const mixers: LookUpMixer[] = ['softmax-attention', 'linear-attention', 'mamba', 'mamba2', 'mamba3'];
const overwriting: LookUpMixer[] = ['mamba', 'mamba3'];

/** The likeliest token at each input of each sample: rows of one length. */
function predictions(model: LanguageModel, inputs: readonly number[][]): number[][] {
  const logits = model.forward(inputs);
  const { data } = logits;
  const { vocabSize } = model.config;
  const out = inputs.map((row, b) =>
    row.map((_, t) => {
      const first = (b * row.length + t) * vocabSize;
      let best = 0;
      for (let id = 1; id < vocabSize; id++) if (data[first + id] > data[first + best]) best = id;
      return best;
    }),
  );
  logits.dispose();
  return out;
}

/** Judges `count` samples; gives each with what the task says of it. */
function judged<Problem>(task: Task<Problem>, model: LanguageModel, count: number) {
  const rng = random(11).split(task.name);
  const results: { sample: Sample<Problem>; result: ReturnType<Task<Problem>['check']> }[] = [];
  while (results.length < count) {
    const samples = Array.from({ length: 50 }, () => task.sample(rng));
    const inputs = samples.map(({ tokens }) => (task.alignment === 'same' ? tokens : tokens.slice(0, -1)));
    const outputs = predictions(model, inputs);
    samples.forEach((sample, i) =>
      results.push({ sample, result: task.check(sample, outputs[i], { mode: 'teacher-forced' }) }),
    );
  }
  return results;
}

const tasks: { name: string; task: Task<unknown>; length: number; keys?: number[] }[] = [
  { name: 'induction heads', task: inductionHeads() as Task<unknown>, length: 31 },
  {
    name: 'induction heads, several triggers in a long text',
    task: inductionHeads({ seqLen: 90, triggers: 9, vocabSize: 33 }) as Task<unknown>,
    length: 91,
  },
  { name: 'associative recall', task: associativeRecall() as Task<unknown>, length: 22 },
  { name: 'MQAR', task: mqar({ vocabSize: 64, pairs: 8 }) as Task<unknown>, length: 64 },
  {
    name: 'MQAR with random filler, room for keys only',
    task: mqar({ vocabSize: 101, seqLen: 80, pairs: 16, randomFiller: true }) as Task<unknown>,
    length: 80,
    keys: Array.from({ length: 49 }, (_, i) => i + 1),
  },
];

describe.each(mixers)('recall with %s', (mixer) => {
  it.each(tasks)('solves $name, 1,000 of 1,000', ({ task, length, keys }) => {
    const model = recallModel(k, { mixer, length, vocabSize: task.vocabulary.size, keys });
    const wrong = judged(task, model, 1000).filter(({ result }) => !result.correct);
    expect(wrong.map(({ sample }) => sample)).toEqual([]);
    model.dispose();
  });

  it('solves MQAR with the published vocabulary of 8,192', () => {
    const keys = Array.from({ length: 64 }, (_, i) => 60 * i + 1);
    const task = mqar({ pairs: 4 });
    const model = recallModel(k, { mixer, length: 64, vocabSize: 8192, keys });
    const rng = random(5);
    const samples = Array.from({ length: 10 }, () => {
      const { tokens, queries } = task.draw(rng);
      // the task's texts, with keys out of the 64 that the model has room for
      const names = new Map(
        [...new Set(queries.map((query) => tokens[query]))].map((key, i) => [key, keys[i * 7]]),
      );
      return task.encode({ tokens: tokens.map((token) => names.get(token) ?? token), queries });
    });
    const outputs = predictions(
      model,
      samples.map(({ tokens }) => tokens),
    );
    samples.forEach((sample, i) => expect(task.check(sample, outputs[i]).correct).toBe(true));
    model.dispose();
  });

  it('generates what it predicts', async () => {
    const task = associativeRecall({ seqLen: 12 });
    const model = recallModel(k, { mixer, length: 14, vocabSize: task.vocabulary.size });
    const rng = random(2);
    for (let i = 0; i < 10; i++) {
      const sample = task.sample(rng);
      const out: number[] = [];
      for await (const token of model.generate(sample.prompt, { maxTokens: 1 })) out.push(token);
      expect(task.check(sample, out).correct).toBe(true);
    }
    model.dispose();
  });

  it('keeps the size that its plan says', () => {
    for (const [length, vocabSize, keys] of [
      [1, 1, undefined],
      [2, 2, undefined],
      [50, 30, [4]],
    ] as const) {
      const plan = recallModelPlan({ mixer, length, vocabSize, keys });
      const model = plan.build(k);
      expect(model.parameterCount).toBe(plan.parameters);
      if (mixer !== 'softmax-attention') expect(model.stateBytes(length) / 4).toBe(plan.floatsKept(length));
      const logits = model.forward(Array.from({ length }, (_, t) => t % vocabSize));
      expect(logits.data.every(Number.isFinite)).toBe(true);
      logits.dispose();
      model.dispose();
    }
  });
});

describe('keys that get another value', () => {
  const task = mqarForgetting({ vocabSize: 64, pairs: 8, updates: 3 });
  const context = 2 * (8 + 3);

  /** Right answers among those whose key had one value, and among those whose key had two. */
  function shares(mixer: LookUpMixer): { once: number; twice: number } {
    const model = recallModel(k, { mixer, length: 64, vocabSize: 64 });
    const counts = { once: [0, 0], twice: [0, 0] };
    for (const { sample, result } of judged(task, model, 1000)) {
      const { tokens, queries } = sample.problem;
      queries.forEach((query, i) => {
        let shown = 0;
        for (let t = 0; t < context; t += 2) shown += Number(tokens[t] === tokens[query]);
        const count = shown === 1 ? counts.once : counts.twice;
        count[0] += Number(result.right[i]);
        count[1]++;
      });
    }
    model.dispose();
    expect([counts.once[1], counts.twice[1]]).toEqual([5000, 3000]);
    return { once: counts.once[0] / counts.once[1], twice: counts.twice[0] / counts.twice[1] };
  }

  it.each(overwriting)('have the last one in the registers of %s: a write replaces', (mixer) => {
    expect(shares(mixer)).toEqual({ once: 1, twice: 1 });
  });

  it.each(['softmax-attention', 'linear-attention', 'mamba2'] as const)(
    'have a mixture of both with %s, which keeps all',
    (mixer) => {
      const { once, twice } = shares(mixer);
      expect(once).toBe(1);
      expect(twice).toBeLessThan(0.5);
    },
  );

  it.each(overwriting)('are remembered by %s in a state that does not grow with the text', (overwriter) => {
    const kept = (mixer: LookUpMixer, length: number) =>
      recallModelPlan({ mixer, length, vocabSize: 64 }).floatsKept(length);
    expect(kept(overwriter, 100)).toBe(kept(overwriter, 10000));
    for (const mixer of mixers.filter((other) => !overwriting.includes(other)))
      expect(kept(mixer, 10000)).toBeGreaterThan(50 * kept(mixer, 100));
  });
});

it('refuses options that do not fit', () => {
  const options = { mixer: 'mamba', length: 8, vocabSize: 4 } as const;
  const refusal = (more: object) => () => recallModel(k, { ...options, ...more });
  expect(refusal({ length: 0 })).toThrow('recallModel: length must be a whole number from 1 up, got 0');
  expect(refusal({ keys: [1, 4] })).toThrow('recallModel: keys must be tokens from 0 to 3, got 4');
  expect(refusal({ keys: [1, 1] })).toThrow('recallModel: keys must be different tokens, at least one');
  expect(refusal({ keys: [] })).toThrow('recallModel: keys must be different tokens, at least one');
  expect(refusal({ mixer: 'hyena' })).toThrow('compile: mixer must be one of');
});
