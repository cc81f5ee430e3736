/** `freelunch tasks`: its arguments, and what it does with them. */
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { createTask, factories, type Manifest, type Task, TaskError, taskOf } from '@freelunch/tasks';
import { random } from '@freelunch/random';
import { parseOptions, wholeNumber } from './arguments.js';
import { InputError } from '../errors.js';
import { grouped } from '../report/format.js';
import { checkFile, writeParts } from '../files/write.js';
import { type ProgressBar, progressBar } from './progress.js';
import { chunks, compareFile, fileAgain, newFile, type OnProgress, readManifest } from '../files/samples.js';
import { listText, showText, shownTask, taskEntries } from './tasks-text.js';

export const tasksHelp = `Usage: freelunch tasks list [--json]
       freelunch tasks show NAME [--set OPTION=VALUE]... [--seed N] [--json]
       freelunch tasks export NAME [--set OPTION=VALUE]... [options]
       freelunch tasks export --from FILE [--out FILE]
       freelunch tasks verify FILE [--json]

Synthetic sequence tasks: copying, recall, dynamic programming with chain of
thought. Each exported file holds a manifest, from which it can be made again, to
the byte.

  list              all tasks: what each asks, its options with their defaults,
                    its source
  show NAME         a worked example, the vocabulary, the locality
  export NAME       a file of samples
  verify FILE       makes a file again from its own manifest and compares

  --set OPTION=VALUE  an option of the task, such as --set length=30,
                      --set length=5,20 or --set costs=reference; other lists and
                      objects as JSON; as often as there are options
  --seed N            whole number that all randomness comes from (default 0; show:
                      a short sample)
  --count N           how many samples (default 1000)
  --split SIDE        train or test: problems of one side never occur on the other
  --test-share F      share of the problems on the test side (default 0.1)
  --split-seed N      another one parts them otherwise (default 0)
  --out FILE          where to write, or a folder for NAME.jsonl or
                      NAME.safetensors; without it JSON lines go to the standard
                      output
  --format FORMAT     jsonl or safetensors (default: by the file's ending)
  --seq-len N         safetensors: length of the rows (default: the longest)
  --padding SIDE      safetensors: short rows are filled up on the right or left
  --from FILE         make the same file again: of an exported file, or of a
                      manifest in a JSON file
  --json              list, show, verify: data as JSON, nothing else
  -h, --help          this help

A file is written whole or not at all. A progress bar is shown where the standard
error is a terminal.

Exit codes: 0 done, 1 the file differs from what its manifest makes, 2 bad input,
130 interrupted.
`;

const LARGEST_SEED = Number.MAX_SAFE_INTEGER;
const LARGEST_ROW = 2 ** 20;

const common = {
  help: { type: 'boolean', short: 'h', default: false },
} as const;
const taskOptions = {
  set: { type: 'string', multiple: true },
  seed: { type: 'string' },
} as const;
const json = { json: { type: 'boolean', default: false } } as const;

type Action = (args: string[], signal: AbortSignal) => Promise<void>;

const actions: Record<string, Action> = { list, show, export: exportFile, verify };

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function tasksCommand([name, ...args]: string[], signal: AbortSignal): Promise<void> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(tasksHelp);
    return;
  }
  if (!Object.hasOwn(actions, name)) {
    throw new InputError(`${name} is none of ${Object.keys(actions).join(', ')}; see freelunch tasks --help`);
  }
  try {
    await actions[name](args, signal);
  } catch (cause) {
    if (cause instanceof TaskError) throw new InputError(cause.message, { cause });
    if (cause instanceof RangeError) throw new InputError(`too large: ${cause.message}`, { cause });
    throw cause;
  }
}

async function list(args: string[]): Promise<void> {
  const { values, positionals } = parseOptions('tasks', args, { ...common, ...json });
  if (values.help) return void process.stdout.write(tasksHelp);
  if (positionals.length > 0) throw new InputError(`list takes no name, got ${positionals.join(' ')}`);
  process.stdout.write(
    values.json ? `${JSON.stringify(taskEntries(), null, 2)}\n` : listText(process.stdout.columns || 80),
  );
}

