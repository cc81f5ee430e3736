import { expect, it } from 'vitest';
import {
  fromBfloat16,
  fromBfloat16Bytes,
  fromFloat16,
  fromFloat16Bytes,
  toBfloat16,
  toFloat16,
} from './half-floats.js';

it('takes every half-precision number to float32 and back', () => {
  for (let half = 0; half < 65536; half++) {
    const value = fromFloat16(half);
    if (Number.isNaN(value)) expect(Number.isNaN(fromFloat16(toFloat16(value)))).toBe(true);
    else expect(toFloat16(value)).toBe(half);
  }
});

it('takes every bfloat16 number to float32 and back', () => {
  for (let half = 0; half < 65536; half++) {
    const value = fromBfloat16(half);
    if (Number.isNaN(value)) expect(Number.isNaN(fromBfloat16(toBfloat16(value)))).toBe(true);
    else expect(toBfloat16(value)).toBe(half);
  }
});

it.each([
  [1, 0x3c00],
  [-2, 0xc000],
  [65504, 0x7bff],
  [2 ** -24, 1],
  [1 + 2 ** -10, 0x3c01],
])('gives the half-precision number %d its published bits', (value, half) => {
  expect(fromFloat16(half)).toBe(value);
});

it('rounds to the nearest, ties to even, and to infinity beyond the range', () => {
  expect(toFloat16(1 + 2 ** -11)).toBe(0x3c00); // a tie: even is below
  expect(toFloat16(1 + 3 * 2 ** -11)).toBe(0x3c02); // a tie: even is above
  expect(toFloat16(1 + 2 ** -11 + 2 ** -20)).toBe(0x3c01);
  expect(toFloat16(65519)).toBe(0x7bff);
  expect(toFloat16(65520)).toBe(0x7c00);
  expect(toFloat16(2 ** -25)).toBe(0);
  expect(toFloat16(3 * 2 ** -26)).toBe(1);
  expect(toBfloat16(1 + 2 ** -8)).toBe(0x3f80);
  expect(toBfloat16(1 + 3 * 2 ** -8)).toBe(0x3f82);
  expect(toBfloat16(3.4e38)).toBe(0x7f80);
});

it('takes the bytes of all 16-bit numbers to the same floats, from an odd place too', () => {
  const bytes = new Uint8Array(2 * 65536 + 1).subarray(1);
  for (let half = 0; half < 65536; half++) bytes.set([half & 255, half >> 8], 2 * half);
  for (const [all, one] of [
    [fromFloat16Bytes, fromFloat16],
    [fromBfloat16Bytes, fromBfloat16],
  ] as const) {
    const out = new Float32Array(65536);
    all(bytes, out);
    expect(out.findIndex((value, half) => !Object.is(value, one(half)))).toBe(-1);
  }
});
