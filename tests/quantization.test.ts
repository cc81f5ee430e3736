import { createTape } from '@freelunch/autograd';
import {
  ArgumentError,
  DisposedError,
  DTypeError,
  FormatError,
  type Kernels,
  QuantizedTensor,
  ShapeError,
  UnsupportedError,
  type WeightDType,
} from '@freelunch/kernels';
import { dequantize, quantizeToBytes } from '@freelunch/kernels/reference';
import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { type HostTensor, normal, quantized } from './cases/case.ts';
import { guarded } from './kernels.ts';

const dtypes: readonly WeightDType[] = ['float16', 'bfloat16', 'int8', 'int4'];
const blocks = ['int8', 'int4'] as const;

/** All 16-bit patterns, little-endian. */
const patterns = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
/** Bit by bit: -0 is not 0. */
const same = (a: ArrayBufferView, b: ArrayBufferView) =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));
/** One NaN for all. */
const numbers = (values: Float32Array) => values.map((value) => (Number.isNaN(value) ? 0.123 : value));
const largestOf = (values: Float32Array) =>
  values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

describe.each(guarded)('%s', (_variant, k) => {
  const onHost = ({ shape, data }: HostTensor) => k.tensor(data as Float32Array, shape);

  describe.each(['float16', 'bfloat16'] as const)('%s', (dtype) => {
    const x = { shape: [256, 256], dtype, bytes: patterns };
    const wanted = Float32Array.from(dequantize({ x }).data);

    it('keeps all 65,536 patterns, and makes the right float32 of each', () => {
      k.scope(() => {
        // All at once, and without those that are too large for the form in which kernels read them fast.
        const small = patterns.slice();
        const values = new DataView(small.buffer);
        for (let at = 0; at < small.length; at += 2)
          if (!(Math.abs(wanted[at / 2]) < 128)) values.setUint16(at, 0, true);
        for (const bytes of [patterns, small]) {
          const tensor = k.quantizedTensor(bytes, [256, 256], dtype);
          expect(same(tensor.toBytes(), bytes)).toBe(true);
          const want = Float32Array.from(dequantize({ x: { ...x, bytes } }).data);
          expect(same(numbers(k.dequantize({ x: tensor }).data), numbers(want))).toBe(true);
        }
      });
    });

    it('rounds to the nearest, ties to even', () => {
      k.scope(() => {
        // Every value, the middle between it and the next, and what lies just beside the middle.
        const finite = wanted.filter((value) => Number.isFinite(value) && value >= 0).sort();
        const data = new Float32Array(finite.length * 4);
        finite.forEach((value, i) => {
          const middle = (value + (finite[i + 1] ?? 2 * value - finite[i - 1])) / 2;
          data.set([value, middle, middle * (1 - 2 ** -22), -middle * (1 + 2 ** -22)], 4 * i);
        });
        const shape = [finite.length, 4];
        const got = k.quantize({ x: k.tensor(data, shape), dtype }).toBytes();
        const want = quantizeToBytes({ shape, data: Float64Array.from(data) }, dtype).bytes;
        expect(same(got, want)).toBe(true);
      });
    });

    it('rounds infinities, NaN and what is too large', () => {
      k.scope(() => {
        const data = Float32Array.of(Infinity, -Infinity, 3.4e38, -65520, 65519.9, -0, 1e-45, 2 ** -25);
        const got = k.dequantize({ x: k.quantize({ x: k.tensor(data, [1, 8]), dtype }) }).toArray();
        const want = dequantize({
          x: quantizeToBytes({ shape: [1, 8], data: Float64Array.from(data) }, dtype),
        });
        expect([...got]).toEqual([...want.data]);
        const nan = k.quantize({ x: k.tensor([NaN], [1, 1]), dtype });
        expect(k.dequantize({ x: nan }).data[0]).toBeNaN();
      });
    });
  });

  describe.each(blocks)('%s', (dtype) => {
    it('is, bit for bit, what the reference quantiser of llama.cpp gives', () => {
      k.scope(() => {
        const rng = random(4);
        const data = Float32Array.from({ length: 64 * 96 }, () => rng.normal() * 10 ** (rng.integer(12) - 8));
        data.fill(0, 0, 32); // no scale
        data.fill(-0, 32, 64);
        data.fill(-1, 64, 96);
        for (let i = 0; i < 32; i++) data[96 + i] = (i - 16) / 2; // halves
        data.set([3, -3], 128); // of the largest magnitude the first counts
        data.fill(1e-44, 192, 224);
        const shape = [64, 96];
        const got = k.quantize({ x: k.tensor(data, shape), dtype }).toBytes();
        const want = quantizeToBytes({ shape, data: Float64Array.from(data) }, dtype).bytes;
        expect(same(got, want)).toBe(true);
      });
    });

    it('keeps any bytes with finite scales', () => {
      k.scope(() => {
        const rng = random(5);
        const bytes = dtype === 'int8' ? 34 : 18;
        for (const largest of [0x57ff, 0x7bff]) {
          const data = Uint8Array.from({ length: 32768 * bytes }, () => rng.integer(256));
          const view = new DataView(data.buffer);
          for (let i = 0; i < 32768; i++)
            view.setUint16(i * bytes, ((2 * i) & 0x7fff) > largest ? 0x8001 : 2 * i, true);
          const tensor = k.quantizedTensor(data, [1024, 1024], dtype);
          expect(tensor.bytes).toBe(data.length);
          expect(same(tensor.toBytes(), data)).toBe(true);
          const want = Float32Array.from(dequantize({ x: { shape: tensor.shape, dtype, bytes: data } }).data);
          expect(same(k.dequantize({ x: tensor }).data, want)).toBe(true);
        }
      });
    });

    it('has no scale that is not finite', () => {
      k.scope(() => {
        const bytes = new Uint8Array(dtype === 'int8' ? 34 : 18);
        bytes[1] = 0x7c;
        expect(() => k.quantizedTensor(bytes, [1, 32], dtype)).toThrow(FormatError);
        const x = k.zeros([1, 32]);
        for (const value of [NaN, Infinity, 1e9]) {
          x.data[7] = value;
          expect(() => k.quantize({ x, dtype })).toThrow(ArgumentError);
        }
      });
    });

    it('rounds the other factor to 16 bits in each block, and nothing else', () => {
      k.scope(() => {
        const rng = random(6);
        const [m, n, depth] = [3, 29, 640];
        const a = normal(rng, [m, depth]);
        for (let i = 0; i < a.data.length; i++) a.data[i] *= 2 ** ((Math.floor(i / 32) % 9) - 4);
        const b = quantized(rng, [n, depth], dtype);
        const { data: weights } = dequantize({ x: b });
        const y = k.matmul({ a: onHost(a), b: k.quantizedTensor(b.bytes, b.shape, dtype), transposeB: true });
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            let want = 0;
            let bound = 0;
            for (let p = 0; p < depth; p += 32) {
              const block = a.data.subarray(i * depth + p, i * depth + p + 32);
              const largest = largestOf(block as Float32Array);
              for (let q = 0; q < 32; q++) {
                const weight = weights[j * depth + p + q];
                want += block[q] * weight;
                bound += Math.abs(weight) * largest * (2 ** -16 + 2 ** -20);
              }
            }
            expect(Math.abs(y.data[i * n + j] - want)).toBeLessThan(bound);
          }
        }
      });
    });
  });

  it.each([
    ['float16', 2 ** -11],
    ['bfloat16', 2 ** -8],
  ] as const)('rounds to %s within %d of each weight', (dtype, error) => {
    k.scope(() => {
      const x = onHost(normal(random(7), [50, 64]));
      const got = k.dequantize({ x: k.quantize({ x, dtype }) });
      const errors = got.data.map((value, i) => Math.abs((value - x.data[i]) / x.data[i]));
      expect(largestOf(errors)).toBeLessThanOrEqual(error);
      expect(largestOf(errors)).toBeGreaterThan(0.9 * error);
    });
  });

  it.each([
    ['int8', 0.0045, 0.0045],
    ['int4', 0.063, 0.126],
  ] as const)('rounds to %s within %d of the largest in a block, %d at the other end', (dtype, near, far) => {
    k.scope(() => {
      const x = onHost(normal(random(8), [200, 64]));
      const got = k.dequantize({ x: k.quantize({ x, dtype }) });
      const most = [0, 0];
      for (let block = 0; block < x.size; block += 32) {
        const values = x.data.subarray(block, block + 32);
        const largest = values.reduce(
          (found, value) => (Math.abs(value) > Math.abs(found) ? value : found),
          0,
        );
        values.forEach((value, i) => {
          const end = value / largest < -0.93 ? 1 : 0;
          most[end] = Math.max(most[end], Math.abs((got.data[block + i] - value) / largest));
        });
      }
      expect(most[0]).toBeLessThan(near);
      expect(most[0]).toBeGreaterThan(0.8 * near);
      expect(most[1]).toBeLessThan(far);
    });
  });

  it.each(dtypes)('gives a product of %s the same bits, however many rows or columns there are', (dtype) => {
    k.scope(() => {
      const rng = random(9);
      const a = onHost(normal(rng, [4, 64]));
      const b = quantized(rng, [23, 64], dtype);
      const whole = k.matmul({ a, b: k.quantizedTensor(b.bytes, b.shape, dtype), transposeB: true });
      const row = b.bytes.length / 23;
      for (let j = 0; j < 23; j++) {
        const one = k.quantizedTensor(b.bytes.slice(j * row, (j + 1) * row), [1, 64], dtype);
        for (let i = 0; i < 4; i++) {
          const y = k.matmul({
            a: k.tensor(a.data.slice(i * 64, (i + 1) * 64), [1, 64]),
            b: one,
            transposeB: true,
          });
          expect(y.data[0]).toBe(whole.data[i * 23 + j]);
        }
      }
    });
  });

  it.each(dtypes)('keeps infinities, NaN and extremes of the other factor in their rows: %s', (dtype) => {
    k.scope(() => {
      const b = k.zeros([5, 32]);
      b.data.fill(0.5);
      const weights = k.quantize({ x: b, dtype });
      for (const m of [2, 9]) {
        for (const value of [Infinity, NaN, 2 ** 100, 2 ** -100, 2 ** 20]) {
          const a = k.zeros([m, 32]);
          a.data.fill(value, 32, 64);
          const y = k.matmul({ a, b: weights, transposeB: true });
          for (let j = 0; j < 5; j++) {
            expect(y.data[j]).toBe(0);
            if (Number.isNaN(value)) expect(y.data[5 + j]).toBeNaN();
            else expect(Math.abs(y.data[5 + j] / (16 * value) - 1) < 1e-4 || value === Infinity).toBe(true);
            if (value === Infinity) expect(y.data[5 + j]).toBe(Infinity);
          }
        }
      }
    });
  });

  it.each(dtypes)('multiplies by weights of 128 and more: %s', (dtype) => {
    k.scope(() => {
      const rng = random(10);
      const b = onHost(normal(rng, [7, 64], 1e5 / (dtype.startsWith('int') ? 1 : 10)));
      const a = onHost(normal(rng, [2, 64]));
      const weights = k.quantize({ x: b, dtype });
      const got = k.matmul({ a, b: weights, transposeB: true });
      const want = k.matmul({ a, b: k.dequantize({ x: weights }), transposeB: true });
      const scale = want.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      got.data.forEach((value, i) => expect(Math.abs(value - want.data[i])).toBeLessThan(1e-4 * scale));
    });
  });

  it('belongs to scopes, is immutable, and knows what it takes', () => {
    const before = k.memory;
    k.scope(() => {
      const x = k.zeros([3, 64]);
      for (const [dtype, bytes] of [
        ['float16', 384],
        ['bfloat16', 384],
        ['int8', 204],
        ['int4', 108],
      ] as const) {
        const one = k.quantize({ x, dtype });
        expect([one.shape, one.dtype, one.size, one.bytes, one.disposed]).toEqual([
          [3, 64],
          dtype,
          192,
          bytes,
          false,
        ]);
        expect(String(one)).toBe(`QuantizedTensor<${dtype}>[3, 64]`);
        one.toBytes().fill(255);
        expect(k.dequantize({ x: one }).data.every((value) => value === 0)).toBe(true);
      }
      const kept = k.scope(() => ({ inner: [k.quantize({ x, dtype: 'int8' })] }));
      expect(kept.inner[0].disposed).toBe(false);
      kept.inner[0].dispose();
      kept.inner[0].dispose();
      expect(() => kept.inner[0].toBytes()).toThrow(DisposedError);
      expect(() => k.dequantize({ x: kept.inner[0] })).toThrow(DisposedError);
    });
    expect([k.memory.usedBytes, k.memory.tensors]).toEqual([before.usedBytes, before.tensors]);
    expect(() => Reflect.construct(QuantizedTensor, [])).toThrow(ArgumentError);
  });

  it.each<[string, new () => Error, RegExp, (k: Kernels, q: QuantizedTensor) => unknown]>([
    ['as a', DTypeError, /^matmul: a must be a float32 tensor, got a quantised one, QuantizedTensor<int8>\[3, 64\]: /, (k, q) => k.matmul({ a: q as never, b: k.zeros([64, 2]) })], // prettier-ignore
    ['untransposed', UnsupportedError, /^matmul: a quantised b, \[n, k\], needs transposeB: true/, (k, q) => k.matmul({ a: k.zeros([2, 3]), b: q })], // prettier-ignore
    ['with a transposed', UnsupportedError, /^matmul: a quantised b/, (k, q) => k.matmul({ a: k.zeros([64, 2]), b: q, transposeA: true, transposeB: true })], // prettier-ignore
    ['of another width', ShapeError, /^matmul: b must be \[n, k\] = \[n, 32\], got \[3, 64\]/, (k, q) => k.matmul({ a: k.zeros([2, 32]), b: q, transposeB: true })], // prettier-ignore
    ['with a vector', ShapeError, /^matmul: a must be \[\.\.\., m, k\], got \[64\]/, (k, q) => k.matmul({ a: k.zeros([64]), b: q, transposeB: true })], // prettier-ignore
    ['in a backward pass', DTypeError, /^matmulBackward: b must be a float32 tensor, got a quantised one/, (k, q) => k.matmulBackward({ a: k.zeros([2, 64]), b: q as never, transposeB: true, dy: k.zeros([2, 3]) })], // prettier-ignore
    ['in the gradient of a look-up', DTypeError, /^embeddingBackward: weight must be a float32/, (k, q) => k.embeddingBackward({ ids: k.tensor(new Int32Array(2)), weight: q as never, dy: k.zeros([2, 64]) })], // prettier-ignore
    ['by another op', DTypeError, /^silu: x must be a float32 tensor, got a quantised one/, (k, q) => k.silu({ x: q as never })], // prettier-ignore
    ['as all inputs', ArgumentError, /^silu: inputs must be one object, got a quantised tensor/, (k, q) => k.silu(q as never)], // prettier-ignore
    ['by a tape', UnsupportedError, /^matmul: a tape takes no quantised tensor, got .* as b: .*k\.dequantize/, (k, q) => createTape(k, [k.zeros([2, 64])]).matmul({ a: k.zeros([2, 64]), b: q, transposeB: true })], // prettier-ignore
    ['by the look-up of a tape', UnsupportedError, /^embedding: a tape takes no/, (k, q) => createTape(k).embedding({ ids: k.tensor(new Int32Array(2)), weight: q })], // prettier-ignore
    ['as a watched tensor', ArgumentError, /^createTape: watched must be tensors/, (k, q) => createTape(k, [q as never])], // prettier-ignore
    ['where a float is dequantised', DTypeError, /^dequantize: x must be a quantised tensor, got Tensor<float32>\[1\]/, (k) => k.dequantize({ x: k.zeros([1]) as never })], // prettier-ignore
    ['with an unknown dtype', ArgumentError, /^quantize: dtype must be one of float16, bfloat16, int8, int4, got 'int3'/, (k) => k.quantize({ x: k.zeros([1, 32]), dtype: 'int3' as never })], // prettier-ignore
    ['with a broken block', ShapeError, /^quantize: k of \[rows, k\] must be a multiple of 32 for int4, got \[2, 33\]/, (k) => k.quantize({ x: k.zeros([2, 33]), dtype: 'int4' })], // prettier-ignore
    ['with three axes', ShapeError, /^quantizedTensor: quantised tensors are \[rows, k\], got \[1, 1, 32\]/, (k) => k.quantizedTensor(new Uint8Array(64), [1, 1, 32], 'float16')], // prettier-ignore
    ['of too few bytes', ShapeError, /^quantizedTensor: bytes must be 68 for int8 of shape \[2, 32\], got 67/, (k) => k.quantizedTensor(new Uint8Array(67), [2, 32], 'int8')], // prettier-ignore
    ['of what are no bytes', ArgumentError, /^quantizedTensor: bytes must be a Uint8Array, got /, (k) => k.quantizedTensor([1, 2] as never, [1, 1], 'float16')], // prettier-ignore
  ])('refuses weights %s', (_title, error, message, call) => {
    k.scope(() => {
      const q = k.quantize({ x: k.zeros([3, 64]), dtype: 'int8' });
      const held = k.memory.usedBytes;
      const run = () => k.scope(() => void call(k, q));
      expect(run).toThrow(error);
      expect(run).toThrow(message);
      expect(k.memory.usedBytes).toBe(held);
    });
  });

  it('refuses weights of other kernels', () => {
    const other = guarded.find(([, kernels]) => kernels !== k)?.[1];
    if (other === undefined) return;
    k.scope(() => {
      const q = other.scope(() => other.quantize({ x: other.zeros([3, 64]), dtype: 'int8' }));
      expect(() => k.matmul({ a: k.zeros([1, 64]), b: q, transposeB: true })).toThrow(ArgumentError);
      q.dispose();
    });
  });
});
