/**
 * The safetensors format: eight bytes of length, a JSON header, the tensors' bytes. Reading checks the header before
 * it allocates anything; tensors go straight into WASM memory, a piece at a time.
 *
 * @see https://github.com/huggingface/safetensors
 */
import { ArgumentError, checkOptions, FormatError, show } from '@freelunch/errors';
import { type Kernels, Tensor } from '@freelunch/kernels';
import { checkFunction, checkKernels, checkSignal } from '../check.js';
import { writeDurably } from '../files/write.js';
import { type ByteSource, bytesSource } from './byte-source.js';
import { fromBfloat16Bytes, fromFloat16Bytes, toBfloat16, toFloat16 } from './half-floats.js';
import { isObject } from '@freelunch/config';
import { refusePlaceholder, TELLING_BYTES } from './placeholder.js';
import {
  dtypeBytes,
  encodeHeader,
  type Entry,
  type Header,
  headerLength,
  parseHeader,
  type Stored,
} from './safetensors-format.js';

const CHUNK_ELEMENTS = 2 ** 20;

/** Progress of a long read or write, in bytes. */
export interface ByteProgress {
  doneBytes: number;
  totalBytes: number;
}

export interface ReadOptions {
  signal?: AbortSignal;
  onProgress?: (progress: ByteProgress) => void;
  /** Tensors to read; all if absent. */
  select?: (entry: Entry) => boolean;
}

/** Reads and checks the header of a file. @throws FormatError, FileError */
export async function readSafetensorsHeader(source: ByteSource): Promise<Header> {
  checkSource('readSafetensorsHeader', source);
  const { name, size } = source;
  const start = (await source.read(0, Math.min(8, size ?? 8))).slice();
  let length: number;
  try {
    length = headerLength(start, size, name);
  } catch (error) {
    const rest = Math.max((size ?? Infinity) - start.length, 0);
    const more = await source.read(start.length, Math.min(TELLING_BYTES, rest));
    refusePlaceholder(Uint8Array.of(...start, ...more), name);
    throw error;
  }
  const header = await source.read(8, length);
  if (header.length < length)
    throw new FormatError(`${name}: header must be ${length} bytes, ends at ${header.length}`);
  return parseHeader(header, size, name);
}

/** Checks that a file of unknown size ends where its header says, once all of it was read. @throws FormatError */
export async function checkEnd(source: ByteSource, { fileBytes }: Header): Promise<void> {
  if (source.size !== undefined) return; // compared when the header was read
  const rest = await source.read(fileBytes, 1);
  if (rest.length > 0) throw new FormatError(`${source.name}: file must have ${fileBytes} bytes, got more`);
}

function checkReading(where: string, options: ReadOptions): void {
  checkOptions(where, options, ['signal', 'onProgress', 'select']);
  checkSignal(where, options.signal);
  checkFunction(where, 'onProgress', options.onProgress);
}

function checkSource(where: string, source: ByteSource): void {
  if (typeof source?.read !== 'function')
    throw new ArgumentError(
      `${where}: source must be a Uint8Array or a source of bytes, got ${show(source)}`,
    );
}

/** A tensor's bytes, some rows at a time: `rows` of equal length make up the tensor. @throws FormatError */
export async function* rowPieces(
  source: ByteSource,
  entry: Entry,
  rows: number,
  most: number,
  { signal, onProgress }: ReadOptions,
): AsyncGenerator<{ bytes: Uint8Array; first: number; count: number }> {
  const rowBytes = entry.bytes / rows;
  for (let first = 0; first < rows; first += most) {
    signal?.throwIfAborted();
    const count = Math.min(most, rows - first);
    const start = entry.offset + first * rowBytes;
    const bytes = await source.read(start, count * rowBytes);
    if (bytes.length < count * rowBytes)
      throw new FormatError(`${source.name}: ${entry.name} must be in the file, which ends before`);
    yield { bytes, first, count };
    const end = start + count * rowBytes;
    onProgress?.({ doneBytes: end, totalBytes: source.size ?? entry.offset + entry.bytes });
  }
}

function checkSize(source: ByteSource, entry: Entry, size: number): void {
  const count = entry.bytes / dtypeBytes[entry.dtype];
  if (count !== size)
    throw new FormatError(`${source.name}: ${entry.name} must have ${size} elements, got ${count}`);
}

