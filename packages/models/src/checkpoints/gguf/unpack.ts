/**
 * Weights of GGUF files as float32. All numbers are little-endian; d and m are half floats, the scale and the least
 * value of a block (or of the part that the 6-bit numbers of K-quants divide it into).
 *
 * @see https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h for the layouts, src/ggml-quants.c for what they mean
 */
import { fromBfloat16Bytes, fromFloat16, fromFloat16Bytes } from '../half-floats.js';
import type { GgmlType } from './types.js';

/** One block's bytes, from `at`, to its weights, from `to`. */
type Block = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

const half = (bytes: Uint8Array, at: number): number => fromFloat16(bytes[at] | (bytes[at + 1] << 8));

const int8 = (byte: number): number => (byte << 24) >> 24;

/** 32 whole numbers q as d q + m: 4 bits each, the lower ones before the upper ones, and a fifth of its own in `high`. */
function nibbles(
  bytes: Uint8Array,
  at: number,
  high: number,
  d: number,
  m: number,
  out: Float32Array,
  to: number,
): void {
  for (let i = 0; i < 16; i++) {
    out[to + i] = d * ((bytes[at + i] & 15) | (((high >>> i) & 1) << 4)) + m;
    out[to + 16 + i] = d * ((bytes[at + i] >>> 4) | (((high >>> (i + 16)) & 1) << 4)) + m;
  }
}

/** What the 4 bits of the IQ4 types stand for: levels that are closer around 0. */
const iq4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

function levels(bytes: Uint8Array, at: number, d: number, out: Float32Array, to: number): void {
  for (let i = 0; i < 16; i++) {
    out[to + i] = d * iq4[bytes[at + i] & 15];
    out[to + 16 + i] = d * iq4[bytes[at + i] >>> 4];
  }
}

const word = (bytes: Uint8Array, at: number): number =>
  bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);

/** 8 scales and 8 least values of 6 bits in 12 bytes, of Q4_K and Q5_K. @returns the one, and the other 8 further */
const sixes = new Uint8Array(16);
function unpackSixes(bytes: Uint8Array, at: number): Uint8Array {
  for (let i = 0; i < 4; i++) {
    const [scale, least, rest] = [bytes[at + i], bytes[at + 4 + i], bytes[at + 8 + i]];
    sixes[i] = scale & 63;
    sixes[8 + i] = least & 63;
    sixes[4 + i] = (rest & 15) | ((scale >>> 6) << 4);
    sixes[12 + i] = (rest >>> 4) | ((least >>> 6) << 4);
  }
  return sixes;
}

