/**
 * Copy after a delay, or skipping what is not to be copied: targets are due at the markers or blanks at the end.
 *
 *     delayed    tokens  3 1 2 _ _ _ _ # # #        selective  tokens  _ 3 _ 1 _ _ 2 # # #
 *                target  . . . . . . . 3 1 2                   target  . . . . . . . 3 1 2
 *
 * @see Gu & Dao 2023, Mamba, section 4.1, https://arxiv.org/abs/2312.00752
 * @see Poli et al. 2024, Mechanistic design, for the form with one copy token, https://arxiv.org/abs/2403.17844
 */
import { checkBoolean, checkInteger, checkSize, drawSize, type Size, takeOptions } from '../options.js';
import { chooseSorted } from '../draws.js';
import { filled } from '../lists.js';
import { Task } from '../task.js';
import { labelled } from '../sample.js';
import { numberTokens, Vocabulary } from '../vocabulary.js';

export interface DelayedCopyOptions {
  /** Tokens in all: a blank (0), data (1..alphabet-2) and a marker (alphabet-1). */
  alphabet: number;
  /** Number of blanks. */
  noise: number;
  /** Number of data tokens. */
  memorize: Size;
  /** The data are due backwards. */
  reverse: boolean;
}

export interface TextProblem {
  tokens: number[];
}

/** All data first, then blanks, then a marker for each token that is due. */
export function delayedCopy(given?: Partial<DelayedCopyOptions>): Task<TextProblem> {
  return markedCopy('delayedCopy', 'delayed-copy', 'repeat the data at the markers', given, false);
}

/** Data at random places among the blanks, then a marker for each token that is due. */
export function selectiveCopy(given?: Partial<DelayedCopyOptions>): Task<TextProblem> {
  return markedCopy(
    'selectiveCopy',
    'selective-copy',
    'repeat the data at the markers, skipping the blanks',
    given,
    true,
  );
}

function markedCopy(
  where: string,
  name: string,
  summary: string,
  given: Partial<DelayedCopyOptions> | undefined,
  selective: boolean,
): Task<TextProblem> {
  const options = takeOptions<DelayedCopyOptions>(where, given, {
    alphabet: 16,
    noise: 48,
    memorize: 16,
    reverse: false,
  });
  const { alphabet, noise, memorize, reverse } = options;
  checkInteger(where, 'alphabet', alphabet, 3, 2 ** 20);
  checkInteger(where, 'noise', noise, 0, 2 ** 24);
  checkSize(where, 'memorize', memorize, 1, 2 ** 24);
  checkBoolean(where, 'reverse', reverse);
  const marker = alphabet - 1;
  const vocabulary = new Vocabulary(['_', ...numberTokens(1, marker), '#'], { pad: '_' });
  const places = (tokens: readonly number[]) => {
    const data = tokens.flatMap((token, i) => (token > 0 && token < marker ? [i] : []));
    return reverse ? data.toReversed() : data;
  };
  return new Task<TextProblem>({
    name,
    version: 1,
    options,
    summary,
    vocabulary,
    alignment: 'same',
    draw(rng, size) {
      const count = size ?? drawSize(memorize, rng);
      const text = filled(noise + count, 0);
      const at = selective ? chooseSorted(rng, noise + count, count) : text.keys();
      for (const place of [...at].slice(0, count)) text[place] = 1 + rng.integer(alphabet - 2);
      return { tokens: [...text, ...filled(count, marker)] };
    },
    write({ tokens }) {
      const data = places(tokens);
      const first = tokens.length - data.length;
      return labelled(
        tokens,
        data.map((place, i) => [first + i, tokens[place]]),
      );
    },
    sources({ tokens }) {
      const data = places(tokens);
      const first = tokens.length - data.length;
      return tokens.map((_, i) => (i < first ? -1 : data[i - first]));
    },
  });
}

export interface MadSelectiveCopyOptions {
  /** Tokens in all: data (0..vocabSize-3), the blank and the copy token. */
  vocabSize: number;
  /** Length of the text: `2 count + 1` plus the blanks. */
  seqLen: number;
  /** Number of data tokens. */
  count: number;
  /** If false, the data come first and the blanks after them. */
  selective: boolean;
}

/**
 * Selective copying with one copy token: the data are due at the blanks after it. Each blank before it stands in front
 * of a data token chosen at random, so that the last data token always stands right before the copy token.
 */
export function madSelectiveCopy(given?: Partial<MadSelectiveCopyOptions>): Task<TextProblem> {
  const where = 'madSelectiveCopy';
  const options = takeOptions<MadSelectiveCopyOptions>(where, given, {
    vocabSize: 16,
    seqLen: 256,
    count: 16,
    selective: true,
  });
  const { vocabSize, seqLen, count, selective } = options;
  checkInteger(where, 'vocabSize', vocabSize, 3, 2 ** 20);
  checkInteger(where, 'count', count, 1, 2 ** 24);
  checkInteger(where, 'seqLen', seqLen, 2 * count + 1, 2 ** 24);
  checkBoolean(where, 'selective', selective);
  const [blank, copyToken] = [vocabSize - 2, vocabSize - 1];
  const vocabulary = new Vocabulary([...numberTokens(0, blank), '_', '#'], { pad: '_' });
  const places = (tokens: readonly number[]) =>
    tokens.slice(0, -count - 1).flatMap((token, i) => (token < blank ? [i] : []));
  return new Task<TextProblem>({
    name: 'mad-selective-copy',
    version: 1,
    options,
    summary: 'repeat the data after the copy token, skipping the blanks',
    vocabulary,
    alignment: 'same',
    draw(rng, size = seqLen) {
      checkInteger(where, 'seqLen', size, 2 * count + 1);
      const blanksBefore = filled(count + 1, 0);
      for (let i = 0; i < size - 2 * count - 1; i++) {
        blanksBefore[selective ? rng.integer(count) : count]++;
      }
      const tokens: number[] = [];
      for (let i = 0; i <= count; i++) {
        for (let j = 0; j < blanksBefore[i]; j++) tokens.push(blank);
        tokens.push(i < count ? rng.integer(blank) : copyToken);
      }
      for (let i = 0; i < count; i++) tokens.push(blank);
      return { tokens };
    },
    write({ tokens }) {
      const first = tokens.length - count;
      return labelled(
        tokens,
        places(tokens).map((place, i) => [first + i, tokens[place]]),
      );
    },
    sources({ tokens }) {
      const data = places(tokens);
      const first = tokens.length - count;
      return tokens.map((_, i) => (i < first ? -1 : data[i - first]));
    },
  });
}
