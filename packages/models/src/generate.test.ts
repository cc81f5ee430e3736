import { ArgumentError, loadKernels, ShapeError } from '@freelunch/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import { createModel, type GenerateOptions } from './index.js';

const k = await loadKernels({ variant: 'simd' });
const vocabSize = 23;
const model = createModel(k, {
  vocabSize,
  dModel: 16,
  nLayers: 2,
  mixer: [{ type: 'mamba' }, { type: 'softmax-attention', nHeads: 2, window: 6 }],
  position: 'rope',
  seed: 5,
});
// Far from uniform, so that what is likely and what is drawn differ.
const embedding = model.parameters().get('backbone.embeddings.weight')!;
embedding.set(embedding.toArray().map((value) => 20 * value));
const held = k.memory;
afterAll(() => model.dispose());

const prompt = [3, 1, 4, 1, 5];

async function all<T>(tokens: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const token of tokens) found.push(token);
  return found;
}
const generated = (options?: GenerateOptions) => all(model.generate(prompt, options));

/** Logits of what follows a text. */
function logitsAfter(text: readonly number[]): Float32Array {
  return k.scope(() => model.forward(text, { lastOnly: true }).toArray());
}

function probabilitiesAfter(text: readonly number[], temperature: number): number[] {
  const logits = logitsAfter(text);
  const top = Math.max(...logits);
  const weights = Array.from(logits, (value) => Math.exp((value - top) / temperature));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
}

/** All tokens that 300 seeds draw next, in order. */
async function drawn(options: GenerateOptions): Promise<number[]> {
  const tokens = new Set<number>();
  for (let seed = 0; seed < 300; seed++)
    tokens.add((await generated({ maxTokens: 1, temperature: 3, seed, ...options }))[0]);
  return [...tokens].sort((a, b) => a - b);
}

