/** `freelunch measure`: its arguments, and what it does with them. */
import { loadKernels } from '@freelunch/kernels';
import { parseOptions, wholeNumber } from './arguments.js';
import { InputError } from './errors.js';
import { grouped } from './format.js';
import { measure } from './measure.js';
import { readConfig } from './model-config.js';
import { progressBar } from './progress.js';
import { checkFolder, writeFiles } from './output.js';
import { textTable } from './text-table.js';

const DEFAULT_MODELS = ['softmax-bare', 'mamba-small', 'mamba2-small', 'linear-small'];
const DEFAULT_LENGTHS = '64,96,128,192,256,384,512,768,1024,1536,2048';

export const measureHelp = `Usage: freelunch measure [CONFIG CONFIG...] [options]

Times models with random weights, prompts and steps after them, over lengths; fits
a machine to every other length; predicts the others; and says where the first
model and each of the others cost the same, measured and predicted.
Without a CONFIG: ${DEFAULT_MODELS.join(', ')}.

  --lengths LIST    four or more (default ${DEFAULT_LENGTHS})
  --passes N        the best of so many counts (default 5)
  --out DIR         write measure.json into this folder
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
  const models = await Promise.all((positionals.length > 0 ? positionals : DEFAULT_MODELS).map(readConfig));

  const k = await loadKernels({ variant: 'simd' });
  const bar = progressBar(process.stderr);
  let report;
  try {
    report = await measure(k, { models, lengths, passes, signal, onProgress: (at) => bar.show(at) });
  } catch (cause) {
    // The models say what they cannot do, or hold.
    if (signal.aborted || !(cause instanceof Error) || !/^(Argument|Shape|Unsupported)/.test(cause.name))
      throw cause;
    throw new InputError(cause.message.split('\n')[0], { cause });
  } finally {
    bar.clear();
  }
  const json = `${JSON.stringify(report)}\n`;
  if (values.out !== undefined) await writeFiles(values.out, { 'measure.json': json }, signal);
  if (values.json) return void process.stdout.write(json);

  const ms = (seconds: number) => (seconds * 1000).toPrecision(3);
  const columns = process.stdout.columns || 80;
  for (const { name, mode, exponent, points } of report.curves) {
    process.stdout.write(`${name}, ${mode}: time grows with length^${exponent.toFixed(2)}\n`);
    const rows = points.map(({ length, seconds, predicted, fitted }) => [
      grouped(length),
      ms(seconds),
      ms(predicted),
      fitted ? 'fitted' : `${signed(predicted / seconds - 1)} %`,
    ]);
    process.stdout.write(`${textTable(['tokens', 'ms', 'predicted', 'off'], rows, columns)}\n`);
  }
  for (const { first, second, mode, cheaper, measured, predicted, off } of report.crossovers) {
    const where =
      measured === undefined
        ? `${cheaper} was cheaper at all lengths`
        : `${cheaper} is cheaper from ${grouped(measured)} on` +
          (predicted === undefined
            ? ', predicted at no length'
            : `, predicted ${grouped(predicted)}, ${signed(off!)} %`);
    process.stdout.write(`${mode}, ${first} and ${second}: ${where}\n`);
  }
}

const signed = (fraction: number) => `${fraction < 0 ? '-' : '+'}${(100 * Math.abs(fraction)).toFixed(1)}`;
