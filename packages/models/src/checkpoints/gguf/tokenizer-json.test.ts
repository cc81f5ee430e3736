import { FormatError, UnsupportedError } from '@freelunch/errors';
import { expect, it } from 'vitest';
import { bytePairVocabulary, sentencePieceVocabulary, texts } from '../../../tests/gguf-vocabularies.js';
import { type Entry, writeGguf } from '../../../tests/gguf-writer.js';
import { loadTokenizer } from '../../tokenizer.js';
import { bytesSource } from '../byte-source.js';

const load = (entries: Entry[]) => loadTokenizer(bytesSource(writeGguf({ entries }), 'x.gguf'));

// What llama.cpp gives, as tests/llama-cpp/tokenizer.test.ts finds where it is installed.
it.each([
  ['gpt-2', bytePairVocabulary('gpt-2'), '12345 and 20,000.5 x2y', [291, 279, 32, 50, 48, 44, 264, 48, 46, 53, 32, 120, 50, 121]],
  ['gpt-2', bytePairVocabulary('gpt-2'), 'hello<|end|>world <fim> there', [327, 336, 119, 270, 32, 337, 258, 271]],
  ['llama-bpe', bytePairVocabulary('llama-bpe'), '12345 and 20,000.5 x2y', [336, 289, 52, 53, 279, 32, 50, 48, 44, 264, 48, 46, 53, 32, 120, 50, 121]],
  ['smollm', bytePairVocabulary('smollm'), '12345 and 20,000.5 x2y', [49, 50, 51, 52, 53, 279, 32, 50, 48, 44, 48, 48, 48, 46, 53, 32, 120, 50, 121]],
  ['SentencePiece', sentencePieceVocabulary(), 'hello<|end|>world <fim> there', [1, 383, 330, 63, 127, 360, 272, 127, 65, 378, 273, 383, 63, 361, 364, 368, 65, 261, 274]],
  ['SentencePiece', sentencePieceVocabulary(), 'line\n\n  next\r\n\ttab \n', [1, 280, 332, 360, 13, 13, 383, 383, 369, 360, 379, 375, 16, 13, 12, 375, 356, 357, 383, 13]],
])('takes a text to the tokens of %s', async (_, { size, entries }, text, ids) => {
  const tokenizer = await load(entries);
  expect(tokenizer.size).toBe(size);
  expect(tokenizer.encode(text)).toEqual(ids);
}); // prettier-ignore

it.each(['gpt-2', 'llama-bpe', 'qwen2', 'smollm'])('gives texts back: %s', async (pre) => {
  const tokenizer = await load(bytePairVocabulary(pre).entries);
  for (const text of texts)
    expect(tokenizer.decode(tokenizer.encode(text, { special: false }), { special: true })).toBe(text);
});

it('puts marks around a text where the file says so', async () => {
  const { entries } = bytePairVocabulary('gpt-2', [
    ['tokenizer.ggml.add_bos_token', 'bool', true],
    ['tokenizer.ggml.add_eos_token', 'bool', true],
  ]);
  const tokenizer = await load(entries);
  const end = tokenizer.idOf('<|end|>')!;
  expect(tokenizer.encode('the')).toEqual([end, ...tokenizer.encode('the', { special: false }), end]);
  const bare = await load(sentencePieceVocabulary([['tokenizer.ggml.add_bos_token', 'bool', false]]).entries);
  expect(bare.encode('the')).toEqual(bare.encode('the', { special: false }));
});

const { entries } = bytePairVocabulary('gpt-2');
const replaced = (name: string, ...rest: [Entry[1], unknown, 'array'?]): Entry[] => [
  ...entries.filter(([key]) => key !== `tokenizer.ggml.${name}`),
  [`tokenizer.ggml.${name}`, ...rest] as Entry,
];

it.each([
  ['model', replaced('model', 'string', 't5'), UnsupportedError, "x.gguf: tokenizer.ggml.model must be gpt2 or llama to be supported, got 't5'"],
  ['model', [], UnsupportedError, 'got undefined'],
  ['pre', replaced('pre', 'string', 'viking'), UnsupportedError, "tokenizer.ggml.pre must be gpt-2 or mpt or olmo"],
  ['pre', replaced('pre', 'string', '__proto__'), UnsupportedError, "got '__proto__'"],
  ['tokens', replaced('tokens', 'int32', [1], 'array'), FormatError, 'tokenizer.ggml.tokens must be a list of texts'],
  ['tokens', replaced('tokens', 'string', [], 'array'), FormatError, 'must be a list of at least one'],
  ['merges', replaced('merges', 'string', 'a b'), FormatError, "tokenizer.ggml.merges must be a list of texts, got 'a b'"],
  ['token_type', replaced('token_type', 'int32', [1, 2], 'array'), FormatError, 'must be a list of 338, one per token'],
  ['bos_token_id', replaced('bos_token_id', 'uint32', 338), FormatError, 'tokenizer.ggml.bos_token_id must be below the number of tokens, 338, got 338'],
  ['add_bos_token', replaced('add_bos_token', 'uint32', 1), FormatError, 'tokenizer.ggml.add_bos_token must be true or false, got 1'],
] as const)('refuses a %s that is not as it should be', async (_, changed, kind, message) => {
  const error = await load([...changed]).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(kind);
  expect((error as Error).message).toContain(message);
}); // prettier-ignore