describe('generate', () => {
  it('goes on as forward says for rows at once, with layers that mix nothing', async () => {
    const sizes = { vocabSize, dModel: 16, nLayers: 3, seed: 5 };
    const attention = { type: 'softmax-attention', nHeads: 2, valueDim: 5, window: 6 } as const;
    const linear = { type: 'linear-attention', nHeads: 2, headDim: 3, valueDim: 7 } as const;
    using mixed = createModel(k, {
      ...sizes,
      mixer: [{ type: 'none' }, attention, linear],
      mlp: ['relu', 'none', 'gelu'],
      tieEmbeddings: false,
    });
    const weights = mixed.parameters().get('backbone.embeddings.weight')!;
    weights.set(weights.toArray().map((value) => 20 * value));
    const rows = [prompt, prompt.map((id) => id + 7)];
    const texts = rows.map((row) => [...row]);
    for (let i = 0; i < 30; i++) {
      for (const text of texts) {
        const logits = k.scope(() => mixed.forward(text, { lastOnly: true }).toArray());
        text.push(logits.indexOf(Math.max(...logits)));
      }
    }
    const found = await all(mixed.generate(rows, { maxTokens: 30 }));
    rows.forEach((row, b) => expect(found.map((ids) => ids[b])).toEqual(texts[b].slice(row.length)));
    expect(new Set(texts[0].slice(5)).size).toBeGreaterThan(2);
  });

  it('takes the likeliest token each time', async () => {
    const text = [...prompt];
    for (let i = 0; i < 40; i++) {
      const logits = logitsAfter(text);
      text.push(logits.indexOf(Math.max(...logits)));
    }
    expect(await generated({ maxTokens: 40 })).toEqual(text.slice(prompt.length));
    expect(await generated({ maxTokens: 40, temperature: 0, topK: 3, seed: 9 })).toEqual(
      text.slice(prompt.length),
    );
    expect(await generated({ maxTokens: 40, topK: 1, seed: 9 })).toEqual(text.slice(prompt.length));
    expect(await generated({ maxTokens: 40, topP: 1e-9, seed: 9 })).toEqual(text.slice(prompt.length));
  });

  it('draws the same from the same seed, and other tokens from another', async () => {
    const draws = [1, 1, 2].map((seed) => generated({ maxTokens: 30, temperature: 1.5, seed }));
    const [a, b, c] = await Promise.all(draws);
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
  });

  it('draws each token as often as the softmax of the logits says', async () => {
    const wanted = probabilitiesAfter(prompt, 2);
    const draws = 4000;
    const counts = Array.from({ length: vocabSize }, () => 0);
    for (let seed = 0; seed < draws; seed++) {
      const [token] = await generated({ maxTokens: 1, temperature: 2, seed });
      counts[token]++;
    }
    // Pearson's statistic has mean 22 and is above 60 once in 50,000.
    const statistic = counts.reduce(
      (sum, count, i) => sum + (count - draws * wanted[i]) ** 2 / (draws * wanted[i]),
      0,
    );
    expect(statistic).toBeLessThan(60);
  });

  it('draws from the topK likeliest, and from the fewest that have topP', async () => {
    const probabilities = probabilitiesAfter(prompt, 3);
    const order = probabilities.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
    const likeliest = (count: number) => order.slice(0, count).sort((a, b) => a - b);
    expect(await drawn({ topK: 4 })).toEqual(likeliest(4));
    const four = order.slice(0, 4).reduce((sum, i) => sum + probabilities[i], 0);
    expect(await drawn({ topP: four - 0.001 })).toEqual(likeliest(4));
    expect(await drawn({ topP: four + 0.001 })).toEqual(likeliest(5));
    // With both, topP is a share of what the topK likeliest have.
    const [two, three] = [2, 3].map((n) => order.slice(0, n).reduce((sum, i) => sum + probabilities[i], 0));
    expect(await drawn({ topK: 3, topP: two / three - 0.001 })).toEqual(likeliest(2));
    expect(await drawn({ topK: 3, topP: two / three + 0.001 })).toEqual(likeliest(3));
  });

  it('gives each row what it gets alone, and undefined once it has ended', async () => {
    const prompts = [prompt, [9, 9, 9, 9, 9], [0, 1, 2, 3, 4]];
    const alone = await Promise.all(prompts.map((row) => all(model.generate(row, { maxTokens: 12 }))));
    const together = await all(model.generate(prompts, { maxTokens: 12 }));
    expect(together).toEqual(Array.from({ length: 12 }, (_, i) => alone.map((row) => row[i])));

    const stop = alone[1][2];
    const end = (row: number[]) => {
      const at = row.indexOf(stop);
      return at < 0 ? row : row.slice(0, at + 1);
    };
    const stopped = await all(model.generate(prompts, { maxTokens: 12, stopTokens: [stop] }));
    const steps = Math.max(...alone.map((row) => end(row).length));
    expect(stopped).toEqual(Array.from({ length: steps }, (_, i) => alone.map((row) => end(row)[i])));
  });

  it('ends with the stop token', async () => {
    const tokens = await generated({ maxTokens: 20 });
    const stop = tokens[4];
    expect(await generated({ maxTokens: 20, stopTokens: [22, stop] })).toEqual(
      tokens.slice(0, tokens.findIndex((token) => token === stop || token === 22) + 1),
    );
  });

  it('reads a prompt longer than a piece', async () => {
    const long = Array.from({ length: 1100 }, (_, i) => (i * i) % vocabSize);
    const logits = logitsAfter(long);
    expect(await all(model.generate(long, { maxTokens: 1 }))).toEqual([logits.indexOf(Math.max(...logits))]);
  });

  it('stops when aborted: by the loop, by a timer, before it starts', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const seen: number[] = [];
    const run = async () => {
      for await (const token of model.generate(prompt, { signal })) {
        seen.push(token);
        if (seen.length === 3) controller.abort(new Error('enough'));
      }
    };
    await expect(run()).rejects.toThrow('enough');
    expect(seen).toHaveLength(3);
    await expect(generated({ signal })).rejects.toThrow('enough');
    await expect(generated({ maxTokens: 1e6, signal: AbortSignal.timeout(30) })).rejects.toThrow(/timeout/);
  });

  it('frees all it made, whether it ends, is left or fails', async () => {
    await generated({ maxTokens: 3, temperature: 1 });
    for await (const _ of model.generate(prompt)) break;
    await expect(generated({ signal: AbortSignal.abort() })).rejects.toThrow();
    model.generate(prompt); // never started
    expect(k.memory.tensors).toBe(held.tensors);
    expect(k.memory.usedBytes).toBe(held.usedBytes);
  });

  it('stays within learned positions', async () => {
    const bounded = createModel(k, {
      vocabSize,
      dModel: 8,
      nLayers: 1,
      mixer: { type: 'softmax-attention', nHeads: 2 },
      position: { type: 'learned', maxLength: 9 },
    });
    expect(await all(bounded.generate(prompt))).toHaveLength(5);
    expect(await all(bounded.generate(prompt, { maxTokens: 5 }))).toHaveLength(5);
    expect(() => bounded.generate(prompt, { maxTokens: 6 })).toThrow(
      'maxTokens must be at most 5 after 5 of 9 positions, got 6',
    );
    expect(() => bounded.generate(Array.from({ length: 10 }, () => 1))).toThrow(
      'prompt must be at most 9 tokens, as there are positions, got 10',
    );
    bounded.dispose();
  });

  it('refuses bad options at once, and names them', () => {
    const bad: [GenerateOptions, string][] = [
      [{ temperature: NaN }, 'temperature must be a finite number from 0 up, got NaN'],
      [{ temperature: -1 }, 'temperature must be a finite number from 0 up, got -1'],
      [{ temperature: Infinity }, 'temperature must be'],
      [{ topP: 0 }, 'topP must be a number above 0, up to 1, got 0'],
      [{ topP: 1.1 }, 'topP must be'],
      [{ topP: NaN }, 'topP must be'],
      [{ topK: 0 }, 'topK must be a whole number from 1 up, got 0'],
      [{ topK: 1.5 }, 'topK must be'],
      [{ maxTokens: -1 }, 'maxTokens must be'],
      [{ maxTokens: NaN }, 'maxTokens must be'],
      [{ seed: -1 }, 'seed must be'],
      [{ stopTokens: [1, 23] }, 'stopTokens[1] must be a token from 0 to 22, got 23'],
    ];
    for (const [options, message] of bad) {
      expect(() => model.generate(prompt, options), message).toThrow(ArgumentError);
      expect(() => model.generate(prompt, options)).toThrow(`generate: ${message}`);
    }
    expect(() => model.generate([])).toThrow(
      new ShapeError('generate: prompt must be one token or more, got none'),
    );
    expect(() => model.generate([[]])).toThrow(ShapeError);
    expect(() => model.generate([[1, 2], []])).toThrow('prompt[1] must be one token or more, got none');
    expect(() => model.generate([1, 23])).toThrow('prompt[1] must be a token from 0 to 22, got 23');
    expect(() => model.generate([[1], [NaN]])).toThrow('prompt[1][0] must be a token');
  });
});

