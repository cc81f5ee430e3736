/** What COPY on a text takes and gives: its configuration, and its rows. */
import { checkOptions } from '@freelunch/errors';
import { type CopyMixer, signCodebook } from '@freelunch/constructions';
import { random } from '@freelunch/random';
import { type TokenKind, tokenize, type TokenText } from '../files/tokens.js';
import { FORGETTING } from './forgetting.js';

export type CopyTextConfig = {
  /** Of the text, for reports. */
  name: string;
  /** `characters` or `bytes`. */
  kind: string;
  /** Tokens of the whole text. */
  textLength: number;
  /** Its different symbols in the order of their codes: characters, or for a byte the character of its value. */
  vocabulary: string;
  /** Its first tokens, spelt with these symbols. */
  text: string;
  /** Numbers of tokens to store, T, from the start of the text. */
  lengths: number[];
  /** Slots of the state to try, N: key widths, addresses and registers, of dValue floats each. */
  states: number[];
  /** Floats for the value of a token. */
  dValue: number;
  /** Times that random keys are drawn. */
  draws: number;
  seed: number;
};

/** One construction at one length and size. */
export type CopyTextRow = {
  mixer: CopyMixer;
  /** As the theory numbers it. */
  construction: string;
  /** Tokens, T. */
  length: number;
  /** Slots, N; null for softmax attention, whose cache holds whatever is stored. */
  state: number | null;
  draws: number;
  /** Share of tokens read back right, the mean over draws, */
  accuracy: number;
  /** the standard error of that mean, 0 where nothing is random, */
  standardError: number;
  /** and the same share by theory. */
  predicted: number;
  /** Floats kept between steps. */
  floats: number;
  /** Of storing and reading back all tokens. */
  flops: number;
  /** Least possible value of the greatest |k_i . k_j| of T keys in N dimensions, */
  welch: number | null;
  /** and its value for the first random keys drawn; null for other keys, and where it would take too long. */
  coherence: number | null;
  /** Bits in the tokens, if each were a free choice, */
  informationBits: number;
  /** and bits in the state. */
  stateBits: number | null;
  /** What the first draw read back: numbers of symbols, -1 for nothing. */
  remembered: number[];
};

export const DEFAULT_LENGTHS = [64, 256, 1024];
export const DEFAULT_STATES = [16, 64, 256, 1024];

/** The text that is taken if there is none. */
export const builtInText = (kind: TokenKind = 'characters'): TokenText =>
  tokenize('built-in text', new TextEncoder().encode(FORGETTING), kind);

/** A configuration for a text. @param options  the rest from the preset `full`, lengths as far as the text goes */
export function copyTextConfig(
  text: TokenText,
  options: Partial<Pick<CopyTextConfig, 'lengths' | 'states' | 'dValue' | 'draws' | 'seed'>> = {},
): CopyTextConfig {
  checkOptions('copyTextConfig', options, ['lengths', 'states', 'dValue', 'draws', 'seed']);
  const {
    lengths = [...new Set(DEFAULT_LENGTHS.map((length) => Math.min(length, text.tokens.length)))],
    states = DEFAULT_STATES,
    dValue = 16,
    draws = 16,
    seed = 1,
  } = options;
  return {
    name: text.name,
    kind: text.kind,
    textLength: text.tokens.length,
    vocabulary: spelt(text.vocabulary),
    text: spelt(
      Array.from(text.tokens.subarray(0, Math.max(0, ...lengths)), (symbol) => text.vocabulary[symbol]),
    ),
    lengths: [...lengths],
    states: [...states],
    dValue,
    draws,
    seed,
  };
}

const spelt = (codes: readonly number[]) => codes.map((code) => String.fromCodePoint(code)).join('');

/** Codes of the symbols of a text, one per token. */
export const codesOf = (text: string): number[] => Array.from(text, (symbol) => symbol.codePointAt(0)!);

/** Symbols' vectors, the first tokens as numbers of symbols, and the stream that keys are drawn from. */
export function materialsOf({ seed, vocabulary, dValue, text }: CopyTextConfig, length: number) {
  const rng = random(seed);
  const numbers = new Map(codesOf(vocabulary).map((code, i) => [code, i]));
  return {
    codebook: signCodebook(rng.split('codebook'), numbers.size, dValue),
    keyStream: rng.split('keys'),
    tokens: Int32Array.from(codesOf(text).slice(0, length), (code) => numbers.get(code)!),
  };
}