async function show(args: string[]): Promise<void> {
  const { values, positionals } = parseOptions('tasks', args, { ...common, ...taskOptions, ...json });
  if (values.help) return void process.stdout.write(tasksHelp);
  const task = taskNamed('show', positionals, values.set);
  const seed = values.seed === undefined ? undefined : wholeNumber('--seed', values.seed, 0, LARGEST_SEED);
  const sample = seed === undefined ? undefined : task.sample(random(seed));
  process.stdout.write(
    values.json
      ? `${JSON.stringify(shownTask(task, sample ?? task.sample(random(0))))}\n`
      : showText(task, sample, process.stdout.columns || 80),
  );
}

async function exportFile(args: string[], signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseOptions('tasks', args, {
    ...common,
    ...taskOptions,
    count: { type: 'string' },
    split: { type: 'string' },
    'test-share': { type: 'string' },
    'split-seed': { type: 'string' },
    out: { type: 'string' },
    format: { type: 'string' },
    'seq-len': { type: 'string' },
    padding: { type: 'string' },
    from: { type: 'string' },
  });
  if (values.help) return void process.stdout.write(tasksHelp);
  const { out, from } = values;
  if (out === '') throw new InputError('--out must name a file, got an empty name');

  if (from !== undefined) {
    const other = [...positionals, ...Object.keys(values).filter((name) => !/^(help|from|out)$/.test(name))];
    if (other.length > 0)
      throw new InputError(`--from has all that is needed, so ${other[0]} must be left out`);
    const manifest = await manifestOf(from);
    const path = out === undefined ? undefined : await outputPath(out, manifest.task, manifest.format);
    await write(path, manifest, async (onProgress) => fileAgain(manifest, onProgress), signal);
    return;
  }

  const task = sideOf(taskNamed('export', positionals, values.set), values);
  const count = wholeNumber('--count', values.count ?? '1000', 1, Number.MAX_SAFE_INTEGER);
  const seed = wholeNumber('--seed', values.seed ?? '0', 0, LARGEST_SEED);
  const format = formatOf(values.format, out);
  const rows = rowOptions(values, format);
  if (format === 'safetensors' && out === undefined)
    throw new InputError('--out must be given for safetensors, which no terminal shows');
  const path = out === undefined ? undefined : await outputPath(out, task.name, format);
  const made = { task: task.name, count, seed };
  const parts = (onProgress: OnProgress) =>
    newFile(task, { format, count, seed, ...rows }, onProgress, signal);
  await write(path, made, parts, signal);
}

