/**
 * The header of GGUF files, versions 2 and 3: metadata by name, and where each tensor lies.
 *
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import { FormatError, show, UnsupportedError } from '@freelunch/errors';
import type { ByteSource } from '../byte-source.js';
import { refusePlaceholder, TELLING_BYTES } from '../placeholder.js';
import { Cursor } from './cursor.js';
import { type GgmlType, ggmlTypes } from './types.js';

/** As of safetensors. Vocabularies are the most of it: 256,000 tokens take some 10 MB. */
const MAXIMUM_HEADER_BYTES = 100_000_000;
/** Our limits, far beyond any real model: what a file says must not become work without end. */
const MAXIMUM_TENSORS = 100_000;
const MAXIMUM_VALUES = 100_000;
const MAXIMUM_RANK = 4; // ggml's own
const DEFAULT_ALIGNMENT = 32;

/** Numbers in an array; whole ones of 64 bits stay as they are. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;
/** What one name of the metadata stands for; whole numbers are bigint only where a number does not hold them. */
export type GgufValue =
  number | bigint | boolean | string | readonly string[] | readonly boolean[] | GgufNumbers;

/** Where one tensor lies in a file. */
export interface GgufTensor {
  name: string;
  type: GgmlType;
  /** Rows first, as everywhere here: the reverse of the file's order. */
  shape: number[];
  /** From the start of the file, in bytes. */
  offset: number;
  bytes: number;
}

export interface GgufHeader {
  version: number;
  metadata: Map<string, GgufValue>;
  /** In the order in which they lie. */
  tensors: Map<string, GgufTensor>;
  /** Bytes up to the end of the last tensor. */
  leastBytes: number;
}

const MAGIC = [0x47, 0x47, 0x55, 0x46]; // GGUF

/** Whether a file begins as GGUF files do. */
export const isGguf = (start: Uint8Array): boolean =>
  start.length >= 4 && MAGIC.every((byte, i) => start[i] === byte);

interface Scalar {
  bytes: number;
  read(view: DataView): number | bigint | boolean;
  many(bytes: Uint8Array<ArrayBuffer>): GgufNumbers | boolean[];
}

const narrow = (value: bigint): number | bigint =>
  BigInt.asIntN(54, value) === value ? Number(value) : value;

/** Kinds of values by their number, except texts and arrays. Arrays are little-endian, as WebAssembly's hosts are. */
const scalars: ReadonlyMap<number, Scalar> = new Map<number, Scalar>([
  [0, { bytes: 1, read: (v) => v.getUint8(0), many: (b) => b }],
  [1, { bytes: 1, read: (v) => v.getInt8(0), many: (b) => new Int8Array(b.buffer) }],
  [2, { bytes: 2, read: (v) => v.getUint16(0, true), many: (b) => new Uint16Array(b.buffer) }],
  [3, { bytes: 2, read: (v) => v.getInt16(0, true), many: (b) => new Int16Array(b.buffer) }],
  [4, { bytes: 4, read: (v) => v.getUint32(0, true), many: (b) => new Uint32Array(b.buffer) }],
  [5, { bytes: 4, read: (v) => v.getInt32(0, true), many: (b) => new Int32Array(b.buffer) }],
  [6, { bytes: 4, read: (v) => v.getFloat32(0, true), many: (b) => new Float32Array(b.buffer) }],
  [7, { bytes: 1, read: (v) => v.getUint8(0) !== 0, many: (b) => Array.from(b, (byte) => byte !== 0) }],
  [10, { bytes: 8, read: (v) => narrow(v.getBigUint64(0, true)), many: (b) => new BigUint64Array(b.buffer) }],
  [11, { bytes: 8, read: (v) => narrow(v.getBigInt64(0, true)), many: (b) => new BigInt64Array(b.buffer) }],
  [12, { bytes: 8, read: (v) => v.getFloat64(0, true), many: (b) => new Float64Array(b.buffer) }],
]);
const STRING = 8;
const ARRAY = 9;

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Tokens of some vocabularies are parts of characters. */
const lenient = new TextDecoder('utf-8', { ignoreBOM: true });

const isPowerOf2 = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 1 && Number.isInteger(Math.log2(value as number));

class Reader {
  readonly cursor: Cursor;
  readonly name: string;

  constructor(source: ByteSource) {
    this.cursor = new Cursor(source, MAXIMUM_HEADER_BYTES);
    this.name = source.name;
  }

  bad(what: string): never {
    throw new FormatError(`${this.name}: ${what}`);
  }

  async uint32(what: string): Promise<number> {
    return (await this.cursor.take(4, what)).getUint32(0, true);
  }

  async uint64(what: string): Promise<bigint> {
    return (await this.cursor.take(8, what)).getBigUint64(0, true);
  }

  async text(what: string, decoder = lenient): Promise<string> {
    const bytes = await this.cursor.takeLong(await this.uint64(what), what);
    try {
      return decoder.decode(bytes);
    } catch {
      return this.bad(`${what} must be UTF-8`);
    }
  }

  /** How many there are of something, each of which takes at least so many bytes. */
  async count(what: string, leastBytes: number, most: number): Promise<number> {
    const count = await this.uint64(`the number of ${what}`);
    if (count > most) this.bad(`there must be at most ${most} ${what}, got ${count}`);
    this.cursor.need(count * BigInt(leastBytes), what);
    return Number(count);
  }

