/**
 * Random blocks of quantised weights, and what they stand for by llama.cpp's own loops: `dequantize_row_*` of
 * https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c, line by line.
 */
import type { Random } from '@freelunch/random';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '../src/checkpoints/half-floats.js';
import { type TypeName, types } from './gguf-writer.js';

const QK = 32;
const f = Math.fround;
const kvaluesIq4nl = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/** Where the half floats of a block stand: its scale, and its least value. */
const halves: Readonly<Record<TypeName, { scale?: number; least?: number }>> = {
  F32: {},
  F64: {},
  F16: {},
  BF16: {},
  Q4_0: { scale: 0 },
  Q4_1: { scale: 0, least: 2 },
  Q5_0: { scale: 0 },
  Q5_1: { scale: 0, least: 2 },
  Q8_0: { scale: 0 },
  Q2_K: { scale: 80, least: 82 },
  Q3_K: { scale: 108 },
  Q4_K: { scale: 0, least: 2 },
  Q5_K: { scale: 0, least: 2 },
  Q6_K: { scale: 208 },
  IQ4_NL: { scale: 0 },
  IQ4_XS: { scale: 0 },
};

/** What one step of a block's whole numbers is at most, so that its weights lie within about -1 .. 1. */
const steps: Partial<Record<TypeName, [scale: number, least: number]>> = {
  Q4_0: [1 / 8, 0],
  Q4_1: [1 / 8, -1],
  Q5_0: [1 / 16, 0],
  Q5_1: [1 / 16, -1],
  Q8_0: [1 / 128, 0],
  Q2_K: [2 / 3 / 15, 1 / 15],
  Q3_K: [1 / 4 / 32, 0],
  Q4_K: [1 / 8 / 63, 1 / 63],
  Q5_K: [1 / 16 / 63, 1 / 63],
  Q6_K: [1 / 32 / 128, 0],
  IQ4_NL: [1 / 127, 0],
  IQ4_XS: [1 / 127 / 32, 0],
};

/** Bytes of so many weights, the largest about `size`. */
export function randomBlocks(type: TypeName, count: number, size: number, rng: Random): Uint8Array {
  const [, block, width] = types[type];
  const bytes = new Uint8Array((count / block) * width);
  const view = new DataView(bytes.buffer);
  const step = steps[type];
  if (step === undefined) {
    for (let i = 0; i < count; i++) {
      const value = size * (2 * rng.float() - 1);
      if (type === 'F32') view.setFloat32(4 * i, value, true);
      else if (type === 'F64') view.setFloat64(8 * i, value, true);
      else view.setUint16(2 * i, type === 'F16' ? toFloat16(f(value)) : toBfloat16(f(value)), true);
    }
    return bytes;
  }
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(256 * rng.float());
  const { scale = 0, least } = halves[type];
  for (let at = 0; at < bytes.length; at += width) {
    const part = size * (0.5 + rng.float() / 2);
    view.setUint16(at + scale, toFloat16(f(part * step[0])), true);
    if (least !== undefined) view.setUint16(at + least, toFloat16(f(part * step[1])), true);
  }
  return bytes;
}