const blocks: Readonly<Record<string, Block>> = {
  Q8_0(bytes, at, out, to) {
    const d = half(bytes, at);
    for (let i = 0; i < 32; i++) out[to + i] = d * int8(bytes[at + 2 + i]);
  },
  Q4_0(bytes, at, out, to) {
    const d = half(bytes, at);
    nibbles(bytes, at + 2, 0, d, -8 * d, out, to);
  },
  Q4_1(bytes, at, out, to) {
    nibbles(bytes, at + 4, 0, half(bytes, at), half(bytes, at + 2), out, to);
  },
  Q5_0(bytes, at, out, to) {
    const d = half(bytes, at);
    nibbles(bytes, at + 6, word(bytes, at + 2), d, -16 * d, out, to);
  },
  Q5_1(bytes, at, out, to) {
    nibbles(bytes, at + 8, word(bytes, at + 4), half(bytes, at), half(bytes, at + 2), out, to);
  },
  // d, m, 12 bytes of scales, then two parts of 32 weights in each 32 bytes: lower halves, upper halves.
  Q4_K(bytes, at, out, to) {
    const d = half(bytes, at);
    const m = half(bytes, at + 2);
    const scales = unpackSixes(bytes, at + 4);
    for (let part = 0; part < 8; part++) {
      const shift = 4 * (part & 1);
      const from = at + 16 + 32 * (part >> 1);
      const [scale, least] = [d * scales[part], m * scales[8 + part]];
      for (let i = 0; i < 32; i++)
        out[to + 32 * part + i] = scale * ((bytes[from + i] >>> shift) & 15) - least;
    }
  },
  // The same with 32 bytes more in between: bit `part` of each is the fifth of a weight in that part.
  Q5_K(bytes, at, out, to) {
    const d = half(bytes, at);
    const m = half(bytes, at + 2);
    const scales = unpackSixes(bytes, at + 4);
    for (let part = 0; part < 8; part++) {
      const shift = 4 * (part & 1);
      const from = at + 48 + 32 * (part >> 1);
      const [scale, least] = [d * scales[part], m * scales[8 + part]];
      for (let i = 0; i < 32; i++) {
        const high = ((bytes[at + 16 + i] >>> part) & 1) << 4;
        out[to + 32 * part + i] = scale * (((bytes[from + i] >>> shift) & 15) | high) - least;
      }
    }
  },
  // 128 bytes of lower 4 bits, 64 of upper 2, 16 scales of int8, d. Each half of the block is four parts of 32 weights.
  Q6_K(bytes, at, out, to) {
    const d = half(bytes, at + 208);
    for (let part = 0; part < 8; part++) {
      const [side, quarter] = [part >> 2, part & 3];
      const low = at + 64 * side + 32 * (quarter & 1);
      const high = at + 128 + 32 * side;
      for (let i = 0; i < 32; i++) {
        const q =
          ((bytes[low + i] >>> (4 * (quarter >> 1))) & 15) | (((bytes[high + i] >>> (2 * quarter)) & 3) << 4);
        const scale = int8(bytes[at + 192 + 2 * part + (i >> 4)]);
        out[to + 32 * part + i] = d * scale * (q - 32);
      }
    }
  },
  // 16 scales and least values of 4 bits, 64 bytes of 2-bit numbers, d, m. Each half of the block: four pairs of 16.
  Q2_K(bytes, at, out, to) {
    const d = half(bytes, at + 80);
    const m = half(bytes, at + 82);
    for (let i = 0; i < 256; i++) {
      const scale = bytes[at + (i >> 4)];
      const q = (bytes[at + 16 + 32 * (i >> 7) + (i & 31)] >>> (2 * ((i >> 5) & 3))) & 3;
      out[to + i] = d * (scale & 15) * q - m * (scale >>> 4);
    }
  },
  // 32 bytes of upper bits, 64 of lower 2, 16 scales of 6 bits in 12 bytes, d. A weight whose upper bit is 0 is 4 less.
  Q3_K(bytes, at, out, to) {
    const d = half(bytes, at + 108);
    for (let i = 0; i < 256; i++) {
      const part = i >> 4;
      const low = (bytes[at + 96 + (part & 7)] >>> (4 * (part >> 3))) & 15;
      const high = (bytes[at + 104 + (part & 3)] >>> (2 * (part >> 2))) & 3;
      const q = (bytes[at + 32 + 32 * (i >> 7) + (i & 31)] >>> (2 * ((i >> 5) & 3))) & 3;
      const upper = (bytes[at + (i & 31)] >>> (i >> 5)) & 1;
      out[to + i] = d * ((low | (high << 4)) - 32) * (q - 4 * (1 - upper));
    }
  },
  IQ4_NL(bytes, at, out, to) {
    levels(bytes, at + 2, half(bytes, at), out, to);
  },
  // d, 8 scales of 6 bits: the upper 2 in 2 bytes, the lower 4 in 4; then eight parts of 32 weights.
  IQ4_XS(bytes, at, out, to) {
    const d = half(bytes, at);
    const upper = bytes[at + 2] | (bytes[at + 3] << 8);
    for (let part = 0; part < 8; part++) {
      const low = (bytes[at + 4 + (part >> 1)] >>> (4 * (part & 1))) & 15;
      const high = (upper >>> (2 * part)) & 3;
      levels(bytes, at + 8 + 16 * part, d * ((low | (high << 4)) - 32), out, to + 32 * part);
    }
  },
};

/** Weights without blocks, all at once. */
const plain: Readonly<Record<string, (bytes: Uint8Array, out: Float32Array) => void>> = {
  // Both are little-endian, the file and WASM memory: the bytes go as they are.
  F32: (bytes, out) => new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(bytes),
  F16: fromFloat16Bytes,
  BF16: fromBfloat16Bytes,
  F64(bytes, out) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < out.length; i++) out[i] = view.getFloat64(8 * i, true);
  },
};

/** Types of tensors that {@link unpack} takes. */
export const unpackable: readonly string[] = [...Object.keys(plain), ...Object.keys(blocks)];

/**
 * Whole blocks of weights as float32.
 *
 * @param out as long as there are weights in `bytes`
 */
export function unpack({ name, block, bytes: width }: GgmlType, bytes: Uint8Array, out: Float32Array): void {
  if (Object.hasOwn(plain, name)) return plain[name](bytes, out);
  const one = blocks[name];
  for (let at = 0, to = 0; to < out.length; at += width, to += block) one(bytes, at, out, to);
}
