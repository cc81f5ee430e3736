/**
 * String copy and reverse copy: the bare COPY operation, its source found by counting.
 *
 *     tokens  $ a b c | a b c .        $ a b c | c b a .
 *     scored  . . . . . * * * *        . . . . . * * * *
 *
 * @see Jelassi et al. 2024, Repeat after me, https://arxiv.org/abs/2402.01032
 */
import { checkInteger, checkSize, drawSize, type Size, takeOptions } from '../options.js';
import { filled } from '../lists.js';
import type { Random } from '@freelunch/random';
import { Task } from '../task.js';
import { continuation } from '../sample.js';
import { letterTokens, Vocabulary } from '../vocabulary.js';

export interface CopyOptions {
  /** Number of letters. */
  vocabSize: number;
  /** Letters in the string. */
  length: Size;
  /** How many letters are copied; 0: all. */
  answerLength: number;
}

export interface CopyProblem {
  string: number[];
}

/** The vocabulary of the string tasks: the letters, then `$` (start), `|`, `.` (end) and `*` (padding). */
export function stringVocabulary(vocabSize: number): Vocabulary {
  const joiner = vocabSize <= 26 ? '' : ' ';
  return new Vocabulary([...letterTokens(vocabSize), '$', '|', '.', '*'], { pad: '*', end: '.', joiner });
}

export function drawString(rng: Random, vocabSize: number, length: number): number[] {
  const string: number[] = [];
  for (let i = 0; i < length; i++) string.push(rng.integer(vocabSize));
  return string;
}

/** Copy the string, or its first `answerLength` letters. Letters are uniform, lengths as `length` says. */
export function copy(given?: Partial<CopyOptions>): Task<CopyProblem> {
  const options = takeOptions<CopyOptions>('copy', given, {
    vocabSize: 26,
    length: [5, 20],
    answerLength: 0,
  });
  checkInteger('copy', 'answerLength', options.answerLength, 0);
  return stringCopy('copy', 'copy', 'write the string again', options, (string) =>
    options.answerLength > 0 ? string.slice(0, options.answerLength) : string,
  );
}

/** Copy the string from its last letter to its first: near sources first, far ones last. */
export function reverseCopy(given?: Partial<Omit<CopyOptions, 'answerLength'>>): Task<CopyProblem> {
  const options = takeOptions('reverseCopy', given, { vocabSize: 26, length: [5, 20] as Size });
  return stringCopy('reverseCopy', 'reverse-copy', 'write the string backwards', options, (string) =>
    string.toReversed(),
  );
}

function stringCopy(
  where: string,
  name: string,
  summary: string,
  options: { vocabSize: number; length: Size },
  answerOf: (string: number[]) => number[],
): Task<CopyProblem> {
  const { vocabSize, length } = options;
  checkInteger(where, 'vocabSize', vocabSize, 1, 2 ** 20);
  checkSize(where, 'length', length, 1);
  const vocabulary = stringVocabulary(vocabSize);
  const [start, separator, end] = ['$', '|', '.'].map((token) => vocabulary.id(token));
  return new Task<CopyProblem>({
    name,
    version: 1,
    options,
    summary,
    vocabulary,
    draw: (rng, size) => ({ string: drawString(rng, vocabSize, size ?? drawSize(length, rng)) }),
    write: ({ string }) => continuation([start, ...string, separator], answerOf(string), end),
    sources({ string }) {
      const places = answerOf(string.map((_, i) => i + 1));
      return [...filled(string.length + 2, -1), ...places, -1];
    },
  });
}
