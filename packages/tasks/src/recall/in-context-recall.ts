/**
 * In-context recall, plain and with noise between the pairs.
 *
 *     tokens  k1 v5 k2 v3 n7 n8 k1 v5 k2 v3
 *     scored  .  .  .  .  .  .  .  *  .  *
 *
 * @see Poli et al. 2024, Mechanistic design, https://arxiv.org/abs/2403.17844
 */
import { refuse } from '../errors.js';
import { checkBoolean, checkChoice, checkInteger, checkNumber, takeOptions } from '../options.js';
import { Task } from '../task.js';
import type { Written } from '../sample.js';
import { Vocabulary } from '../vocabulary.js';

export interface InContextRecallOptions {
  /** Tokens in all: keys, values, noise and, with a single query, a copy prefix. */
  vocabSize: number;
  /** Even. There are seqLen/2 - 1 slots for pairs, then the last key and its value. */
  seqLen: number;
  /** Score every value whose key was shown before, not the last one alone. */
  multiQuery: boolean;
  /** Tokens that are noise. */
  noiseVocabSize: number;
  /** Share of the slots that hold noise. */
  noise: number;
  /** `eval` scores values; `train` every next token. */
  score: 'eval' | 'train';
}

export interface ContextProblem {
  tokens: number[];
}

/**
 * Pairs of key and value, keys uniform, a key's value drawn once; the last key was shown before.
 *
 * @throws TaskError if an option is out of range
 */
export function inContextRecall(given?: Partial<InContextRecallOptions>): Task<ContextProblem> {
  return recall('inContextRecall', 'in-context-recall', given, {
    vocabSize: 16,
    seqLen: 128,
    multiQuery: true,
    noiseVocabSize: 0,
    noise: 0,
    score: 'eval',
  });
}

/** The same with noise tokens between the pairs. */
export function noisyRecall(given?: Partial<InContextRecallOptions>): Task<ContextProblem> {
  return recall('noisyRecall', 'noisy-recall', given, {
    vocabSize: 32,
    seqLen: 128,
    multiQuery: true,
    noiseVocabSize: 16,
    noise: 0.2,
    score: 'eval',
  });
}

/** Scores the last `answerLength` tokens, and what else `score` says. */
export function scoreRecall(
  tokens: readonly number[],
  answerLength: number,
  scored: (position: number) => boolean,
): Written {
  const promptLength = tokens.length - answerLength;
  return {
    tokens: tokens.slice(),
    lossMask: tokens.map((_, i) => i >= promptLength || scored(i)),
    prompt: tokens.slice(0, promptLength),
    answer: tokens.slice(promptLength),
  };
}

function recall(
  where: string,
  name: string,
  given: Partial<InContextRecallOptions> | undefined,
  defaults: InContextRecallOptions,
): Task<ContextProblem> {
  const options = takeOptions(where, given, defaults);
  const { vocabSize, seqLen, multiQuery, noiseVocabSize, noise, score } = options;
  checkInteger(where, 'seqLen', seqLen, 4, 2 ** 26);
  checkBoolean(where, 'multiQuery', multiQuery);
  checkInteger(where, 'noiseVocabSize', noiseVocabSize, 0, 2 ** 20);
  checkInteger(where, 'vocabSize', vocabSize, noiseVocabSize + (multiQuery ? 2 : 3), 2 ** 20);
  checkNumber(where, 'noise', noise, 0, 1);
  checkChoice(where, 'score', score, ['eval', 'train']);
  if (noise > 0 && noiseVocabSize === 0) refuse(where, 'noiseVocabSize', 'at least 1 with noise', 0);
  const checkLength = (length: number) => {
    if (length % 2 !== 0 || length < 4) refuse(where, 'seqLen', 'even and at least 4', length);
  };
  checkLength(seqLen);
  const firstNoise = vocabSize - noiseVocabSize - (multiQuery ? 0 : 1);
  const firstValue = Math.floor(firstNoise / 2);
  const prefix = vocabSize - 1;
  const names = Array.from({ length: vocabSize }, (_, id) => {
    if (id < firstValue) return `k${id}`;
    if (id < firstNoise) return `v${id - firstValue}`;
    return !multiQuery && id === prefix ? '>' : `n${id - firstNoise}`;
  });

  /** For each token: where the value that it repeats stood first, -1 if it repeats none. */
  function sources({ tokens }: ContextProblem): number[] {
    const placeOfValue = new Map<number, number>();
    return tokens.map((_, i) => {
      const key = i > 0 ? tokens[i - 1] : prefix;
      if (key >= firstValue) return -1;
      const place = placeOfValue.get(key);
      if (place === undefined) placeOfValue.set(key, i);
      return place ?? -1;
    });
  }

  return new Task<ContextProblem>({
    name,
    version: 1,
    options,
    summary: 'after a key that was shown before, say its value',
    // Nothing but the missing end of a row is padding, and rows are of one length: any token will do.
    vocabulary: new Vocabulary(names, { pad: names[vocabSize - 1] }),
    draw(rng, length = seqLen) {
      checkLength(length);
      const slots = length / 2 - 1;
      const neverNoise = rng.integer(slots);
      const values = new Map<number, number>();
      const tokens: number[] = [];
      for (let slot = 0; slot < slots; slot++) {
        if (noise > 0 && slot !== neverNoise && rng.float() < noise) {
          tokens.push(firstNoise + rng.integer(noiseVocabSize), firstNoise + rng.integer(noiseVocabSize));
          continue;
        }
        const key = rng.integer(firstValue);
        if (!values.has(key)) values.set(key, firstValue + rng.integer(firstNoise - firstValue));
        tokens.push(key, values.get(key)!);
      }
      if (!multiQuery) tokens.push(prefix);
      const [key, value] = [...values][rng.integer(values.size)];
      tokens.push(key, value);
      return { tokens };
    },
    write(problem) {
      const { tokens } = problem;
      const repeats = multiQuery && score === 'eval' ? sources(problem) : undefined;
      return scoreRecall(tokens, 1, (i) => (repeats ? repeats[i] >= 0 : score === 'train' && i > 0));
    },
    sources,
  });
}
