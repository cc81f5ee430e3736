/** `freelunch tasks`: its arguments, and what it does with them. */
import { stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { createTask, factories, type Manifest, type Task, TaskError, taskOf } from '@freelunch/tasks';
import { show as shown } from '@freelunch/errors';
import { random } from '@freelunch/random';
import { InputError, unknownName } from '../errors.js';
import {
  chunks,
  compareFile,
  fileAgain,
  LARGEST_ROW,
  newFile,
  type OnProgress,
  readManifest,
} from '../files/samples.js';
import { checkFile, writeParts } from '../files/write.js';
import { grouped } from '../report/format.js';
import { oneOf, parseOptions, wholeNumber } from './arguments.js';
import type { ProgressBar } from './progress.js';
import { flag, helpOption, onlyOne, text } from './shared.js';
import { listText, showText, shownTask, taskEntries } from './tasks-text.js';
import type { Terminal } from './terminal.js';

const tasksHelp = `Usage: freelunch tasks list [--json]
       freelunch tasks show NAME [--set OPTION=VALUE]... [--seed N] [--json]
       freelunch tasks export NAME [--set OPTION=VALUE]... [options]
       freelunch tasks export --from FILE [--out FILE]
       freelunch tasks verify FILE [--json]

Synthetic sequence tasks: copying, recall, dynamic programming with chain of
thought. Each exported file holds a manifest, from which it can be made again byte
for byte.

  list              all tasks: what each asks, its options with their defaults,
                    its source
  show NAME         a worked example, the vocabulary, the locality
  export NAME       write a file of samples
  verify FILE       make a file again from its own manifest and compare

  --set OPTION=VALUE  an option of the task, such as --set length=30,
                      --set length=5,20 or --set costs=reference; other lists and
                      objects as JSON; may be repeated
  --seed N            whole number that all randomness comes from (default 0; show:
                      a short sample)
  --count N           how many samples (default 1000)
  --split SIDE        train or test: problems of one side never occur on the other
  --test-share F      share of the problems on the test side (default 0.1)
  --split-seed N      another number splits them differently (default 0)
  --out FILE          where to write, or a folder for NAME.jsonl or
                      NAME.safetensors; without it JSON lines go to the standard
                      output; only a file that this command wrote is replaced
  --format FORMAT     jsonl or safetensors (default: by the file's ending)
  --seq-len N         safetensors: length of the rows (default: the longest sample)
  --padding SIDE      safetensors: pad short rows on the right or left
  --from FILE         make the same file again: from an exported file, or from a
                      manifest in a JSON file
  --json              list, show, verify: data as JSON, nothing else
  -h, --help          this help

A file is written whole or not at all. A progress bar is shown if the standard
error is a terminal.

Exit codes: 0 done, 1 the file differs from what its manifest makes, 2 bad input,
130 interrupted.
`;

const LARGEST_SEED = Number.MAX_SAFE_INTEGER;
const MOST_SAMPLES = 1e9;

const json = { json: flag, ...helpOption } as const;
const taskOptions = { set: { type: 'string', multiple: true }, seed: text } as const;

type Action = (args: string[], terminal: Terminal) => Promise<number | void>;

const actions: Record<string, Action> = { list, show, export: exportFile, verify };

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function tasksCommand([name, ...args]: string[], terminal: Terminal): Promise<number | void> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help')
    return terminal.help(tasksHelp);
  if (!Object.hasOwn(actions, name)) throw unknownName('action', name, Object.keys(actions));
  try {
    return await actions[name](args, terminal);
  } catch (cause) {
    if (cause instanceof TaskError) throw new InputError(cause.message, { cause });
    if (cause instanceof RangeError) throw new InputError(`too large: ${cause.message}`, { cause });
    throw cause;
  }
}

async function list(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('tasks', args, json);
  if (values.help) return terminal.help(tasksHelp);
  if (positionals.length > 0) throw new InputError(`list takes no name, got ${positionals.join(' ')}`);
  if (values.json) terminal.json(taskEntries(), 2);
  else terminal.say(listText(terminal.width));
}