async function verify(args: string[], signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseOptions('tasks', args, { ...common, ...json });
  if (values.help) return void process.stdout.write(tasksHelp);
  if (positionals.length !== 1) throw new InputError(`verify takes one file, got ${positionals.length}`);
  const [path] = positionals;
  const manifest = await manifestOf(path);
  const bar = progressBar(process.stderr);
  let result;
  try {
    result = await compareFile(path, chunks(fileAgain(manifest, showProgress(bar, manifest.count))), signal);
  } finally {
    bar.clear();
  }
  const { bytes, differs } = result;
  if (differs !== null) process.exitCode = 1;
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ same: differs === null, bytes, differs, manifest })}\n`);
  } else if (differs === null) {
    process.stdout.write(`${path}: the same ${grouped(bytes)} bytes, ${summary(manifest)}\n`);
  } else {
    process.stdout.write(`${path}: differs at byte ${grouped(differs)} from what its manifest makes\n`);
  }
}

/** @throws InputError if there is no such task or option */
function taskNamed(action: string, positionals: string[], settings: string[] = []): Task {
  const [name] = positionals;
  if (positionals.length !== 1) throw new InputError(`${action} takes one task, got ${positionals.length}`);
  if (!Object.hasOwn(factories, name)) throw new InputError(`${name} is no task; see freelunch tasks list`);
  const options = settings.map((text) => {
    const at = text.indexOf('=');
    if (at < 1) throw new InputError(`--set must be OPTION=VALUE, got '${text}'`);
    return [text.slice(0, at), settingValue(text.slice(at + 1))] as const;
  });
  return createTask(name, Object.fromEntries(options));
}

/** `5` a number, `5,20` a list, what is JSON that, anything else a text. */
function settingValue(text: string): unknown {
  if (/^-?[\d.]+(,-?[\d.]+)+$/.test(text)) return text.split(',').map(Number);
  try {
    return JSON.parse(text);
  } catch {
    return text;
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
  if (split !== 'train' && split !== 'test')
    throw new InputError(`--split must be train or test, got '${split}'`);
  const test = /^\d*\.?\d+$/.test(share ?? '0.1') ? Number(share ?? '0.1') : NaN;
  if (!(test >= 0.0001 && test <= 0.9999))
    throw new InputError(`--test-share must be a number from 0.0001 to 0.9999, got '${share}'`);
  const seed = wholeNumber('--split-seed', splitSeed ?? '0', 0, 2 ** 32 - 1);
  return task.split({ test, seed })[split];
}

function formatOf(format: string | undefined, out: string | undefined): Manifest['format'] {
  if (format === 'jsonl' || format === 'json-lines') return 'json-lines';
  if (format === 'safetensors') return 'safetensors';
  if (format !== undefined) throw new InputError(`--format must be jsonl or safetensors, got '${format}'`);
  return out !== undefined && extname(out) === '.safetensors' ? 'safetensors' : 'json-lines';
}

function rowOptions(
  { 'seq-len': seqLen, padding }: { 'seq-len'?: string; padding?: string },
  format: Manifest['format'],
): { seqLen?: number; padding?: 'right' | 'left' } {
  if (format !== 'safetensors') {
    if (seqLen !== undefined) throw new InputError('--seq-len is of safetensors alone');
    if (padding !== undefined) throw new InputError('--padding is of safetensors alone');
  }
  if (padding !== undefined && padding !== 'right' && padding !== 'left')
    throw new InputError(`--padding must be right or left, got '${padding}'`);
  return {
    padding,
    seqLen: seqLen === undefined ? undefined : wholeNumber('--seq-len', seqLen, 1, LARGEST_ROW),
  };
}

/** @throws InputError if there is none, or if it is not one of this version's tasks */
async function manifestOf(path: string): Promise<Manifest> {
  const manifest = await readManifest(path);
  try {
    taskOf(manifest);
  } catch (cause) {
    if (cause instanceof TaskError) throw new InputError(`${path}: ${cause.message}`, { cause });
    throw cause;
  }
  return manifest;
}

/** The file that `--out` means. @throws InputError if it cannot be written */
async function outputPath(out: string, name: string, format: Manifest['format']): Promise<string> {
  const found = await stat(out).catch(() => undefined);
  const folder = found?.isDirectory() === true || /[/\\]$/.test(out);
  const path = folder ? join(out, `${name}.${format === 'safetensors' ? 'safetensors' : 'jsonl'}`) : out;
  await checkFile(path);
  return path;
}

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
  signal: AbortSignal,
): Promise<void> {
  const { stdout, stderr } = process;
  const silent = path === undefined && stdout.isTTY; // the samples themselves are seen
  const bar = progressBar(stderr);
  let bytes = 0;
  try {
    const all = chunks(await parts(silent ? () => {} : showProgress(bar, made.count)));
    if (path === undefined) {
      for (const chunk of all) {
        if (!stdout.write(chunk)) await once(stdout, 'drain', { signal });
        signal.throwIfAborted();
      }
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
  stdout.write(`${path}: ${grouped(bytes)} bytes, ${summary(made)}\n`);
}

function* counted(parts: Iterable<Uint8Array>, add: (length: number) => void): Generator<Uint8Array> {
  for (const part of parts) {
    add(part.length);
    yield part;
  }
}
