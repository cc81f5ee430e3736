/** Text of tokens as they come. */
import { ArgumentError, show } from '@freelunch/errors';

/** Tokens before the first one that the text of a token may depend on: a blank at its start, the rest of a character. */
const CONTEXT = 6;
/** A character has at most four bytes; where more tokens than that end in a broken one, it is broken. */
const MOST_HELD = 4;
const BROKEN = '\ufffd';

/**
 * Puts out the text of tokens one by one. Tokens can be parts of characters, and the text of a token can depend on those
 * before it, so a token's text is what it adds to the text of the few before it.
 */
export class TextStream {
  readonly #decode: (ids: readonly number[]) => string;
  #ids: number[];
  /** Of `#ids`, those whose text is out. */
  #out: number;

  /** @param before  the tokens that go before, whose text is not put out */
  constructor(decode: (ids: readonly number[]) => string, before: readonly number[]) {
    if (typeof decode !== 'function')
      throw new ArgumentError(`TextStream: decode must be a function, got ${show(decode)}`);
    if (!Array.isArray(before))
      throw new ArgumentError(`TextStream: before must be a list of ids, got ${show(before)}`);
    this.#decode = decode;
    this.#ids = before.slice(-CONTEXT);
    this.#out = this.#ids.length;
  }

  /** @returns text that is complete now, perhaps none */
  push(id: number): string {
    this.#ids.push(id);
    const text = this.#rest();
    if (text.endsWith(BROKEN) && this.#ids.length - this.#out <= MOST_HELD) return '';
    this.#ids = this.#ids.slice(-CONTEXT);
    this.#out = this.#ids.length;
    return text;
  }

  /** @returns what was held back */
  end(): string {
    const text = this.#rest();
    this.#out = this.#ids.length;
    return text;
  }

  /** Of tokens that are not out yet. */
  #rest(): string {
    const before = this.#decode(this.#ids.slice(0, this.#out));
    return this.#decode(this.#ids).slice(before.length);
  }
}

/** Ends a text before the first of some texts: what may be the beginning of one is held back. */
export class StopTexts {
  readonly #stops: readonly string[];
  #held = '';
  stopped = false;

  constructor(stops: readonly string[]) {
    if (!Array.isArray(stops) || stops.some((stop) => typeof stop !== 'string' || stop === ''))
      throw new ArgumentError(`StopTexts: stops must be a list of texts, none empty, got ${show(stops)}`);
    this.#stops = stops;
  }

  /** @returns text that is before any stop for certain */
  push(piece: string): string {
    const text = this.#held + piece;
    const at = Math.min(...this.#stops.map((stop) => text.indexOf(stop)).filter((index) => index >= 0));
    if (at < Infinity) {
      this.stopped = true;
      this.#held = '';
      return text.slice(0, at);
    }
    const held = Math.max(0, ...this.#stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(text.length - held);
    return text.slice(0, text.length - held);
  }

  /** @returns what was held back */
  end(): string {
    const text = this.#held;
    this.#held = '';
    return text;
  }
}

/** The length of the longest end of a text that another begins with. */
function overlap(text: string, stop: string): number {
  let length = Math.min(text.length, stop.length - 1);
  while (!stop.startsWith(text.slice(text.length - length))) length--;
  return length;
}
