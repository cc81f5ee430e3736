/**
 * The tokenizer of a GGUF file as the tokenizer.json that Hugging Face's libraries read: byte-level BPE, and BPE of
 * SentencePiece.
 *
 * @see https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp for what `tokenizer.ggml.*` means
 */
import type { Json } from '@freelunch/config';
import { FormatError, show, UnsupportedError } from '@freelunch/errors';
import type { GgufHeader, GgufValue } from './header.js';

/** Kinds of tokens by their number in `tokenizer.ggml.token_type`, as far as they are not plain. */
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;

const byteLevel = (useRegex: boolean): Json => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});
const gpt2 = byteLevel(true);
/** A pattern whose matches are words; then bytes. */
const split = (pattern: string): Json => ({
  type: 'Sequence',
  pretokenizers: [
    { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
    byteLevel(false),
  ],
});
/** What Llama 3 and Qwen2 make words of, who differ in how many digits are one. */
const words = (digits: string): Json =>
  split(
    `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  );
const llama3 = { words: words('\\p{N}{1,3}'), whole: true, begins: true };

interface Words {
  /** The `pre_tokenizer`. */
  words: Json;
  /** Whether a word that is a token is not put together from its parts. */
  whole?: boolean;
  /** Whether texts begin with a token, if the file does not say it. */
  begins?: boolean;
}

/** By `tokenizer.ggml.pre`, how a text is divided into words. */
const divisions: Readonly<Record<string, Words>> = {
  'gpt-2': { words: gpt2 },
  mpt: { words: gpt2 },
  olmo: { words: gpt2 },
  'llama-bpe': llama3,
  'llama-v3': llama3,
  llama3,
  qwen2: { words: words('\\p{N}') },
  smollm: {
    words: {
      type: 'Sequence',
      pretokenizers: [{ type: 'Digits', individual_digits: true }, gpt2],
    },
  },
};

class Fields {
  readonly where: string;
  readonly #metadata: ReadonlyMap<string, GgufValue>;

  constructor({ metadata }: GgufHeader, where: string) {
    this.where = where;
    this.#metadata = metadata;
  }

  get(name: string): GgufValue | undefined {
    return this.#metadata.get(`tokenizer.ggml.${name}`);
  }

  bad(name: string, wanted: string): never {
    throw new FormatError(
      `${this.where}: tokenizer.ggml.${name} must be ${wanted}, got ${show(this.get(name))}`,
    );
  }

  unsupported(name: string, known: readonly string[]): never {
    throw new UnsupportedError(
      `${this.where}: tokenizer.ggml.${name} must be ${known.join(' or ')} to be supported, got ${show(this.get(name))}`,
    );
  }

  texts(name: string): readonly string[] {
    const value = this.get(name);
    if (!Array.isArray(value) || !value.every((text) => typeof text === 'string'))
      return this.bad(name, 'a list of texts');
    return value as readonly string[];
  }

  /** One number per token. */
  numbers(name: string, length: number): ArrayLike<number> {
    const value = this.get(name);
    if (!(value instanceof Int32Array || value instanceof Float32Array || value instanceof Uint32Array))
      return this.bad(name, 'a list of numbers');
    if (value.length !== length) return this.bad(name, `a list of ${length}, one per token`);
    return value;
  }

  flag(name: string, absent: boolean): boolean {
    const value = this.get(name) ?? absent;
    return typeof value === 'boolean' ? value : this.bad(name, 'true or false');
  }

  /** The number of a token, if there is one. */
  id(name: string, tokens: readonly string[]): number | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    return Number.isInteger(value) && (value as number) >= 0 && (value as number) < tokens.length
      ? (value as number)
      : this.bad(name, `below the number of tokens, ${tokens.length}`);
  }
}

/** What stands around a text. */
function aroundOf(f: Fields, tokens: readonly string[], begins: boolean): Json | null {
  const bos = f.id('bos_token_id', tokens);
  const eos = f.id('eos_token_id', tokens);
  const first = bos !== undefined && f.flag('add_bos_token', begins) ? [bos] : [];
  const last = eos !== undefined && f.flag('add_eos_token', false) ? [eos] : [];
  if (first.length + last.length === 0) return null;
  const mark = (id: number) => ({ SpecialToken: { id: tokens[id], type_id: 0 } });
  const text = (id: string) => ({ Sequence: { id, type_id: 0 } });
  const one = (id: string) => [...first.map(mark), text(id), ...last.map(mark)];
  const marks = [...first, ...last].map((id) => [
    tokens[id],
    { id: tokens[id], ids: [id], tokens: [tokens[id]] },
  ]);
  return {
    type: 'TemplateProcessing',
    single: one('A'),
    pair: [...one('A'), ...one('B')],
    special_tokens: Object.fromEntries(marks),
  };
}

/** Tokens that are found in a text before it is divided. */
const addedOf = (tokens: readonly string[], types: ArrayLike<number>): Json[] =>
  tokens.flatMap((content, id) => {
    const special = types[id] === CONTROL || types[id] === UNKNOWN;
    if ((!special && types[id] !== USER_DEFINED) || content === '') return [];
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }];
  });

const vocabOf = (tokens: readonly string[]): Record<string, number> =>
  Object.fromEntries(tokens.map((token, id) => [token, id]));

function bytePairs(f: Fields, tokens: readonly string[], types: ArrayLike<number>): Json {
  const pre = f.get('pre');
  if (typeof pre !== 'string' || !Object.hasOwn(divisions, pre))
    return f.unsupported('pre', Object.keys(divisions));
  const { words: division, whole = false, begins = false } = divisions[pre];
  return {
    added_tokens: addedOf(tokens, types),
    normalizer: null,
    pre_tokenizer: division,
    post_processor: aroundOf(f, tokens, begins),
    decoder: byteLevel(true),
    model: { type: 'BPE', vocab: vocabOf(tokens), merges: f.texts('merges'), ignore_merges: whole },
  };
}

/** Longer tokens are taken apart at no more places than this: none of a real vocabulary is. */
const LONGEST = 128;

/**
 * Pairs of tokens in the order in which SentencePiece puts them together: the one whose sum has the best score first.
 *
 * @see Hugging Face's SentencePieceExtractor, which derives them in this way
 */
function mergesOf(tokens: readonly string[], scores: ArrayLike<number>): [string, string][] {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const found: { pair: [string, string]; score: number; left: number; right: number }[] = [];
  tokens.forEach((token, id) => {
    if (token.length > LONGEST) return;
    for (let at = 1; at < token.length; at++) {
      const pair: [string, string] = [token.slice(0, at), token.slice(at)];
      const [left, right] = pair.map((part) => ids.get(part));
      if (left !== undefined && right !== undefined) found.push({ pair, score: scores[id], left, right });
    }
  });
  found.sort((a, b) => b.score - a.score || a.left - b.left || a.right - b.right);
  return found.map(({ pair }) => pair);
}

function sentencePiece(f: Fields, tokens: readonly string[], types: ArrayLike<number>): Json {
  const unknown = f.id('unknown_token_id', tokens) ?? Math.max(0, Array.from(types).indexOf(UNKNOWN));
  const space = f.flag('add_space_prefix', true);
  const replace = (from: string, to: string) => ({ type: 'Replace', pattern: { String: from }, content: to });
  const strip = space ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : [];
  return {
    added_tokens: addedOf(tokens, types),
    normalizer: {
      type: 'Sequence',
      normalizers: [...(space ? [{ type: 'Prepend', prepend: '▁' }] : []), replace(' ', '▁')],
    },
    pre_tokenizer: null,
    post_processor: aroundOf(f, tokens, true),
    decoder: {
      type: 'Sequence',
      decoders: [replace('▁', ' '), { type: 'ByteFallback' }, { type: 'Fuse' }, ...strip],
    },
    model: {
      type: 'BPE',
      vocab: vocabOf(tokens),
      merges: mergesOf(tokens, f.numbers('scores', tokens.length)),
      unk_token: tokens[unknown],
      fuse_unk: true,
      byte_fallback: true,
    },
  };
}

/** By `tokenizer.ggml.model`. */
const models: Readonly<
  Record<string, (f: Fields, tokens: readonly string[], types: ArrayLike<number>) => Json>
> = { gpt2: bytePairs, llama: sentencePiece };

/**
 * @param where the file, which messages name
 * @throws FormatError, UnsupportedError naming the field
 */
export function tokenizerJsonOf(header: GgufHeader, where: string): Json {
  const f = new Fields(header, where);
  const model = f.get('model');
  if (typeof model !== 'string' || !Object.hasOwn(models, model))
    return f.unsupported('model', Object.keys(models));
  const tokens = f.texts('tokens');
  if (tokens.length === 0) return f.bad('tokens', 'a list of at least one');
  const types =
    f.get('token_type') === undefined
      ? new Int32Array(tokens.length)
      : f.numbers('token_type', tokens.length);
  return models[model](f, tokens, types);
}
