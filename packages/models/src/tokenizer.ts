/**
 * Text to token ids and back, by the tokenizer.json that lies beside a checkpoint. This is a separate entry,
 * `@freelunch/models/tokenizer`: only its users need the package `@huggingface/tokenizers`.
 */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { isObject, type Json } from '@freelunch/config';
import { ArgumentError, checkOptions, FormatError, show } from '@freelunch/errors';
import { readJson } from './checkpoints/folder.js';
import { readGgufHeader } from './checkpoints/gguf/header.js';
import { tokenizerJsonOf } from './checkpoints/gguf/tokenizer-json.js';
import { type ModelSource, openSource } from './checkpoints/source.js';
import { Missing } from './checkpoints/placeholder.js';
import { sourceOptionNames, type SourceOptions } from './checkpoints/source-options.js';
import { whyUnbounded } from './regular-expression.js';

const MAXIMUM_BYTES = 200_000_000;
/** Ids are below it: far more than any vocabulary has, and what a table of them may take of memory. */
const ID_LIMIT = 2 ** 22;
const DEEPEST = 50;

export interface Tokenizer {
  /** One more than the greatest id, those of added tokens included: the model's `vocabSize` is at least that. */
  readonly size: number;
  /**
   * @param special whether tokens that mark begin or end are put around the text; true if absent
   * @throws ArgumentError; FormatError if the file has no id for a part of the text
   */
  encode(text: string, options?: { special?: boolean }): number[];
  /**
   * @param special whether such tokens stay in the text; false if absent
   * @throws ArgumentError naming the first id that is not a whole number from 0 up
   */
  decode(ids: readonly number[] | Int32Array, options?: { special?: boolean }): string;
  /** The id of a whole token, `<|endoftext|>` for instance; undefined if there is none. */
  idOf(token: string): number | undefined;
}

const bad = (name: string, wanted: string, got: unknown): FormatError =>
  new FormatError(`tokenizer.json: ${name} must be ${wanted}, got ${show(got)}`);

const isId = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < ID_LIMIT;

/** Checks that all ids are ids. @returns one more than the greatest @throws FormatError */
function checkIds(json: Json, model: Json): number {
  const wanted = `a whole number from 0 to ${ID_LIMIT - 1}`;
  let size = 0;
  const check = (name: string, id: unknown) => {
    if (!isId(id)) throw bad(name, wanted, id);
    size = Math.max(size, id + 1);
  };
  const { vocab } = model;
  if (Array.isArray(vocab)) {
    if (vocab.length > ID_LIMIT) throw bad('model.vocab', `at most ${ID_LIMIT} tokens`, vocab.length);
    vocab.forEach((entry: unknown, id) => {
      if (!Array.isArray(entry) || typeof entry[0] !== 'string' || typeof entry[1] !== 'number')
        throw bad(`model.vocab[${id}]`, 'a token and its score', entry);
    });
    size = vocab.length;
  } else if (isObject(vocab)) {
    for (const [token, id] of Object.entries(vocab)) check(`the id of ${show(token)}`, id);
  } else if (vocab !== undefined) throw bad('model.vocab', 'tokens', vocab);
  const added = json.added_tokens ?? [];
  if (!Array.isArray(added)) throw bad('added_tokens', 'a list', added);
  added.forEach((token: unknown, i) => {
    if (!isObject(token) || typeof token.content !== 'string' || token.content === '')
      throw bad(`added_tokens[${i}]`, 'an object with content', token);
    check(`the id of ${show(token.content)}`, token.id);
  });
  return size;
}

/** Checks all regular expressions within. @throws FormatError */
function checkPatterns(json: unknown): void {
  let level: unknown[] = [json];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEEPEST) throw bad('file', `at most ${DEEPEST} levels deep`, 'more');
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue;
      const { Regex: pattern } = value as { Regex?: unknown };
      const why = typeof pattern === 'string' ? whyUnbounded(pattern) : undefined;
      if (why !== undefined)
        throw new FormatError(
          `tokenizer.json: the regular expression ${show(pattern)} may search without end: ${why}`,
        );
      for (const item of Object.values(value)) if (typeof item === 'object') next.push(item);
    }
    level = next;
  }
}

