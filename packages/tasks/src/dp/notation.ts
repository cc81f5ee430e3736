import { refuse, show, TaskError } from '../errors.js';
import { Vocabulary } from '../vocabulary.js';
import type { DpDefinition, DpOptions, Token } from './definition.js';

/** How a definition is written in tokens: its vocabulary, its marks, its values. */
export class Notation<Problem, Value, State extends Token> {
  readonly dp: DpDefinition<Problem, Value, State>;
  readonly form: DpOptions['form'];
  readonly inputs: DpOptions['inputs'];
  readonly vocabulary: Vocabulary;
  /** The token between prompt and steps. */
  readonly query: number;
  /** The token between steps and answer; -1: the last step is the answer. */
  readonly answerMark: number;
  readonly end: number;

  constructor(dp: DpDefinition<Problem, Value, State>, options: DpOptions) {
    this.dp = dp;
    this.form = options.form;
    this.inputs = options.inputs;
    const { symbols, vocabulary, layout } = dp;
    if ((symbols === undefined) === (vocabulary === undefined)) {
      refuse(`defineDp: ${dp.name}`, 'symbols', 'given, or vocabulary, not both', symbols);
    }
    const tokens = vocabulary ?? ['<pad>', '<sep>', '<eos>', ...symbols!.map(String)];
    this.vocabulary = new Vocabulary(tokens, { pad: '<pad>', end: '<eos>' });
    this.end = this.vocabulary.end!;
    this.query = this.vocabulary.id(layout?.query ?? '<sep>');
    this.answerMark = layout?.answer === null ? -1 : this.vocabulary.id(layout?.answer ?? '<sep>');
  }

  /** The places of the input that are repeated before a value. */
  inlineReads(problem: Problem, state: State): number[] {
    return (this.dp.inlineReads ?? this.dp.reads)?.call(this.dp, problem, state) ?? [];
  }

  /** A value, or the answer, in tokens. */
  ids(value: Value, state: State | undefined, problem: Problem): number[] {
    const ids: number[] = [];
    this.push(ids, value, state, problem);
    return ids;
  }

  /** Appends a value; `state` is undefined for the answer. */
  push(ids: number[], value: Value, state: State | undefined, problem: Problem): void {
    const tokens = this.dp.encode ? this.dp.encode(value, state, problem) : (value as Token);
    if (typeof tokens === 'object') for (const token of tokens) ids.push(this.#id(token, state));
    else ids.push(this.#id(tokens, state));
  }

  /** The value that a model's tokens stand for; undefined if none, whatever they are. `like`: the right one. */
  decode(ids: readonly number[], state: State, problem: Problem, like: Value): Value | undefined {
    const texts: string[] = [];
    for (const id of ids) {
      const text = this.vocabulary.tokens[id];
      if (text === undefined) return undefined;
      texts.push(text);
    }
    try {
      if (this.dp.decode) return this.dp.decode(texts, state, problem);
    } catch {
      return undefined;
    }
    if (texts.length !== 1) return undefined;
    const value = /^-?\d+$/.test(texts[0]) ? Number(texts[0]) : texts[0];
    return typeof value === typeof like ? (value as Value) : undefined;
  }

  #id(token: Token, state: State | undefined): number {
    if (!this.vocabulary.has(token)) {
      const what = state === undefined ? 'the answer' : `state ${show(state)}`;
      throw new TaskError(`${this.dp.name}: ${what} is written with ${show(token)}, which is no token`);
    }
    return this.vocabulary.id(token);
  }
}