/** The weights that bytes stand for. */
export function decodeBlocks(type: TypeName, bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [, block, width] = types[type];
  const nb = bytes.length / width;
  const y = new Float32Array(nb * block);
  const fp16 = (at: number) => fromFloat16(view.getUint16(at, true));
  for (let i = 0; i < nb; i++) {
    const x = i * width;
    const qs = (at: number) => view.getUint8(at);
    switch (type) {
      case 'F32':
        y[i] = view.getFloat32(x, true);
        break;
      case 'F64':
        y[i] = view.getFloat64(x, true);
        break;
      case 'F16':
        y[i] = fp16(x);
        break;
      case 'BF16':
        y[i] = fromBfloat16(view.getUint16(x, true));
        break;
      case 'Q8_0': {
        const d = fp16(x);
        for (let j = 0; j < QK; ++j) y[i * QK + j] = view.getInt8(x + 2 + j) * d;
        break;
      }
      case 'Q4_0': {
        const d = fp16(x);
        for (let j = 0; j < QK / 2; ++j) {
          y[i * QK + j] = ((qs(x + 2 + j) & 0x0f) - 8) * d;
          y[i * QK + j + QK / 2] = ((qs(x + 2 + j) >> 4) - 8) * d;
        }
        break;
      }
      case 'Q4_1': {
        const [d, m] = [fp16(x), fp16(x + 2)];
        for (let j = 0; j < QK / 2; ++j) {
          y[i * QK + j] = f(f((qs(x + 4 + j) & 0x0f) * d) + m);
          y[i * QK + j + QK / 2] = f(f((qs(x + 4 + j) >> 4) * d) + m);
        }
        break;
      }
      case 'Q5_0':
      case 'Q5_1': {
        const signed = type === 'Q5_0';
        const d = fp16(x);
        const m = signed ? 0 : fp16(x + 2);
        const q = x + (signed ? 6 : 8);
        const qh = view.getUint32(q - 4, true);
        for (let j = 0; j < QK / 2; ++j) {
          const high0 = ((qh >>> j) << 4) & 0x10;
          const high1 = (qh >>> (j + 12)) & 0x10;
          const x0 = ((qs(q + j) & 0x0f) | high0) - (signed ? 16 : 0);
          const x1 = ((qs(q + j) >> 4) | high1) - (signed ? 16 : 0);
          y[i * QK + j] = f(f(x0 * d) + m);
          y[i * QK + j + QK / 2] = f(f(x1 * d) + m);
        }
        break;
      }
      case 'Q4_K':
      case 'Q5_K': {
        const five = type === 'Q5_K';
        const [d, min] = [fp16(x), fp16(x + 2)];
        const scales = x + 4;
        const qh = x + 16;
        let ql = five ? x + 48 : x + 16;
        let to = i * 256;
        let is = 0;
        let [u1, u2] = [1, 2];
        for (let j = 0; j < 256; j += 64) {
          const [sc1, m1] = scaleMinK4(is, scales, view);
          const [sc2, m2] = scaleMinK4(is + 1, scales, view);
          const [d1, d2] = [f(d * sc1), f(d * sc2)];
          const [min1, min2] = [f(min * m1), f(min * m2)];
          for (let l = 0; l < 32; ++l)
            y[to++] = f(d1 * ((qs(ql + l) & 0xf) + (five && (qs(qh + l) & u1) !== 0 ? 16 : 0))) - min1;
          for (let l = 0; l < 32; ++l)
            y[to++] = f(d2 * ((qs(ql + l) >> 4) + (five && (qs(qh + l) & u2) !== 0 ? 16 : 0))) - min2;
          ql += 32;
          is += 2;
          u1 <<= 2;
          u2 <<= 2;
        }
        break;
      }
      case 'Q2_K': {
        const [d, min] = [fp16(x + 80), fp16(x + 82)];
        let q = x + 16;
        let to = i * 256;
        let is = 0;
        for (let n = 0; n < 256; n += 128) {
          for (let shift = 0; shift < 8; shift += 2) {
            for (let side = 0; side < 32; side += 16) {
              const sc = qs(x + is++);
              const [dl, ml] = [f(d * (sc & 0xf)), f(min * (sc >> 4))];
              for (let l = 0; l < 16; ++l) y[to++] = f(dl * ((qs(q + side + l) >> shift) & 3)) - ml;
            }
          }
          q += 32;
        }
        break;
      }
      case 'Q3_K': {
        const dAll = fp16(x + 108);
        const [kmask1, kmask2] = [0x03030303, 0x0f0f0f0f];
        const aux = new Uint32Array(4);
        for (let j = 0; j < 3; j++) aux[j] = view.getUint32(x + 96 + 4 * j, true);
        const tmp = aux[2];
        aux[2] = ((aux[0] >>> 4) & kmask2) | (((tmp >>> 4) & kmask1) << 4);
        aux[3] = ((aux[1] >>> 4) & kmask2) | (((tmp >>> 6) & kmask1) << 4);
        aux[0] = (aux[0] & kmask2) | (((tmp >>> 0) & kmask1) << 4);
        aux[1] = (aux[1] & kmask2) | (((tmp >>> 2) & kmask1) << 4);
        const scales = new Int8Array(aux.buffer);
        let q = x + 32;
        let to = i * 256;
        let is = 0;
        let m = 1;
        for (let n = 0; n < 256; n += 128) {
          for (let shift = 0; shift < 8; shift += 2) {
            for (let side = 0; side < 32; side += 16) {
              const dl = f(dAll * (scales[is++] - 32));
              for (let l = side; l < side + 16; ++l)
                y[to++] = dl * (((qs(q + l) >> shift) & 3) - ((qs(x + l) & m) !== 0 ? 0 : 4));
            }
            m <<= 1;
          }
          q += 32;
        }
        break;
      }
      case 'IQ4_NL': {
        const d = fp16(x);
        for (let j = 0; j < QK / 2; ++j) {
          y[i * QK + j] = d * kvaluesIq4nl[qs(x + 2 + j) & 0xf];
          y[i * QK + j + QK / 2] = d * kvaluesIq4nl[qs(x + 2 + j) >> 4];
        }
        break;
      }
      case 'IQ4_XS': {
        const d = fp16(x);
        const scalesH = view.getUint16(x + 2, true);
        let q = x + 8;
        let to = i * 256;
        for (let ib = 0; ib < 8; ++ib) {
          const ls = ((qs(x + 4 + (ib >> 1)) >> (4 * (ib % 2))) & 0xf) | (((scalesH >> (2 * ib)) & 3) << 4);
          const dl = f(d * (ls - 32));
          for (let j = 0; j < 16; ++j) {
            y[to + j] = dl * kvaluesIq4nl[qs(q + j) & 0xf];
            y[to + j + 16] = dl * kvaluesIq4nl[qs(q + j) >> 4];
          }
          to += 32;
          q += 16;
        }
        break;
      }
      case 'Q6_K': {
        const d = fp16(x + 208);
        let [ql, qh, sc] = [x, x + 128, x + 192];
        let to = i * 256;
        for (let n = 0; n < 256; n += 128) {
          for (let l = 0; l < 32; ++l) {
            const is = l >> 4;
            const q1 = ((qs(ql + l) & 0xf) | (((qs(qh + l) >> 0) & 3) << 4)) - 32;
            const q2 = ((qs(ql + l + 32) & 0xf) | (((qs(qh + l) >> 2) & 3) << 4)) - 32;
            const q3 = ((qs(ql + l) >> 4) | (((qs(qh + l) >> 4) & 3) << 4)) - 32;
            const q4 = ((qs(ql + l + 32) >> 4) | (((qs(qh + l) >> 6) & 3) << 4)) - 32;
            y[to + l] = f(d * view.getInt8(sc + is)) * q1;
            y[to + l + 32] = f(d * view.getInt8(sc + is + 2)) * q2;
            y[to + l + 64] = f(d * view.getInt8(sc + is + 4)) * q3;
            y[to + l + 96] = f(d * view.getInt8(sc + is + 6)) * q4;
          }
          to += 128;
          ql += 64;
          qh += 32;
          sc += 8;
        }
        break;
      }
    }
  }
  return y;
}

/** `get_scale_min_k4` */
function scaleMinK4(j: number, q: number, view: DataView): [number, number] {
  const at = (i: number) => view.getUint8(q + i);
  if (j < 4) return [at(j) & 63, at(j + 4) & 63];
  return [(at(j + 4) & 0xf) | ((at(j - 4) >> 6) << 4), (at(j + 4) >> 4) | ((at(j) >> 6) << 4)];
}
