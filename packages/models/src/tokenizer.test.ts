import { FormatError } from '@freelunch/kernels';
import { expect, it } from 'vitest';
import { loadTokenizer } from './tokenizer.js';

/** Bytes of a few letters, two merges, and a token that marks the end: as GPT-2 has them, but small. */
const json = {
  version: '1.0',
  added_tokens: [{ id: 8, content: '<end>', special: true, single_word: false, lstrip: false, rstrip: false, normalized: false }], // prettier-ignore
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '<end>', type_id: 0 } }],
    pair: [],
    special_tokens: { '<end>': { id: '<end>', ids: [8], tokens: ['<end>'] } },
  },
  decoder: { type: 'ByteLevel' },
  model: {
    type: 'BPE',
    vocab: { l: 0, u: 1, n: 2, c: 3, h: 4, Ġ: 5, un: 6, ch: 7 },
    merges: ['u n', 'c h'],
  },
};
const file = (name: string, value: unknown) => new File([JSON.stringify(value)], name);
const ids = [0, 6, 7, 5, 0, 6, 7]; // l un ch _ l un ch

it('takes a text to ids and back', async () => {
  const tokenizer = await loadTokenizer([file('tokenizer.json', json)]);
  expect(tokenizer.size).toBe(9);
  expect(tokenizer.encode('lunch lunch')).toEqual([...ids, 8]);
  expect(tokenizer.encode('lunch lunch', { special: false })).toEqual(ids);
  expect(tokenizer.decode([...ids, 8])).toBe('lunch lunch');
  expect(tokenizer.decode(Int32Array.of(...ids, 8), { special: true })).toBe('lunch lunch<end>');
  expect(tokenizer.idOf('<end>')).toBe(8);
  expect(tokenizer.idOf('<no>')).toBeUndefined();
});

it.each([
  ['is missing', [file('config.json', {})], /must hold tokenizer\.json/],
  ['is a list', [file('tokenizer.json', [])], /must hold an object with a model/],
  ['has no model', [file('tokenizer.json', { ...json, model: null })], /must hold an object with a model/],
  [
    'has an unknown model',
    [file('tokenizer.json', { ...json, model: { type: 'x' } })],
    /must be a tokenizer/,
  ],
  [
    'has a config that is a list',
    [file('tokenizer.json', json), file('tokenizer_config.json', [])],
    /tokenizer_config/,
  ],
])('gives a FormatError where tokenizer.json %s', async (_title, files, message) => {
  await expect(loadTokenizer(files)).rejects.toThrow(FormatError);
  await expect(loadTokenizer(files)).rejects.toThrow(message);
});
