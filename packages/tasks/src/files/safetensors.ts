/**
 * safetensors: all samples in rows of one length.
 *
 *     inputs, targets  I32   [count, seqLen]
 *     lengths          I32   [count]             inputs that are not padding
 *     loss_mask        BOOL  [count, seqLen]     whether the target is scored
 *
 * The manifest is the text of `manifest` in the metadata.
 *
 * @see https://github.com/huggingface/safetensors#format
 */
import { type Batch, BatchStream } from '../batches.js';
import { show, TaskError } from '../errors.js';
import {
  checkManifest,
  type ExportOptions,
  type Manifest,
  manifestOf,
  partsOf,
  type Source,
  type TaskFactory,
  taskOf,
} from './manifest.js';
import { checkInteger } from '../options.js';
import type { Task } from '../task.js';

export interface SafetensorsOptions extends ExportOptions {
  /** Length of the rows; by default that of the longest sample. */
  seqLen?: number;
  padding?: 'right' | 'left';
  padToken?: number;
}

export interface Dataset {
  manifest: Manifest;
  /** `[count, seqLen]`, row-major. */
  inputs: Int32Array;
  targets: Int32Array;
  lossMask: Uint8Array;
  lengths: Int32Array;
  count: number;
  seqLen: number;
}

/** At a time: rows, and tokens if rows are long. */
const ROWS = 256;
const TOKENS = 2 ** 20;
const MAX_HEADER_BYTES = 100e6;

/**
 * The file, part by part. Samples are drawn once for each tensor, so that memory stays flat; and once before if the
 * length of the rows is not given.
 */
export function writeSafetensors(task: Task, options: SafetensorsOptions): Generator<Uint8Array> {
  const where = 'writeSafetensors';
  const manifest = manifestOf(task, 'safetensors', where, options, ['seqLen', 'padding', 'padToken']);
  const { padding = 'right', padToken = task.vocabulary.pad } = options;
  const seqLen = options.seqLen ?? longestRow(task, manifest);
  checkInteger(where, 'seqLen', seqLen, 1);
  return bytes(task, { ...manifest, seqLen, padding, padToken });
}

/** The same file again, from its manifest. */
export function rewriteSafetensors(
  manifest: Manifest,
  own?: Record<string, TaskFactory>,
): Generator<Uint8Array> {
  const task = taskOf(manifest, own);
  checkInteger('rewriteSafetensors', 'manifest.seqLen', manifest.seqLen, 1);
  return bytes(task, manifest);
}

function* batches(task: Task, { seed, start, count, ...rows }: Manifest): Generator<Batch> {
  const { seqLen, padding, padToken } = rows;
  const most = seqLen === undefined ? ROWS : Math.max(1, Math.min(ROWS, Math.floor(TOKENS / seqLen)));
  for (let done = 0; done < count; done += most) {
    const state = { seed, position: start + done };
    const batchSize = Math.min(most, count - done);
    yield new BatchStream(task, { batchSize, seqLen, padding, padToken, state }).next().value;
  }
}

function longestRow(task: Task, manifest: Manifest): number {
  let longest = 1;
  for (const { seqLen } of batches(task, manifest)) longest = Math.max(longest, seqLen);
  return longest;
}

function* bytes(task: Task, manifest: Manifest): Generator<Uint8Array> {
  const { count } = manifest;
  const seqLen = manifest.seqLen!;
  const header: Record<string, unknown> = { __metadata__: { manifest: JSON.stringify(manifest) } };
  let offset = 0;
  const add = (name: string, dtype: string, shape: number[], size: number) => {
    header[name] = { dtype, shape, data_offsets: [offset, (offset += size)] };
  };
  add('inputs', 'I32', [count, seqLen], 4 * count * seqLen);
  add('targets', 'I32', [count, seqLen], 4 * count * seqLen);
  add('lengths', 'I32', [count], 4 * count);
  add('loss_mask', 'BOOL', [count, seqLen], count * seqLen);
  const text = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(8 + 8 * Math.ceil(text.length / 8)).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(text, 8);
  yield padded;
  for (const name of ['inputs', 'targets', 'lengths'] as const) {
    for (const batch of batches(task, manifest)) yield littleEndian(batch[name]);
  }
  for (const { lossMask } of batches(task, manifest)) yield lossMask;
}

