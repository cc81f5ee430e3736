/** Small vocabularies as GGUF files have them, learned from a few words. */
import type { Entry } from './gguf-writer.js';

const corpus = `the quick brown fox jumps over the lazy dog, and then the other thing that the author thought there was;
  1234567890 numbers and 20,000 leagues; it's we've they'll HELLO Hello hello world worlds function return value über`;

/** The printable character that stands for each byte in GPT-2's vocabularies (`bytes_to_unicode`). */
const characters = (() => {
  const plain = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(plain(byte) ? byte : next++));
})();

/** Pairs in the order in which they are most frequent. */
function learn(words: string[][], count: number): [string, string][] {
  const merges: [string, string][] = [];
  while (merges.length < count) {
    const counts = new Map<string, number>();
    for (const word of words)
      for (let i = 1; i < word.length; i++) {
        const pair = `${word[i - 1]} ${word[i]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    const [best] = [...counts].toSorted((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    if (best === undefined) break;
    const [left, right] = best[0].split(' ');
    merges.push([left, right]);
    words = words.map((word) => {
      const next: string[] = [];
      for (let i = 0; i < word.length; i++)
        next.push(word[i] === left && word[i + 1] === right ? word[i++] + right : word[i]);
      return next;
    });
  }
  return merges;
}

const wordsOf = (text: string): string[] => text.split(/\s+/);

interface Vocabulary {
  size: number;
  entries: Entry[];
}

/** Byte-level BPE, with `<|end|>` to mark an end and `<fim>` that a user defined. */
export function bytePairVocabulary(pre: string, more: Entry[] = []): Vocabulary {
  const words = wordsOf(corpus).map((word) =>
    Array.from(new TextEncoder().encode(` ${word}`), (byte) => characters[byte]),
  );
  const merges = learn(words, 80);
  const tokens = [...characters, ...merges.map((pair) => pair.join('')), '<|end|>', '<fim>'];
  const types = tokens.map((token) => (token === '<|end|>' ? 3 : token === '<fim>' ? 4 : 1));
  const end = tokens.length - 2;
  return {
    size: tokens.length,
    entries: [
      ['tokenizer.ggml.model', 'string', 'gpt2'],
      ['tokenizer.ggml.pre', 'string', pre],
      ['tokenizer.ggml.tokens', 'string', tokens, 'array'],
      ['tokenizer.ggml.token_type', 'int32', types, 'array'],
      ['tokenizer.ggml.merges', 'string', merges.map((pair) => pair.join(' ')), 'array'],
      ['tokenizer.ggml.bos_token_id', 'uint32', end],
      ['tokenizer.ggml.eos_token_id', 'uint32', end],
      ...more,
    ],
  };
}

/** SentencePiece's BPE with bytes for characters that it lacks. */
export function sentencePieceVocabulary(more: Entry[] = []): Vocabulary {
  const words = wordsOf(corpus).map((word) => Array.from(`▁${word}`));
  const merges = learn(words, 80);
  const letters = [...new Set(words.flat())].toSorted();
  const bytes = Array.from(
    characters,
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const pieces = [...new Set(merges.map((pair) => pair.join('')))];
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...pieces, ...letters];
  const types = tokens.map((_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1));
  return {
    size: tokens.length,
    entries: [
      ['tokenizer.ggml.model', 'string', 'llama'],
      ['tokenizer.ggml.tokens', 'string', tokens, 'array'],
      ['tokenizer.ggml.scores', 'float32', tokens.map((_, id) => Math.min(0, 259 - id)), 'array'],
      ['tokenizer.ggml.token_type', 'int32', types, 'array'],
      ['tokenizer.ggml.bos_token_id', 'uint32', 1],
      ['tokenizer.ggml.eos_token_id', 'uint32', 2],
      ['tokenizer.ggml.unknown_token_id', 'uint32', 0],
      ...more,
    ],
  };
}

/** Texts that tokenizers divide in different ways. */
export const texts = [
  'the quick brown fox',
  ' leading and  double   spaces ',
  "it's we've THEY'LL don't",
  '12345 and 20,000.5 x2y',
  'line\n\n  next\r\n\ttab \n',
  'Über die Füße: naïve façade, 日本語 текст 🙂👍🏽',
  'f(x)=[1,2];//!?...---',
  'hello<|end|>world <fim> there',
  '<s>the</s>',
];
