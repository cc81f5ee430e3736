import { describe, expect, it } from 'vitest';
import { StopTexts, TextStream } from './streaming.js';

const decoder = new TextDecoder();
const decode = (ids: readonly number[]) => decoder.decode(Uint8Array.from(ids));
const bytes = (text: string) => [...new TextEncoder().encode(text)];

describe('TextStream', () => {
  it('holds back parts of characters, and nothing longer than needed', () => {
    const stream = new TextStream(decode, bytes('before'));
    expect(bytes('aé€🙂b').map((id) => stream.push(id))).toEqual([
      'a',
      '',
      'é',
      '',
      '',
      '€',
      '',
      '',
      '',
      '🙂',
      'b',
    ]);
    expect(stream.end()).toBe('');
  });

  it('gives all there is in the end, broken as it may be', () => {
    const stream = new TextStream(decode, []);
    expect([stream.push(0xe2), stream.push(0x82), stream.end(), stream.end()]).toEqual([
      '',
      '',
      '\ufffd',
      '',
    ]);
  });

  it('does not wait for characters that are broken', () => {
    const stream = new TextStream(decode, []);
    const pieces = Array.from({ length: 10 }, () => stream.push(0x80));
    expect([...pieces, stream.end()].join('')).toBe('\ufffd'.repeat(10));
    expect(pieces.findIndex((piece) => piece !== '')).toBeLessThan(6);
  });

  it('keeps the blanks that a tokenizer drops at the start of a text', () => {
    const words = ['▁no', '▁lunch', '▁is', '▁free'];
    const text = (ids: readonly number[]) =>
      ids
        .map((id) => words[id])
        .join('')
        .replaceAll('▁', ' ')
        .trimStart();
    const stream = new TextStream(text, [0]);
    expect([1, 2, 3].map((id) => stream.push(id))).toEqual([' lunch', ' is', ' free']);
  });
});

describe('StopTexts', () => {
  it.each([
    [['a', 'b', 'END', 'c'], ['END'], 'ab', true],
    [['aE', 'N', 'Db'], ['END'], 'a', true],
    [['aEN', 'E', 'ND'], ['END'], 'aEN', true],
    [['aEN', 'x'], ['END'], 'aENx', false],
    [['ab', 'EN'], ['END'], 'abEN', false],
    [['one two'], ['two', 'one'], '', true],
    [['aaa', 'aab'], ['aab'], 'aaa', true],
    [['x'], [], 'x', false],
  ])('%j ends at %j: %s', (pieces, stops, text, stopped) => {
    const texts = new StopTexts(stops);
    const shown: string[] = [];
    for (const piece of pieces) if (!texts.stopped) shown.push(texts.push(piece));
    if (!texts.stopped) shown.push(texts.end());
    expect([shown.join(''), texts.stopped]).toEqual([text, stopped]);
  });
});