function littleEndian(words: Int32Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * words.length));
  for (let i = 0; i < words.length; i++) view.setInt32(4 * i, words[i], true);
  return new Uint8Array(view.buffer);
}

/** @throws TaskError if the file is not one that `writeSafetensors` writes */
export async function readSafetensors(source: Source | Uint8Array): Promise<Dataset> {
  const file = await gather(source);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 8) return wrong('the file', 'at least 8 bytes', file.length);
  const headerBytes = Number(view.getBigUint64(0, true));
  if (headerBytes > MAX_HEADER_BYTES || headerBytes > file.length - 8) {
    return wrong('the header', `at most ${Math.min(MAX_HEADER_BYTES, file.length - 8)} bytes`, headerBytes);
  }
  const header = parseHeader(file.subarray(8, 8 + headerBytes));
  if (!header) return wrong('the header', 'a JSON object', 'something else');
  const data = 8 + headerBytes;
  const metadata = header.__metadata__ as { manifest?: unknown } | undefined;
  const manifest = parseHeader(metadata?.manifest);
  checkManifest('readSafetensors', manifest);
  const { count, seqLen } = manifest;
  checkInteger('readSafetensors', 'manifest.seqLen', seqLen, 1);
  let end = 0;

  /** Where a tensor's bytes begin. */
  function find(name: string, dtype: string, shape: number[], size: number): number {
    const entry = header![name] as { dtype?: unknown; shape?: unknown; data_offsets?: unknown } | undefined;
    const wanted = { dtype, shape, data_offsets: [end, end + size] };
    for (const field of ['dtype', 'shape', 'data_offsets'] as const) {
      if (JSON.stringify(entry?.[field]) !== JSON.stringify(wanted[field])) {
        wrong(`${name}.${field}`, show(wanted[field]), entry?.[field]);
      }
    }
    const at = data + end;
    end += size;
    if (data + end > file.length) wrong('the file', `at least ${data + end} bytes`, file.length);
    return at;
  }
  const words = (name: string, shape: number[], length: number): Int32Array => {
    const at = find(name, 'I32', shape, 4 * length);
    const found = new Int32Array(length);
    for (let i = 0; i < length; i++) found[i] = view.getInt32(at + 4 * i, true);
    return found;
  };
  const rows = [count, seqLen!];
  const inputs = words('inputs', rows, count * seqLen!);
  const targets = words('targets', rows, count * seqLen!);
  const lengths = words('lengths', [count], count);
  const maskAt = find('loss_mask', 'BOOL', rows, count * seqLen!);
  const lossMask = file.slice(maskAt, maskAt + count * seqLen!);
  if (data + end !== file.length) wrong('the file', `${data + end} bytes`, file.length);
  if (lossMask.some((bit) => bit > 1))
    wrong(
      'loss_mask',
      '0 or 1',
      lossMask.find((bit) => bit > 1),
    );
  return { manifest, inputs, targets, lossMask, lengths, count, seqLen: seqLen! };
}

function wrong(what: string, wanted: string, got: unknown): never {
  throw new TaskError(`readSafetensors: ${what} must be ${wanted}, got ${show(got)}`);
}

function parseHeader(text: unknown): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(
      typeof text === 'string' ? text : new TextDecoder('utf-8', { fatal: true }).decode(text as Uint8Array),
    );
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

async function gather(source: Source | Uint8Array): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of partsOf(source)) {
    if (typeof part === 'string') throw new TaskError('readSafetensors: source must give bytes, got text');
    parts.push(part);
    length += part.length;
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
