/**
 * Look up what follows an n-gram in a string. With the key first, a model can wait for it with little state; with the
 * key last, it must have stored the string.
 *
 *     prefix  tokens  $ c d | a b c d e f | e f .       suffix  tokens  $ a b c d e f | c d e f .
 *             scored  . . . . . . . . . . . * * *               scored  . . . . . . . . . . * * *
 *
 * @see Jelassi et al. 2024, Repeat after me, https://arxiv.org/abs/2402.01032
 */
import { drawString, stringVocabulary } from './copy.js';
import { filled } from '../lists.js';
import { refuse, TaskError } from '../errors.js';
import {
  checkBoolean,
  checkChoice,
  checkInteger,
  checkSize,
  drawSize,
  type Size,
  sizeBounds,
  takeOptions,
} from '../options.js';
import { type Random, random } from '@freelunch/random';
import { Task } from '../task.js';
import { continuation } from '../sample.js';

export interface NgramLookupOptions {
  vocabSize: number;
  length: Size;
  /** Letters in the key. */
  n: number;
  /** Letters in the answer; 0: the rest of the string. */
  answerLength: number;
  /** Where the key stands. */
  key: 'prefix' | 'suffix';
  /** The key occurs once in the string. If false, as the published generator does: the first occurrence counts. */
  uniqueKey: boolean;
}

export interface NgramLookupProblem {
  string: number[];
  key: number[];
}

const FEASIBILITY_DRAWS = 200;
const DRAWS = 100000;

/**
 * Letters are uniform; the key is any n-gram that leaves room for its answer.
 *
 * @throws TaskError if an option is out of range, or keys that occur once are next to impossible
 */
