/**
 * How long a regular expression may search, found out from its text: engines that go back and try again take time that
 * grows with every way in which a pattern can match the same text.
 */

/** At one place of a text of n characters a pattern can match in `ways n^wide` ways at most. */
interface Cost {
  ways: number;
  /** Repetitions without end, or with a far one, that follow each other. */
  wide: number;
}

const LONGEST = 10_000;
const DEEPEST = 50;
/** Choices: published tokenizers have fewer than 100, and two repetitions that may share characters. */
const MOST_WAYS = 10_000;
const MOST_WIDE = 2;
/** Counts of a repetition that may be told one by one, `{1,3}` for instance. */
const NARROW = 8;

class Unbounded extends Error {}

class Pattern {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Alternatives up to the end, or to the bracket that closes them. */
  alternatives(depth: number): Cost {
    if (depth > DEEPEST) throw new Unbounded(`groups are nested more than ${DEEPEST} deep`);
    const total: Cost = { ways: 0, wide: 0 };
    for (;;) {
      const { ways, wide } = this.#sequence(depth);
      total.ways += ways;
      total.wide = Math.max(total.wide, wide);
      if (this.#text[this.#at] !== '|') return total;
      this.#at++;
    }
  }

  /** The whole pattern, up to a bracket that closes nothing. */
  whole(): void {
    this.alternatives(0);
    this.#at++;
  }

  get ended(): boolean {
    return this.#at >= this.#text.length;
  }

  #sequence(depth: number): Cost {
    const total: Cost = { ways: 1, wide: 0 };
    while (!this.ended && this.#text[this.#at] !== '|' && this.#text[this.#at] !== ')') {
      const { ways, wide } = this.#repeated(this.#atom(depth));
      total.ways *= ways;
      total.wide += wide;
      if (total.ways > MOST_WAYS) throw new Unbounded(`it can match in more than ${MOST_WAYS} ways`);
      if (total.wide > MOST_WIDE)
        throw new Unbounded(`more than ${MOST_WIDE} repetitions without end follow each other`);
    }
    return total;
  }

  #atom(depth: number): Cost {
    const one: Cost = { ways: 1, wide: 0 };
    const character = this.#text[this.#at++];
    if (character === '\\') this.#escape();
    else if (character === '[') this.#characterClass();
    else if (character === '(') {
      const kind = /^\?(?:<[=!]|<[^>]*>|[:=!>]|[a-z-]*[:)]|#[^)]*)/i.exec(this.#rest());
      this.#at += kind?.[0].length ?? 0;
      if (kind?.[0].endsWith(')')) return one; // flags
      const inside = this.alternatives(depth + 1);
      this.#at++;
      return inside;
    }
    return one;
  }

  #escape(): void {
    const letter = this.#text[this.#at++] ?? '';
    if (/[1-9kg]/.test(letter)) throw new Unbounded('it refers back to a group');
    const braces = /[pPxuo]/.test(letter) ? /^\{[^}]*\}/.exec(this.#rest()) : null;
    this.#at += braces?.[0].length ?? 0;
  }

  #characterClass(): void {
    let depth = 1;
    if (this.#text[this.#at] === '^') this.#at++;
    if (this.#text[this.#at] === ']') this.#at++; // stands for itself in front
    for (; depth > 0 && !this.ended; this.#at++) {
      const character = this.#text[this.#at];
      if (character === '\\') this.#at++;
      else if (character === '[') depth++;
      else if (character === ']') depth--;
    }
  }

  #repeated(one: Cost): Cost {
    const found = /^(?:[*+?]|\{(\d*)(,?)(\d*)\})/.exec(this.#rest());
    if (found === null) return one;
    this.#at += found[0].length;
    if (/^[?+]/.test(this.#rest())) this.#at++; // lazy, or without going back
    const [sign, from, comma, to] = found;
    const least = sign === '+' ? 1 : Number(from ?? 0);
    const most =
      sign === '?' ? 1 : sign === '*' || sign === '+' ? Infinity : comma ? Number(to || Infinity) : least;
    if (most - least > NARROW) {
      if (one.ways > 1 || one.wide > 0)
        throw new Unbounded('what it repeats can itself match in several ways');
      return { ways: 1, wide: 1 };
    }
    if (one.wide > 0 && most > 1) throw new Unbounded('a repetition without end is repeated');
    let ways = 0;
    for (let count = least; count <= most; count++) ways += one.ways ** count;
    return { ways, wide: one.wide };
  }

  #rest(): string {
    return this.#text.slice(this.#at, this.#at + LONGEST);
  }
}

/** Why a regular expression may search for a time that nobody waits for; undefined if it does not. */
export function whyUnbounded(text: string): string | undefined {
  if (text.length > LONGEST) return `it is longer than ${LONGEST} characters`;
  const pattern = new Pattern(text);
  try {
    while (!pattern.ended) pattern.whole();
    return undefined;
  } catch (error) {
    if (error instanceof Unbounded) return error.message;
    throw error;
  }
}