/** Reads one tensor into `target`, which has as many elements, converting 16-bit and 64-bit floats. @throws FormatError */
export async function readTensor(
  source: ByteSource,
  entry: Entry,
  target: Tensor,
  options: ReadOptions = {},
): Promise<void> {
  checkSource('readTensor', source);
  checkReading('readTensor', options);
  if (!isObject(entry) || !Object.hasOwn(dtypeBytes, String(entry.dtype)))
    throw new ArgumentError(`readTensor: entry must be one of a header, got ${show(entry)}`);
  if (!(target instanceof Tensor))
    throw new ArgumentError(`readTensor: target must be a tensor, got ${show(target)}`);
  checkSize(source, entry, target.size);
  for await (const { bytes, first, count } of rowPieces(
    source,
    entry,
    target.size,
    CHUNK_ELEMENTS,
    options,
  )) {
    // The view is made anew each time: memory may have grown while this waited.
    convertElements(bytes, entry, target.data.subarray(first, first + count), source.name);
  }
}

/** Elements of a file as those of a tensor, as many. @throws FormatError */
export function convertElements(
  bytes: Uint8Array,
  entry: Entry,
  out: Float32Array | Int32Array,
  where: string,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const integers = out instanceof Int32Array;
  if (integers !== (entry.dtype === 'I32')) {
    throw new FormatError(
      `${where}: ${entry.name} must be ${integers ? 'I32' : 'F32, F16, BF16 or F64'}, got ${entry.dtype}`,
    );
  }
  switch (entry.dtype) {
    case 'F32':
    case 'I32':
      // Both are little-endian, the file and WASM memory: the bytes go as they are.
      new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(bytes);
      return;
    case 'F64':
      for (let i = 0; i < out.length; i++) out[i] = view.getFloat64(8 * i, true);
      return;
    case 'F16':
      fromFloat16Bytes(bytes, out as Float32Array);
      return;
    case 'BF16':
      fromBfloat16Bytes(bytes, out as Float32Array);
      return;
    default:
      throw new FormatError(`${where}: ${entry.name} must be F32, F16, BF16, F64 or I32, got ${entry.dtype}`);
  }
}

/**
 * Reads a safetensors file into tensors: floats of any width become float32, I32 stays.
 *
 * @param source bytes in memory, or a source that reads a file, Blob or URL
 * @throws FormatError if the file is not what its header says; AbortError
 */
export async function loadSafetensors(
  k: Kernels,
  source: ByteSource | Uint8Array,
  options: ReadOptions = {},
): Promise<{ tensors: Map<string, Tensor>; metadata: Record<string, string> }> {
  checkKernels('loadSafetensors', k);
  checkReading('loadSafetensors', options);
  checkFunction('loadSafetensors', 'select', options.select);
  const file = source instanceof Uint8Array ? bytesSource(source) : source;
  checkSource('loadSafetensors', file);
  const header = await readSafetensorsHeader(file);
  const { entries, metadata, fileBytes } = header;
  const wanted = [...entries.values()].filter((entry) => options.select?.(entry) ?? true);
  for (const { name, dtype, shape } of wanted) {
    if (!['F32', 'F16', 'BF16', 'F64', 'I32'].includes(dtype))
      throw new FormatError(`${file.name}: ${show(name)} must be F32, F16, BF16, F64 or I32, got ${dtype}`);
    if (shape.includes(0))
      throw new FormatError(
        `${file.name}: ${show(name)} must have sizes from 1 up, got [${shape.join(', ')}]`,
      );
  }
  const tensors = new Map<string, Tensor>();
  try {
    for (const entry of wanted) {
      const tensor = k.empty(entry.shape, entry.dtype === 'I32' ? 'int32' : 'float32') as Tensor;
      tensors.set(entry.name, tensor);
      await readTensor(file, entry, tensor, {
        signal: options.signal,
        onProgress: ({ doneBytes }) => options.onProgress?.({ doneBytes, totalBytes: fileBytes }),
      });
    }
    if (wanted.length === entries.size) await checkEnd(file, header);
  } catch (error) {
    for (const tensor of tensors.values()) tensor.dispose();
    throw error;
  }
  return { tensors, metadata };
}

export interface SaveOptions {
  metadata?: Record<string, string>;
  /** How floats are stored. `F32` (default) keeps every bit. */
  dtype?: 'F32' | 'F16' | 'BF16';
}

