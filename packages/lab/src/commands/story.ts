/** `freelunch story`: the quick story from end to end, on a text of yours if you give one. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { crossover, table } from '@freelunch/complexity';
import { loadKernels } from '@freelunch/kernels';
import { parseOptions } from './arguments.js';
import { copyCsv } from '../copy-text/csv.js';
import { copyExperiment } from '../copy-text/experiment.js';
import { copyFindings } from '../copy-text/findings.js';
import { copyPage } from '../copy-text/page.js';
import { InputError } from '../errors.js';
import { completeConfig } from '../running/config.js';
import { type Finished, reportPage } from '../report/findings-page.js';
import { runExperiment } from '../running/runner.js';
import { agreement } from '../report/findings-text.js';
import { experimentOf } from '../running/registry.js';
import { grouped } from '../report/format.js';
import { raceConfig } from '../learning/copy.js';
import { readConfig } from '../files/model-config.js';
import { checkFolder, writeFiles } from '../files/write.js';
import { progressBar } from './progress.js';
import { DEFAULT_TEXT, readText } from '../files/read-text.js';
import { missingClaims } from './report.js';
import { keepFindings, OUT, terminalColumns, workersOf } from './run.js';
import { textTable, wrap } from '../report/text-table.js';

const TEXT_LENGTH = 256;
const TEXT_STATES = [16, 64, 256, 512];
/** For the table of costs: tokens, and how far a local program looks back. */
const [T, M] = [1024, 32];

/** The experiments of the story, cut to what takes seconds. */
const chapters: readonly { name: string; title: string; fields: object }[] = [
  {
    name: 'copy-capacity',
    title: 'What a state of constant size keeps, predicted and measured',
    fields: { lengths: [64, 256] },
  },
  {
    name: 'copy-models',
    title: 'What a state of linear size keeps: weights written down, nothing learned',
    fields: { lengths: [16, 64], symbols: 3000 },
  },
  {
    name: 'dp-exact',
    title: 'Dynamic programs with chain of thought, by weights written down',
    fields: {
      tasks: ['lis:8', 'edit-distance:4', 'lcs:5', 'recurrence:20', 'arithmetic:2', 'stairs:12'],
      instances: 50,
      halfInstances: 20,
    },
  },
  {
    name: 'dp-locality',
    title: 'Where Mamba is the cheaper one: a program that looks back but m tokens',
    fields: { m: [8], T: [64, 128, 256, 512, 1024], longestLinear: 256, longest: 5000, passes: 1 },
  },
  { name: 'learn-copy', title: 'What training finds: a race to learn COPY', fields: raceConfig },
];

