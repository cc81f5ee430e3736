import { ArgumentError, loadKernels, ShapeError } from '@freelunch/kernels';
import { describe, expect, it } from 'vitest';
import {
  byteTokens,
  characterTokens,
  createModel,
  generateText,
  splitTokens,
  textBatches,
  train,
} from '../index.js';

const k = await loadKernels({ variant: 'simd' });
const hears = 'Die Bären äßen grüne Äpfel – 熊は🍏を食べた. ';

describe('byteTokens and characterTokens', () => {
  it('give back the text', () => {
    const letters = characterTokens(hears);
    expect(byteTokens.decode(byteTokens.encode(hears))).toBe(hears);
    expect(byteTokens.encode('é')).toEqual([0xc3, 0xa9]);
    expect(letters.decode(letters.encode(hears))).toBe(hears);
    expect(letters.size).toBe(new Set(hears).size);
    expect(letters.characters.join('')).toBe([...new Set(hears)].sort().join(''));
  });

  it('refuse what they have no token for', () => {
    expect(() => characterTokens('')).toThrow(ArgumentError);
    expect(() => characterTokens('ab').encode('abc')).toThrow("got 'c'");
    expect(() => characterTokens('ab').decode([2])).toThrow('from 0 to 1, got 2');
    expect(() => byteTokens.decode([256])).toThrow(ArgumentError);
  });
});

describe('textBatches', () => {
  const tokens = Int32Array.from({ length: 53 }, (_, i) => i);
  const options = { batchSize: 2, seqLen: 5, seed: 4 };
  const take = (count: number, more = {}) => {
    const batches = textBatches(tokens, { ...options, ...more });
    return Array.from({ length: count }, () => batches.next().value);
  };

  it('have each window once per pass, with the next tokens as targets', () => {
    for (const pass of [take(5), take(10).slice(5)]) {
      const starts = pass.flatMap(({ inputs }) => [inputs[0], inputs[5]]).sort((a, b) => a - b);
      expect(starts.map((start) => start - starts[0])).toEqual(Array.from({ length: 10 }, (_, i) => 5 * i));
      for (const { inputs, targets } of pass) expect(targets).toEqual(inputs.map((id) => id + 1));
    }
    expect(take(5)).not.toEqual(take(10).slice(5));
    expect(take(5)).not.toEqual(take(5, { seed: 5 }));
  });

  it('go on from a state as they would have gone on', () => {
    const batches = textBatches(tokens, options);
    for (let i = 0; i < 7; i++) batches.next();
    expect(take(3, { state: batches.state })).toEqual(take(10).slice(7));
  });

  it('refuse a text that is too short, ids that are none, and parts that would be empty', () => {
    expect(() => textBatches(tokens.slice(0, 10), options)).toThrow(
      new ShapeError('textBatches: tokens must be at least batchSize seqLen + 1 = 11, got 10'),
    );
    expect(() => textBatches([0.5], options)).toThrow('got 0.5 at 0');
    expect(() => textBatches(tokens, { ...options, seqlen: 3 } as never)).toThrow("did you mean 'seqLen'");
    expect(() => splitTokens([1], {})).toThrow(ShapeError);
    expect(() => splitTokens(tokens, { validation: 1 })).toThrow(ArgumentError);
    const { train: first, validation } = splitTokens(tokens, { validation: 0.25 });
    expect([...first, ...validation]).toEqual([...tokens]);
    expect(validation.length).toBe(13);
  });
});

describe('generateText', () => {
  const model = createModel(k, { vocabSize: 256, dModel: 16, nLayers: 1, mixer: { type: 'mamba' }, seed: 3 });
  /** A model that has learned nothing but says, by its logits, what comes next in a text. */
  const saying = (text: string, prompt: string) => {
    const due = byteTokens.encode(text);
    const length = byteTokens.encode(prompt).length;
    return (logits: Float32Array, tokens: readonly number[]) =>
      void (logits[due[tokens.length - length]] = 1e9);
  };
  const pieces = async (text: string, more = {}) => {
    const found: string[] = [];
    const options = { maxTokens: byteTokens.encode(text).length, processLogits: saying(text, '>'), ...more };
    for await (const piece of generateText(model, byteTokens, '>', options)) found.push(piece);
    return found;
  };

  it('never gives out a part of a character', async () => {
    const found = await pieces(hears);
    expect(found.join('')).toBe(hears);
    expect(found).toEqual([...hears]);
    expect(found.join('')).not.toContain('\ufffd');
  });

  it('ends before a stop, and holds back what may become one', async () => {
    expect((await pieces('one, two, three', { stop: ['two', ', th'] })).join('')).toBe('one, ');
    expect((await pieces('one, tw', { stop: ['two'] })).join('')).toBe('one, tw');
    expect((await pieces('one.two', { stopTokens: [46] })).join('')).toBe('one');
  });

  it('refuses what is no tokenizer, no stop and no option', () => {
    expect(() => generateText(model, {} as never, 'x')).toThrow('tokenizer must have encode and decode');
    expect(() => generateText(model, byteTokens, 'x', { stop: [''] })).toThrow(/stop must be/);
    expect(() => generateText(model, byteTokens, 'x', { stops: ['a'] } as never)).toThrow(
      "did you mean 'stop'",
    );
    expect(() => generateText(model, byteTokens, '')).toThrow(ShapeError);
  });

  it('says what a model learned from batches of the text', async () => {
    const text = 'the cat sat on the mat. '.repeat(40);
    const letters = characterTokens(text);
    using small = createModel(k, {
      vocabSize: letters.size,
      dModel: 24,
      nLayers: 1,
      mixer: { type: 'mamba' },
    });
    const batches = textBatches(letters.encode(text), { batchSize: 4, seqLen: 24 });

    let last = Infinity;
    for await (const { loss } of train(small, batches, { steps: 60, learningRate: 0.02 })) last = loss;
    expect(last).toBeLessThan(0.3);
    let written = '';
    for await (const piece of generateText(small, letters, 'the cat sat on', { maxTokens: 10 }))
      written += piece;
    expect(written).toBe(' the mat. ');
  });
});