/** @throws ArgumentError */
function checkSave(tensors: unknown, options: SaveOptions): void {
  const where = 'saveSafetensors';
  checkOptions(where, options, ['metadata', 'dtype']);
  if (!(tensors instanceof Map))
    throw new ArgumentError(`${where}: tensors must be a Map of names to tensors, got ${show(tensors)}`);
  for (const [name, tensor] of tensors as Map<unknown, unknown>) {
    if (typeof name !== 'string' || !(tensor instanceof Tensor))
      throw new ArgumentError(
        `${where}: tensors must map names to tensors, got ${show(name)}: ${show(tensor)}`,
      );
  }
  const { dtype = 'F32', metadata = {} } = options;
  if (!['F32', 'F16', 'BF16'].includes(dtype))
    throw new ArgumentError(`${where}: dtype must be 'F32', 'F16' or 'BF16', got ${show(dtype)}`);
  if (!isObject(metadata) || !Object.values(metadata).every((text) => typeof text === 'string'))
    throw new ArgumentError(`${where}: metadata must be an object of texts, got ${show(metadata)}`);
}

/**
 * The bytes of a safetensors file, piece by piece; the tensors stay as they are while it is read.
 *
 * @throws ArgumentError
 */
export function safetensorsChunks(
  tensors: ReadonlyMap<string, Tensor>,
  options: SaveOptions = {},
): Generator<Uint8Array<ArrayBuffer>> {
  checkSave(tensors, options);
  const { dtype = 'F32', metadata } = options;
  return storedChunks(
    [...tensors].map(([name, tensor]) => storedTensor(name, tensor, dtype)),
    metadata,
  );
}

/** A tensor to be written, and its bytes, piece by piece. */
export interface StoredTensor extends Stored {
  chunks: () => Iterable<Uint8Array<ArrayBuffer>>;
}

/** A tensor as it becomes part of a file: floats in a dtype, int32 as they are. */
export function storedTensor(
  name: string,
  tensor: Tensor,
  dtype: NonNullable<SaveOptions['dtype']>,
): StoredTensor {
  const stored = tensor.dtype === 'int32' ? 'I32' : dtype;
  return { name, dtype: stored, shape: tensor.shape, chunks: () => elementChunks(tensor.data, stored) };
}

/** The bytes of numbers in a dtype, some at a time. */
export function* elementChunks(
  data: Float32Array | Int32Array,
  dtype: 'I32' | NonNullable<SaveOptions['dtype']>,
): Generator<Uint8Array<ArrayBuffer>> {
  for (let start = 0; start < data.length; start += CHUNK_ELEMENTS) {
    const part = data.subarray(start, start + CHUNK_ELEMENTS);
    if (dtype === 'F32' || dtype === 'I32') {
      yield new Uint8Array(part.slice().buffer);
      continue;
    }
    const round = dtype === 'F16' ? toFloat16 : toBfloat16;
    const halves = new Uint16Array(part.length);
    for (let i = 0; i < part.length; i++) halves[i] = round(part[i]); // Uint16Array.from takes more than 20 times as long
    yield new Uint8Array(halves.buffer);
  }
}

/** The bytes of a file of these tensors, piece by piece. */
export function* storedChunks(
  tensors: readonly StoredTensor[],
  metadata?: Record<string, string>,
): Generator<Uint8Array<ArrayBuffer>> {
  // The widest first, so that every tensor begins on a multiple of its elements' width.
  const ordered = tensors.toSorted((a, b) => dtypeBytes[b.dtype] - dtypeBytes[a.dtype]);
  yield encodeHeader(ordered, metadata);
  for (const { chunks } of ordered) yield* chunks();
}

/** A safetensors file in memory. For files on disk see `saveSafetensors`. */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, Tensor>,
  options: SaveOptions = {},
): Uint8Array<ArrayBuffer> {
  return joinChunks(safetensorsChunks(tensors, options));
}

export function joinChunks(chunks: Iterable<Uint8Array<ArrayBuffer>>): Uint8Array<ArrayBuffer> {
  const all = [...chunks];
  const bytes = new Uint8Array(all.reduce((total, chunk) => total + chunk.length, 0));
  let offset = 0;
  for (const chunk of all) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

/**
 * Writes a safetensors file (Node, Deno, Bun): complete and on the disk, or not at all.
 *
 * @throws ArgumentError for bad options, FileError
 */
export async function saveSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  options: SaveOptions = {},
): Promise<void> {
  await writeDurably(path, safetensorsChunks(tensors, options));
}
