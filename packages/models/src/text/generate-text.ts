/** Text from a language model and a tokenizer. */
import { ArgumentError, checkOptions, show } from '@freelunch/errors';
import { type GenerateOptions, generateOptionNames } from '../generate.js';
import type { LanguageModel } from '../language-model.js';
import { StopTexts, TextStream } from './streaming.js';

/** Text to token ids and back: what `loadTokenizer` gives, `byteTokens`, `characterTokens`, or your own. */
export interface TextTokens {
  encode(text: string): number[];
  decode(ids: readonly number[]): string;
}

export interface GenerateTextOptions extends GenerateOptions {
  /** The text ends before the first of them, which is not given out. */
  stop?: readonly string[];
}

/** @throws ArgumentError unless it can encode and decode */
export function checkTextTokens(where: string, tokens: TextTokens): void {
  if (typeof tokens?.encode !== 'function' || typeof tokens.decode !== 'function')
    throw new ArgumentError(`${where}: tokenizer must have encode and decode, got ${show(tokens)}`);
}

/**
 * Text that goes on after a prompt, piece by piece: whole characters, and nothing that may be the beginning of a stop.
 *
 *   for await (const piece of generateText(model, tokenizer, 'Once upon a time', { stop: ['\n'] })) process.stdout.write(piece)
 *
 * @param prompt  a text of one token or more, or its tokens
 * @param options as `model.generate` takes them, and `stop`; the text of stop tokens is not given out
 * @throws ArgumentError, ShapeError before anything is computed; the signal's reason once it is aborted
 */
export function generateText(
  model: LanguageModel,
  tokenizer: TextTokens,
  prompt: string | readonly number[],
  options: GenerateTextOptions = {},
): AsyncGenerator<string, void, undefined> {
  checkOptions('generateText', options, ['stop', ...generateOptionNames]);
  checkTextTokens('generateText', tokenizer);
  const { stop = [], ...others } = options;
  if (!Array.isArray(stop) || stop.some((text) => typeof text !== 'string' || text === ''))
    throw new ArgumentError(`generateText: stop must be a list of texts, none empty, got ${show(stop)}`);
  if (typeof (model as Partial<LanguageModel> | null)?.generate !== 'function')
    throw new ArgumentError(`generateText: model must be a LanguageModel, got ${show(model)}`);
  const ids = typeof prompt === 'string' ? tokenizer.encode(prompt) : prompt;
  return pieces(model.generate(ids, others), tokenizer, ids, stop, others.stopTokens ?? []);
}

async function* pieces(
  tokens: AsyncGenerator<number, void, undefined>,
  tokenizer: TextTokens,
  prompt: readonly number[],
  stops: readonly string[],
  stopTokens: readonly number[],
): AsyncGenerator<string, void, undefined> {
  const stream = new TextStream((ids) => tokenizer.decode(ids), prompt);
  const texts = new StopTexts(stops);
  for await (const token of tokens) {
    if (stopTokens.includes(token)) break;
    const piece = texts.push(stream.push(token));
    if (piece !== '') yield piece;
    if (texts.stopped) return;
  }
  const last = texts.push(stream.end());
  const rest = texts.stopped ? last : last + texts.end();
  if (rest !== '') yield rest;
}
