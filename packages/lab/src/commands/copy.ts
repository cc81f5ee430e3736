/** `freelunch copy`: its arguments, and what it does with them. */
import { join } from 'node:path';
import { loadKernels } from '@freelunch/kernels';
import { parseOptions, wholeNumber } from './arguments.js';
import { copyExperiment, LARGEST_SIZE } from '../copy-text/experiment.js';
import { copyCsv } from '../copy-text/csv.js';
import { copyPage } from '../copy-text/page.js';
import { copyText, priceFormulas } from '../copy-text/text.js';
import { InputError } from '../errors.js';
import { checkFolder, writeFiles } from '../files/write.js';
import { progressBar } from './progress.js';
import { DEFAULT_TEXT, readText } from '../files/read-text.js';
import type { TokenKind } from '../files/tokens.js';

const DEFAULT_LENGTHS = [64, 256, 1024];
const DEFAULT_STATES = [16, 64, 256, 1024];

export const copyHelp = () => `Usage: freelunch copy [file] [options]

Stores a text, token by token, through linear attention, Mamba's selective scan
and softmax attention, with weights that are written down, not learned; reads it
back; and shows what each remembers at which size, beside what theory predicts.
Without a file it takes a short text of its own.

  --lengths LIST    numbers of tokens to store, from the start of the file, up to
                    ${LARGEST_SIZE} (default ${DEFAULT_LENGTHS.join(',')}, as far as the file goes)
  --states LIST     slots of the state: key width, addresses, registers, up to
                    ${LARGEST_SIZE} (default ${DEFAULT_STATES.join(',')})
  --tokens KIND     characters (UTF-8) or bytes (default characters)
  --value-size N    floats for a token's value (default 16)
  --draws N         times random keys are drawn (default 16)
  --seed N          whole number that all randomness comes from (default 1)
  --json            write the data as JSON to the standard output, nothing else
  --out DIR         write index.html (a page with plots), copy.json and copy.csv
                    into this folder
  -h, --help        this help

The same seed gives the same data on every machine. A progress bar is shown where
the standard error is a terminal; colours where the standard output is one and
NO_COLOR is not set.

Price, for T tokens stored, R read, N slots of v floats, b = ceil(log2 T):

${priceFormulas()
  .map((line) => `  ${line}`)
  .join('\n')}

Exit codes: 0 done, 2 bad input, 130 interrupted, 1 anything else.
`;

interface CopyArguments {
  file: string;
  lengths: number[] | undefined;
  states: number[];
  kind: TokenKind;
  dValue: number;
  draws: number;
  seed: number;
  json: boolean;
  out: string | undefined;
}

/** @throws InputError if an argument is wrong */
export function parseCopyArguments(args: string[]): CopyArguments | 'help' {
  const { values, positionals } = parse(args);
  if (values.help) return 'help';
  if (positionals.length > 1)
    throw new InputError(`takes one file, got ${positionals.length}: ${positionals.join(' ')}`);
  const { tokens } = values;
  if (tokens !== 'characters' && tokens !== 'bytes')
    throw new InputError(`--tokens must be characters or bytes, got '${tokens}'`);
  if (values.out === '') throw new InputError('--out must name a folder, got an empty name');
  if (positionals[0] === '') throw new InputError('the name of the file is empty');
  return {
    file: positionals[0] ?? DEFAULT_TEXT,
    lengths: values.lengths === undefined ? undefined : numbers('--lengths', values.lengths, LARGEST_SIZE),
    states: values.states === undefined ? DEFAULT_STATES : numbers('--states', values.states, LARGEST_SIZE),
    kind: tokens,
    dValue: wholeNumber('--value-size', values['value-size'], 1, 256),
    draws: wholeNumber('--draws', values.draws, 1, 10000),
    seed: wholeNumber('--seed', values.seed, 0, Number.MAX_SAFE_INTEGER),
    json: values.json,
    out: values.out,
  };
}

const parse = (args: string[]) =>
  parseOptions('copy', args, {
    lengths: { type: 'string' },
    states: { type: 'string' },
    tokens: { type: 'string', default: 'characters' },
    'value-size': { type: 'string', default: '16' },
    draws: { type: 'string', default: '16' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  });

function numbers(name: string, text: string, greatest: number): number[] {
  const values = text.split(',').map((part) => {
    const value = /^\d+$/.test(part) ? Number(part) : NaN;
    if (!(value >= 1 && value <= greatest)) {
      throw new InputError(
        `${name} must be whole numbers from 1 to ${greatest} with commas between them, got '${text}'`,
      );
    }
    return value;
  });
  return [...new Set(values)].sort((a, b) => a - b);
}

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function copyCommand(args: string[], signal: AbortSignal): Promise<void> {
  const options = parseCopyArguments(args);
  if (options === 'help') {
    process.stdout.write(copyHelp());
    return;
  }
  const text = await readText(options.file, options.kind);
  const available = text.tokens.length;
  const tooLong = options.lengths?.find((length) => length > available);
  if (tooLong !== undefined) {
    throw new InputError(
      `--lengths must be at most the ${available} ${text.kind} of ${text.name}, got ${tooLong}`,
    );
  }
  if (text.vocabulary.length > 2 ** options.dValue) {
    throw new InputError(
      `--value-size must be ${Math.ceil(Math.log2(text.vocabulary.length))} or more for the ${text.vocabulary.length} ` +
        `different ${text.kind} of ${text.name}, got ${options.dValue}`,
    );
  }
  const lengths = options.lengths ?? [
    ...new Set(DEFAULT_LENGTHS.map((length) => Math.min(length, available))),
  ];
  if (options.out !== undefined) await checkFolder(options.out);

  const k = await loadKernels({ variant: 'simd' });
  const bar = progressBar(process.stderr);
  let report;
  try {
    const { states, dValue, draws, seed } = options;
    report = await copyExperiment(
      k,
      { text, lengths, states, dValue, draws, seed },
      { onProgress: (progress) => bar.show(progress), signal },
    );
  } finally {
    bar.clear();
  }

  const json = `${JSON.stringify(report)}\n`;
  if (options.out !== undefined) {
    const files = { 'copy.json': json, 'copy.csv': copyCsv(report), 'index.html': copyPage(report) };
    await writeFiles(options.out, files, signal);
  }
  if (options.json) {
    process.stdout.write(json);
    return;
  }
  const { stdout } = process;
  const colour = stdout.isTTY === true && stdout.hasColors();
  process.stdout.write(copyText(report, { columns: stdout.columns || 80, colour }));
  if (options.out !== undefined) {
    process.stdout.write(`\nPage and data: ${join(options.out, 'index.html')}, copy.json, copy.csv\n`);
  }
}
