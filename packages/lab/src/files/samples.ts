/** Files of samples: made, told apart from others, and read for their manifest. */
import type { FileHandle } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import {
  type Manifest,
  rewriteJsonLines,
  rewriteSafetensors,
  type Task,
  writeJsonLines,
  writeSafetensors,
} from '@freelunch/tasks';
import { InputError } from '../errors.js';
import { readUpTo, withFile } from './read.js';
import { isObject } from './shape.js';

/** Tokens of the longest row of a safetensors file. */
export const LARGEST_ROW = 2 ** 20;

/** Told now and then how much is done, from 0 to 1. */
export type OnProgress = (done: number) => void;

const CHUNK_BYTES = 2 ** 18;
const CHUNK_MS = 50; // so that an interrupt is not kept waiting
const LONGEST_HEAD = 16 * 2 ** 20;
const BATCH = 256;

/** Parts put together, each at most so long that between two of them an interrupt comes through. */
export function* chunks(parts: Iterable<string | Uint8Array>): Generator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let length = 0;
  let since = performance.now();
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part;
    waiting.push(bytes);
    length += bytes.length;
    if (length < CHUNK_BYTES && performance.now() - since < CHUNK_MS) continue;
    yield Buffer.concat(waiting, length);
    waiting = [];
    length = 0;
    since = performance.now();
  }
  if (length > 0) yield Buffer.concat(waiting, length);
}

export interface FileOptions {
  format: Manifest['format'];
  count: number;
  seed: number;
  /** Of safetensors alone. */
  seqLen?: number;
  padding?: 'right' | 'left';
}

/** The parts of a new file. */
export async function newFile(
  task: Task,
  { format, count, seed, padding, ...options }: FileOptions,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Iterable<string | Uint8Array>> {
  if (format === 'json-lines') return lineProgress(writeJsonLines(task, { count, seed }), count, onProgress);
  const seqLen = options.seqLen ?? (await longestRow(task, count, seed, onProgress, signal));
  const parts = writeSafetensors(task, { count, seed, seqLen, padding });
  return rowProgress(parts, count, seqLen, onProgress);
}

/** The parts of the file that a manifest is of. */
export function fileAgain(manifest: Manifest, onProgress: OnProgress): Iterable<string | Uint8Array> {
  const { count, seqLen } = manifest;
  if (manifest.format === 'json-lines') return lineProgress(rewriteJsonLines(manifest), count, onProgress);
  return rowProgress(rewriteSafetensors(manifest), count, seqLen!, onProgress);
}

/** What `writeSafetensors` finds by itself if it is not given, but here with progress and interrupts. */
async function longestRow(
  task: Task,
  count: number,
  seed: number,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<number> {
  let longest = 1;
  let since = performance.now();
  for (let position = 0; position < count; position += BATCH) {
    const batchSize = Math.min(BATCH, count - position);
    const { seqLen } = task.batches({ batchSize, state: { seed, position } }).next().value;
    longest = Math.max(longest, seqLen);
    if (performance.now() - since < CHUNK_MS) continue;
    onProgress(position / count);
    await turn();
    signal.throwIfAborted();
    since = performance.now();
  }
  return longest;
}

function* lineProgress(lines: Iterable<string>, count: number, onProgress: OnProgress): Generator<string> {
  let done = -1; // the first line is the manifest
  for (const line of lines) {
    onProgress(Math.max(0, done++) / count);
    yield line;
  }
}

/** Each of the four tensors takes about as long as another, however many bytes it has. */
function* rowProgress(
  parts: Iterable<Uint8Array>,
  count: number,
  seqLen: number,
  onProgress: OnProgress,
): Generator<Uint8Array> {
  const tensors = [4 * count * seqLen, 4 * count * seqLen, 4 * count, count * seqLen];
  let written = 0;
  let header = true;
  for (const part of parts) {
    yield part;
    if (!header) written += part.length;
    header = false;
    let rest = written;
    let done = 0;
    for (const bytes of tensors) {
      const here = Math.min(rest, bytes);
      rest -= here;
      done += here / bytes / tensors.length;
    }
    onProgress(done);
  }
}

/**
 * The manifest of a file of samples, or of a JSON file that holds nothing else.
 *
 * @throws InputError if there is none
 */
export async function readManifest(path: string): Promise<Manifest> {
  const found = await withFile(path, async (file) => {
    const start = await readUpTo(file, 8, 0);
    // JSON has no zero byte; the length that safetensors begin with does.
    const text =
      start.length === 8 && start[7] === 0
        ? await safetensorsHead(file, start.readBigUInt64LE())
        : (await readUpTo(file, LONGEST_HEAD, 0)).toString('utf8');
    const value = parseObject(text.slice(0, text.indexOf('\n') + 1)) ?? parseObject(text);
    const metadata = value?.__metadata__ as { manifest?: unknown } | undefined;
    if (typeof metadata?.manifest === 'string') return parseObject(metadata.manifest);
    return value !== undefined && 'manifest' in value ? value.manifest : value;
  });
  if (typeof found !== 'object' || found === null || !('task' in found))
    throw new InputError(`${path} has no manifest`);
  return found as Manifest; // its fields are checked where it is used
}

async function safetensorsHead(file: FileHandle, length: bigint): Promise<string> {
  return length > LONGEST_HEAD ? '' : (await readUpTo(file, Number(length), 8)).toString('utf8');
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Compares a file with what it should be.
 *
 * @returns its length, and the first byte that differs, if any
 */
export async function compareFile(
  path: string,
  wanted: Iterable<Uint8Array>,
  signal: AbortSignal,
): Promise<{ bytes: number; differs: number | null }> {
  return withFile(path, async (file) => {
    let at = 0;
    for (const chunk of wanted) {
      const got = await readUpTo(file, chunk.length, at);
      signal.throwIfAborted();
      if (!got.equals(chunk)) {
        const first = got.findIndex((byte, i) => byte !== chunk[i]);
        return { bytes: at, differs: at + (first < 0 ? got.length : first) };
      }
      at += chunk.length;
    }
    const { size } = await file.stat();
    return { bytes: size, differs: size === at ? null : at };
  });
}