  async value(what: string): Promise<GgufValue> {
    const kind = await this.uint32(what);
    if (kind === STRING) return this.text(what);
    if (kind === ARRAY) return this.array(what);
    const scalar = scalars.get(kind) ?? this.bad(`${what} must be of a known kind, got ${kind}`);
    return scalar.read(await this.cursor.take(scalar.bytes, what));
  }

  async array(what: string): Promise<GgufValue> {
    const kind = await this.uint32(what);
    const scalar = scalars.get(kind);
    if (scalar !== undefined) {
      const count = await this.count(`elements of ${what}`, scalar.bytes, MAXIMUM_HEADER_BYTES);
      return scalar.many(await this.cursor.takeLong(count * scalar.bytes, what));
    }
    if (kind !== STRING) this.bad(`${what} must be an array of numbers or texts, got kind ${kind}`);
    const count = await this.count(`elements of ${what}`, 8, MAXIMUM_HEADER_BYTES);
    const texts: string[] = [];
    while (texts.length < count) texts.push(await this.text(what));
    return texts;
  }

  /** All but where it lies, which counts from the end of the header. */
  async tensor(what: string): Promise<Omit<GgufTensor, 'offset'> & { offset: bigint }> {
    const name = await this.text(`the name of ${what}`, strict);
    const rank = await this.uint32(show(name));
    if (rank > MAXIMUM_RANK) this.bad(`${show(name)} must have at most ${MAXIMUM_RANK} axes, got ${rank}`);
    const shape: number[] = [];
    let elements = 1n;
    for (let axis = 0; axis < rank; axis++) {
      const extent = await this.uint64(show(name));
      elements *= extent;
      if (extent > Number.MAX_SAFE_INTEGER || elements > 2n ** 48n)
        this.bad(`${show(name)} must have at most 2^48 elements, got more`);
      shape.unshift(Number(extent));
    }
    const number = await this.uint32(show(name));
    const type = ggmlTypes.get(number);
    if (type === undefined)
      throw new UnsupportedError(
        `${this.name}: ${show(name)} must be of a known type to be supported, got ${number}`,
      );
    const row = shape.at(-1) ?? 1;
    if (row % type.block !== 0)
      this.bad(`rows of ${show(name)} must be blocks of ${type.block} as ${type.name} has them, got ${row}`);
    const bytes = (Number(elements) / type.block) * type.bytes;
    return { name, type, shape, offset: await this.uint64(show(name)), bytes };
  }
}

/**
 * Reads and checks a header: nothing is allocated for what a file claims, names are there once, and tensors lie one
 * behind another, each from a multiple of the alignment, within the file.
 *
 * @returns the header, and the file from there on: what lies behind the header may have been read already
 * @throws FormatError; UnsupportedError for versions, byte orders and types that are not known
 */
export async function readGgufHeader(source: ByteSource): Promise<{ header: GgufHeader; data: ByteSource }> {
  const reader = new Reader(source);
  const { cursor } = reader;
  const { buffer } = await cursor.take(MAGIC.length, 'GGUF');
  const start = new Uint8Array(buffer).subarray(0, TELLING_BYTES);
  if (!isGguf(start)) {
    refusePlaceholder(start, source.name);
    reader.bad(
      `file must begin with GGUF, got ${show(new TextDecoder('latin1').decode(start.subarray(0, 4)))}`,
    );
  }
  const version = await reader.uint32('the version');
  if (version !== 2 && version !== 3)
    throw new UnsupportedError(
      `${source.name}: GGUF version must be 2 or 3 to be supported, got ${(version & 0xffff) === 0 ? `${version >>> 24} in big-endian order` : version}`,
    );
  // The least that each takes: a name's length, and what stands behind it.
  const nTensors = await reader.count('tensors', 8 + 4 + 4 + 8, MAXIMUM_TENSORS);
  const nValues = await reader.count('values of metadata', 8 + 4 + 1, MAXIMUM_VALUES);

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < nValues; i++) {
    const name = await reader.text('a name of the metadata', strict);
    if (metadata.has(name)) reader.bad(`metadata must hold each name once, got ${show(name)} twice`);
    metadata.set(name, await reader.value(show(name)));
  }
  const alignment = metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT;
  if (!isPowerOf2(alignment))
    return reader.bad(`general.alignment must be a power of 2, got ${show(alignment)}`);
  const aligned = (bytes: number) => Math.ceil(bytes / alignment) * alignment;

  const tensors = new Map<string, GgufTensor>();
  let end = 0; // from the end of the header
  for (let i = 0; i < nTensors; i++) {
    const tensor = await reader.tensor(`tensor ${i}`);
    const name = show(tensor.name);
    if (tensors.has(tensor.name)) reader.bad(`tensors must have each name once, got ${name} twice`);
    const offset = aligned(end);
    if (tensor.offset !== BigInt(offset))
      reader.bad(`${name} must lie at ${offset}, behind the tensor before it, got ${tensor.offset}`);
    end = offset + tensor.bytes;
    if (!Number.isSafeInteger(end)) reader.bad(`${name} must end below 2^53 bytes, got ${end}`);
    tensors.set(tensor.name, { ...tensor, offset });
  }
  const dataOffset = aligned(cursor.position);
  for (const tensor of tensors.values()) tensor.offset += dataOffset;
  const leastBytes = nTensors === 0 ? cursor.position : dataOffset + end;
  if (source.size !== undefined && source.size < leastBytes)
    reader.bad(`file must have ${leastBytes} bytes as its header says, got ${source.size}`);
  return { header: { version, metadata, tensors, leastBytes }, data: cursor.rest() };
}
