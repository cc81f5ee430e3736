/** `freelunch measure`: its arguments, and what it does with them. */
import { join } from 'node:path';
import { FreelunchError, OutOfMemoryError, show } from '@freelunch/errors';
import { loadKernels } from '@freelunch/kernels';
import { InputError } from '../errors.js';
import { checkOwn, writeOwnFiles } from '../files/own.js';
import { measure, measuredModes } from '../measure/measure.js';
import { calibrationFor, defaultModels, type Pair } from '../measure/models.js';
import { measurePage } from '../measure/page.js';
import {
  crossoverCaption,
  crossoverHeader,
  crossoverRows,
  exponentHeader,
  exponentRows,
  fitNote,
  rateHeader,
  rateRows,
  verdict,
} from '../measure/tables.js';
import { textTable, wrap } from '../report/text-table.js';
import { parseOptions, wholeNumber, wholeNumbers } from './arguments.js';
import { EXIT_CODES, flag, helpOption, text, threadsOf } from './shared.js';
import { readConfigs } from './situation.js';
import type { Terminal } from './terminal.js';

const DEFAULT_LENGTHS = '16,32,64,96,128,192,256,384,512,768,1024,1536,2048';

const measureHelp = `Usage: freelunch measure [CONFIG CONFIG...] [options]

Times small models with random weights, on prompts and on the steps after them;
fits to these times how fast this machine is at each kind of op; from that predicts
the times of other models, and where the first of them and each of the others cost
the same; then times these as well, to say how far off the predictions are.
Without a CONFIG: softmax attention and each of Mamba, Mamba-2, linear attention,
a window and a hybrid, at two widths, with and without MLPs.

  --lengths LIST    four or more (default
                    ${DEFAULT_LENGTHS})
  --passes N        how often each is timed; the best counts; up to twice as often
                    where the best two differ (default 5)
  --threads N       threads that compute (default 1)
  --out DIR         write measure.html (a page with plots) and measure.json into
                    this folder, a new or empty one or one of an earlier measure
  --json            data as JSON, nothing else
  -h, --help        this help

${EXIT_CODES}
`;

const FILES = ['measure.html', 'measure.json'] as const;

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function measureCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('measure', args, {
    lengths: { type: 'string', default: DEFAULT_LENGTHS },
    passes: { type: 'string', default: '5' },
    threads: text,
    out: text,
    json: flag,
    ...helpOption,
  });
  if (values.help) return terminal.help(measureHelp);
  const { out } = values;
  const { bar, signal, columns, width } = terminal;
  if (positionals.length === 1) throw new InputError('takes no config, or 2 or more, got 1');
  const lengths = wholeNumbers('--lengths', values.lengths, 1, 65536);
  if (lengths.length < 4)
    throw new InputError(`--lengths must be four different ones or more, got ${show(values.lengths)}`);
  const passes = wholeNumber('--passes', values.passes, 1, 1000);
  const threads = threadsOf(values.threads, 1);
  if (out !== undefined) await checkOwn(out, 'measure', FILES);
  const { models, pairs } = positionals.length > 0 ? await compared(positionals, signal) : defaultModels();
  const calibration = calibrationFor(models, lengths);
  if (calibration.lengths.length < 3)
    throw new InputError(
      `--lengths must reach far enough for 3 other lengths to fit to, got ${show(values.lengths)}`,
    );

  const k = await loadKernels({ variant: 'simd', threads });
  const report = await measure(k, {
    models,
    pairs,
    lengths,
    calibration,
    passes,
    signal,
    onProgress: (at) => bar.show(at),
  })
    .catch((cause: unknown) => {
      // The models say which of their fields cannot be, or that they do not fit.
      if (signal.aborted || !(cause instanceof FreelunchError)) throw cause;
      const advice = cause instanceof OutOfMemoryError ? '; smaller models or shorter --lengths fit' : '';
      throw new InputError(`${cause.message}${advice}`, { cause });
    })
    .finally(() => bar.clear());
  if (out !== undefined) {
    const files: Record<(typeof FILES)[number], string> = {
      'measure.html': measurePage(report),
      'measure.json': `${JSON.stringify(report)}\n`,
    };
    await writeOwnFiles(out, 'measure', files, signal);
  }
  if (values.json) return terminal.json(report);

  const prose = (sentences: string) => `${wrap(sentences, width).join('\n')}\n`;
  const parts = [
    prose(fitNote(report)),
    textTable(rateHeader, rateRows(report), columns),
    prose('None of the following models was used for the fit. Times grow with these powers of the length:'),
    textTable(exponentHeader, exponentRows(report), columns),
    ...measuredModes.map((mode) => {
      const own = crossoverRows(report).filter((row) => row[1] === mode);
      const withoutMode = ([pair, , ...rest]: readonly string[]) => [pair, ...rest];
      const rows = textTable(withoutMode(crossoverHeader), own.map(withoutMode), columns);
      return `${prose(`${crossoverCaption}, ${mode}:`)}\n${rows}`;
    }),
    prose(verdict(report)),
  ];
  terminal.say(parts.join('\n'));
  if (out !== undefined) terminal.say(`\nPage and data: ${join(out, 'measure.html')}, measure.json\n`);
}

/** The first against each of the others. */
async function compared(sources: string[], signal: AbortSignal): Promise<ReturnType<typeof defaultModels>> {
  const models = await readConfigs(sources, signal, 2);
  return { models, pairs: models.slice(1).map((_, i): Pair => [0, i + 1]) };
}