export const storyHelp = `Usage: freelunch story [FILE] [options]

When does Mamba's state of constant size pay off? In a few minutes: a text of 256
characters kept and lost, capacity predicted and measured, dynamic programs
written without a wrong token, what each mixer costs and from where on Mamba is
the cheaper one, and a race in learning to copy. Writes the report.

  FILE            a text of your own
  --out DIR       where to (default ${OUT}/story)
  --workers N     pieces at a time (default: all cores, here ${availableParallelism()})
  --restart       forget what DIR holds
  -h, --help      this help

Stopped by Ctrl-C, the same command continues.
Exit codes: 0 done, 2 bad input, 130 interrupted, 1 anything else.
`;

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function storyCommand(args: string[], signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseOptions('story', args, {
    out: { type: 'string', default: join(OUT, 'story') },
    workers: { type: 'string' },
    restart: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  });
  if (values.help) return void process.stdout.write(storyHelp);
  if (positionals.length > 1)
    throw new InputError(`takes one file, got ${positionals.length}: ${positionals.join(' ')}`);
  if (positionals[0] === '') throw new InputError('the name of the file is empty');
  if (values.out === '') throw new InputError('--out must name a folder, got an empty name');
  const { out } = values;
  const workers = workersOf(values.workers);
  const text = await readText(positionals[0] ?? DEFAULT_TEXT, 'characters');
  await checkFolder(out);

  const { stdout } = process;
  const width = Math.max(30, Math.min(stdout.columns || terminalColumns(), 100));
  const colour = stdout.isTTY === true && stdout.hasColors();
  const say = (lines: readonly string[]) => void stdout.write(`${lines.join('\n')}\n`);
  let chapter = 0;
  const title = (words: string) => {
    const lines = wrap(`${++chapter}. ${words}`, width);
    say(['', ...lines.map((line) => (colour ? `\x1b[1m${line}\x1b[0m` : line))]);
  };
  const list = (sentences: readonly string[]) =>
    say(sentences.flatMap((one) => wrap(`- ${one}`, width, '  ')));
  const bar = progressBar(process.stderr);

  title(`COPY on a text: ${text.name}`);
  const k = await loadKernels({ variant: 'simd' });
  const copied = await copyExperiment(
    k,
    {
      text,
      lengths: [Math.min(TEXT_LENGTH, text.tokens.length)],
      states: TEXT_STATES,
      dValue: Math.max(16, Math.ceil(Math.log2(text.vocabulary.length))),
      draws: 4,
      seed: 1,
    },
    { onProgress: (progress) => bar.show(progress), signal },
  ).finally(() => bar.clear());
  await writeFiles(
    join(out, 'copy'),
    {
      'copy.json': `${JSON.stringify(copied)}\n`,
      'copy.csv': copyCsv(copied),
      'index.html': copyPage(copied),
    },
    signal,
  );
  list(copyFindings(copied));

  const finished: Finished[] = [];
  for (const { name, title: words, fields } of chapters) {
    title(words);
    const experiment = experimentOf(name);
    const config = completeConfig(experiment, 'quick', fields);
    const folder = join(out, name);
    const { findings } = await runExperiment(experiment, config, {
      folder,
      workers,
      ownThread: true,
      restart: values.restart,
      signal,
      onProgress: (done, label = '') => bar.show({ done, label }),
    }).finally(() => bar.clear());
    finished.push(await keepFindings(experiment, config, findings, folder, signal));
    list(findings.text);
    for (const { claim, measured, agrees } of findings.verdicts)
      say(wrap(`  ${claim} ${agreement(agrees)}: ${measured}`, width, '    '));
    if (name === 'dp-locality') await costs(title, say, list, width);
  }

  const page = join(out, 'report.html');
  await writeFiles(out, { 'report.html': reportPage(finished, missingClaims(finished)) }, signal);
  say([
    '',
    ...wrap(
      `Report: ${page}; the text as each mixer remembers it: ${join(out, 'copy', 'index.html')}`,
      width,
    ),
    ...wrap('More: freelunch run --help, freelunch report --help', width),
  ]);
}

/** The table of what it takes, and where the lines cross, by formula. */
async function costs(
  title: (words: string) => void,
  say: (lines: readonly string[]) => void,
  list: (sentences: readonly string[]) => void,
  width: number,
): Promise<void> {
  title(`What it takes by formula: COPY of T = ${grouped(T)}, any program, and one of locality m = ${M}`);
  const entries = table({ T, m: M });
  const rows = entries
    .filter(({ mechanism }) => !['block-sparse', 'hybrid'].includes(mechanism))
    .map(({ task, mechanism, size, total }) => [
      task,
      mechanism,
      size.order,
      grouped(Math.round(size.value)),
      total.order,
      total.value.toPrecision(3),
    ]);
  say([textTable(['task', 'mixer', 'floats kept', '', 'FLOPs', ''], rows, width).trimEnd()]);
  say(wrap('Sources of each line, and two mixers more: freelunch table', width));
  const [mamba, gpt2] = await Promise.all(['mamba-130m', 'gpt2'].map(readConfig));
  const sentence = (mode: 'prefill' | 'decode', figure: 'flops' | 'stateBytes', what: string) => {
    const { at, cheaper } = crossover(mamba.config as never, gpt2.config as never, { mode, figure });
    return at === undefined
      ? `${what}: ${cheaper === 'first' ? mamba.name : gpt2.name} is the cheaper one at every length`
      : `${what}: ${cheaper === 'first' ? mamba.name : gpt2.name} is the cheaper one from ${grouped(at)} tokens on`;
  };
  list([
    sentence('prefill', 'flops', 'mamba-130m against gpt2, operations of a prompt'),
    sentence('decode', 'stateBytes', 'mamba-130m against gpt2, memory of a sequence'),
  ]);
}
