import { ArgumentError, loadKernels, ShapeError } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { afterAll, describe, expect, it } from 'vitest';
import { createModel, evaluate, type EvaluateOptions, type LanguageModel } from './index.js';

const k = await loadKernels({ variant: 'simd' });
const sizes = { vocabSize: 19, dModel: 16, nLayers: 2, seed: 3 };
const recurrent = createModel(k, { ...sizes, mixer: { type: 'mamba' } });
const attention = createModel(k, {
  ...sizes,
  mixer: { type: 'softmax-attention', nHeads: 2 },
  position: 'rope',
});
const learned = createModel(k, {
  ...sizes,
  mixer: { type: 'softmax-attention', nHeads: 2 },
  position: { type: 'learned', maxLength: 12 },
});
afterAll(() => {
  for (const model of [recurrent, attention, learned]) model.dispose();
});

const rng = random(1).split('text');
const text = Array.from({ length: 40 }, () => rng.integer(sizes.vocabSize));

/** -ln p of the last of these tokens, from all before it. */
function surprise(model: LanguageModel, tokens: readonly number[]): number {
  const logits = k.scope(() => model.forward(tokens.slice(0, -1), { lastOnly: true }).toArray());
  const top = Math.max(...logits);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0);
  return Math.log(total) + top - logits[tokens.at(-1)!];
}

/** Mean surprise of tokens 1, 2, ..., each from the tokens since `startOf(it)`. */
function expected(model: LanguageModel, startOf: (i: number) => number): number {
  const surprises = text.slice(1).map((_, j) => surprise(model, text.slice(startOf(j + 1), j + 2)));
  return surprises.reduce((a, b) => a + b) / surprises.length;
}

describe('evaluate', () => {
  it.each([
    ['a recurrent model', recurrent],
    ['softmax attention', attention],
  ])('predicts each token from all before it: %s', async (_, model) => {
    const { predicted, crossEntropy, perplexity } = await evaluate(model, text);
    expect(predicted).toBe(39);
    expect(crossEntropy).toBeCloseTo(
      expected(model, () => 0),
      5,
    );
    expect(perplexity).toBe(Math.exp(crossEntropy));
  });

  it('starts anew where a context is full, and predicts each token once', async () => {
    // Contexts of 10 tokens begin at 0, 4, 8, ...: token 10 is the first that the second adds.
    const startOf = (i: number) => Math.max(0, Math.ceil((i - 9) / 4) * 4);
    const { predicted, crossEntropy } = await evaluate(recurrent, text, { contextLength: 10, stride: 4 });
    expect(predicted).toBe(39);
    expect(crossEntropy).toBeCloseTo(expected(recurrent, startOf), 5);
  });

  it('keeps to the positions that a model has learned', async () => {
    const startOf = (i: number) => Math.max(0, Math.ceil((i - 11) / 6) * 6);
    const { crossEntropy } = await evaluate(learned, text);
    expect(crossEntropy).toBeCloseTo(expected(learned, startOf), 5);
  });

  it('says how far it is, and frees all', async () => {
    const held = k.memory.usedBytes;
    const told: number[] = [];
    await evaluate(recurrent, Int32Array.from(text), {
      contextLength: 30,
      onProgress: ({ done, total }) => {
        expect(total).toBe(39);
        told.push(done);
      },
    });
    expect(told).toEqual([29, 39]);
    expect(k.memory.usedBytes).toBe(held);
  });

  it('needs no more memory for a longer text', async () => {
    const peak = async (length: number) => {
      const fresh = await loadKernels({ variant: 'simd' });
      using model = createModel(fresh, { ...sizes, mixer: { type: 'mamba' } });
      await evaluate(
        model,
        Array.from({ length }, (_, i) => i % sizes.vocabSize),
      );
      return fresh.memory.peakBytes;
    };
    expect(await peak(8192)).toBe(await peak(1024));
  });

  it('ends when it is aborted', async () => {
    const held = k.memory.usedBytes;
    const abort = new AbortController();
    const evaluation = evaluate(recurrent, text, {
      contextLength: 4,
      signal: abort.signal,
      onProgress: () => abort.abort(new Error('enough')),
    });
    await expect(evaluation).rejects.toThrow('enough');
    expect(k.memory.usedBytes).toBe(held);
  });

  it.each<[string, readonly number[], EvaluateOptions, new (message: string) => Error, string]>([
    ['one token', [1], {}, ShapeError, 'tokens must be at least 2'],
    [
      'an id beyond the vocabulary',
      [1, 19],
      {},
      ArgumentError,
      'tokens[0, 1] must be an id from 0 to 18, got 19',
    ],
    ['a fraction', [1, 2.5], {}, ArgumentError, 'tokens[1] must be a whole number, got 2.5'],
    [
      'too short a context',
      text,
      { contextLength: 1 },
      ArgumentError,
      'contextLength must be a whole number from 2 up',
    ],
    [
      'a stride that leaves gaps',
      text,
      { contextLength: 8, stride: 8 },
      ArgumentError,
      'stride must be a whole number from 1 to contextLength - 1 = 7, got 8',
    ],
  ])('refuses %s', async (_, tokens, options, kind, message) => {
    const evaluation = evaluate(recurrent, tokens, options);
    await expect(evaluation).rejects.toThrow(message);
    await expect(evaluation).rejects.toThrow(kind);
  });

  it('refuses a context beyond the learned positions', async () => {
    await expect(evaluate(learned, text, { contextLength: 13 })).rejects.toThrow(
      'contextLength must be a whole number from 2 to 12, as there are positions, got 13',
    );
  });
});
