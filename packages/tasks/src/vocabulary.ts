import { checkOptions } from '@freelunch/errors';
import { refuse, show, TaskError } from './errors.js';

/** The tokens of a task: an id is the place of its text in the list. */
export class Vocabulary {
  readonly tokens: readonly string[];
  /** Fills up short rows. */
  readonly pad: number;
  /** Ends a text; absent where the task has no such token. */
  readonly end: number | undefined;
  readonly #joiner: string;
  readonly #ids = new Map<string | number, number>();

  /**
   * @param tokens distinct texts
   * @param special `pad` and `end`: their texts; `joiner`: what stands between tokens, '' if each is one character
   */
  constructor(tokens: readonly string[], special: { pad: string; end?: string; joiner?: string }) {
    checkOptions('Vocabulary', special, ['pad', 'end', 'joiner'], TaskError);
    this.tokens = tokens;
    this.#joiner = special.joiner ?? ' ';
    for (let id = 0; id < tokens.length; id++) {
      const text = tokens[id];
      if (this.#ids.has(text)) throw new TaskError(`Vocabulary: token ${show(text)} occurs twice`);
      this.#ids.set(text, id);
      if (/^(0|[1-9]\d*)$/.test(text)) this.#ids.set(Number(text), id);
    }
    this.pad = this.id(special.pad);
    this.end = special.end === undefined ? undefined : this.id(special.end);
  }

  get size(): number {
    return this.tokens.length;
  }

  has(token: string | number): boolean {
    return this.#ids.has(token);
  }

  /** The id of a token, given as text or, for tokens that are numbers, as a number. @throws TaskError if there is none */
  id(token: string | number): number {
    const id = this.#ids.get(token);
    if (id === undefined) refuse('Vocabulary.id', 'token', `one of the ${this.size} tokens`, token);
    return id;
  }

  /** @throws TaskError if there is no such id */
  text(id: number): string {
    const text = this.tokens[id];
    if (text === undefined) refuse('Vocabulary.text', 'id', `a whole number below ${this.size}`, id);
    return text;
  }

  /** The ids of a text as `decode` writes it. */
  encode(text: string): number[] {
    if (text === '') return [];
    return (this.#joiner === '' ? [...text] : text.split(this.#joiner)).map((token) => this.id(token));
  }

  decode(ids: ArrayLike<number>): string {
    return Array.from(ids, (id) => this.text(id)).join(this.#joiner);
  }
}

/** `first`, `first + 1`, .., as token texts. */
export function numberTokens(first: number, end: number): string[] {
  return Array.from({ length: end - first }, (_, i) => String(first + i));
}

/** a, b, .., z, or s0, s1, .. where letters do not suffice. */
export function letterTokens(count: number): string[] {
  return Array.from({ length: count }, (_, i) => (count <= 26 ? String.fromCharCode(97 + i) : `s${i}`));
}
