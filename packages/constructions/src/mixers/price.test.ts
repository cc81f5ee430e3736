import { expect, it } from 'vitest';
import { positionBits } from './copy.js';
import { type CopyMixer, copyPrice } from './price.js';

/** The loops of each mixer, counting instead of computing. */
const counted: Record<
  CopyMixer,
  (T: number, R: number, v: number, N: number) => { floats: number; flops: number }
> = {
  linearAttention(T, R, v, N) {
    let flops = 0;
    for (let t = 0; t < T + R; t++) for (let n = 0; n < N; n++) for (let d = 0; d < v; d++) flops += 2 + 2;
    return { floats: N * v + N, flops };
  },
  selectiveScan: scan,
  addressed: scan,
  registerFile(T, R, v, N) {
    let { flops } = scan(T, R, N * v, 1);
    for (let i = 0; i < R; i++) {
      for (let d = 0; d < N * v; d++) flops += 4 + 1; // x / (1 + e^-x): sign, exp, sum, quotient; times y
      for (let out = 0; out < v; out++) for (let d = 0; d < N * v; d++) flops += 2;
    }
    return { floats: N * v + 1, flops };
  },
  softmaxAttention(T, R, v) {
    const b = positionBits(T);
    let flops = 0;
    for (let i = 0; i < R; i++) {
      for (let j = 0; j < T; j++) {
        for (let bit = 0; bit < b; bit++) flops += 2;
        flops += 3; // minus the greatest, exp, sum
        for (let d = 0; d < v; d++) flops += 2;
      }
      for (let d = 0; d < v; d++) flops += 1;
    }
    return { floats: T * b + T * v + b, flops };
  },
};

function scan(T: number, R: number, D: number, N: number) {
  let flops = 0;
  for (let t = 0; t < T + R; t++) {
    for (let d = 0; d < D; d++) {
      flops += 1; // delta u
      for (let n = 0; n < N; n++) flops += 2 + 3 + 2; // e^(delta A); decay h + input B; sum C h
    }
  }
  return { floats: D * N + N, flops };
}

it.each(Object.keys(counted) as CopyMixer[])('is what the loops of %s count', (mixer) => {
  for (const [T, R, v, N] of [
    [1, 1, 1, 1],
    [9, 4, 3, 5],
    [5, 11, 2, 8],
  ]) {
    expect(copyPrice({ mixer, seqLen: T, reads: R, dValue: v, slots: N })).toEqual(
      counted[mixer](T, R, v, N),
    );
  }
});

it('is of order T^2 for all that copy exactly', () => {
  for (const mixer of ['addressed', 'registerFile', 'softmaxAttention'] as const) {
    const at = (T: number) => copyPrice({ mixer, seqLen: T, reads: T, dValue: 16, slots: T }).flops;
    expect(at(4096) / at(2048)).toBeGreaterThan(3.9);
    expect(at(4096) / at(2048)).toBeLessThan(4.2);
  }
});
