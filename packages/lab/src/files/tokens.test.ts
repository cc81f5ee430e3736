import { expect, it } from 'vitest';
import { glyphs, tokenize } from './tokens.js';

const bytes = (text: string) => new TextEncoder().encode(text);

it('numbers characters in order of their code', () => {
  const { tokens, vocabulary } = tokenize('x', bytes('baéa😀b'), 'characters');
  expect(String.fromCodePoint(...vocabulary)).toBe('abé😀');
  expect([...tokens]).toEqual([1, 0, 2, 0, 3, 1]);
});

it('takes bytes as they are', () => {
  const { tokens, vocabulary } = tokenize('x', Uint8Array.of(255, 0, 255), 'bytes');
  expect(vocabulary).toEqual([0, 255]);
  expect([...tokens]).toEqual([1, 0, 1]);
});

it('leaves out a byte order mark', () => {
  expect(tokenize('x', Uint8Array.of(0xef, 0xbb, 0xbf, 0x61), 'characters').vocabulary).toEqual([0x61]);
  expect(() => tokenize('x', Uint8Array.of(0xef, 0xbb, 0xbf), 'characters')).toThrow(
    'empty except for a byte order mark',
  );
});

it('shows one sign for each symbol, whatever it is', () => {
  const { vocabulary } = tokenize('x', bytes('a \n\t\u0007\u0301\u200d\u00a0é記'), 'characters');
  expect(glyphs({ vocabulary, kind: 'characters' }).join('')).toBe('▯→↵ a▯é▯▯記');
  expect(glyphs({ vocabulary: [65, 127, 233], kind: 'bytes' }).join('')).toBe('A▯▯');
});
