import { FormatError, UnsupportedError } from '@freelunch/errors';
import { describe, expect, it } from 'vitest';
import { type Entry, writeGguf } from '../../../tests/gguf-writer.js';
import { type ByteSource, bytesSource, streamSource } from '../byte-source.js';
import { readGgufHeader } from './header.js';

const tensor = (name: string, shape = [2, 3]) => ({
  name,
  type: 'F32' as const,
  shape,
  bytes: new Uint8Array(4 * shape.reduce((product, extent) => product * extent, 1)),
});

const entries: Entry[] = [
  ['a.uint8', 'uint8', 200],
  ['a.int8', 'int8', -3],
  ['a.uint16', 'uint16', 65535],
  ['a.int16', 'int16', -300],
  ['a.uint32', 'uint32', 4e9],
  ['a.int32', 'int32', -5],
  ['a.float32', 'float32', 0.25],
  ['a.bool', 'bool', true],
  ['a.string', 'string', 'Füße'],
  ['a.uint64', 'uint64', 2n ** 40n],
  ['a.int64', 'int64', -7],
  ['a.huge', 'uint64', 2n ** 60n],
  ['a.float64', 'float64', 1e300],
  ['a.texts', 'string', ['', 'b', 'Ä'], 'array'],
  ['a.numbers', 'int32', [1, -1], 'array'],
  ['a.floats', 'float32', [0.5, 2], 'array'],
  ['a.flags', 'bool', [true, false], 'array'],
  ['a.none', 'float64', [], 'array'],
];

const read = async (source: ByteSource | Uint8Array) =>
  (await readGgufHeader(source instanceof Uint8Array ? bytesSource(source, 'x.gguf') : source)).header;

/** A file that arrives in pieces of so many bytes; what it says of its size is up to `size`. */
const arriving = (bytes: Uint8Array, piece: number, size?: number) => {
  let at = 0;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at >= bytes.length) controller.close();
      else controller.enqueue(bytes.slice(at, (at += piece)));
    },
  });
  return streamSource(stream, size, 'x.gguf');
};

it.each([2, 3])('reads all kinds of values of version %i', async (version) => {
  const { metadata } = await read(writeGguf({ version, entries }));
  expect(Object.fromEntries(metadata)).toEqual({
    'a.uint8': 200,
    'a.int8': -3,
    'a.uint16': 65535,
    'a.int16': -300,
    'a.uint32': 4e9,
    'a.int32': -5,
    'a.float32': 0.25,
    'a.bool': true,
    'a.string': 'Füße',
    'a.uint64': 2 ** 40,
    'a.int64': -7,
    'a.huge': 2n ** 60n,
    'a.float64': 1e300,
    'a.texts': ['', 'b', 'Ä'],
    'a.numbers': Int32Array.of(1, -1),
    'a.floats': Float32Array.of(0.5, 2),
    'a.flags': [true, false],
    'a.none': new Float64Array(),
  });
});

it.each([32, 8, 256])('finds tensors where an alignment of %i puts them', async (alignment) => {
  const tensors = [
    tensor('first'),
    tensor('empty', [3, 0]),
    tensor('second', [5]),
    tensor('third', [1, 2, 3]),
  ];
  tensors.forEach(({ bytes }, i) => bytes.fill(i + 1));
  const file = writeGguf({ entries: [['general.alignment', 'uint32', alignment]], tensors, alignment });
  const header = await read(file);
  expect([...header.tensors.values()].map(({ name, shape, type }) => [name, shape, type.name])).toEqual(
    tensors.map(({ name, shape, type }) => [name, shape, type]),
  );
  for (const { name, bytes } of tensors) {
    const { offset, bytes: length } = header.tensors.get(name)!;
    expect(offset % alignment).toBe(0);
    expect(file.subarray(offset, offset + length)).toEqual(bytes);
  }
  expect(header.leastBytes).toBe(file.length);
});

it.each([61, 1000, 100_000])(
  'reads what arrives %i bytes at a time, and the data behind it',
  async (piece) => {
    const tensors = [tensor('a', [40]), tensor('b', [30_000])];
    for (const { bytes } of tensors) for (let i = 0; i < bytes.length; i++) bytes[i] = i % 251;
    const long = 'long '.repeat(30_000);
    const file = writeGguf({ entries: [...entries, ['a.long', 'string', long]], tensors });
    const { header, data } = await readGgufHeader(arriving(file, piece));
    expect(header.metadata.get('a.long')).toBe(long);
    for (const { name, bytes } of tensors) {
      const { offset } = header.tensors.get(name)!;
      const half = bytes.length / 2;
      expect((await data.read(offset, half)).slice()).toEqual(bytes.subarray(0, half));
      expect((await data.read(offset + half, half)).slice()).toEqual(bytes.subarray(half));
    }
  },
);

it('refuses a file that ends anywhere before its end, of known size and of unknown', async () => {
  const file = writeGguf({ entries, tensors: [tensor('a')] });
  for (let length = 0; length < file.length; length++) {
    await expect(read(file.subarray(0, length)), `${length}`).rejects.toThrow(FormatError);
    // Of unknown size only the header tells; the tensor is missed when it is read.
    if (length < file.length - 64)
      await expect(read(arriving(file.subarray(0, length), 50)), `${length}`).rejects.toThrow(FormatError);
  }
});

