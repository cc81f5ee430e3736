import { FormatError, show } from '@freelunch/errors';
import { endOfString, isObject } from '@freelunch/config';

/** Element types of safetensors files, with their width in bytes. */
export const dtypeBytes = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;
export type FileDType = keyof typeof dtypeBytes;

/** A tensor in a file that is to be written. */
export interface Stored {
  name: string;
  dtype: FileDType;
  shape: readonly number[];
}

/** Bytes of its elements. */
export const storedBytes = ({ dtype, shape }: Stored): number =>
  shape.reduce((product, extent) => product * extent, 1) * dtypeBytes[dtype];

/** Where one tensor lies in a file. */
export interface Entry {
  name: string;
  dtype: FileDType;
  shape: number[];
  /** From the start of the file, in bytes. */
  offset: number;
  bytes: number;
}

export interface Header {
  entries: Map<string, Entry>;
  metadata: Record<string, string>;
  /** Where the data begins, in bytes. */
  dataOffset: number;
  /** Where it ends, and the file with it. */
  fileBytes: number;
}

/** The format's own limit: a header is at most 100 MB. */
export const MAXIMUM_HEADER_BYTES = 100_000_000;
/** Our limit, far beyond any real tensor: what a file says must not become work without end. */
const MAXIMUM_RANK = 64;

/**
 * The length of the header, from the first 8 bytes of a file.
 *
 * @param fileBytes undefined if not known
 * @throws FormatError
 */
export function headerLength(start: Uint8Array, fileBytes: number | undefined, where: string): number {
  if (start.length < 8)
    throw new FormatError(`${where}: file must have at least 8 bytes, got ${start.length}`);
  const view = new DataView(start.buffer, start.byteOffset, 8);
  const length = Number(view.getBigUint64(0, true));
  const most = Math.min(MAXIMUM_HEADER_BYTES, (fileBytes ?? Infinity) - 8);
  if (length > most) {
    const within = fileBytes === undefined ? '' : ` in a file of ${fileBytes}`;
    throw new FormatError(`${where}: header must be at most ${most} bytes${within}, got ${length}`);
  }
  return length;
}

/**
 * Reads a header and checks all that the format promises: known dtypes, whole sizes, lengths that fit the shapes, and
 * tensors that lie one behind another, without overlap, hole or rest.
 *
 * @param bytes      the header, without the length before it
 * @param fileBytes  undefined if not known: then the file must end where the header says, see {@link Header.fileBytes}
 * @throws FormatError naming the tensor
 */
export function parseHeader(bytes: Uint8Array, fileBytes: number | undefined, where: string): Header {
  const bad = (what: string): never => {
    throw new FormatError(`${where}: ${what}`);
  };
  const text = decode(bytes) ?? bad('header must be UTF-8');
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    bad(`header must be JSON: ${(error as Error).message}`);
  }
  if (!isObject(parsed)) return bad(`header must be a JSON object, got ${show(parsed)}`);
  const twice = duplicateKey(text);
  if (twice !== undefined) bad(`header must hold each name once, got ${show(twice)} twice`);

  const dataOffset = 8 + bytes.length;
  const dataBytes = (fileBytes ?? Infinity) - dataOffset;
  let metadata: Record<string, string> = {};
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(parsed)) {
    if (name === '__metadata__') {
      if (!isObject(value) || !Object.values(value).every((item) => typeof item === 'string'))
        bad('__metadata__ must be an object of texts');
      metadata = value as Record<string, string>;
      continue;
    }
    const title = show(name);
    if (!isObject(value)) return bad(`${title} must be an object, got ${show(value)}`);
    const { dtype, shape, data_offsets: offsets } = value;
    if (typeof dtype !== 'string' || !Object.hasOwn(dtypeBytes, dtype)) {
      return bad(`${title} must have a dtype of ${Object.keys(dtypeBytes).join(', ')}, got ${show(dtype)}`);
    }
    if (!Array.isArray(shape) || shape.length > MAXIMUM_RANK || !shape.every(isSize))
      return bad(`${title} must have a shape of at most ${MAXIMUM_RANK} whole numbers, got ${show(shape)}`);
    if (
      !Array.isArray(offsets) ||
      offsets.length !== 2 ||
      !offsets.every(isSize) ||
      offsets[0] > offsets[1] ||
      offsets[1] > dataBytes
    ) {
      return bad(
        `${title} must have data_offsets [begin, end] within ${dataBytes} bytes, got ${show(offsets)}`,
      );
    }
    const wanted =
      (shape as number[]).reduce((product, extent) => product * extent, 1) * dtypeBytes[dtype as FileDType];
    const [begin, end] = offsets as [number, number];
    if (end - begin !== wanted)
      bad(`${title} must have ${wanted} bytes for ${dtype} [${shape.join(', ')}], got ${end - begin}`);
    entries.push({
      name,
      dtype: dtype as FileDType,
      shape: shape as number[],
      offset: dataOffset + begin,
      bytes: wanted,
    });
  }

  entries.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let next = dataOffset;
  for (const { name, offset, bytes: length } of entries) {
    if (offset !== next)
      bad(
        `${show(name)} must begin where the tensor before it ends, at ${next - dataOffset}, got ${offset - dataOffset}`,
      );
    next += length;
  }
  if (fileBytes !== undefined && next !== fileBytes)
    bad(`data must be ${next - dataOffset} bytes as the header says, got ${dataBytes}`);
  return {
    entries: new Map(entries.map((entry) => [entry.name, entry])),
    metadata,
    dataOffset,
    fileBytes: next,
  };
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined; // the caller names the file
  }
}

/** The first key that one object of a valid JSON text holds twice: JSON.parse would silently keep the last. */
function duplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // one entry a nesting level; undefined for arrays
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '{') open.push(new Set());
    else if (character === '[') open.push(undefined);
    else if (character === '}' || character === ']') open.pop();
    else if (character === '"') {
      const end = endOfString(text, i);
      let next = end;
      while (' \t\n\r'.includes(text[next])) next++;
      const keys = open.at(-1);
      if (keys !== undefined && text[next] === ':') {
        const key = JSON.parse(text.slice(i, end)) as string;
        if (keys.has(key)) return key;
        keys.add(key);
      }
      i = next - 1;
    }
  }
  return undefined;
}

/** The header's bytes with its length before it, padded with spaces so that the data begins on a multiple of 8. */
export function encodeHeader(
  tensors: readonly Stored[],
  metadata?: Record<string, string>,
): Uint8Array<ArrayBuffer> {
  let offset = 0;
  const header = Object.create(null) as Record<string, unknown>; // any name is a plain key, __proto__ too
  if (metadata !== undefined) header.__metadata__ = metadata;
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor;
    if (name === '__metadata__' || Object.hasOwn(header, name))
      throw new FormatError(
        `saveSafetensors: names must differ and not be __metadata__, got ${JSON.stringify(name)}`,
      );
    const bytes = storedBytes(tensor);
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + padded).fill(0x20);
  new DataView(out.buffer).setBigUint64(0, BigInt(padded), true);
  out.set(json, 8);
  return out;
}
