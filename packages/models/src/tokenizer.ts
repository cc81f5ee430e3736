/**
 * Text to token ids and back, by the tokenizer.json that lies beside a checkpoint. An entry of its own,
 * `@freelunch/models/tokenizer`: only who uses it needs the package `@huggingface/tokenizers`.
 */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { FormatError } from '@freelunch/kernels';
import { type FolderSource, openFolder, readJson } from './checkpoints/folder.js';
import { isObject } from '@freelunch/config';
import { shown } from './checkpoints/json.js';

const MAXIMUM_BYTES = 200_000_000;

export interface Tokenizer {
  /** Number of ids, those of added tokens included: the model's `vocabSize` is at least that. */
  readonly size: number;
  /** @param special whether tokens that mark begin or end are put around the text; true if absent */
  encode(text: string, options?: { special?: boolean }): number[];
  /** @param special whether such tokens stay in the text; false if absent */
  decode(ids: readonly number[] | Int32Array, options?: { special?: boolean }): string;
  /** The id of a whole token, `<|endoftext|>` for instance; undefined if there is none. */
  idOf(token: string): number | undefined;
}

/**
 * Reads tokenizer.json, and tokenizer_config.json if it is there.
 *
 * @param source a directory (Node, Deno, Bun), a URL that the files are under, or the files
 * @throws FormatError if there is no tokenizer.json or it is not one
 */
export async function loadTokenizer(
  source: FolderSource,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Tokenizer> {
  signal?.throwIfAborted();
  const folder = openFolder('loadTokenizer', source, { signal });
  const json = await readJson(folder, 'tokenizer.json', MAXIMUM_BYTES);
  if (json === undefined) throw new FormatError(`${folder.name}: must hold tokenizer.json, got no such file`);
  if (!isObject(json) || !isObject(json.model))
    throw new FormatError(`tokenizer.json: file must hold an object with a model, got ${shown(json)}`);
  const config = (await readJson(folder, 'tokenizer_config.json', MAXIMUM_BYTES)) ?? {};
  if (!isObject(config))
    throw new FormatError(`tokenizer_config.json: file must hold an object, got ${shown(config)}`);
  let tokenizer: HuggingFaceTokenizer;
  try {
    tokenizer = new HuggingFaceTokenizer(json, config);
  } catch (cause) {
    throw new FormatError(`tokenizer.json: file must be a tokenizer: ${(cause as Error).message}`, { cause });
  }
  return {
    size: tokenizer.get_vocab(true).size,
    encode: (text, { special = true } = {}) => tokenizer.encode(text, { add_special_tokens: special }).ids,
    decode: (ids, { special = false } = {}) =>
      tokenizer.decode(Array.from(ids), { skip_special_tokens: !special }),
    idOf: (token) => tokenizer.token_to_id(token),
  };
}
