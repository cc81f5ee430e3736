/** `freelunch copy`: its arguments, and what it does with them. */
import { join } from 'node:path';
import { loadKernels } from '@freelunch/kernels';
import { copyCsv } from '../copy-text/csv.js';
import { copyExperiment, type CopyReport, LARGEST_SIZE } from '../copy-text/experiment.js';
import { copyPage } from '../copy-text/page.js';
import { copyText, priceFormulas } from '../copy-text/text.js';
import { InputError } from '../errors.js';
import { checkOwn, writeOwnFiles } from '../files/own.js';
import { DEFAULT_TEXT, readText } from '../files/read-text.js';
import type { TokenKind } from '../files/tokens.js';
import { oneOf, parseOptions, wholeNumber, wholeNumbers } from './arguments.js';
import { atMostOne, EXIT_CODES, flag, helpOption, text } from './shared.js';
import type { Terminal } from './terminal.js';

const DEFAULT_LENGTHS = [64, 256, 1024];
const DEFAULT_STATES = [16, 64, 256, 1024];

const copyHelp = () => `Usage: freelunch copy [FILE] [options]

Stores a text, token by token, in linear attention, Mamba's selective scan and
softmax attention, with hand-set weights instead of trained ones; reads it back;
and shows what each remembers at which size, next to what theory predicts.
Without a FILE it takes a short built-in text.

  --lengths LIST    numbers of tokens to store, from the start of the file, up to
                    ${LARGEST_SIZE} (default ${DEFAULT_LENGTHS.join(',')}, as far as the file goes)
  --states LIST     slots of the state: key width, addresses, registers, up to
                    ${LARGEST_SIZE} (default ${DEFAULT_STATES.join(',')})
  --tokens KIND     characters (UTF-8) or bytes (default characters)
  --value-size N    floats per token's value (default 16)
  --draws N         how often random keys are drawn (default 16)
  --seed N          whole number that all randomness comes from (default 1)
  --json            write the data as JSON to the standard output, nothing else
  --out DIR         write index.html (a page with plots), copy.json and copy.csv
                    into this folder, a new or empty one or one of an earlier copy
  -h, --help        this help

The same seed gives the same data on every machine. A progress bar is shown if the
standard error is a terminal; colours if the standard output is one and NO_COLOR is
not set.

Price, for T tokens stored, R read, N slots of v floats, b = ceil(log2 T):

${priceFormulas()
  .map((line) => `  ${line}`)
  .join('\n')}

${EXIT_CODES}
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
function parseCopyArguments(args: string[]): CopyArguments | 'help' {
  const { values, positionals } = parseOptions('copy', args, {
    lengths: text,
    states: text,
    tokens: { type: 'string', default: 'characters' },
    'value-size': { type: 'string', default: '16' },
    draws: { type: 'string', default: '16' },
    seed: { type: 'string', default: '1' },
    json: flag,
    out: text,
    ...helpOption,
  });
  if (values.help) return 'help';
  const sizes = (name: string, given: string) =>
    wholeNumbers(name, given, 1, LARGEST_SIZE).sort((a, b) => a - b);
  return {
    file: atMostOne('file', positionals) ?? DEFAULT_TEXT,
    lengths: values.lengths === undefined ? undefined : sizes('--lengths', values.lengths),
    states: values.states === undefined ? DEFAULT_STATES : sizes('--states', values.states),
    kind: oneOf('--tokens', values.tokens, ['characters', 'bytes'] as const),
    dValue: wholeNumber('--value-size', values['value-size'], 1, 256),
    draws: wholeNumber('--draws', values.draws, 1, 10000),
    seed: wholeNumber('--seed', values.seed, 0, Number.MAX_SAFE_INTEGER),
    json: values.json,
    out: values.out,
  };
}

const FILES = ['copy.json', 'copy.csv', 'index.html'] as const;

/** @throws InputError if a copy cannot be written into this folder */
export async function checkCopyFolder(folder: string): Promise<void> {
  await checkOwn(folder, 'copy', FILES);
}

/** The report as data, as a table and as a page. */
export async function writeCopy(folder: string, report: CopyReport, signal: AbortSignal): Promise<void> {
  const files: Record<(typeof FILES)[number], string> = {
    'copy.json': `${JSON.stringify(report)}\n`,
    'copy.csv': copyCsv(report),
    'index.html': copyPage(report),
  };
  await writeOwnFiles(folder, 'copy', files, signal);
}

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function copyCommand(args: string[], terminal: Terminal): Promise<void> {
  const options = parseCopyArguments(args);
  if (options === 'help') return terminal.say(copyHelp());
  const { out, states, dValue, draws, seed } = options;
  if (out !== undefined) await checkCopyFolder(out);
  const text = await readText(options.file, options.kind);
  const available = text.tokens.length;
  const tooLong = options.lengths?.find((length) => length > available);
  if (tooLong !== undefined)
    throw new InputError(
      `--lengths must be at most the ${available} ${text.kind} of ${text.name}, got ${tooLong}`,
    );
  if (text.vocabulary.length > 2 ** dValue)
    throw new InputError(
      `--value-size must be ${Math.ceil(Math.log2(text.vocabulary.length))} or more for the ${text.vocabulary.length} ` +
        `different ${text.kind} of ${text.name}, got ${dValue}`,
    );
  const lengths = options.lengths ?? [
    ...new Set(DEFAULT_LENGTHS.map((length) => Math.min(length, available))),
  ];

  const { bar, signal, columns, colour } = terminal;
  const k = await loadKernels({ variant: 'simd' });
  const report = await copyExperiment(
    k,
    { text, lengths, states, dValue, draws, seed },
    { onProgress: (progress) => bar.show(progress), signal },
  ).finally(() => bar.clear());

  if (out !== undefined) await writeCopy(out, report, signal);
  if (options.json) return terminal.json(report);
  terminal.say(copyText(report, { columns, colour }));
  if (out !== undefined) terminal.say(`\nPage and data: ${join(out, 'index.html')}, copy.json, copy.csv\n`);
}
