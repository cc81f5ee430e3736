/**
 * In-context recall where keys and values are several tokens long.
 *
 *     tokens  a b | x y | c | z | a b | x y       (bars mark the motifs, they are no tokens)
 *     scored  . .   . .   .   .   . .   * *
 *
 * Keys and values are of different tokens, so a text parses in one way only.
 *
 * @see Poli et al. 2024, Mechanistic design, https://arxiv.org/abs/2403.17844
 */
import { type ContextProblem, scoreRecall } from './in-context-recall.js';
import { filled } from '../lists.js';
import { drawDistinct } from '../draws.js';
import { checkBoolean, checkChoice, checkInteger, takeOptions } from '../options.js';
import type { Random } from '@freelunch/random';
import { Task } from '../task.js';
import { Vocabulary } from '../vocabulary.js';

export interface FuzzyRecallOptions {
  /** Tokens in all: keys, values, padding and, with a single query, a copy prefix. */
  vocabSize: number;
  /** Length of the inputs; the text has one token more. */
  seqLen: number;
  /** Most tokens in a key. */
  keyMotif: number;
  /** Most tokens in a value. */
  valueMotif: number;
  /** Score every value whose key was shown before, not the last one alone. */
  multiQuery: boolean;
  /** `eval` scores values, and keys have their full length; `train` scores every next token. */
  score: 'eval' | 'train';
}

/** One run of key tokens or value tokens. */
interface Motif {
  isKey: boolean;
  start: number;
  end: number;
}

/** Distinct tokens of [first, end). */
function motif(rng: Random, first: number, end: number, longest: number, full: boolean): number[] {
  return drawDistinct(rng, first, end, full ? longest : 1 + rng.integer(longest));
}

/**
 * Pairs of motifs, padded on the left. The last key is one that was shown before.
 *
 * @throws TaskError if an option is out of range
 */
export function fuzzyRecall(given?: Partial<FuzzyRecallOptions>): Task<ContextProblem> {
  const where = 'fuzzyRecall';
  const options = takeOptions<FuzzyRecallOptions>(where, given, {
    vocabSize: 16,
    seqLen: 128,
    keyMotif: 3,
    valueMotif: 3,
    multiQuery: true,
    score: 'eval',
  });
  const { vocabSize, seqLen, keyMotif, valueMotif, multiQuery, score } = options;
  checkBoolean(where, 'multiQuery', multiQuery);
  checkChoice(where, 'score', score, ['eval', 'train']);
  const special = multiQuery ? 1 : 2;
  checkInteger(where, 'vocabSize', vocabSize, special + 2, 2 ** 20);
  const pad = vocabSize - special;
  const prefix = vocabSize - 1;
  const firstValue = Math.floor(pad / 2);
  checkInteger(where, 'keyMotif', keyMotif, 1, firstValue);
  checkInteger(where, 'valueMotif', valueMotif, 1, pad - firstValue);
  const longestPair = keyMotif + valueMotif;
  const shortest = 2 * longestPair + 1;
  checkInteger(where, 'seqLen', seqLen, shortest, 2 ** 26);
  const names = Array.from({ length: vocabSize }, (_, id) => {
    if (id < firstValue) return `k${id}`;
    if (id < pad) return `v${id - firstValue}`;
    return id === pad ? '_' : '>';
  });

  function motifs(tokens: readonly number[]): Motif[] {
    const found: Motif[] = [];
    let i = 0;
    while (i < tokens.length) {
      const start = i;
      if (tokens[i] >= pad) {
        i++;
        continue;
      }
      const isKey = tokens[i] < firstValue;
      while (i < tokens.length && tokens[i] < pad && tokens[i] < firstValue === isKey) i++;
      found.push({ isKey, start, end: i });
    }
    return found;
  }

  /** For each token of a value whose key was shown before: the same token of its first showing. */
  function sources({ tokens }: ContextProblem): number[] {
    const found = tokens.map(() => -1);
    const firstValueOf = new Map<string, number>();
    let key = '';
    for (const { isKey, start, end } of motifs(tokens)) {
      if (isKey) {
        key = tokens.slice(start, end).join();
        continue;
      }
      const first = firstValueOf.get(key);
      if (first === undefined) firstValueOf.set(key, start);
      else for (let i = start; i < end; i++) found[i] = first + i - start;
    }
    return found;
  }

  return new Task<ContextProblem>({
    name: 'fuzzy-recall',
    version: 1,
    options,
    summary: 'after a key of several tokens that was shown before, say its value',
    vocabulary: new Vocabulary(names, { pad: '_' }),
    draw(rng, length = seqLen) {
      checkInteger(where, 'seqLen', length, shortest);
      const values = new Map<string, number[]>();
      const drawPair = (): number[] => {
        const key = motif(rng, 0, firstValue, keyMotif, score === 'eval');
        const name = key.join();
        if (!values.has(name)) values.set(name, motif(rng, firstValue, pad, valueMotif, false));
        return [...key, ...values.get(name)!];
      };
      const probe = drawPair();
      const query = multiQuery ? probe : [prefix, ...probe];
      const enough = length - probe.length - longestPair;
      const probeFrom = rng.integer(enough);
      const pairs: number[][] = [];
      let shown = false;
      let textLength = 0;
      while (textLength < enough) {
        const isProbe: boolean = !shown && textLength >= probeFrom;
        const pair = isProbe ? probe : drawPair();
        shown ||= isProbe;
        pairs.push(pair);
        textLength += pair.length;
      }
      if (!shown) pairs[pairs.length - 1] = probe; // else the last query could not be answered
      const text = [...pairs.flat(), ...query];
      const padding = filled(length + 1 - text.length, pad);
      return { tokens: [...padding, ...text] };
    },
    write(problem) {
      const { tokens } = problem;
      const all = motifs(tokens);
      const { start, end } = all[all.length - 1];
      const repeats = multiQuery && score === 'eval' ? sources(problem) : undefined;
      return scoreRecall(tokens, end - start, (i) =>
        repeats ? repeats[i] >= 0 : score === 'train' && i > 0,
      );
    },
    sources,
  });
}
