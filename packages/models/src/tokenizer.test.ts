import { ArgumentError, FormatError } from '@freelunch/errors';
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

const withVocab = (vocab: unknown) => [file('tokenizer.json', { ...json, model: { ...json.model, vocab } })];
const withAdded = (id: unknown) => [
  file('tokenizer.json', { ...json, added_tokens: [{ ...json.added_tokens[0], id }] }),
];

it.each([-1, 1.5, 'x', 1e7, null, {}, 2 ** 53])('refuses %j for an id', async (id) => {
  for (const files of [withVocab({ ...json.model.vocab, un: id }), withAdded(id)]) {
    await expect(loadTokenizer(files)).rejects.toThrow(FormatError);
    await expect(loadTokenizer(files)).rejects.toThrow(/must be a whole number from 0 to 4194303, got/);
  }
});

it.each([7, [['a']], [[1, 2]], 'x'])('refuses %j for a vocabulary', async (vocab) => {
  await expect(loadTokenizer(withVocab(vocab))).rejects.toThrow(FormatError);
});

it('refuses a regular expression that may search without end, wherever it stands', async () => {
  const pattern = { Regex: '(a+)+$' };
  const split = { type: 'Split', pattern, behavior: 'Isolated', invert: false };
  for (const change of [
    { pre_tokenizer: { type: 'Sequence', pretokenizers: [split, json.pre_tokenizer] } },
    { normalizer: { type: 'Replace', pattern, content: '' } },
    { decoder: { type: 'Replace', pattern, content: '' } },
  ]) {
    const files = [file('tokenizer.json', { ...json, ...change })];
    await expect(loadTokenizer(files)).rejects.toThrow(FormatError);
    await expect(loadTokenizer(files)).rejects.toThrow(/'\(a\+\)\+\$' may search without end/);
  }
});

it('ends with a FormatError at a file that is nested without end', async () => {
  const deep = `{"model":{},"x":${'['.repeat(1e5)}${']'.repeat(1e5)}}`;
  await expect(loadTokenizer([new File([deep], 'tokenizer.json')])).rejects.toThrow(FormatError);
});

it('gives no id to a model that the file does not have', async () => {
  const model = { type: 'WordPiece', vocab: { l: 0 }, unk_token: '[UNK]' };
  const bare = { ...json, model, added_tokens: [], pre_tokenizer: null, post_processor: null, decoder: null };
  const tokenizer = await loadTokenizer([file('tokenizer.json', bare)]);
  expect(tokenizer.encode('l')).toEqual([0]);
  expect(() => tokenizer.encode('x')).toThrow(FormatError);
  const holes = await loadTokenizer(withAdded(100));
  expect(holes.size).toBe(101);
});

it.each([[null], [7], [{}], [undefined], [[7]]])(
  'refuses %j for a text, for ids and for options',
  async (wrong) => {
    const tokenizer = await loadTokenizer([file('tokenizer.json', json)]);
    expect(() => tokenizer.encode(wrong as never)).toThrow(ArgumentError);
    expect(() => tokenizer.idOf(wrong as never)).toThrow(ArgumentError);
    if (!Array.isArray(wrong)) expect(() => tokenizer.decode(wrong as never)).toThrow(ArgumentError);
    if (wrong !== undefined) {
      await expect(loadTokenizer(wrong as never)).rejects.toThrow(ArgumentError);
    }
    expect(() => tokenizer.encode('l', { specal: true } as never)).toThrow(/did you mean 'special'/);
    await expect(loadTokenizer([file('tokenizer.json', json)], { sgnal: 1 } as never)).rejects.toThrow(
      /did you mean 'signal'/,
    );
  },
);

it.each([-1, 1.5, 'x', NaN, null])('refuses to decode %j', async (id) => {
  const tokenizer = await loadTokenizer([file('tokenizer.json', json)]);
  expect(() => tokenizer.decode([0, id as number])).toThrow(ArgumentError);
  expect(tokenizer.decode([])).toBe('');
});
