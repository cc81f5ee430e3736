/** `freelunch story`: the quick story from end to end, on a text of yours if you give one. */
import { join } from 'node:path';
import { crossover, table } from '@freelunch/complexity';
import { copyTextConfig } from '../copy-text/config.js';
import { copyText } from '../copy-text/experiment.js';
import { builtIn } from '../files/model-config.js';
import { checkOwn, writeOwnFiles } from '../files/own.js';
import type { TokenText } from '../files/tokens.js';
import { raceConfig } from '../learning/copy.js';
import { type Finished, reportPage } from '../report/findings-page.js';
import { agreement } from '../report/findings-text.js';
import { grouped } from '../report/format.js';
import { textTable, wrap } from '../report/text-table.js';
import { completeConfig } from '../running/config.js';
import { keepFindings, missingClaims } from '../running/finished.js';
import { checkRunFolder } from '../running/folder.js';
import { experimentOf } from '../running/registry.js';
import { runExperiment } from '../running/runner.js';
import { parseOptions } from './arguments.js';
import { copyCommandOf, textOf } from './copy.js';
import {
  atMostOne,
  EXIT_CODES,
  OUT,
  runOptions,
  runOptionsHelp,
  underProgress,
  sharingOf,
} from './shared.js';
import type { Terminal } from './terminal.js';

/** For the table of costs: tokens, and how far a local program looks back. */
const [T, M] = [1024, 32];

interface Chapter {
  name: string;
  title: string;
  fields: object;
  /** What runs it again; `freelunch run` if absent. */
  command?: string;
}

/** COPY on a text: the preset `quick`, with the user's text if there is one. */
function onText(text: TokenText, file: string | undefined): Chapter {
  const { lengths, states, draws } = copyText.presets.quick;
  const fields = copyTextConfig(text, {
    lengths: [...new Set(lengths.map((length) => Math.min(length, text.tokens.length)))],
    states,
    dValue: Math.max(16, Math.ceil(Math.log2(text.vocabulary.length))),
    draws,
  });
  return {
    name: copyText.name,
    title: `COPY, storing a sequence and writing it out again: ${text.name}`,
    fields,
    ...(file === undefined ? {} : { command: copyCommandOf(file, fields) }),
  };
}

/** The other experiments of the story, cut to what takes seconds. */
const chapters: readonly Chapter[] = [
  {
    name: 'copy-capacity',
    title: 'What a state of constant size keeps, predicted and measured',
    fields: { lengths: [64, 256] },
  },
  {
    name: 'copy-models',
    title: 'What a state of linear size keeps, with hand-set weights',
    fields: { lengths: [16, 64], symbols: 3000 },
  },
  {
    name: 'dp-exact',
    title: 'Dynamic programs with chain of thought, with hand-set weights',
    fields: {
      tasks: ['lis:8', 'edit-distance:4', 'lcs:5', 'recurrence:20', 'arithmetic:2', 'stairs:12'],
      instances: 50,
      halfInstances: 20,
    },
  },
  {
    name: 'dp-locality',
    title: 'Where Mamba is cheaper: a program that looks back at most m tokens',
    fields: { m: [8], T: [64, 128, 256, 512, 1024], longestLinear: 256, longest: 5000, passes: 1 },
  },
  { name: 'learn-copy', title: 'What training finds: a race to learn COPY', fields: raceConfig },
];

const storyHelp = `Usage: freelunch story [FILE] [options]

When is Mamba's state of constant size enough? In a few minutes: 256 characters of
a text stored and read back, capacity predicted and measured, dynamic programs
solved step by step without an error, what each mixer costs and from which length
on Mamba is cheaper, and a race in learning to copy. Writes a report.

  FILE                    a text of yours (default: a built-in text)
  --out DIR               a new or empty folder, or one of an earlier story
                          (default ${OUT}/story)
${runOptionsHelp}  -h, --help              this help

Stopped by Ctrl-C, the same command continues.
${EXIT_CODES}
`;

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function storyCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('story', args, runOptions);
  if (values.help) return terminal.help(storyHelp);
  const file = atMostOne('file', positionals);
  const out = values.out ?? join(OUT, 'story');
  const sharing = sharingOf(values);
  const text = await textOf(file, 'characters');
  const page = join(out, 'report.html');
  const parts = [onText(text, file), ...chapters].map(({ name, title, fields, command }) => {
    const experiment = experimentOf(name);
    const config = completeConfig(experiment, 'quick', fields);
    return { name, title, experiment, config, command, folder: join(out, name) };
  });
  // All folders are looked at before the first is filled.
  await checkOwn(out, 'story', ['report.html']);
  for (const { experiment, config, folder } of parts)
    await checkRunFolder(folder, 'run', { experiment: experiment.name, config });
  await writeOwnFiles(out, 'story', {}, terminal.signal);

  const { width, colour, signal } = terminal;
  const say = (lines: readonly string[]) => terminal.say(`${lines.join('\n')}\n`);
  let chapter = 0;
  const title = (words: string) => {
    const lines = wrap(`${++chapter}. ${words}`, width);
    say(['', ...lines.map((line) => (colour ? `\x1b[1m${line}\x1b[0m` : line))]);
  };
  const list = (sentences: readonly string[]) =>
    say(sentences.flatMap((one) => wrap(`- ${one}`, width, '  ')));

  const finished: Finished[] = [];
  for (const { name, title: words, experiment, config, command, folder } of parts) {
    title(words);
    const { findings } = await underProgress(
      terminal,
      folder,
      { ...sharing, restart: values.restart },
      (options) => runExperiment(experiment, config, options),
    );
    finished.push(await keepFindings(experiment, config, findings, folder, signal, command));
    list(findings.text);
    for (const { claim, measured, agrees } of findings.verdicts)
      say(wrap(`  ${claim} ${agreement(agrees)}: ${measured}`, width, '    '));
    if (name === 'dp-locality') await costs(title, say, list, width);
  }

  await writeOwnFiles(out, 'story', { 'report.html': reportPage(finished, missingClaims(finished)) }, signal);
  say([
    '',
    ...wrap(`Report: ${page}`, width),
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
  title(
    `Costs by formula: COPY of T = ${grouped(T)} tokens, any program, and a program of locality m = ${M}`,
  );
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
  say(wrap('Sources of each line, and two more mixers: freelunch table', width));
  const [mamba, gpt2] = ['mamba-130m', 'gpt2'].map((name) => ({ name, config: builtIn(name)! }));
  const sentence = (mode: 'prefill' | 'decode', figure: 'flops' | 'stateBytes', what: string) => {
    const { at, cheaper } = crossover(mamba.config as never, gpt2.config as never, { mode, figure });
    return at === undefined
      ? `${what}: ${cheaper === 'first' ? mamba.name : gpt2.name} is cheaper at every length`
      : `${what}: ${cheaper === 'first' ? mamba.name : gpt2.name} is cheaper from ${grouped(at)} tokens on`;
  };
  list([
    sentence('prefill', 'flops', 'mamba-130m and gpt2, operations for a prompt'),
    sentence('decode', 'stateBytes', 'mamba-130m and gpt2, memory for a sequence'),
  ]);
}
