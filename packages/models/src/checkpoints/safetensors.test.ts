import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { ArgumentError, FormatError, loadKernels, Tensor } from '@freelunch/kernels';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { blobSource, bytesSource, fileSource, streamSource } from './byte-source.js';
import { encodeSafetensors, loadSafetensors, readSafetensorsHeader, saveSafetensors } from './safetensors.js';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 }); // a busy disk may take long to flush
const k = await loadKernels({ variant: 'simd' });
const folder = await mkdtemp(join(tmpdir(), 'freelunch-safetensors-'));
afterAll(() => rm(folder, { recursive: true }));

/** A file with this header text and so many bytes of data. */
function fileOf(header: string | object, dataBytes = 0): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

const f32 = (shape: number[], begin: number, end: number) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});
const lengthOnly = (length: bigint, rest = 0) => {
  const file = new Uint8Array(8 + rest);
  new DataView(file.buffer).setBigUint64(0, length, true);
  return file;
};

/** Loads, and fails unless all that was allocated is freed if that throws. */
async function load(file: Uint8Array) {
  const { usedBytes } = k.memory;
  try {
    return await loadSafetensors(k, file);
  } catch (error) {
    expect(k.memory.usedBytes).toBe(usedBytes);
    throw error;
  }
}

describe('a file that is not what it should be', () => {
  const deep = '['.repeat(200_000);
  const hostile: [string, Uint8Array, RegExp][] = [
    ['no bytes', new Uint8Array(0), /at least 8 bytes, got 0/],
    ['a cut length', new Uint8Array(7), /at least 8 bytes, got 7/],
    ['a length without a header', lengthOnly(2n), /at most 0 bytes/],
    ['a length of 2^64 - 1', lengthOnly(2n ** 64n - 1n, 100), /header must be at most 100 bytes/],
    ['a header of no bytes', fileOf(''), /must be JSON/],
    ['no JSON', fileOf('{"a":'), /must be JSON/],
    ['a list', fileOf('[]'), /must be a JSON object/],
    ['bytes that are no UTF-8', lengthOnly(4n, 4).fill(0xff, 8), /must be UTF-8/],
    ['a byte order mark', fileOf('\ufeff{}'), /must be JSON/],
    [
      'a name twice',
      fileOf(`{"a":${JSON.stringify(f32([1], 0, 4))},"a":${JSON.stringify(f32([1], 0, 4))}}`, 4),
      /'a' twice/,
    ],
    [
      'a name twice, once escaped',
      fileOf(
        `{"a":${JSON.stringify(f32([1], 0, 4))},"\\u0061"${' '.repeat(99)}:${JSON.stringify(f32([1], 0, 4))}}`,
        4,
      ),
      /'a' twice/,
    ],
    [
      'a field twice',
      fileOf('{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', 4),
      /'dtype' twice/,
    ],
    ['lists in lists', fileOf(deep), /must be JSON/],
    ['a tensor of lists in lists', fileOf(`{"a":${deep}${']'.repeat(200_000)}}`), /must be/],
    [
      'a shape of lists in lists',
      fileOf(`{"a":{"dtype":"F32","shape":${deep}${']'.repeat(200_000)},"data_offsets":[0,0]}}`),
      /must/,
    ],
    ['an entry that is null', fileOf({ a: null }), /'a' must be an object/],
    ['no dtype', fileOf({ a: { shape: [1], data_offsets: [0, 4] } }, 4), /dtype/],
    ['a dtype from a prototype', fileOf({ a: { ...f32([1], 0, 4), dtype: 'toString' } }, 4), /dtype/],
    [
      'fields from a prototype',
      fileOf('{"a":{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}', 4),
      /dtype/,
    ],
    ['no shape', fileOf({ a: { dtype: 'F32', data_offsets: [0, 4] } }, 4), /shape/],
    ['a negative size', fileOf({ a: f32([-1], 0, 4) }, 4), /shape/],
    ['a fraction', fileOf({ a: f32([1.5], 0, 6) }, 6), /shape/],
    ['a text for a size', fileOf({ a: { ...f32([1], 0, 4), shape: ['1'] } }, 4), /shape/],
    [
      'a size beyond whole numbers',
      fileOf('{"a":{"dtype":"F32","shape":[1e300],"data_offsets":[0,4]}}', 4),
      /shape/,
    ],
    ['a huge size', fileOf({ a: f32([2 ** 50], 0, 4) }, 4), /must have 4503599627370496 bytes/],
    ['sizes whose product overflows', fileOf({ a: f32([2 ** 52, 2 ** 52, 2 ** 52], 0, 4) }, 4), /must have/],
    ['huge sizes times zero', fileOf({ a: f32([2 ** 52, 2 ** 52, 0], 0, 0) }), /must have/],
    [
      'a shape of a million sizes',
      fileOf(
        {
          a: f32(
            Array.from({ length: 1e6 }, () => 1),
            0,
            4,
          ),
        },
        4,
      ),
      /at most 64/,
    ],
    ['a size of zero', fileOf({ a: f32([0, 4], 0, 0) }), /sizes from 1 up/],
    ['no offsets', fileOf({ a: { dtype: 'F32', shape: [1] } }, 4), /data_offsets/],
    ['one offset', fileOf({ a: { ...f32([1], 0, 4), data_offsets: [0] } }, 4), /data_offsets/],
    ['offsets the wrong way round', fileOf({ a: f32([1], 4, 0) }, 4), /data_offsets/],
    ['offsets beyond the file', fileOf({ a: f32([2], 0, 8) }, 4), /data_offsets/],
    ['fewer bytes than the shape has', fileOf({ a: f32([2], 0, 4) }, 4), /must have 8 bytes/],
    [
      'tensors that overlap',
      fileOf({ a: f32([2], 0, 8), b: f32([1], 4, 8) }, 8),
      /'b' must begin .* at 8, got 4/,
    ],
    ['two tensors of the same bytes', fileOf({ a: f32([1], 0, 4), b: f32([1], 0, 4) }, 4), /must begin/],
    ['a hole', fileOf({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12), /'b' must begin .* at 4, got 8/],
    ['data before the first tensor', fileOf({ a: f32([1], 4, 8) }, 8), /must begin/],
    ['data after the last tensor', fileOf({ a: f32([1], 0, 4) }, 8), /data must be 4 bytes/],
    ['data without tensors', fileOf({}, 8), /data must be 0 bytes/],
    ['metadata that is no text', fileOf({ __metadata__: { a: 1 } }), /__metadata__/],
    [
      'a kind of number that kernels lack',
      fileOf({ a: { ...f32([1], 0, 8), dtype: 'I64' } }, 8),
      /must be F32.* got I64/,
    ],
  ];

  it.each(hostile)('%s gives a FormatError', async (_title, file, message) => {
    const start = performance.now();
    await expect(load(file)).rejects.toThrow(FormatError);
    await expect(load(file)).rejects.toThrow(message);
    expect(performance.now() - start).toBeLessThan(2000);
    await load(file).catch((error: Error) => expect(error.message.length).toBeLessThan(500));
  });

  it('gives a FormatError or the tensors that its header names, whatever bytes change', async () => {
    const good = fileOf({ __metadata__: { a: 'b' }, x: f32([2, 3], 0, 24), y: f32([1], 24, 28) }, 28);
    const change = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(change, async (changes) => {
        const file = good.slice();
        for (const [at, byte] of changes) file[at] = byte;
        try {
          const { tensors } = await load(file);
          for (const tensor of tensors.values()) tensor.dispose();
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 500, seed: 1 },
    );
  });

  it('gives a FormatError or the tensors that its header names, whatever the header', async () => {
    const size = fc.oneof(fc.nat(4), fc.constantFrom(-1, 0.5, 2 ** 31, 2 ** 53, 1e300), fc.anything());
    const entry = fc.record({
      dtype: fc.oneof(fc.constantFrom('F32', 'F16', 'BF16', 'F64', 'I32', 'I64', '__proto__'), fc.anything()),
      shape: fc.oneof(fc.array(size, { maxLength: 4 }), fc.anything()),
      data_offsets: fc.oneof(fc.tuple(fc.nat(64), fc.nat(64)), fc.anything()),
    });
    const header = fc.dictionary(fc.oneof(fc.string(), fc.constant('__proto__')), fc.oneof(entry, fc.json()));
    await fc.assert(
      fc.asyncProperty(header, fc.nat(64), async (entries, dataBytes) => {
        const text = JSON.stringify(entries, (_, value: unknown) => (typeof value === 'bigint' ? 1 : value));
        try {
          const { tensors } = await load(fileOf(text, dataBytes));
          for (const tensor of tensors.values()) tensor.dispose();
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 500, seed: 2 },
    );
  });
});

const values = [0, -0, 1, -1.5, 3.4e38, 1e-45, Infinity, -Infinity, NaN, 0.1];
const sample = () =>
  new Map<string, Tensor>([
    ['floats', k.tensor(new Float32Array(values), [2, 5])],
    ['ids', k.tensor(Int32Array.of(1, -2, 2 ** 31 - 1))],
    ['__proto__', k.tensor([7])],
    ['10', k.tensor([8], [1, 1, 1])],
    ['größe "\\', k.tensor([9])],
  ]);

describe('what is written', () => {
  it('comes back bit for bit, under any name', async () => {
    const tensors = sample();
    const bits = tensors.get('floats')!.data as Float32Array;
    new Uint32Array(bits.buffer, bits.byteOffset, 1)[0] = 0x7f800123; // a signalling NaN
    const file = encodeSafetensors(tensors, { metadata: { format: 'pt' } });
    const { tensors: back, metadata } = await loadSafetensors(k, file);
    expect(metadata).toEqual({ format: 'pt' });
    expect([...back.keys()].sort()).toEqual([...tensors.keys()].sort());
    for (const [name, tensor] of tensors) {
      const got = back.get(name)!;
      expect(got.shape).toEqual(tensor.shape);
      expect(new Uint8Array(got.toArray().buffer)).toEqual(new Uint8Array(tensor.toArray().buffer));
    }
  });

  it.each([
    ['F16' as const, [0, -0, 1, -1.5, Infinity, 0, Infinity, -Infinity, NaN, 0.0999755859375]],
    ['BF16' as const, [0, -0, 1, -1.5, Infinity, 0, Infinity, -Infinity, NaN, 0.10009765625]],
  ])('as %s comes back rounded', async (dtype, wanted) => {
    const { tensors } = await loadSafetensors(k, encodeSafetensors(sample(), { dtype }));
    expect([...tensors.get('floats')!.data]).toEqual(wanted);
    expect([...tensors.get('ids')!.data]).toEqual([1, -2, 2 ** 31 - 1]);
  });

  it('begins its data, and every tensor, on a multiple of the element', async () => {
    const tensors = new Map<string, Tensor>([
      ['a', k.tensor([1])],
      ['b', k.tensor(Int32Array.of(2))],
    ]);
    const file = encodeSafetensors(tensors, { dtype: 'F16' });
    const { entries, dataOffset } = await readSafetensorsHeader(bytesSource(file));
    expect(dataOffset % 8).toBe(0);
    expect(entries.get('b')!.offset % 4).toBe(0);
  });

  it('reads doubles as floats', async () => {
    const file = fileOf({ a: { dtype: 'F64', shape: [1], data_offsets: [0, 8] } }, 8);
    new DataView(file.buffer).setFloat64(file.length - 8, 0.1, true);
    const { tensors } = await loadSafetensors(k, file);
    expect([...tensors.get('a')!.data]).toEqual([Math.fround(0.1)]);
  });

  it('is the same from bytes, a blob, a file and a stream in pieces of any length', async () => {
    const big = k.tensor(Float32Array.from({ length: 2 ** 20 + 3 }, (_, i) => i));
    const tensors = new Map<string, Tensor>([...sample(), ['big', big]]);
    const path = join(folder, 'model.safetensors');
    await saveSafetensors(path, tensors);
    const bytes = new Uint8Array(await readFile(path));
    expect(Buffer.compare(bytes, encodeSafetensors(tensors))).toBe(0);
    const pieces = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0, length = 1; at < bytes.length; at += length, length = (length * 3 + 1) % 65_537)
          controller.enqueue(bytes.slice(at, at + (length || 1)));
        controller.close();
      },
    });
    const sources = [
      bytesSource(bytes),
      blobSource(new Blob([bytes])),
      await fileSource(path),
      streamSource(pieces, bytes.length),
    ];
    for (const source of sources) {
      const { tensors: back } = await loadSafetensors(k, source);
      for (const [name, tensor] of tensors) {
        const [got, want] = [back.get(name)!, tensor].map((each) => Buffer.from(each.toArray().buffer));
        expect(Buffer.compare(got, want)).toBe(0);
      }
      for (const tensor of back.values()) tensor.dispose();
      await source.close();
    }
    big.dispose();
  });

  it('replaces a file whole or not at all, and leaves nothing else behind', async () => {
    const path = join(folder, 'kept.safetensors');
    await saveSafetensors(path, sample());
    const before = await readFile(path);
    const gone = k.tensor([1]);
    const broken = new Map<string, Tensor>([...sample(), ['gone', gone]]);
    gone.dispose();
    await expect(saveSafetensors(path, broken)).rejects.toThrow();
    expect(await readFile(path)).toEqual(before);
    expect((await readdir(folder)).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  it('refuses a dtype that the format does not have', () => {
    expect(() => encodeSafetensors(sample(), { dtype: 'I8' as never })).toThrow(ArgumentError);
  });
});

describe('reading', () => {
  it('reports its progress to the end, and stops where it is told to', async () => {
    const tensors = new Map([
      ['a', k.zeros([2 ** 20 + 1])],
      ['b', k.zeros([5])],
    ]);
    const file = encodeSafetensors(tensors);
    const seen: number[] = [];
    await loadSafetensors(k, file, {
      onProgress: ({ doneBytes, totalBytes }) => {
        expect(totalBytes).toBe(file.length);
        seen.push(doneBytes);
      },
    });
    expect(seen.length).toBe(3);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(file.length);
    const { usedBytes } = k.memory;
    const stop = new AbortController();
    const stopped = loadSafetensors(k, file, { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(stopped).rejects.toThrow(/abort/i);
    expect(k.memory.usedBytes).toBe(usedBytes);
  });

  it('takes only what is selected', async () => {
    const { tensors } = await loadSafetensors(k, encodeSafetensors(sample()), {
      select: ({ name }) => name === 'ids',
    });
    expect([...tensors.keys()]).toEqual(['ids']);
  });

  it('gives a FormatError if a file or stream ends early', async () => {
    const file = encodeSafetensors(sample());
    const path = join(folder, 'cut.safetensors');
    await writeFile(path, file.subarray(0, file.length - 1));
    const source = await fileSource(path);
    await expect(loadSafetensors(k, source)).rejects.toThrow(FormatError);
    await source.close();
    const cut = new Blob([file.subarray(0, file.length - 1)]).stream() as ReadableStream<Uint8Array>;
    await expect(loadSafetensors(k, streamSource(cut, file.length))).rejects.toThrow(
      /must have \d+ bytes, ends at/,
    );
  });
});
