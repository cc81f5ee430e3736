/**
 * Multi-query associative recall: pairs of key and value, then each key again somewhere; its value is due at it.
 *
 *     tokens  k1 v5 k2 v3 k2 .  .  .  k1 .
 *     target  .  .  .  .  v3 .  .  .  v5 .
 *
 * The distance from the pairs to the query follows a power law: slot g (0 first) has weight (g+1)^(power-1).
 *
 * @see Arora et al. 2023, Zoology, https://arxiv.org/abs/2312.04927
 */
import { refuse } from '../errors.js';
import { drawDistinct } from '../draws.js';
import { filled } from '../lists.js';
import { checkBoolean, checkInteger, checkNumber, takeOptions } from '../options.js';
import type { Random } from '@freelunch/random';
import { power } from '@freelunch/random';
import { Task } from '../task.js';
import { labelled } from '../sample.js';
import { Vocabulary } from '../vocabulary.js';

export interface MqarOptions {
  /** Tokens in all: 0 is filler, then keys, then, from vocabSize/2, values. */
  vocabSize: number;
  /** Length of the text, even. */
  seqLen: number;
  /** Number of key-value pairs. */
  pairs: number;
  /** Exponent of the gaps: near 0 most queries come early, 1 spreads them evenly. */
  power: number;
  /** Random tokens instead of filler 0. */
  randomFiller: boolean;
  /** Random filler may equal a live key, as the published generator lets it: a query that nobody scores. */
  lookAlikes: boolean;
}

/** The text and the places where a value is due. */
export interface RecallProblem {
  tokens: number[];
  queries: number[];
}

const MAX_TRIES = 50; // for each slot

/** Draws slots, never the same twice, with weight (g+1)^(power-1). */
class PowerLawSlots {
  readonly #weights: number[] = [];
  readonly #cumulative: number[] = [];

  constructor(count: number, exponent: number) {
    let total = 0;
    for (let g = 0; g < count; g++) {
      const weight = power(g + 1, exponent - 1);
      this.#weights.push(weight);
      this.#cumulative.push((total += weight));
    }
  }

  /** Drawing again where a slot is taken leaves the law of drawing without replacement; if it is no use, go through. */
  draw(rng: Random, count: number): number[] {
    const cumulative = this.#cumulative;
    const taken = new Set<number>();
    for (let tries = 0; taken.size < count && tries < MAX_TRIES * count; tries++) {
      const x = rng.float() * cumulative[cumulative.length - 1];
      let low = 0;
      let high = cumulative.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (cumulative[middle] > x) high = middle;
        else low = middle + 1;
      }
      taken.add(low);
    }
    while (taken.size < count) taken.add(this.#drawFree(rng, taken));
    return [...taken];
  }

  #drawFree(rng: Random, taken: ReadonlySet<number>): number {
    const free = this.#weights.flatMap((weight, g) => (taken.has(g) ? [] : [{ weight, g }]));
    let rest = rng.float() * free.reduce((sum, { weight }) => sum + weight, 0);
    const found = free.find(({ weight }) => (rest -= weight) < 0);
    return (found ?? free[free.length - 1]).g;
  }
}

/** Filler tokens never have the number of a live key unless `lookAlikes`. */
function fill(rng: Random, tokens: number[], vocabSize: number, live: Set<number> | undefined): void {
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i] >= 0) continue;
    do tokens[i] = rng.integer(vocabSize);
    while (live?.has(tokens[i]));
  }
}

const FILLER = -1;

function fillers(rng: Random, tokens: number[], options: MqarOptions, live: readonly number[]): void {
  if (options.randomFiller)
    fill(rng, tokens, options.vocabSize, options.lookAlikes ? undefined : new Set(live));
  else for (let i = 0; i < tokens.length; i++) if (tokens[i] === FILLER) tokens[i] = 0;
}

function recallVocabulary(names: readonly [string, number][]): Vocabulary {
  const tokens = ['.'];
  for (const [letter, end] of names) {
    for (let first = tokens.length, id = first; id < end; id++) tokens.push(`${letter}${id - first + 1}`);
  }
  return new Vocabulary(tokens, { pad: '.' });
}

