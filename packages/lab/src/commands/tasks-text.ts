/** Tasks as a terminal shows them, and as data. */
import {
  createTask,
  DpTask,
  factories,
  type Locality,
  type Sample,
  sources,
  type Task,
  type TaskSource,
} from '@freelunch/tasks';
import { wrap } from '../report/text-table.js';
import { grouped } from '../report/format.js';

/** What `freelunch tasks list --json` has of each task. */
export interface TaskEntry {
  name: string;
  description: string;
  source: TaskSource;
  version: number;
  /** With their defaults. */
  options: object;
}

/** What `freelunch tasks show NAME --json` has. */
export interface ShownTask extends TaskEntry {
  /** `same`: answers are due at marked places, without standing in the text. */
  alignment: 'next' | 'same';
  locality: Locality;
  vocabulary: { size: number; pad: number; end: number | null; tokens: readonly string[] };
  sample: Sample;
}

export function taskEntry(task: Task): TaskEntry {
  const { name, version, options, definition } = task;
  return { name, description: definition.summary, source: sources[name], version, options };
}

export const taskEntries = (): TaskEntry[] =>
  Object.keys(factories).map((name) => taskEntry(createTask(name)));

/** All tasks: the name, what is asked, then the options and the source. */
export function listText(columns: number): string {
  const all = Object.keys(factories).map((name) => createTask(name));
  const groups: [string, Task[]][] = [
    ['Copying and recall', all.filter((task) => !(task instanceof DpTask))],
    ['Dynamic programming with chain of thought', all.filter((task) => task instanceof DpTask)],
  ];
  const indent = 2 + Math.max(...all.map(({ name }) => name.length)) + 2;
  const width = Math.max(indent + 30, Math.min(columns, 110));
  const lines: string[] = [];
  for (const [title, tasks] of groups) {
    lines.push(title, '');
    for (const task of tasks) {
      const { name, description, source, options } = taskEntry(task);
      const [first, ...rest] = wrap(`${description} (${source.text})`, width - indent);
      lines.push(`  ${name.padEnd(indent - 2)}${first}`);
      for (const line of [...rest, ...wrap(settings(options), width - indent)]) {
        lines.push(' '.repeat(indent) + line);
      }
    }
    lines.push('');
  }
  return [...lines, 'freelunch tasks show NAME has a worked example of each.', ''].join('\n');
}

/** Options as `--set` takes them. */
function settings(options: object): string {
  return Object.entries(options)
    .map(([name, value]) => `${name}=${setting(value)}`)
    .join(' ');
}

function setting(value: unknown): string {
  if (typeof value === 'string') return value;
  const list = Array.isArray(value) && value.length > 1 && value.every((item) => typeof item === 'number');
  return list ? value.join(',') : JSON.stringify(value);
}

export function shownTask(task: Task, sample: Sample): ShownTask {
  const { alignment, vocabulary } = task;
  const { size, pad, end = null, tokens } = vocabulary;
  const { ...entry } = taskEntry(task);
  return { ...entry, alignment, locality: task.locality(), vocabulary: { size, pad, end, tokens }, sample };
}

/** A worked example, and what there is to know. */
export function showText(task: Task, sample: Sample | undefined, columns: number): string {
  const { source, options } = taskEntry(task);
  const { vocabulary } = task;
  const { mState, mToken, inputReach, inlineReach } = task.locality();
  const width = Math.max(40, Math.min(columns, 110));
  const row = (name: string, text: string) => wrap(`${name.padEnd(12)}${text}`, width, ' '.repeat(12));
  const distances = [
    `mState ${mState}`,
    `mToken ${mToken}`,
    `inputReach ${inputReach}`,
    ...(inlineReach === undefined ? [] : [`inlineReach ${inlineReach}`]),
  ];
  const first = Array.from({ length: Math.min(vocabulary.size, 40) }, (_, id) => vocabulary.text(id));
  const more = vocabulary.size > first.length ? ' ..' : '';
  return [
    task.describe(sample),
    '',
    ...row(
      'vocabulary',
      `${grouped(vocabulary.size)} tokens: ${JSON.stringify(first.join(' ')).slice(1, -1)}${more}`,
    ),
    ...row('locality', distances.join(', ')),
    ...row('options', settings(options)),
    ...row('source', source.url === undefined ? source.text : `${source.text}, ${source.url}`),
    '',
  ].join('\n');
}