/** What is needed of a tokenizer, and the file that messages name. */
async function readTokenizer(
  source: ModelSource,
  options: SourceOptions,
): Promise<{ json: Json; model: Json; config: Json; name: string }> {
  const opened = await openSource('loadTokenizer', source, options);
  if (opened.file !== undefined) {
    try {
      const { header } = await readGgufHeader(opened.file);
      const { name } = opened.file;
      const json = tokenizerJsonOf(header, name);
      return { json, model: json.model as Json, config: {}, name };
    } finally {
      await opened.close();
    }
  }
  const { folder } = opened;
  const json = await readJson(folder, 'tokenizer.json', MAXIMUM_BYTES);
  if (json instanceof Missing)
    throw new FormatError(`${folder.name}: must hold tokenizer.json, got ${json.reason}`);
  if (!isObject(json) || !isObject(json.model))
    throw new FormatError(`tokenizer.json: file must hold an object with a model, got ${show(json)}`);
  const given = await readJson(folder, 'tokenizer_config.json', MAXIMUM_BYTES);
  const config = given instanceof Missing ? {} : given;
  if (!isObject(config))
    throw new FormatError(`tokenizer_config.json: file must hold an object, got ${show(config)}`);
  return { json, model: json.model, config, name: 'tokenizer.json' };
}

/**
 * Reads tokenizer.json, and tokenizer_config.json if it is there, or the tokenizer of a GGUF file. What could stop a program is refused: ids that are
 * none, and regular expressions whose search may not end.
 *
 * @param source   a directory (Node, Deno, Bun), a URL that the files are under, `hf:owner/name`, or the files;
 *   or a GGUF file, as `loadPretrained` takes it
 * @param options  of servers, as `loadPretrained` takes them
 * @throws FormatError if there is no tokenizer.json or it is not one; UnsupportedError naming the field of a GGUF file
 *   that asks for another kind; FileError
 */
export async function loadTokenizer(source: ModelSource, options: SourceOptions = {}): Promise<Tokenizer> {
  checkOptions('loadTokenizer', options, sourceOptionNames);
  const { json, model, config, name } = await readTokenizer(source, options);
  const size = checkIds(json, model);
  checkPatterns(json);
  let tokenizer: HuggingFaceTokenizer;
  try {
    tokenizer = new HuggingFaceTokenizer(json, config);
  } catch (cause) {
    throw new FormatError(`${name}: file must be a tokenizer: ${(cause as Error).message}`, { cause });
  }
  return wrap(tokenizer, size, name);
}

function wrap(tokenizer: HuggingFaceTokenizer, size: number, name: string): Tokenizer {
  const special = (where: string, options: { special?: boolean } | undefined, absent: boolean): boolean => {
    checkOptions(where, options, ['special']);
    const { special: flag = absent } = options ?? {};
    if (typeof flag !== 'boolean')
      throw new ArgumentError(`${where}: special must be true or false, got ${show(flag)}`);
    return flag;
  };
  const foreign = <T>(what: string, work: () => T): T => {
    try {
      return work();
    } catch (cause) {
      throw new FormatError(`${name}: ${what}: ${(cause as Error).message}`, { cause });
    }
  };
  return {
    size,
    encode(text, options) {
      if (typeof text !== 'string') throw new ArgumentError(`encode: text must be a text, got ${show(text)}`);
      const add_special_tokens = special('encode', options, true);
      const { ids, tokens } = foreign('a text cannot be encoded', () =>
        tokenizer.encode(text, { add_special_tokens }),
      );
      ids.forEach((id: unknown, i: number) => {
        if (!isId(id) || id >= size) throw bad(`the id of ${show(tokens[i])}`, `below ${size}`, id);
      });
      return ids;
    },
    decode(ids, options) {
      if (!Array.isArray(ids) && !(ids instanceof Int32Array))
        throw new ArgumentError(`decode: ids must be a list of ids, got ${show(ids)}`);
      const list = Array.from(ids as readonly number[]);
      const wrong = list.findIndex((id) => !Number.isSafeInteger(id) || id < 0);
      if (wrong >= 0)
        throw new ArgumentError(
          `decode: ids[${wrong}] must be a whole number from 0 up, got ${show(list[wrong])}`,
        );
      const skip_special_tokens = !special('decode', options, false);
      if (list.length === 0) return '';
      return foreign('ids cannot be decoded', () => tokenizer.decode(list, { skip_special_tokens }));
    },
    idOf(token) {
      if (typeof token !== 'string')
        throw new ArgumentError(`idOf: token must be a text, got ${show(token)}`);
      return tokenizer.token_to_id(token);
    },
  };
}
