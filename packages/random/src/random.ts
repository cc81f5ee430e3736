/**
 * The one source of randomness: Philox4x32-10, a counter-based generator. Each block of four words is a function of
 * a 64-bit key and a 128-bit counter, so the position in a stream is a number, streams can be split by name, and
 * every runtime gives the same bits: nothing here calls Math.log, cos or pow, which differ between engines.
 *
 * @see Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3, https://doi.org/10.1145/2063384.2063405
 */

import { ArgumentError, show } from '@freelunch/errors';
import { ln } from './real.js';

/** Where a generator stands; plain numbers, fit for JSON. */
export interface RandomState {
  key: [number, number];
  /** The next block's number, low word first. */
  counter: [number, number, number, number];
  /** Words of the block before it that were already given out, 0..4. */
  used: number;
}

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

/** The upper 32 bits of the 64-bit product of two 32-bit words. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16);
  const cross = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(cross / 65536)) >>> 0;
}

/** One block: four words from a counter and a key, written into `out`. */
export function philox(out: Uint32Array, counter: ArrayLike<number>, key: ArrayLike<number>): void {
  let c0 = counter[0];
  let c1 = counter[1];
  let c2 = counter[2];
  let c3 = counter[3];
  let k0 = key[0];
  let k1 = key[1];
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0;
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** A stream of random numbers. Make one with {@link random}. */
export class Random {
  readonly #key: Uint32Array;
  readonly #counter: Uint32Array;
  readonly #block = new Uint32Array(4);
  #used: number;

  /** @internal */
  constructor(key: ArrayLike<number>, counter: ArrayLike<number>, used: number) {
    this.#key = Uint32Array.from(key);
    this.#counter = Uint32Array.from(counter);
    this.#used = 4;
    if (used < 4) {
      this.#addToCounter(-1);
      this.#refill();
      this.#used = used;
    }
  }

  /** A whole number in [0, 2^32). */
  uint32(): number {
    if (this.#used === 4) this.#refill();
    return this.#block[this.#used++];
  }

  /** A number in [0, 1), with 53 random bits. */
  float(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  /** A whole number in [0, end), each equally likely. @throws ArgumentError unless end is a whole number in 1..2^32 */
  integer(end: number): number {
    if (!Number.isInteger(end) || end < 1 || end > 2 ** 32) {
      throw new ArgumentError(`integer: end must be a whole number from 1 to 2^32, got ${show(end)}`);
    }
    const limit = 2 ** 32 - (2 ** 32 % end); // words from here up would favour the small numbers
    let word = this.uint32();
    while (word >= limit) word = this.uint32();
    return word % end;
  }

  /** A number from the normal distribution with mean 0 and variance 1 (Marsaglia's polar method). */
  normal(): number {
    for (;;) {
      const x = 2 * this.float() - 1;
      const y = 2 * this.float() - 1;
      const s = x * x + y * y;
      if (s > 0 && s < 1) return x * Math.sqrt((-2 * ln(s)) / s);
    }
  }

  /** Brings the elements into a random order, in place; each order is equally likely. */
  shuffle<T extends { length: number; [index: number]: unknown }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }

  /**
   * An independent stream with a name, the same wherever this one stands: `random(1).split('weights')`.
   * @param label a text or a whole number in 0..2^32-1
   */
  split(label: string | number): Random {
    const key = new Uint32Array(4);
    const words = typeof label === 'number' ? [label >>> 0, 0] : hash(label);
    philox(key, [words[0], words[1], typeof label === 'number' ? 1 : 2, 0xffffffff], this.#key);
    return new Random(key, [0, 0, 0, 0], 4);
  }

  /** Where the stream stands; `Random.from(state)` goes on from there. */
  get state(): RandomState {
    const [a, b, c, d] = this.#counter;
    return { key: [this.#key[0], this.#key[1]], counter: [a, b, c, d], used: this.#used };
  }

  /** @throws ArgumentError if it is not a state */
  static from(state: RandomState): Random {
    const { key, counter, used } = state ?? {};
    const good =
      Array.isArray(key) &&
      key.length === 2 &&
      Array.isArray(counter) &&
      counter.length === 4 &&
      [...key, ...counter].every(isWord) &&
      Number.isInteger(used);
    if (!good || used < 0 || used > 4)
      throw new ArgumentError('Random.from: state must be the `state` of a generator');
    return new Random(key, counter, used);
  }

  #refill(): void {
    philox(this.#block, this.#counter, this.#key);
    this.#addToCounter(1);
    this.#used = 0;
  }

  #addToCounter(amount: 1 | -1): void {
    const counter = this.#counter;
    for (let i = 0; i < 4; i++) {
      counter[i] += amount; // wraps
      const carries = amount === 1 ? counter[i] === 0 : counter[i] === 0xffffffff;
      if (!carries) return;
    }
  }
}

function isWord(word: unknown): boolean {
  return typeof word === 'number' && word >>> 0 === word;
}

/** Two words from a text: FNV-1a over its UTF-16 units, run twice from different bases. */
function hash(text: string): [number, number] {
  const run = (basis: number) => {
    let state = basis;
    for (let i = 0; i < text.length; i++) {
      state = Math.imul(state ^ (text.charCodeAt(i) & 0xff), 0x01000193);
      state = Math.imul(state ^ (text.charCodeAt(i) >>> 8), 0x01000193);
    }
    return state >>> 0;
  };
  return [run(0x811c9dc5), run(0x5bd1e995)];
}

/**
 * A seeded stream of random numbers.
 *
 * @param seed a whole number in 0..2^53-1
 * @throws ArgumentError otherwise
 */
export function random(seed: number): Random {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ArgumentError(`random: seed must be a whole number from 0 to 2^53-1, got ${show(seed)}`);
  return new Random([seed >>> 0, Math.floor(seed / 2 ** 32)], [0, 0, 0, 0], 4);
}
