/**
 * Parity and majority of bits, and the most frequent token: what a circuit of small depth can or cannot count.
 *
 *     parity  tokens  1 0 1 1 2      cumulative  tokens  1 0 1 1
 *             target  . . . . 1                  target  1 1 0 1
 *
 * @see Arora et al. 2023, Zoology (the same tasks in its repository), https://arxiv.org/abs/2312.04927
 */
import { checkBoolean, checkChoice, checkInteger, takeOptions } from '../options.js';
import { filled } from '../lists.js';
import { refuse } from '../errors.js';
import { Task } from '../task.js';
import { labelled } from '../sample.js';
import { numberTokens, Vocabulary } from '../vocabulary.js';

export interface CircuitOptions {
  /** `majority` is 1 if ones are more than half. `vocabulary-majority`: which token is the most frequent. */
  kind: 'parity' | 'majority' | 'vocabulary-majority';
  /** The answer is due at every bit, for the bits so far; a majority is then 1 on a tie as well. */
  cumulative: boolean;
  /** Length of the text, with the query token at its end unless cumulative. */
  seqLen: number;
  /** `vocabulary-majority`: tokens in all, the query token 0 among them. Else 3: two bits and the query token. */
  vocabSize: number;
}

export interface CircuitProblem {
  symbols: number[];
}

/**
 * Fair bits, or uniform tokens; where two tokens are the most frequent, one of a rival is rewritten.
 *
 * @throws TaskError if an option is out of range
 */
export function circuit(given?: Partial<CircuitOptions>): Task<CircuitProblem> {
  const where = 'circuit';
  const options = takeOptions<CircuitOptions>(where, given, {
    kind: 'parity',
    cumulative: false,
    seqLen: 16,
    vocabSize: given?.kind === 'vocabulary-majority' ? 6 : 3,
  });
  const { kind, cumulative, seqLen, vocabSize } = options;
  checkChoice(where, 'kind', kind, ['parity', 'majority', 'vocabulary-majority']);
  checkBoolean(where, 'cumulative', cumulative);
  const vocabularyMajority = kind === 'vocabulary-majority';
  if (vocabularyMajority && cumulative) refuse(where, 'cumulative', 'false for vocabulary-majority', true);
  checkInteger(where, 'seqLen', seqLen, cumulative ? 1 : 2, 2 ** 26);
  checkInteger(where, 'vocabSize', vocabSize, 3, vocabularyMajority ? 2 ** 20 : 3);
  const query = vocabularyMajority ? 0 : 2;
  return new Task<CircuitProblem>({
    name: 'circuit',
    version: 1,
    options,
    summary: cumulative ? `${kind} of the bits so far` : kind.replace('-', ' '),
    vocabulary: new Vocabulary(numberTokens(0, vocabSize), { pad: String(query) }),
    alignment: 'same',
    draw(rng, length = seqLen) {
      checkInteger(where, 'seqLen', length, cumulative ? 1 : 2);
      const count = cumulative ? length : length - 1;
      if (!vocabularyMajority) return { symbols: Array.from({ length: count }, () => rng.integer(2)) };
      const symbols = Array.from({ length: count }, () => 1 + rng.integer(vocabSize - 1));
      const tied = mostFrequent(symbols, vocabSize);
      const top = tied[rng.integer(tied.length)];
      for (const rival of tied) if (rival !== top) symbols[symbols.indexOf(rival)] = top;
      return { symbols };
    },
    write({ symbols }) {
      if (vocabularyMajority) {
        return labelled([...symbols, query], [[symbols.length, mostFrequent(symbols, vocabSize)[0]]]);
      }
      let ones = 0;
      const running = symbols.map((bit, i): [number, number] => {
        ones += bit;
        return [i, kind === 'parity' ? ones % 2 : Number(2 * ones >= i + 1)];
      });
      if (cumulative) return labelled(symbols, running);
      const answer = kind === 'parity' ? ones % 2 : Number(2 * ones > symbols.length);
      return labelled([...symbols, query], [[symbols.length, answer]]);
    },
    sources: ({ symbols }) => [...symbols.map(() => (cumulative ? 0 : -1)), ...(cumulative ? [] : [0])],
  });
}

/** The tokens with the highest count. */
function mostFrequent(symbols: readonly number[], vocabSize: number): number[] {
  const counts = filled(vocabSize, 0);
  for (const symbol of symbols) counts[symbol]++;
  const most = counts.reduce((best, count) => Math.max(best, count), 0);
  return counts.flatMap((count, symbol) => (count === most ? [symbol] : []));
}
