/**
 * Facts to be learnt by heart: a key has the same value in every sample. The value is due at the insert token.
 *
 *     tokens  k3 I  k1 I
 *     target  .  v7 .  v2
 *
 * @see Poli et al. 2024, Mechanistic design, https://arxiv.org/abs/2403.17844
 */
import { refuse } from '../errors.js';
import { drawDistinct } from '../draws.js';
import { checkInteger, takeOptions } from '../options.js';
import { random } from '@freelunch/random';
import { Task } from '../task.js';
import { labelled } from '../sample.js';
import { Vocabulary } from '../vocabulary.js';

export interface MemorizationOptions {
  /** Tokens in all: keys, values and the insert token. */
  vocabSize: number;
  /** Length of the text, even. */
  seqLen: number;
  /** Seed of the map from keys to values. */
  mapSeed: number;
  /** The map itself, key by key; by default drawn from `mapSeed`, no value twice. */
  map: number[] | null;
}

export interface MemorizationProblem {
  keys: number[];
}

/**
 * Keys uniform; the map from keys to values is the same in all samples, in training and test alike.
 *
 * @throws TaskError if an option is out of range
 */
export function memorization(given?: Partial<MemorizationOptions>): Task<MemorizationProblem> {
  const where = 'memorization';
  const options = takeOptions<MemorizationOptions>(where, given, {
    vocabSize: 256,
    seqLen: 32,
    mapSeed: 12345,
    map: null,
  });
  const { vocabSize, seqLen, mapSeed } = options;
  checkInteger(where, 'vocabSize', vocabSize, 3, 2 ** 20);
  checkInteger(where, 'seqLen', seqLen, 2, 2 ** 26);
  if (seqLen % 2 !== 0) refuse(where, 'seqLen', 'even', seqLen);
  checkInteger(where, 'mapSeed', mapSeed, 0, Number.MAX_SAFE_INTEGER);
  const nKeys = Math.floor((vocabSize - 1) / 2);
  const insert = vocabSize - 1;
  const map = options.map ?? drawDistinct(random(mapSeed).split('map'), nKeys, insert, nKeys);
  if (!Array.isArray(map) || map.length !== nKeys)
    refuse(where, 'map', `a value for each of ${nKeys} keys`, map);
  for (const value of map) checkInteger(where, 'map', value, nKeys, insert - 1);
  const names = Array.from({ length: vocabSize }, (_, id) => {
    if (id === insert) return 'I';
    return id < nKeys ? `k${id}` : `v${id - nKeys}`;
  });
  return new Task<MemorizationProblem>({
    name: 'memorization',
    version: 1,
    options,
    summary: 'say the value that the key has in every sample',
    vocabulary: new Vocabulary(names, { pad: 'I' }),
    alignment: 'same',
    draw(rng, length = seqLen) {
      if (length % 2 !== 0) refuse(where, 'seqLen', 'even', length);
      return { keys: Array.from({ length: length / 2 }, () => rng.integer(nKeys)) };
    },
    write: ({ keys }) =>
      labelled(
        keys.flatMap((key) => [key, insert]),
        keys.map((key, i) => [2 * i + 1, map[key]]),
      ),
    sources: ({ keys }) => keys.flatMap((_, i) => [-1, 2 * i]),
  });
}
