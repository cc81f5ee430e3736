/**
 * Pairs of key and value, then one key: say its value.
 *
 *     tokens  2 8 0 7 3 8 => 0 7
 *     scored  . . . . . . .  . *
 *
 * @see Fu et al. 2022, H3, https://arxiv.org/abs/2212.14052
 */
import { arrowVocabulary } from './induction-heads.js';
import { checkBoolean, checkInteger, takeOptions } from '../options.js';
import { Task } from '../task.js';
import { continuation } from '../sample.js';

export interface AssociativeRecallOptions {
  /** Tokens in all: keys, values, `=>` and `.`. */
  vocabSize: number;
  /** Tokens before `=>`; pairs that fit in. */
  seqLen: number;
  /** Tokens in a key. */
  keyLength: number;
  /** The key may be one that was not shown; its value is then `.`. */
  allowUnseen: boolean;
}

export interface AssociativeRecallProblem {
  pairs: number[];
  key: number[];
}

/**
 * `seqLen` tokens of pairs; keys uniform, a key's value drawn once; then any of the keys that were shown.
 *
 * @throws TaskError if an option is out of range
 */
export function associativeRecall(given?: Partial<AssociativeRecallOptions>): Task<AssociativeRecallProblem> {
  const where = 'associativeRecall';
  const options = takeOptions<AssociativeRecallOptions>(where, given, {
    vocabSize: 20,
    seqLen: 20,
    keyLength: 1,
    allowUnseen: false,
  });
  const { vocabSize, seqLen, keyLength, allowUnseen } = options;
  checkInteger(where, 'vocabSize', vocabSize, 4, 2 ** 20);
  checkInteger(where, 'keyLength', keyLength, 1, 2 ** 20);
  checkInteger(where, 'seqLen', seqLen, keyLength + 1, 2 ** 26);
  checkBoolean(where, 'allowUnseen', allowUnseen);
  const vocabulary = arrowVocabulary(vocabSize);
  const arrow = vocabulary.id('=>');
  const unseen = vocabulary.id('.');
  const firstKey = unseen + 1;
  const nKeys = Math.floor((vocabSize - 2) / 2);
  const firstValue = firstKey + nKeys;
  const stride = keyLength + 1;

  /** Where the value of the key stands, -1 if the key was not shown. */
  function find({ pairs, key }: AssociativeRecallProblem): number {
    for (let i = 0; i < pairs.length; i += stride) {
      if (key.every((token, j) => token === pairs[i + j])) return i + keyLength;
    }
    return -1;
  }

  return new Task<AssociativeRecallProblem>({
    name: 'associative-recall',
    version: 1,
    options,
    summary: 'after =>, say the value of the key',
    vocabulary,
    draw(rng, length = seqLen) {
      checkInteger(where, 'seqLen', length, stride);
      const values = new Map<string, number>();
      const pairs: number[] = [];
      const drawKey = () => Array.from({ length: keyLength }, () => firstKey + rng.integer(nKeys));
      const count = Math.floor(length / stride);
      for (let i = 0; i < count; i++) {
        const key = drawKey();
        const name = key.join();
        let value = values.get(name);
        if (value === undefined) {
          value = firstValue + rng.integer(vocabSize - 2 - nKeys);
          values.set(name, value);
        }
        pairs.push(...key, value);
      }
      if (allowUnseen) return { pairs, key: drawKey() };
      const shown = [...values.keys()][rng.integer(values.size)]; // each as often, however often it was shown
      return { pairs, key: shown.split(',').map(Number) };
    },
    write(problem) {
      const at = find(problem);
      return continuation([...problem.pairs, arrow, ...problem.key], [at < 0 ? unseen : problem.pairs[at]]);
    },
    sources: (problem) => [...problem.pairs.map(() => -1), -1, ...problem.key.map(() => -1), find(problem)],
  });
}
