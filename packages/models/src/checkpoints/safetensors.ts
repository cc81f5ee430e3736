/**
 * The safetensors format: eight bytes of length, a JSON header, the tensors' bytes. Reading checks the header before
 * it allocates anything; tensors go straight into WASM memory, a piece at a time.
 *
 * @see https://github.com/huggingface/safetensors
 */
import { ArgumentError, FormatError, type Kernels, Tensor } from '@freelunch/kernels';
import { type ByteSource, bytesSource } from './byte-source.js';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from './half-floats.js';
import { shown } from './json.js';
import {
  dtypeBytes,
  encodeHeader,
  type Entry,
  type FileDType,
  type Header,
  headerLength,
  parseHeader,
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

/** Reads and checks the header of a file. @throws FormatError */
export async function readSafetensorsHeader(source: ByteSource): Promise<Header> {
  const length = headerLength(await source.read(0, Math.min(8, source.size)), source.size, source.name);
  return parseHeader(await source.read(8, length), source.size, source.name);
}

/** A tensor's bytes, piece by piece, each with the number of elements before it and in it. */
async function* pieces(source: ByteSource, entry: Entry, { signal, onProgress }: ReadOptions) {
  const width = dtypeBytes[entry.dtype];
  const count = entry.bytes / width;
  for (let start = 0; start < count; start += CHUNK_ELEMENTS) {
    signal?.throwIfAborted();
    const elements = Math.min(CHUNK_ELEMENTS, count - start);
    yield { bytes: await source.read(entry.offset + start * width, elements * width), start, elements };
    onProgress?.({ doneBytes: entry.offset + (start + elements) * width, totalBytes: source.size });
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
  checkSize(source, entry, target.size);
  for await (const { bytes, start, elements } of pieces(source, entry, options)) {
    // The view is made anew each time: memory may have grown while this waited.
    convert(bytes, entry, target.data.subarray(start, start + elements), source.name);
  }
}

/** Whether a tensor in a file has the bits of one in memory. @throws FormatError */
export async function equalsTensor(
  source: ByteSource,
  entry: Entry,
  tensor: Tensor<'float32'>,
  options: ReadOptions = {},
): Promise<boolean> {
  checkSize(source, entry, tensor.size);
  const scratch = new Float32Array(Math.min(CHUNK_ELEMENTS, tensor.size));
  const got = new Uint32Array(scratch.buffer);
  for await (const { bytes, start, elements } of pieces(source, entry, options)) {
    convert(bytes, entry, scratch.subarray(0, elements), source.name);
    const { data } = tensor;
    const wanted = new Uint32Array(data.buffer, data.byteOffset + 4 * start, elements);
    for (let i = 0; i < elements; i++) if (got[i] !== wanted[i]) return false;
  }
  return true;
}

function convert(bytes: Uint8Array, entry: Entry, out: Float32Array | Int32Array, where: string): void {
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
      for (let i = 0; i < out.length; i++) out[i] = fromFloat16(view.getUint16(2 * i, true));
      return;
    case 'BF16':
      for (let i = 0; i < out.length; i++) out[i] = fromBfloat16(view.getUint16(2 * i, true));
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
  const file = source instanceof Uint8Array ? bytesSource(source) : source;
  const { entries, metadata } = await readSafetensorsHeader(file);
  const wanted = [...entries.values()].filter((entry) => options.select?.(entry) ?? true);
  for (const { name, dtype, shape } of wanted) {
    if (!['F32', 'F16', 'BF16', 'F64', 'I32'].includes(dtype))
      throw new FormatError(`${file.name}: ${shown(name)} must be F32, F16, BF16, F64 or I32, got ${dtype}`);
    if (shape.includes(0))
      throw new FormatError(
        `${file.name}: ${shown(name)} must have sizes from 1 up, got [${shape.join(', ')}]`,
      );
  }
  const tensors = new Map<string, Tensor>();
  try {
    for (const entry of wanted) {
      const tensor = k.empty(entry.shape, entry.dtype === 'I32' ? 'int32' : 'float32') as Tensor;
      tensors.set(entry.name, tensor);
      await readTensor(file, entry, tensor, options);
    }
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

/** The bytes of a safetensors file, piece by piece; the tensors stay as they are while it is read. */
export function* safetensorsChunks(
  tensors: ReadonlyMap<string, Tensor>,
  options: SaveOptions = {},
): Generator<Uint8Array<ArrayBuffer>> {
  const dtype = options.dtype ?? 'F32';
  if (!['F32', 'F16', 'BF16'].includes(dtype))
    throw new ArgumentError(`saveSafetensors: dtype must be 'F32', 'F16' or 'BF16', got '${String(dtype)}'`);
  const stored = (tensor: Tensor): FileDType => (tensor.dtype === 'int32' ? 'I32' : dtype);
  // The widest first, so that every tensor begins on a multiple of its elements' width.
  const ordered = [...tensors].sort(([, a], [, b]) => dtypeBytes[stored(b)] - dtypeBytes[stored(a)]);
  yield encodeHeader(
    ordered.map(([name, tensor]) => ({ name, dtype: stored(tensor), shape: tensor.shape })),
    options.metadata,
  );
  for (const [, tensor] of ordered) {
    for (let start = 0; start < tensor.size; start += CHUNK_ELEMENTS) {
      const part = tensor.data.subarray(start, start + CHUNK_ELEMENTS);
      if (dtypeBytes[stored(tensor)] === 4) {
        yield new Uint8Array(part.slice().buffer);
        continue;
      }
      const round = dtype === 'F16' ? toFloat16 : toBfloat16;
      const halves = new Uint16Array(part.length);
      for (let i = 0; i < part.length; i++) halves[i] = round(part[i]); // Uint16Array.from takes more than 20 times as long
      yield new Uint8Array(halves.buffer);
    }
  }
}

/** A safetensors file in memory. For files on disk see `saveSafetensors`. */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, Tensor>,
  options: SaveOptions = {},
): Uint8Array<ArrayBuffer> {
  const chunks = [...safetensorsChunks(tensors, options)];
  const bytes = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

/** Writes a file whole or not at all: into a new file beside it, flushed to disk, then renamed over the old one. */
export async function writeWhole(path: string, chunks: Iterable<Uint8Array | string>): Promise<void> {
  const module = 'node:fs/promises';
  const { open, rename, rm } = (await import(
    /* @vite-ignore */ /* webpackIgnore: true */ module
  )) as typeof import('node:fs/promises');
  const temporary = `${path}.${Date.now().toString(36)}.partial`;
  const file = await open(temporary, 'wx');
  try {
    for (const chunk of chunks) await file.writeFile(chunk);
    await file.datasync();
    await file.close();
    await rename(temporary, path);
  } catch (error) {
    await file.close().catch(() => {}); // closed already if only the rename failed
    await rm(temporary, { force: true });
    throw error;
  }
}

/**
 * Writes a safetensors file (Node, Deno, Bun), whole or not at all.
 *
 * @throws ArgumentError for bad options; what the file system throws
 */
export async function saveSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  options: SaveOptions = {},
): Promise<void> {
  await writeWhole(path, safetensorsChunks(tensors, options));
}