describe('refuses', () => {
  /** A file whose bytes from `at` on are others. */
  const changed = (at: number, ...bytes: number[]) => {
    const file = writeGguf({ entries: [['k', 'string', 'v']], tensors: [tensor('a')] });
    file.set(bytes, at);
    return file;
  };
  const huge = [255, 255, 255, 255, 255, 255, 255, 127];
  const two = (entry: Entry) => writeGguf({ entries: [entry, entry] });
  // prettier-ignore
  const cases: [what: string, file: Uint8Array, kind: new (m: string) => Error, message: string][] = [
    ['what is no GGUF', new TextEncoder().encode('GGML, the older form'), FormatError, "x.gguf: file must begin with GGUF, got 'GGML'"],
    ['a web page', new TextEncoder().encode('<!doctype html><title>Not found'), FormatError, 'got a web page'],
    ['a pointer of git-lfs', new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\noid sha256:12ab\nsize 5\n'), FormatError, 'git-lfs pointer'],
    ['version 1', changed(4, 1), UnsupportedError, 'GGUF version must be 2 or 3 to be supported, got 1'],
    ['big-endian files', changed(4, 0, 0, 0, 3), UnsupportedError, 'got 3 in big-endian order'],
    ['more tensors than fit', changed(8, 255, 255), FormatError, 'tensors must fit into the'],
    ['tensors without end', changed(8, ...huge), FormatError, 'there must be at most 100000 tensors, got 9223372036854775807'],
    ['more values than fit', changed(16, 255, 255), FormatError, 'values of metadata must fit'],
    ['a name without end', changed(24, ...huge), FormatError, 'a name of the metadata must fit'],
    ['an unknown kind of value', changed(33, 13), FormatError, "'k' must be of a known kind, got 13"],
    ['a text without end', changed(37, ...huge), FormatError, "'k' must fit into the"],
    ['a name that is no UTF-8', changed(32, 255), FormatError, 'a name of the metadata must be UTF-8'],
    ['names that are there twice', two(['k', 'uint8', 1]), FormatError, "metadata must hold each name once, got 'k' twice"],
    ['arrays of arrays', writeGguf({ entries: [['k', 'array', [], 'array']] }), FormatError, "'k' must be an array of numbers or texts, got kind 9"],
    ['an alignment of 0', writeGguf({ entries: [['general.alignment', 'uint32', 0]] }), FormatError, 'general.alignment must be a power of 2, got 0'],
    ['an alignment of 12', writeGguf({ entries: [['general.alignment', 'uint32', 12]] }), FormatError, 'general.alignment must be a power of 2, got 12'],
    ['tensors of one name', writeGguf({ tensors: [tensor('a'), tensor('a')] }), FormatError, "tensors must have each name once, got 'a' twice"],
    ['five axes', writeGguf({ tensors: [tensor('a', [1, 1, 1, 1, 1])] }), FormatError, "'a' must have at most 4 axes, got 5"],
    ['an unknown type', writeGguf({ tensors: [{ ...tensor('a'), type: 77 }] }), UnsupportedError, "'a' must be of a known type to be supported, got 77"],
    ['rows that are no blocks', writeGguf({ tensors: [{ ...tensor('a', [2, 33]), type: 'Q8_0' }] }), FormatError, "rows of 'a' must be blocks of 32 as Q8_0 has them, got 33"],
    ['tensors that overlap', writeGguf({ tensors: [tensor('a'), { ...tensor('b'), offset: 0 }] }), FormatError, "'b' must lie at 32, behind the tensor before it, got 0"],
    ['tensors beyond the end', writeGguf({ tensors: [tensor('a'), { ...tensor('b'), offset: 2n ** 63n }] }), FormatError, "'b' must lie at 32, behind the tensor before it, got 9223372036854775808"],
    ['more elements than there are bytes', writeGguf({ tensors: [{ ...tensor('a'), shape: [1000] }] }), FormatError, 'file must have 4064 bytes as its header says, got 88'],
    ['products that overflow', writeGguf({ tensors: [{ ...tensor('a'), shape: [2 ** 32, 2 ** 32] }] }), FormatError, "'a' must have at most 2^48 elements"],
  ];
  it.each(cases)('%s', async (_, file, kind, message) => {
    const error = await read(file).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(kind);
    expect((error as Error).message).toContain(message);
  });
});

it('reads no more of a file that claims much than has arrived', async () => {
  const claims = writeGguf({ entries: [['k', 'float32', [1, 2], 'array']] });
  new DataView(claims.buffer).setBigUint64(24 + 9 + 8, 20_000_000n, true); // the number of elements
  let read = 0;
  const source: ByteSource = {
    name: 'x.gguf',
    size: undefined,
    close: async () => {},
    read: async (offset, length) => {
      read += length;
      return claims.slice(offset, offset + length);
    },
  };
  await expect(readGgufHeader(source)).rejects.toThrow("'k' must be in the file, which ends at");
  expect(read).toBeLessThan(200_000);
});