function checkRecall(where: string, options: MqarOptions): void {
  checkInteger(where, 'vocabSize', options.vocabSize, 4, 2 ** 20);
  checkInteger(where, 'seqLen', options.seqLen, 2, 2 ** 26);
  checkInteger(where, 'pairs', options.pairs, 1, 2 ** 24);
  checkNumber(where, 'power', options.power, -4, 4);
  checkBoolean(where, 'randomFiller', options.randomFiller);
  checkBoolean(where, 'lookAlikes', options.lookAlikes);
}

const defaults: MqarOptions = {
  vocabSize: 8192,
  seqLen: 64,
  pairs: 4,
  power: 0.01,
  randomFiller: false,
  lookAlikes: false,
};

/** @param find the place of the value that is due at a query */
function recallTask(definition: {
  name: string;
  options: object;
  summary: string;
  vocabulary: Vocabulary;
  draw(rng: Random, size?: number): RecallProblem;
  find(tokens: readonly number[], query: number): number;
}): Task<RecallProblem> {
  const { find, ...rest } = definition;
  return new Task<RecallProblem>({
    ...rest,
    version: 1,
    alignment: 'same',
    write({ tokens, queries }) {
      return labelled(
        tokens,
        queries.map((query) => [query, tokens[find(tokens, query)]]),
      );
    },
    sources({ tokens, queries }) {
      const sources = tokens.map(() => -1);
      for (const query of queries) sources[query] = find(tokens, query);
      return sources;
    },
  });
}

/**
 * @throws TaskError unless seqLen is even, at least 4 pairs, and keys and values suffice
 */
export function mqar(given?: Partial<MqarOptions>): Task<RecallProblem> {
  return pairRecall('mqar', 'mqar', given, 0);
}

export interface MqarForgettingOptions extends MqarOptions {
  /** How many of the keys are given again with another value, which then counts. */
  updates: number;
}

/** Some keys come twice before the queries: the last value counts, the first is to be forgotten. */
export function mqarForgetting(given?: Partial<MqarForgettingOptions>): Task<RecallProblem> {
  const { updates = 2, ...rest } = given ?? {};
  return pairRecall('mqarForgetting', 'mqar-forgetting', rest, updates);
}

function pairRecall(
  where: string,
  name: string,
  given: Partial<MqarOptions> | undefined,
  updates: number,
): Task<RecallProblem> {
  const options = takeOptions<MqarOptions>(where, given, defaults);
  checkRecall(where, options);
  const { vocabSize, seqLen, pairs } = options;
  const firstValue = Math.floor(vocabSize / 2);
  checkInteger(where, 'pairs', pairs, 1, Math.min(firstValue - 1, vocabSize - firstValue));
  const forgetting = name === 'mqar-forgetting';
  if (forgetting) {
    checkInteger(where, 'updates', updates, 0, pairs);
    if (vocabSize - firstValue < 2 && updates > 0)
      refuse(where, 'vocabSize', 'large enough for two values', vocabSize);
  }
  const context = 2 * (pairs + updates);
  const checkLength = (length: number) => {
    const needed = context + 2 * pairs;
    if (length % 2 !== 0 || length < needed) {
      refuse(where, 'seqLen', `even and at least ${needed} for ${pairs} pairs`, length);
    }
  };
  checkLength(seqLen);
  let slots = new PowerLawSlots((seqLen - context) / 2, options.power);
  let slotsLength = seqLen;
  return recallTask({
    name,
    options: forgetting ? { ...options, updates } : options,
    summary: 'at a key that comes again, say its value',
    vocabulary: recallVocabulary([
      ['k', firstValue],
      ['v', vocabSize],
    ]),
    draw(rng, length = seqLen) {
      if (length !== slotsLength) {
        checkLength(length);
        slots = new PowerLawSlots((length - context) / 2, options.power);
        slotsLength = length;
      }
      const keys = drawDistinct(rng, 1, firstValue, pairs);
      const values = drawDistinct(rng, firstValue, vocabSize, pairs);
      const tokens = filled(length, FILLER);
      let at = 0;
      for (let i = 0; i < pairs; i++) {
        tokens[at++] = keys[i];
        tokens[at++] = values[i];
      }
      if (updates > 0) {
        for (const i of drawDistinct(rng, 0, pairs, updates)) {
          const other = firstValue + rng.integer(vocabSize - firstValue - 1);
          values[i] = other >= values[i] ? other + 1 : other;
          tokens[at++] = keys[i];
          tokens[at++] = values[i];
        }
      }
      const queries = slots.draw(rng, pairs).map((slot) => context + 2 * slot);
      queries.forEach((query, i) => (tokens[query] = keys[i]));
      fillers(rng, tokens, options, keys);
      return { tokens, queries: queries.sort((a, b) => a - b) };
    },
    find(tokens, query) {
      for (let i = context - 2; i >= 0; i -= 2) if (tokens[i] === tokens[query]) return i + 1;
      return refuse(where, 'queries', 'places of keys that have a value', query);
    },
  });
}

