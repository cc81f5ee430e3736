import { describe, expect, it } from 'vitest';
import { whyUnbounded } from './regular-expression.js';

// The patterns of published tokenizers.
const published: Record<string, string> = {
  gpt2: String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  llama3: String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  o200k: String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  bloom: String.raw` ?[^(\s|[.,!?…。，、।۔،])]+`,
  deepseek:
    '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+',
  clip: String.raw`<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`,
  digits: String.raw`\d{1,3}(?=(?:\d{3})*\b)`,
  spaces: ' {2,}',
};

describe('a regular expression', () => {
  it.each(Object.entries(published))('of a published tokenizer is taken: %s', (_name, pattern) => {
    expect(whyUnbounded(pattern)).toBeUndefined();
  });

  it.each([
    '(a+)+$',
    '(a*)*b',
    '(a|a)*b',
    '(a|aa)+$',
    '((a?){30}){30}b',
    '(?:a?a?)*b',
    String.raw`(\w+\s?)+$`,
    '(x+x+)+y',
    'a*a*a*a*b',
    `${'a?'.repeat(30)}${'a'.repeat(30)}`,
    '(a|a)'.repeat(30),
    'a{0,8}'.repeat(30),
    String.raw`(a)\1*`,
    '('.repeat(1000),
    'a'.repeat(1e6),
    '(?<n>(?:a{1,9})+)*',
    ')(a+)+',
    '[]a](a+)+',
    '(?i)(a+)+',
    '(?#x)(a+)+',
    '(?=(a+)+b)c',
  ])('that may search without end is not: %s', (pattern) => {
    expect(whyUnbounded(pattern)).toEqual(expect.any(String));
  });

  it('that is taken does not search long', () => {
    const texts = ['a', ' ', '\n', '1', 'A', '!', 'aA', ' \n'].map((text) => `${text.repeat(1000)}\u0000`);
    for (const pattern of Object.values(published)) {
      const source = pattern
        .replace(/\(\?i:/g, '(?:')
        .replaceAll('[^(\\s|[', '[^()\\s')
        .replaceAll('،])]', '،]');
      const regex = new RegExp(source, 'gu');
      const startedAt = performance.now();
      for (const text of texts) text.match(regex);
      expect(performance.now() - startedAt).toBeLessThan(5000);
    }
  });
});
