/** `freelunch copy`: its arguments, and what it does with them. */
import { join } from 'node:path';
import { loadKernels } from '@freelunch/kernels';
import { copyPriceFormulas } from '@freelunch/constructions';
import { LARGEST_SIZE } from '../copy/measures.js';
import {
  builtInText,
  copyTextConfig,
  type CopyTextConfig,
  type CopyTextRow,
  DEFAULT_LENGTHS,
  DEFAULT_STATES,
} from '../copy-text/config.js';
import { copyText } from '../copy-text/experiment.js';
import { InputError } from '../errors.js';
import type { Findings } from '../experiments/experiment.js';
import { runInMemory } from '../experiments/in-memory.js';
import { csvOfRows } from '../files/csv.js';
import { checkOwn, writeOwnFiles } from '../files/own.js';
import { readText } from '../files/read-text.js';
import type { TokenKind, TokenText } from '../files/tokens.js';
import { capitalised, copyWays } from '../mixers.js';
import { experimentPage } from '../report/findings-page.js';
import { findingsText } from '../report/findings-text.js';
import { textTable } from '../report/text-table.js';
import { quoted } from '../running/config.js';
import { machine } from '../running/finished.js';
import { oneOf, parseOptions, wholeNumber, wholeNumbers } from './arguments.js';
import { atMostOne, EXIT_CODES, flag, helpOption, text } from './shared.js';
import type { Terminal } from './terminal.js';

/** The formulas of the prices. */
const priceFormulas = () =>
  textTable(
    ['', 'floats kept', 'FLOPs'],
    copyWays.map(({ mixer, label }) => [
      capitalised(label),
      copyPriceFormulas[mixer].floats,
      copyPriceFormulas[mixer].flops,
    ]),
    78,
  )
    .trimEnd()
    .split('\n');

const copyHelp = () => `Usage: freelunch copy [FILE] [options]

COPY means: store a sequence, then write it out again. This command stores a text,
token by token, in linear attention, Mamba's selective scan and softmax attention,
with hand-set weights instead of trained ones; reads it back; and shows what each
remembers at which size, next to what theory predicts. Without a FILE it takes a
short built-in text.

  --lengths LIST    numbers of tokens to store, from the start of the file, up to
                    ${LARGEST_SIZE} (default ${DEFAULT_LENGTHS.join(',')}, as far as the file goes)
  --states LIST     slots of the state: key width, addresses, registers, up to
                    ${LARGEST_SIZE} (default ${DEFAULT_STATES.join(',')})
  --tokens KIND     characters (UTF-8) or bytes (default characters)
  --value-size N    floats per token's value (default 16)
  --draws N         how often random keys are drawn (default 16)
  --seed N          whole number that all randomness comes from (default 1)
  --json            configuration, rows and findings as JSON, nothing else
  --out DIR         write index.html (a page with plots), copy.json (what --json
                    gives) and copy.csv (the rows) into this folder, a new or
                    empty one or one of an earlier copy
  -h, --help        this help

The same seed gives the same data on every machine. A progress bar is shown if the
standard error is a terminal; colours if the standard output is one and NO_COLOR is
not set. The experiment of this command is copy-text (see freelunch run --help).

Price of storing T tokens and reading R, with N slots of v floats,
b = ceil(log2 T):

${priceFormulas()
  .map((line) => `  ${line}`)
  .join('\n')}

${EXIT_CODES}
`;

interface CopyArguments {
  /** The built-in text if absent. */
  file: string | undefined;
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
    file: atMostOne('file', positionals),
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

/** The file as it is read, or the built-in text. */
export const textOf = (file: string | undefined, kind: TokenKind): Promise<TokenText> =>
  file === undefined ? Promise.resolve(builtInText(kind)) : readText(file, kind);

/** The command that gives the same again. */
export function copyCommandOf(
  file: string | undefined,
  { kind, lengths, states, dValue, draws, seed }: CopyTextConfig,
): string {
  const name = file === undefined ? '' : ` ${quoted(file)}`;
  return (
    `freelunch copy${name} --lengths ${lengths.join()} --states ${states.join()} --tokens ${kind} ` +
    `--value-size ${dValue} --draws ${draws} --seed ${seed}`
  );
}

/** The result as a page, as data and as a table. */
function filesOf(
  file: string | undefined,
  result: { config: CopyTextConfig; rows: CopyTextRow[]; findings: Findings },
): Record<(typeof FILES)[number], string> {
  const { config, rows, findings } = result;
  const { name, summary } = copyText;
  const command = copyCommandOf(file, config);
  const withoutTexts = rows.map((row) =>
    Object.fromEntries(Object.entries(row).filter(([field]) => field !== 'remembered')),
  );
  return {
    'copy.json': `${JSON.stringify(dataOf(result))}\n`,
    'copy.csv': csvOfRows(withoutTexts),
    'index.html': experimentPage({ name, summary, command, machine: machine(), findings }),
  };
}

const dataOf = ({
  config,
  rows,
  findings: { text: sentences, tables, verdicts },
}: Parameters<typeof filesOf>[1]) => ({
  experiment: copyText.name,
  config,
  rows,
  findings: { text: sentences, tables, verdicts },
});

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function copyCommand(args: string[], terminal: Terminal): Promise<void> {
  const options = parseCopyArguments(args);
  if (options === 'help') return terminal.help(copyHelp());
  const { out, lengths, states, dValue, draws, seed } = options;
  if (out !== undefined) await checkOwn(out, 'copy', FILES);
  const text = await textOf(options.file, options.kind);
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

  const { bar, signal, columns, colour } = terminal;
  const k = await loadKernels({ variant: 'simd', threads: 'auto' });
  const config = copyTextConfig(text, { lengths, states, dValue, draws, seed });
  const result = await runInMemory(copyText, k, config, {
    signal,
    onProgress: (done, label = '') => bar.show({ done, label }),
  }).finally(() => bar.clear());

  if (out !== undefined) await writeOwnFiles(out, 'copy', filesOf(options.file, result), signal);
  if (options.json) return terminal.json(dataOf(result));
  terminal.say(findingsText(copyText, result.findings, { columns, colour }));
  if (out !== undefined) terminal.say(`\nPage and data: ${join(out, 'index.html')}, copy.json, copy.csv\n`);
}