/**
 * The pairs lie on a grid: every first key with every second key has a value, so neither key alone tells it.
 *
 *     tokens  a1 b1 v5 a2 b1 v3 a1 b2 v9 a2 b2 v7 .  a1 b2 .
 *     target  .  .  .  .  .  .  .  .  .  .  .  .  .  .  v9 .
 */
export function mqarCompositional(given?: Partial<MqarOptions>): Task<RecallProblem> {
  const where = 'mqarCompositional';
  const options = takeOptions<MqarOptions>(where, given, { ...defaults, seqLen: 60 });
  checkRecall(where, options);
  const { vocabSize, seqLen, pairs } = options;
  const third = Math.floor(vocabSize / 3);
  const grid = Math.round(Math.sqrt(pairs));
  if (grid * grid !== pairs) refuse(where, 'pairs', 'a square number', pairs);
  if (grid > third - 1) refuse(where, 'pairs', `at most ${(third - 1) ** 2} for this vocabulary`, pairs);
  if (pairs > vocabSize - 2 * third)
    refuse(where, 'pairs', `at most the ${vocabSize - 2 * third} values`, pairs);
  const context = 3 * pairs;
  const checkLength = (length: number) => {
    if (length < 2 * context) refuse(where, 'seqLen', `at least ${2 * context} for ${pairs} pairs`, length);
  };
  checkLength(seqLen);
  let slots = new PowerLawSlots(Math.floor((seqLen - context) / 3), options.power);
  let slotsLength = seqLen;
  return recallTask({
    name: 'mqar-compositional',
    options,
    summary: 'at the second key of a pair that comes again, say its value',
    vocabulary: recallVocabulary([
      ['a', third],
      ['b', 2 * third],
      ['v', vocabSize],
    ]),
    draw(rng, length = seqLen) {
      if (length !== slotsLength) {
        checkLength(length);
        slots = new PowerLawSlots(Math.floor((length - context) / 3), options.power);
        slotsLength = length;
      }
      const firstKeys = drawDistinct(rng, 1, third, grid);
      const secondKeys = drawDistinct(rng, third, 2 * third, grid);
      const values = drawDistinct(rng, 2 * third, vocabSize, pairs);
      const tokens = filled(length, FILLER);
      const order = rng.shuffle(Array.from({ length: pairs }, (_, i) => i));
      order.forEach((pair, i) => {
        tokens[3 * i] = firstKeys[pair % grid];
        tokens[3 * i + 1] = secondKeys[Math.floor(pair / grid)];
        tokens[3 * i + 2] = values[i];
      });
      const queries = slots.draw(rng, pairs).map((slot) => context + 3 * slot + 1);
      queries.forEach((query, i) => {
        tokens[query - 1] = tokens[3 * i];
        tokens[query] = tokens[3 * i + 1];
      });
      fillers(rng, tokens, options, [...firstKeys, ...secondKeys]);
      return { tokens, queries: queries.sort((a, b) => a - b) };
    },
    find(tokens, query) {
      for (let i = 0; i < context; i += 3) {
        if (tokens[i] === tokens[query - 1] && tokens[i + 1] === tokens[query]) return i + 2;
      }
      return refuse(where, 'queries', 'places of second keys whose pair has a value', query);
    },
  });
}
