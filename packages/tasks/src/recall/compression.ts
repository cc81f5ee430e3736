/**
 * Compression: all tokens are to be recovered from the last position's vector. This needs an auto-encoder's head: a
 * causal model cannot know a token at the positions before it, and at its own it needs no memory.
 *
 *     tokens  3 0 7 C
 *     target  3 0 7 C
 *
 * @see Poli et al. 2024, Mechanistic design, https://arxiv.org/abs/2403.17844
 */
import { checkInteger, takeOptions } from '../options.js';
import { Task } from '../task.js';
import { labelled } from '../sample.js';
import { numberTokens, Vocabulary } from '../vocabulary.js';

export interface CompressionOptions {
  /** Tokens in all, the compression token among them. */
  vocabSize: number;
  seqLen: number;
}

export interface CompressionProblem {
  tokens: number[];
}

/** Uniform tokens, then the compression token. @throws TaskError if an option is out of range */
export function compression(given?: Partial<CompressionOptions>): Task<CompressionProblem> {
  const where = 'compression';
  const options = takeOptions<CompressionOptions>(where, given, { vocabSize: 16, seqLen: 32 });
  const { vocabSize, seqLen } = options;
  checkInteger(where, 'vocabSize', vocabSize, 2, 2 ** 20);
  checkInteger(where, 'seqLen', seqLen, 2, 2 ** 26);
  const last = vocabSize - 1;
  return new Task<CompressionProblem>({
    name: 'compression',
    version: 1,
    options,
    summary: "recover all tokens from the last one's vector",
    vocabulary: new Vocabulary([...numberTokens(0, last), 'C'], { pad: 'C' }),
    alignment: 'same',
    draw: (rng, length = seqLen) => ({
      tokens: [...Array.from({ length: length - 1 }, () => rng.integer(last)), last],
    }),
    write: ({ tokens }) =>
      labelled(
        tokens,
        tokens.map((token, i) => [i, token]),
      ),
    sources: ({ tokens }) => tokens.map((_, i) => i),
    // Seen from the last position, which alone may be used, the first token lies farthest.
    locality: (length = seqLen) => ({ mState: 0, mToken: 0, inputReach: length - 1 }),
  });
}
