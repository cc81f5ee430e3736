/**
 * Conversions between float32 and the 16-bit formats of checkpoints: IEEE half precision (F16) and bfloat16 (BF16).
 * To 16 bits they round to the nearest, ties to even; NaN stays NaN.
 */

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** float32 from bfloat16: its upper half. */
export function fromBfloat16(half: number): number {
  bits[0] = half << 16;
  return float[0];
}

/** bfloat16 nearest to a float32. */
export function toBfloat16(value: number): number {
  float[0] = value;
  const word = bits[0];
  if ((word & 0x7fffffff) > 0x7f800000) return (word >>> 16) | 0x40; // NaN: kept quiet, rounding could make it infinite
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

/** float32 from half precision, exact. */
export function fromFloat16(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 31;
  const fraction = half & 0x3ff;
  if (exponent === 0) return (sign < 0 ? -fraction : fraction) * 2 ** -24; // zero keeps its sign, subnormals are fractions of 2^-24
  bits[0] =
    exponent === 31
      ? sign | 0x7f800000 | (fraction << 13)
      : sign | ((exponent + 112) << 23) | (fraction << 13);
  return float[0];
}

/** Half-precision number nearest to a float32; beyond 65504 infinite. */
export function toFloat16(value: number): number {
  float[0] = value;
  const word = bits[0];
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // rounds to 65536 or more
  if (magnitude < 0x38800000) return sign | roundEven(Math.abs(float[0]) * 2 ** 24); // below 2^-14: subnormal
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

function roundEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && (below & 1) === 1) ? below + 1 : below;
}

/** Every half-precision number as float32; made when first needed. */
let float16Values: Float32Array | undefined;

/** float32 from the little-endian bytes of as many half-precision numbers, by a table. */
export function fromFloat16Bytes(bytes: Uint8Array, out: Float32Array): void {
  float16Values ??= Float32Array.from({ length: 65536 }, (_, half) => fromFloat16(half));
  for (let i = 0, at = 0; i < out.length; i++, at += 2)
    out[i] = float16Values[bytes[at] | (bytes[at + 1] << 8)];
}

/** float32 from the little-endian bytes of as many bfloat16 numbers. */
export function fromBfloat16Bytes(bytes: Uint8Array, out: Float32Array): void {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0, at = 0; i < out.length; i++, at += 2) words[i] = (bytes[at] << 16) | (bytes[at + 1] << 24);
}
