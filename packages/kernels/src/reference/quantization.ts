/**
 * Weights in less room than float32, by their definitions.
 *
 *   float16, bfloat16   IEEE half precision; the upper half of a float32; little-endian
 *   int8                blocks of 32 along a row: a float16 scale d, then 32 int8 q; w = d q           (Q8_0, llama.cpp)
 *   int4                a float16 scale d, then 16 bytes: q of weight j in the low half of byte j,
 *                       of weight 16 + j in its high half; w = d (q - 8)                               (Q4_0, llama.cpp)
 */
import type { Array64 } from './array64.js';

export type Format = 'float16' | 'bfloat16' | 'int8' | 'int4';

/** A matrix of weights, `[rows, k]`, as it lies in a file. */
export interface QuantizedArray {
  readonly shape: readonly number[];
  readonly dtype: Format;
  readonly bytes: Uint8Array;
}

/** The numbers that the bytes stand for. */
export function dequantize({ x }: { x: QuantizedArray }): Array64 {
  const { shape, dtype, bytes } = x;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const half = (at: number) => view.getUint16(at, true);
  const data = new Float64Array(shape[0] * shape[1]);
  for (let i = 0; i < data.length; i++) {
    const block = Math.floor(i / 32);
    const j = i % 32;
    if (dtype === 'float16') data[i] = fromFloat16(half(2 * i));
    else if (dtype === 'bfloat16') data[i] = fromBits(half(2 * i) * 65536);
    else if (dtype === 'int8') data[i] = fromFloat16(half(34 * block)) * view.getInt8(34 * block + 2 + j);
    else {
      const byte = view.getUint8(18 * block + 2 + (j % 16));
      data[i] = fromFloat16(half(18 * block)) * ((j < 16 ? byte & 15 : byte >> 4) - 8);
    }
  }
  return { shape, data };
}

/** The weights nearest to numbers, which are taken as float32; as numbers again. */
export function quantize({ x, dtype }: { x: Array64; dtype: Format }): Array64 {
  return dequantize({ x: quantizeToBytes(x, dtype) });
}

/** The same as bytes. Steps that llama.cpp takes in float32 are rounded to float32. */
export function quantizeToBytes(x: Array64, dtype: Format): QuantizedArray {
  const f = Math.fround;
  const { shape } = x;
  const data = Float32Array.from(x.data);
  const size = data.length;
  const half = dtype === 'float16' || dtype === 'bfloat16';
  const blockBytes = dtype === 'int8' ? 34 : 18;
  const bytes = new Uint8Array(half ? 2 * size : (size / 32) * blockBytes);
  const view = new DataView(bytes.buffer);
  if (half) {
    const round = dtype === 'float16' ? toFloat16 : toBfloat16;
    data.forEach((value, i) => view.setUint16(2 * i, round(value), true));
    return { shape, dtype, bytes };
  }
  for (let block = 0; block < size / 32; block++) {
    const values = data.subarray(32 * block, 32 * block + 32);
    // The first of the largest magnitude, with its sign.
    const largest = values.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
    const scale = f(dtype === 'int8' ? Math.abs(largest) / 127 : largest / -8);
    const inverse = scale === 0 ? 0 : f(1 / scale);
    const at = block * blockBytes;
    view.setUint16(at, toFloat16(scale), true);
    values.forEach((value, j) => {
      const scaled = f(value * inverse);
      if (dtype === 'int8') {
        view.setInt8(at + 2 + j, Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5)); // halves away from zero
      } else {
        bytes[at + 2 + (j % 16)] |= Math.min(15, Math.trunc(f(scaled + 8.5))) << (j < 16 ? 0 : 4);
      }
    });
  }
  return { shape, dtype, bytes };
}

const word = new DataView(new ArrayBuffer(4));

function fromBits(bits: number): number {
  word.setUint32(0, bits);
  return word.getFloat32(0);
}

/** The number that a float16 stands for. */
export function fromFloat16(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The float16 nearest to a number, ties to even. */
export function toFloat16(value: number): number {
  const sign = Object.is(value, -0) || value < 0 ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  let exponent = -14;
  while (magnitude >= 2 ** (exponent + 1)) exponent++;
  const fraction = roundEven(magnitude / 2 ** (exponent - 10)); // 1024 to 2048, less where subnormal
  return sign | (((exponent + 14) << 10) + fraction);
}

/** The bfloat16 nearest to a float32, ties to even. */
function toBfloat16(value: number): number {
  word.setFloat32(0, value);
  const bits = word.getUint32(0);
  if (Number.isNaN(value)) return 0x7fc0;
  return roundEven(bits / 65536);
}

function roundEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