export function ngramLookup(given?: Partial<NgramLookupOptions>): Task<NgramLookupProblem> {
  const where = 'ngramLookup';
  const options = takeOptions<NgramLookupOptions>(where, given, {
    vocabSize: 26,
    length: [20, 30],
    n: 2,
    answerLength: 0,
    key: 'prefix',
    uniqueKey: true,
  });
  const { vocabSize, length, n, answerLength, key, uniqueKey } = options;
  checkInteger(where, 'vocabSize', vocabSize, 1, 2 ** 20);
  checkInteger(where, 'n', n, 1);
  checkInteger(where, 'answerLength', answerLength, 0);
  checkChoice(where, 'key', key, ['prefix', 'suffix']);
  checkBoolean(where, 'uniqueKey', uniqueKey);
  checkSize(where, 'length', length, n + answerLength + 3);
  const vocabulary = stringVocabulary(vocabSize);
  const [start, separator, end] = ['$', '|', '.'].map((token) => vocabulary.id(token));

  /** A string with a key, or undefined if no n-gram of this string can be one. */
  function tryOnce(rng: Random, size: number): NgramLookupProblem | undefined {
    const string = drawString(rng, vocabSize, size);
    const candidates = size - n - answerLength - 1;
    const counts = new Map<string, number>();
    for (let at = 0; at + n <= size; at++) {
      if (!uniqueKey && at >= candidates) break; // the published rule counts among the candidates
      const text = string.slice(at, at + n).join();
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    const once = (at: number) => counts.get(string.slice(at, at + n).join()) === 1;
    let at: number;
    if (uniqueKey) {
      const unique: number[] = [];
      for (let i = 0; i < candidates - 1; i++) if (once(i)) unique.push(i);
      if (unique.length === 0) return undefined;
      at = unique[rng.integer(unique.length)];
    } else {
      if (![...counts.values()].includes(1)) return undefined;
      at = rng.integer(candidates - 1);
    }
    return { string, key: string.slice(at, at + n) };
  }

  for (const size of sizeBounds(length)) {
    const rng = random(0).split(where);
    let found = false;
    for (let i = 0; i < FEASIBILITY_DRAWS && !found; i++) found = tryOnce(rng, size) !== undefined;
    if (!found)
      refuse(where, 'n', `large enough for keys that occur once in ${size} of ${vocabSize} letters`, n);
  }

  return new Task<NgramLookupProblem>({
    name: 'ngram-lookup',
    version: 1,
    options,
    summary: 'write what follows the key in the string',
    vocabulary,
    draw(rng, wanted) {
      const size = wanted ?? drawSize(length, rng);
      checkInteger(where, 'length', size, n + answerLength + 3);
      for (let i = 0; i < DRAWS; i++) {
        const problem = tryOnce(rng, size);
        if (problem) return problem;
      }
      throw new TaskError(`${where}: no string of ${size} letters with a key in ${DRAWS} draws`);
    },
    write(problem) {
      const { string } = problem;
      const from = firstIndex(problem) + n;
      const answer = string.slice(from, answerLength > 0 ? from + answerLength : undefined);
      const prompt =
        key === 'prefix'
          ? [start, ...problem.key, separator, ...string, separator]
          : [start, ...string, separator, ...problem.key];
      return continuation(prompt, answer, end);
    },
    key: (problem) => `${problem.string.join()} ${problem.key.join()}`,
    sources(problem) {
      const { prompt, answer } = this.write(problem);
      const stringStart = key === 'prefix' ? n + 2 : 1;
      const first = stringStart + firstIndex(problem) + n;
      return [...prompt.map(() => -1), ...answer.map((_, i) => first + i), -1];
    },
  });

  function firstIndex(problem: NgramLookupProblem): number {
    for (let at = 0; at + n <= problem.string.length; at++) {
      if (problem.key.every((letter, i) => letter === problem.string[at + i])) return at;
    }
    return refuse(where, 'key', 'a part of the string', problem.key);
  }
}

export interface DuplicatedNgramsOptions {
  vocabSize: number;
  length: Size;
  /** Letters in the n-gram that is planted again. */
  n: number;
}

/**
 * String copy where one n-gram replaces all occurrences of another, so that looking for the last n letters does not
 * tell where to read on.
 */
export function duplicatedNgrams(given?: Partial<DuplicatedNgramsOptions>): Task<{ string: number[] }> {
  const where = 'duplicatedNgrams';
  const options = takeOptions<DuplicatedNgramsOptions>(where, given, {
    vocabSize: 26,
    length: [20, 30],
    n: 3,
  });
  const { vocabSize, length, n } = options;
  checkInteger(where, 'vocabSize', vocabSize, 1, 2 ** 20);
  checkInteger(where, 'n', n, 1);
  checkSize(where, 'length', length, n + 3);
  const vocabulary = stringVocabulary(vocabSize);
  const [start, separator, end] = ['$', '|', '.'].map((token) => vocabulary.id(token));
  return new Task<{ string: number[] }>({
    name: 'duplicated-ngrams',
    version: 1,
    options,
    summary: 'write the string again; one n-gram stands in it twice',
    vocabulary,
    draw(rng, wanted) {
      const size = wanted ?? drawSize(length, rng);
      checkInteger(where, 'length', size, n + 3);
      const string = drawString(rng, vocabSize, size);
      const candidates = size - n - 1;
      const source = rng.integer(candidates);
      let place = rng.integer(candidates - 1);
      if (place >= source) place++;
      return { string: replaceAll(string, string.slice(place, place + n), string.slice(source, source + n)) };
    },
    write: ({ string }) => continuation([start, ...string, separator], string, end),
    sources: ({ string }) => [...filled(string.length + 2, -1), ...string.map((_, i) => i + 1), -1],
  });
}

/** Every non-overlapping occurrence of `old`, left to right, becomes `replacement`, which is as long. */
export function replaceAll(string: number[], old: number[], replacement: number[]): number[] {
  const result: number[] = [];
  let at = 0;
  while (at < string.length) {
    if (old.every((letter, i) => letter === string[at + i])) {
      result.push(...replacement);
      at += old.length;
    } else {
      result.push(string[at++]);
    }
  }
  return result;
}
