/** What stands between a user and the tokens of a model: a tokenizer, or nothing but the ids. */
import { show } from '@freelunch/errors';
import { type SourceOptions, StopTexts, TextStream } from '@freelunch/models';
import { InputError } from '../errors.js';

/** Takes tokens and gives out what can be shown of them so far. */
export interface Shown {
  push(id: number): string;
  /** What was held back. */
  end(): string;
  /** Whether a stop has come: there is nothing to show any more. */
  readonly stopped: boolean;
}

export interface Language {
  kind: 'text' | 'ids';
  encode(prompt: string): number[];
  /** @param before  the prompt's tokens */
  shown(before: readonly number[]): Shown;
  /** Tokens at which the text ends; which are not shown. */
  stopTokens: readonly number[];
}

/** Ids with blanks or commas between them, and nothing else. */
export function idsLanguage(stops: readonly string[], endTokens: readonly number[]): Language {
  const idsOf = (name: string, given: string): number[] => {
    const parts = given.split(/[\s,]+/).filter((part) => part !== '');
    const wrong = parts.find((part) => !/^\d{1,9}$/.test(part));
    if (wrong !== undefined)
      throw new InputError(`${name} must be token ids, such as '11 22 33', got ${show(wrong)}`);
    return parts.map(Number);
  };
  return {
    kind: 'ids',
    encode: (prompt) => idsOf('the prompt', prompt),
    stopTokens: [...endTokens, ...stops.flatMap((stop) => idsOf('--stop', stop))],
    shown() {
      let isFirst = true;
      return {
        stopped: false,
        push(id) {
          const text = isFirst ? `${id}` : ` ${id}`;
          isFirst = false;
          return text;
        },
        end: () => '',
      };
    },
  };
}

/** Text, by the tokenizer of a source. */
export async function textLanguage(
  source: string,
  options: SourceOptions,
  stops: readonly string[],
  stopTokens: readonly number[],
): Promise<Language> {
  const { loadTokenizer } = await import('@freelunch/models/tokenizer');
  const tokenizer = await loadTokenizer(source, options);
  return {
    kind: 'text',
    encode: (prompt) => tokenizer.encode(prompt),
    stopTokens,
    shown(before) {
      const tokens = new TextStream((ids) => tokenizer.decode(ids), before);
      const texts = new StopTexts(stops);
      return {
        get stopped() {
          return texts.stopped;
        },
        push: (id) => texts.push(tokens.push(id)),
        end: () => (texts.stopped ? '' : texts.push(tokens.end()) + texts.end()),
      };
    },
  };
}