it('goes on with rows of different lengths as with each alone', async () => {
  const rows = [[3, 1, 4], [1, 5, 9, 2, 6], [5], [3, 5, 8]];
  const options = { maxTokens: 8, temperature: 0.9, seed: 3, stopTokens: [7] };
  const together = await all(model.generate(rows, options));
  // Row 0 draws from the same stream as a row that is alone.
  expect(together.flatMap(([token]) => token ?? [])).toEqual(await all(model.generate(rows[0], options)));
  const likeliest = await all(model.generate(rows, { maxTokens: 8 }));
  for (const [b, row] of rows.entries()) {
    const alone = await all(model.generate(row, { maxTokens: 8 }));
    expect(likeliest.map((tokens) => tokens[b])).toEqual(alone);
  }
  expect(k.memory).toMatchObject({ tensors: held.tensors, usedBytes: held.usedBytes });
});

describe('logits', () => {
  const first = async (options: GenerateOptions) => (await generated({ ...options, maxTokens: 1 }))[0];
  /** The likeliest of changed logits. */
  const likeliestOf = (change: (logit: number, token: number) => number) => {
    const changed = Array.from(logitsAfter(prompt), change);
    return changed.indexOf(Math.max(...changed));
  };

  it('of tokens of the prompt are divided or multiplied by the repetition penalty', async () => {
    for (const penalty of [0.01, 1, 1.5, 100]) {
      const wanted = likeliestOf((logit, token) =>
        !prompt.includes(token) ? logit : logit > 0 ? logit / penalty : logit * penalty,
      );
      expect(await first({ repetitionPenalty: penalty })).toBe(wanted);
    }
    expect(await first({ repetitionPenalty: 0.01 })).not.toBe(await first({ repetitionPenalty: 100 }));
  });

  it('of generated tokens are lowered once by the presence and each time by the frequency penalty', async () => {
    const presencePenalty = 1e6; // no token comes twice
    const once = await generated({ maxTokens: vocabSize, presencePenalty });
    expect(new Set(once).size).toBe(vocabSize);
    const twice = await generated({ maxTokens: 2 * vocabSize, frequencyPenalty: 1e6 });
    expect(twice.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 2 * vocabSize }, (_, i) => i >> 1));
    expect(twice.slice(0, vocabSize)).toEqual(once);
  });

  it('are changed in place by processLogits, which sees the text so far', async () => {
    const seen: number[][] = [];
    const tokens = await generated({
      maxTokens: 3,
      processLogits(logits, text, row) {
        seen.push([row, ...text]);
        logits.fill(-Infinity, 0, 20 + seen.length - 1);
        logits.fill(-Infinity, 20 + seen.length);
      },
    });
    expect(tokens).toEqual([20, 21, 22]);
    expect(seen).toEqual([
      [0, ...prompt],
      [0, ...prompt, 20],
      [0, ...prompt, 20, 21],
    ]);
    await expect(first({ processLogits: (logits) => void logits.fill(-Infinity) })).rejects.toThrow(
      'there must be a token whose logit is not -Infinity',
    );
  });

  it('below a share of the likeliest are out with minP', async () => {
    const share = probabilitiesAfter(prompt, 3);
    const minP = 0.2;
    const wanted = share.flatMap((p, token) => (p >= minP * Math.max(...share) ? token : []));
    expect(wanted.length).toBeGreaterThan(1);
    expect(wanted.length).toBeLessThan(vocabSize);
    expect(await drawn({ minP })).toEqual(wanted);
    expect(await first({ minP: 1, seed: 9 })).toBe(await first({}));
  });

  it.each([
    ['minP', 1.5],
    ['repetitionPenalty', 0],
    ['presencePenalty', NaN],
    ['frequencyPenalty', 'x'],
    ['processLogits', 1],
  ])('are left alone where %s is %s', (name, value) => {
    expect(() => model.generate(prompt, { [name]: value })).toThrow(
      new RegExp(`^generate: ${name} must be `),
    );
  });
});
