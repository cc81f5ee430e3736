/** `freelunch measure`: its arguments, and what it does with them. */
import { join } from 'node:path';
import { loadKernels } from '@freelunch/kernels';
import { parseOptions, wholeNumber } from './arguments.js';
import { InputError } from '../errors.js';
import { measure, measuredModes, type MeasureReport } from '../measure/measure.js';
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
import { readConfig } from '../files/model-config.js';
import { checkFolder, writeFiles } from '../files/write.js';
import { progressBar } from './progress.js';
import { textTable } from '../report/text-table.js';

const DEFAULT_LENGTHS = '16,32,64,96,128,192,256,384,512,768,1024,1536,2048';

export const measureHelp = `Usage: freelunch measure [CONFIG CONFIG...] [options]

Times small models with random weights, prompts and steps after them; fits to these
times how fast this machine is at each kind of op; predicts from that what other
models take, and where the first of them and each of the others cost the same; and
times these as well, to say how far off the prediction was.
Without a CONFIG: softmax attention against Mamba, Mamba-2, linear attention, a
window and a hybrid, at two widths, with and without MLPs.

  --lengths LIST    four or more (default
                    ${DEFAULT_LENGTHS})
  --passes N        the best of so many counts, of up to twice as many where the
                    best two differ (default 5)
  --out DIR         write measure.html (a page with plots) and measure.json
  --json            data as JSON, nothing else
  -h, --help        this help

Exit codes: 0 done, 2 bad input, 130 interrupted.
`;

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function measureCommand(args: string[], signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseOptions('measure', args, {
    lengths: { type: 'string', default: DEFAULT_LENGTHS },
    passes: { type: 'string', default: '5' },
    out: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  });
  if (values.help) return void process.stdout.write(measureHelp);
  if (positionals.length === 1) throw new InputError('takes no config, or 2 or more, got 1');
  const lengths = [
    ...new Set(values.lengths.split(',').map((part) => wholeNumber('--lengths', part, 1, 65536))),
  ];
  if (lengths.length < 4)
    throw new InputError(`--lengths must be four different ones or more, got '${values.lengths}'`);
  const passes = wholeNumber('--passes', values.passes, 1, 1000);
  if (values.out === '') throw new InputError('--out must name a folder, got an empty name');
  if (values.out !== undefined) await checkFolder(values.out);
  const { models, pairs } = positionals.length > 0 ? await compared(positionals) : defaultModels();
  const calibration = calibrationFor(models, lengths);
  if (calibration.lengths.length < 3)
    throw new InputError(
      `--lengths must reach so far that 3 lengths to fit to lie below, got '${values.lengths}'`,
    );

  const k = await loadKernels({ variant: 'simd' });
  const bar = progressBar(process.stderr);
  let report: MeasureReport;
  try {
    report = await measure(k, {
      models,
      pairs,
      lengths,
      calibration,
      passes,
      signal,
      onProgress: (at) => bar.show(at),
    });
  } catch (cause) {
    // The models say what they cannot do, or hold.
    if (signal.aborted || !(cause instanceof Error) || !/^(Argument|Shape|Unsupported)/.test(cause.name))
      throw cause;
    throw new InputError(cause.message.split('\n')[0], { cause });
  } finally {
    bar.clear();
  }
  const json = `${JSON.stringify(report)}\n`;
  if (values.out !== undefined)
    await writeFiles(values.out, { 'measure.html': measurePage(report), 'measure.json': json }, signal);
  if (values.json) return void process.stdout.write(json);

  const columns = process.stdout.columns || 80;
  const parts = [
    `${fitNote(report)}\n`,
    textTable(rateHeader, rateRows(report), columns),
    'None of the following had a part in it: times grow with these powers of the length.\n',
    textTable(exponentHeader, exponentRows(report), columns),
    ...measuredModes.map((mode) => {
      const own = crossoverRows(report).filter((row) => row[1] === mode);
      const withoutMode = ([pair, , ...rest]: readonly string[]) => [pair, ...rest];
      const rows = textTable(withoutMode(crossoverHeader), own.map(withoutMode), columns);
      return `${crossoverCaption}, ${mode}:\n\n${rows}`;
    }),
    `${verdict(report)}\n`,
  ];
  process.stdout.write(parts.join('\n'));
  if (values.out !== undefined)
    process.stdout.write(`\nPage and data: ${join(values.out, 'measure.html')}, measure.json\n`);
}

/** The first against each of the others. */
async function compared(sources: string[]): Promise<ReturnType<typeof defaultModels>> {
  const models = await Promise.all(sources.map(readConfig));
  return { models, pairs: models.slice(1).map((_, i): Pair => [0, i + 1]) };
}
