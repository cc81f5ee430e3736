/**
 * After the trigger, repeat what followed it the first time.
 *
 *     tokens  3 7 > 5 1 0 2 > 5
 *     scored  . . . . . . . . *
 *
 * @see Fu et al. 2022, H3, https://arxiv.org/abs/2212.14052
 */
import { checkChoice, checkInteger, takeOptions } from '../options.js';
import { Task } from '../task.js';
import { continuation } from '../sample.js';
import { numberTokens, Vocabulary } from '../vocabulary.js';

export interface InductionHeadsOptions {
  /** Tokens in all: numbers, `=>` and `.`. */
  vocabSize: number;
  /** Tokens before the last trigger. */
  seqLen: number;
  /** Tokens to repeat. */
  inductionLength: number;
  /** Most triggers in the text; half of the time there is but one. */
  triggers: number;
  /** Score the answer, or every next token. */
  score: 'answer' | 'all';
}

export interface InductionProblem {
  tokens: number[];
}

/** Numbers, `.` and `=>`; ids are places in the order of their texts. */
export function arrowVocabulary(vocabSize: number): Vocabulary {
  const tokens = [...numberTokens(0, vocabSize - 2), '.', '=>'];
  return new Vocabulary(tokens.sort(), { pad: '.' });
}

/**
 * Uniform tokens with one trigger or, half of the time, up to `triggers`, each followed by the same tokens; then the
 * trigger once more.
 *
 * @throws TaskError if an option is out of range
 */
export function inductionHeads(given?: Partial<InductionHeadsOptions>): Task<InductionProblem> {
  const where = 'inductionHeads';
  const options = takeOptions<InductionHeadsOptions>(where, given, {
    vocabSize: 20,
    seqLen: 30,
    inductionLength: 1,
    triggers: 1,
    score: 'answer',
  });
  const { vocabSize, seqLen, inductionLength, triggers, score } = options;
  checkInteger(where, 'vocabSize', vocabSize, 3, 2 ** 20);
  checkInteger(where, 'inductionLength', inductionLength, 1, 2 ** 20);
  checkInteger(where, 'seqLen', seqLen, inductionLength + 2, 2 ** 26);
  checkInteger(where, 'triggers', triggers, 1, seqLen);
  checkChoice(where, 'score', score, ['answer', 'all']);
  const vocabulary = arrowVocabulary(vocabSize);
  const trigger = vocabulary.id('=>');
  const firstNumber = vocabulary.id('0'); // after '.', before '=>'
  return new Task<InductionProblem>({
    name: 'induction-heads',
    version: 1,
    options,
    summary: 'after =>, repeat what followed it the first time',
    vocabulary,
    draw(rng, length = seqLen) {
      checkInteger(where, 'seqLen', length, inductionLength + 2);
      const tokens: number[] = [];
      for (let i = 0; i < length; i++) tokens.push(firstNumber + rng.integer(vocabSize - 2));
      const count = rng.integer(2) === 0 ? 1 : triggers;
      const starts: number[] = [];
      for (let i = 0; i < count; i++) starts.push(rng.integer(length - 1 - inductionLength));
      starts.sort((a, b) => a - b);
      let last = -Infinity;
      const kept = starts.filter((start) => {
        const keep = start - last > inductionLength;
        if (keep) last = start;
        return keep;
      });
      for (const start of kept) {
        tokens[start] = trigger;
        for (let i = 1; i <= inductionLength; i++) tokens[start + i] = tokens[kept[0] + i];
      }
      return { tokens };
    },
    write({ tokens }) {
      const first = tokens.indexOf(trigger) + 1;
      const written = continuation([...tokens, trigger], tokens.slice(first, first + inductionLength));
      if (score === 'all') written.lossMask = written.tokens.map((_, i) => i > 0);
      return written;
    },
    sources({ tokens }) {
      const first = tokens.indexOf(trigger) + 1;
      const answer = Array.from({ length: inductionLength }, (_, i) => first + i);
      return [...tokens.map(() => -1), -1, ...answer];
    },
  });
}