async function show(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('tasks', args, { ...taskOptions, ...json });
  if (values.help) return terminal.help(tasksHelp);
  const task = taskNamed('show', positionals, values.set);
  const seed = values.seed === undefined ? undefined : wholeNumber('--seed', values.seed, 0, LARGEST_SEED);
  const sample = seed === undefined ? undefined : task.sample(random(seed));
  if (values.json) terminal.json(shownTask(task, sample ?? task.sample(random(0))));
  else terminal.say(showText(task, sample, terminal.width));
}

async function exportFile(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('tasks', args, {
    ...helpOption,
    ...taskOptions,
    count: text,
    split: text,
    'test-share': text,
    'split-seed': text,
    out: text,
    format: text,
    'seq-len': text,
    padding: text,
    from: text,
  });
  if (values.help) return terminal.help(tasksHelp);
  const { out, from } = values;
  if (out === '') throw new InputError('--out must name a file or a folder, got an empty name');

  if (from !== undefined) {
    const other = [...positionals, ...Object.keys(values).filter((name) => !/^(help|from|out)$/.test(name))];
    if (other.length > 0)
      throw new InputError(`--from FILE says all that is needed, so ${other[0]} must be left out`);
    const manifest = await manifestOf(from);
    const path = out === undefined ? undefined : await outputPath(out, manifest.task, manifest.format);
    return write(path, manifest, async (onProgress) => fileAgain(manifest, onProgress), terminal);
  }

  const task = sideOf(taskNamed('export', positionals, values.set), values);
  const count = wholeNumber('--count', values.count ?? '1000', 1, MOST_SAMPLES);
  const seed = wholeNumber('--seed', values.seed ?? '0', 0, LARGEST_SEED);
  const format = formatOf(values.format, out);
  const rows = rowOptions(values, format);
  if (format === 'safetensors' && out === undefined)
    throw new InputError('--out must be given for safetensors, which no terminal shows');
  const path = out === undefined ? undefined : await outputPath(out, task.name, format);
  const made = { task: task.name, count, seed };
  const parts = (onProgress: OnProgress) =>
    newFile(task, { format, count, seed, ...rows }, onProgress, terminal.signal);
  return write(path, made, parts, terminal);
}

async function verify(args: string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseOptions('tasks', args, json);
  if (values.help) {
    terminal.help(tasksHelp);
    return 0;
  }
  const path = onlyOne('file', positionals, 'verify');
  const manifest = await manifestOf(path);
  const { bar, signal } = terminal;
  const again = chunks(fileAgain(manifest, showProgress(bar, manifest.count)));
  const { bytes, differs } = await compareFile(path, again, signal).finally(() => bar.clear());
  if (values.json) terminal.json({ same: differs === null, bytes, differs, manifest });
  else if (differs === null)
    terminal.say(`${path}: the same ${grouped(bytes)} bytes, ${summary(manifest)}\n`);
  else terminal.say(`${path}: differs at byte ${grouped(differs)} from what its manifest makes\n`);
  return differs === null ? 0 : 1;
}

/** @throws InputError if there is no such task or option */
function taskNamed(action: string, positionals: string[], settings: string[] = []): Task {
  const name = onlyOne('task', positionals, action);
  if (!Object.hasOwn(factories, name)) throw unknownName('task', name, Object.keys(factories));
  const options = settings.map((setting) => {
    const at = setting.indexOf('=');
    if (at < 1) throw new InputError(`--set must be OPTION=VALUE, got ${shown(setting)}`);
    return [setting.slice(0, at), settingValue(setting.slice(at + 1))] as const;
  });
  return createTask(name, Object.fromEntries(options));
}

/** `5` a number, `5,20` a list, what is JSON that, anything else a text. */
function settingValue(setting: string): unknown {
  if (/^-?[\d.]+(,-?[\d.]+)+$/.test(setting)) return setting.split(',').map(Number);
  try {
    return JSON.parse(setting);
  } catch {
    return setting;
  }
}

interface SideOptions {
  split?: string;
  'test-share'?: string;
  'split-seed'?: string;
}

