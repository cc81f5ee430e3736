/**
 * Find a number in a phone book. Tokens are characters.
 *
 *     Ada Nolo: 7016613186
 *     Kebu Rasa: 6913909960
 *     (blank line, two of the lines again as examples, blank line)
 *     Ada Nolo:                       answer 7016613186
 *
 * @see Jelassi et al. 2024, Repeat after me, https://arxiv.org/abs/2402.01032
 */
import { judgeContinuation } from '../check.js';
import { refuse } from '../errors.js';
import { checkBoolean, checkSize, drawSize, type Size, takeOptions } from '../options.js';
import type { Random } from '@freelunch/random';
import { Task } from '../task.js';
import { continuation } from '../sample.js';
import { Vocabulary } from '../vocabulary.js';

export interface PhoneBookOptions {
  /** Lines in the book. */
  entries: Size;
  /** No name occurs twice. */
  uniqueNames: boolean;
}

export interface PhoneBookProblem {
  entries: { name: string; number: string }[];
  /** Lines that are shown again as examples. */
  examples: [number, number];
  /** The line that is asked for. */
  query: number;
}

const CONSONANTS = 'bcdfghjklmnprstvz';
const VOWELS = 'aeiou';
const CHARACTERS = [
  '*',
  '\n',
  ' ',
  ':',
  ...'0123456789',
  ...'ABCDEFGHIJKLMNOPQRSTUVWXYZ',
  ...'abcdefghijklmnopqrstuvwxyz',
];

/**
 * Made-up names and numbers of ten digits, the first 6 to 9. Two lines are shown again, a third is asked for.
 *
 * @throws TaskError if an option is out of range
 */
export function phoneBook(given?: Partial<PhoneBookOptions>): Task<PhoneBookProblem> {
  const where = 'phoneBook';
  const options = takeOptions<PhoneBookOptions>(where, given, { entries: 20, uniqueNames: true });
  checkSize(where, 'entries', options.entries, 3, 1e6);
  checkBoolean(where, 'uniqueNames', options.uniqueNames);
  const vocabulary = new Vocabulary(CHARACTERS, { pad: '*', end: '\n', joiner: '' });
  const newline = vocabulary.id('\n');
  const space = vocabulary.id(' ');

  /** The prompt, and where in it the line begins that holds the answer. */
  function text({ entries, examples, query }: PhoneBookProblem): { prompt: string; lineStart: number } {
    if (!entries[query]) refuse(where, 'query', 'a line of the book', query);
    const lineStart = entries.slice(0, query).reduce((sum, entry) => sum + line(entry).length, 0);
    const book = entries.map(line).join('');
    const shown = examples.map((i) => line(entries[i])).join('');
    return { prompt: `${book}\n${shown}\n${entries[query].name}:`, lineStart };
  }

  return new Task<PhoneBookProblem>({
    name: 'phone-book',
    version: 1,
    options,
    summary: 'say the number of the last name',
    vocabulary,
    draw(rng, size) {
      const count = size ?? drawSize(options.entries, rng);
      checkSize(where, 'entries', count, 3, 1e6);
      const names = new Set<string>();
      const entries: PhoneBookProblem['entries'] = [];
      while (entries.length < count) {
        const name = `${drawName(rng)} ${drawName(rng)}`;
        if (options.uniqueNames && names.has(name)) continue; // names outnumber entries by far
        names.add(name);
        let number = String(6 + rng.integer(4));
        for (let i = 1; i < 10; i++) number += rng.integer(10);
        entries.push({ name, number });
      }
      const first = rng.integer(count);
      let second = rng.integer(count - 1);
      if (second >= first) second++;
      let query = rng.integer(count - 2);
      for (const taken of [first, second].sort((a, b) => a - b)) if (query >= taken) query++;
      return { entries, examples: [first, second], query };
    },
    write(problem) {
      const number = vocabulary.encode(problem.entries[problem.query].number);
      const written = continuation(vocabulary.encode(text(problem).prompt), [space, ...number], newline);
      return { ...written, answer: number };
    },
    /** The first line counts; the space before the number may be missing. */
    judge(sample, output) {
      const expected = sample.tokens.slice(sample.prompt.length);
      const bare = /\d/.test(vocabulary.tokens[output[0]] ?? '');
      return judgeContinuation(bare ? expected.slice(1) : expected, output, newline);
    },
    sources(problem) {
      const { prompt, lineStart } = text(problem);
      const numberStart = lineStart + problem.entries[problem.query].name.length + 2;
      const digits = Array.from({ length: 10 }, (_, i) => numberStart + i);
      return [...Array.from(prompt, () => -1), -1, ...digits, -1];
    },
  });
}

function line({ name, number }: PhoneBookProblem['entries'][number]): string {
  return `${name}: ${number}\n`;
}

/** Two to four syllables of a consonant and a vowel. */
function drawName(rng: Random): string {
  const syllables = 2 + rng.integer(3);
  let name = '';
  for (let i = 0; i < syllables; i++) {
    name += CONSONANTS[rng.integer(CONSONANTS.length)] + VOWELS[rng.integer(VOWELS.length)];
  }
  return name[0].toUpperCase() + name.slice(1);
}
