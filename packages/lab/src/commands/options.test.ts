import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { commandNames } from '../../dist/commands/main.js';
import { freelunch, workFolder } from '../testing/cli.js';

const { file } = workFolder();
file('text.txt', 'the cat sat on the mat');
file('samples.json', '{}');

const long = 'x'.repeat(5000);
const values = [
  '',
  '0',
  '-1',
  '1e15',
  'NaN',
  'x',
  '9'.repeat(400),
  ',',
  '1,',
  long,
  '\u001b[2J\u0007',
  '\n',
  '../',
];

/** Names of files and folders that may be: what a command then does is not of interest here. */
const names = values.filter((value) => value !== '' && value !== long);

interface Subject {
  /** Work that takes milliseconds, or a file that is missing, which is told once all options are found right. */
  args: string[];
  /** Each option, and the values among those above that are right for it. */
  options: Record<string, readonly string[]>;
  /** Right values that would take too long. */
  skip?: readonly string[];
}

const situation = {
  '--mode': [],
  '--batch': [],
  '--prompt': [],
  '--new': ['0'],
  '--dtype': [],
  '--kind': [],
};
const curve = { '--figure': [], '--along': [] };
const run = ['run', 'copy-capacity', '--set', 'lengths=8', '--set', 'ratios=1', '--set', 'tokensRead=8'];

const subjects: Subject[] = [
  { args: ['tasks', 'export'], options: { '--from': [] } },
  { args: ['story', 'missing.txt'], options: { '--out': names, '--workers': [], '--threads': [] } },
  {
    args: ['copy', 'text.txt', '--lengths', '8', '--states', '8', '--draws', '1'],
    options: {
      '--lengths': [],
      '--states': [],
      '--tokens': [],
      '--value-size': [],
      '--draws': [],
      '--seed': ['0'],
      '--out': names,
    },
  },
  {
    args: run,
    options: {
      '--preset': [],
      '--set': [],
      '--config': [],
      '--out': names,
      '--workers': [],
      '--threads': [],
      '--redis': [],
    },
    skip: ['--out'],
  },
  {
    args: run,
    options: Object.fromEntries(
      ['lengths', 'ratios', 'vocabSize', 'dValue', 'tokensRead', 'seed'].map((name) => [
        `--set=${name}`,
        name === 'seed' ? ['0', '1e15'] : [],
      ]),
    ),
    skip: ['--set=seed'],
  },
  {
    args: ['sweep', 'missing.json'],
    options: { '--out': names, '--workers': [], '--threads': [], '--redis': [] },
  },
  {
    // Nobody listens at this port.
    args: ['worker', '--redis', 'redis://127.0.0.1:1'],
    options: { '--redis': [], '--workers': [], '--threads': [], '--out': names, '--lost-after': [] },
    skip: ['--out'],
  },
  { args: ['queue', 'status'], options: { '--redis': [] } },
  { args: ['report', 'missing'], options: { '--out': names } },
  { args: ['tasks', 'show', 'lis'], options: { '--set': [], '--set=length': [], '--seed': ['0'] } },
  {
    args: ['tasks', 'export', 'lis', '--count', '2'],
    options: {
      '--set': [],
      '--set=length': [],
      '--set=form': [],
      '--seed': ['0'],
      '--count': [],
      '--split': [],
      '--test-share': [],
      '--split-seed': [],
      '--out': names,
      '--format': [],
      '--seq-len': [],
      '--padding': [],
    },
  },
  { args: ['tasks', 'export', 'lis', '--split', 'test', '--count', '2'], options: { '--split-seed': ['0'] } },
  {
    args: ['tasks', 'export', 'lis', '--out', 'a.safetensors'],
    options: { '--seq-len': [], '--padding': [] },
  },
  {
    args: ['generate', 'missing', 'a prompt'],
    options: {
      '--prompt-file': [],
      '--max-tokens': [],
      '--temperature': ['0'],
      '--top-k': [],
      '--top-p': [],
      '--seed': ['0'],
      '--stop': names,
      '--dtype': [],
      '--threads': [],
      '--token': names,
    },
  },
  { args: ['inspect', 'missing'], options: { '--lengths': [], '--token': names } },
  { args: ['cost', 'mamba-small'], options: situation },
  {
    args: ['compare', 'mamba-small', 'softmax-small'],
    options: { ...situation, ...curve, '--lengths': [], '--out': names },
  },
  { args: ['crossover', 'mamba-small', 'softmax-small'], options: { ...situation, ...curve } },
  { args: ['table'], options: { '--T': [], '--m': [], '--precision': [] } },
  {
    args: ['measure', 'missing.json', 'missing.json'],
    options: { '--lengths': [], '--passes': [], '--threads': [], '--out': names },
  },
];

/** One line of what can be printed, and not endless. */
function expectOneLine(stderr: string, of: readonly string[]): void {
  expect(stderr, of.join(' ')).toMatch(/^freelunch( \w+)?: [^\p{Cc}]{5,1000}\n$/u);
  expect(stderr, of.join(' ')).not.toMatch(/\bat .*\.js|Error:|undefined \(|is not iterable|Cannot read/);
}

describe.each(subjects)('freelunch $args', ({ args, options, skip = [] }) => {
  it.each(Object.entries(options))('refuses absurd values of %s in one line', async (option, right) => {
    for (const value of values) {
      if (right.includes(value) && skip.includes(option)) continue;
      // The later one of two counts.
      const line = [...args, `${option}=${value}`];
      const { status, stdout, stderr } = await freelunch(line);
      if (right.includes(value) && status === 0) {
        expect([stderr, stdout.includes('\u001b')], line.join(' ')).toEqual(['', false]);
        continue;
      }
      expectOneLine(stderr, line);
      expect([status, stdout], line.join(' ')).toEqual([2, '']);
    }
  });
});

describe.each(commandNames)('freelunch %s', (command) => {
  it('refuses absurd names, options it does not have, and values of options that take none', async () => {
    const lines = [
      ...values.map((value) => [command, value]),
      ...values.filter((value) => value !== '').map((value) => [command, 'missing', `--${value}`]),
      [command, 'a', 'b', 'c'],
      [command, '--json=1'],
      [command, '--help=1'],
      [command, '--out'],
    ];
    for (const line of lines) {
      if (line[1] === '../' && command === 'report') continue; // a folder, with whatever lies there
      const { status, stdout, stderr } = await freelunch(line);
      expectOneLine(stderr, line);
      expect([status, stdout], line.join(' ')).toEqual([2, '']);
    }
  });

  it('has every option of its help in the table above', async () => {
    const { stdout, status } = await freelunch([command, '--help']);
    expect(status).toBe(0);
    const told = [...stdout.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)(?= [A-Zf])/gm)].map(([, option]) => option);
    const subjectsOf = subjects.filter(({ args }) => args[0] === command);
    const known = new Set(subjectsOf.flatMap(({ options }) => Object.keys(options)));
    expect(told.filter((option) => !known.has(option))).toEqual([]);
    expect(told.length > 0 || command === 'models').toBe(true); // which has flags alone
    expect(Math.max(...stdout.split('\n').map((text) => text.length))).toBeLessThanOrEqual(80);
  });
});

it('leaves nothing behind but what it was told to write', () => {
  expect(readdirSync('.').filter((name) => /partial|tmp|freelunch-out/.test(name))).toEqual([]);
});