function sideOf(task: Task, { split, 'test-share': share, 'split-seed': splitSeed }: SideOptions): Task {
  if (split === undefined) {
    if (share !== undefined) throw new InputError('--test-share needs --split');
    if (splitSeed !== undefined) throw new InputError('--split-seed needs --split');
    return task;
  }
  const side = oneOf('--split', split, ['train', 'test'] as const);
  const test = /^\d*\.?\d+$/.test(share ?? '0.1') ? Number(share ?? '0.1') : NaN;
  if (!(test >= 0.0001 && test <= 0.9999))
    throw new InputError(`--test-share must be a number from 0.0001 to 0.9999, got ${shown(share)}`);
  const seed = wholeNumber('--split-seed', splitSeed ?? '0', 0, 2 ** 32 - 1);
  return task.split({ test, seed })[side];
}

function formatOf(format: string | undefined, out: string | undefined): Manifest['format'] {
  if (format === 'jsonl' || format === 'json-lines') return 'json-lines';
  if (format === 'safetensors') return 'safetensors';
  if (format !== undefined)
    throw new InputError(`--format must be jsonl or safetensors, got ${shown(format)}`);
  return out !== undefined && extname(out) === '.safetensors' ? 'safetensors' : 'json-lines';
}

function rowOptions(
  { 'seq-len': seqLen, padding }: { 'seq-len'?: string; padding?: string },
  format: Manifest['format'],
): { seqLen?: number; padding?: 'right' | 'left' } {
  if (format !== 'safetensors') {
    if (seqLen !== undefined) throw new InputError('--seq-len is for safetensors only');
    if (padding !== undefined) throw new InputError('--padding is for safetensors only');
  }
  return {
    padding: padding === undefined ? undefined : oneOf('--padding', padding, ['right', 'left'] as const),
    seqLen: seqLen === undefined ? undefined : wholeNumber('--seq-len', seqLen, 1, LARGEST_ROW),
  };
}

/** @throws InputError if there is none, if it is not one of this version's tasks, or asks for rows beyond the limit */
async function manifestOf(path: string): Promise<Manifest> {
  const manifest = await readManifest(path);
  try {
    taskOf(manifest);
  } catch (cause) {
    if (cause instanceof TaskError) throw new InputError(`${path}: ${cause.message}`, { cause });
    throw cause;
  }
  const { format, seqLen } = manifest;
  if (format === 'safetensors' && !(Number.isSafeInteger(seqLen) && seqLen! >= 1 && seqLen! <= LARGEST_ROW))
    throw new InputError(
      `${path}: manifest.seqLen must be a whole number from 1 to ${LARGEST_ROW}, got ${shown(seqLen)}`,
    );
  return manifest;
}

/** The file that `--out` means. @throws InputError if it cannot be written */
async function outputPath(out: string, name: string, format: Manifest['format']): Promise<string> {
  const found = await stat(out).catch(() => undefined);
  const folder = found?.isDirectory() === true || /[/\\]$/.test(out);
  const path = folder ? join(out, `${name}.${format === 'safetensors' ? 'safetensors' : 'jsonl'}`) : out;
  await checkFile(path, isSamples);
  return path;
}

/** Whether a file is one of samples. */
const isSamples = async (path: string) => (await readManifest(path)) !== undefined;

interface Made {
  task: string;
  count: number;
  seed: number;
}

const summary = ({ task, count, seed }: Made) =>
  `${grouped(count)} ${count === 1 ? 'sample' : 'samples'} of ${task}, seed ${seed}`;

function showProgress(bar: ProgressBar, count: number): OnProgress {
  return (done) => bar.show({ done, label: `${grouped(count)} samples` });
}

/** Writes to the file, or to the standard output if there is none. */
async function write(
  path: string | undefined,
  made: Made,
  parts: (onProgress: OnProgress) => Promise<Iterable<string | Uint8Array>>,
  { bar, signal, interactive, ...terminal }: Terminal,
): Promise<void> {
  const silent = path === undefined && interactive; // the samples themselves are seen
  let bytes = 0;
  try {
    const all = chunks(await parts(silent ? () => {} : showProgress(bar, made.count)));
    if (path === undefined) {
      for (const chunk of all) await terminal.data(chunk);
      return;
    }
    await writeParts(
      path,
      counted(all, (length) => (bytes += length)),
      signal,
    );
  } finally {
    bar.clear();
  }
  terminal.say(`${path}: ${grouped(bytes)} bytes, ${summary(made)}\n`);
}

function* counted(parts: Iterable<Uint8Array>, add: (length: number) => void): Generator<Uint8Array> {
  for (const part of parts) {
    add(part.length);
    yield part;
  }
}
