import { describe, expect, it } from 'vitest';
import { guarded } from './kernels.ts';

const SMALLEST_NORMAL = 2 ** -126;

/** Distance in units of the last place of the float32 that is nearest to `want`, a normal number. */
const ulps = (got: number, want: number): number =>
  Math.abs(got - want) / 2 ** (Math.floor(Math.log2(Math.fround(want))) - 23);

describe.each(guarded)('exp, %s', (_variant, k) => {
  const exp = (x: ArrayLike<number>): Float32Array =>
    k.scope(() => k.exp({ x: k.tensor(Float32Array.from(x)) }).toArray());

  it('is within 2 units of the last place at a million arguments over its normal range', () => {
    const count = 1_000_003;
    const low = Math.log(SMALLEST_NORMAL);
    const high = Math.log(3.4028234e38);
    const x = Float32Array.from({ length: count }, (_, i) => low + ((high - low) * (i + 0.5)) / count);
    const y = exp(x);
    let worst = 0;
    for (let i = 0; i < count; i++) {
      const want = Math.exp(x[i]);
      if (want >= SMALLEST_NORMAL * 1.0001 && want <= 3.4e38) worst = Math.max(worst, ulps(y[i], want));
    }
    expect(worst).toBeLessThanOrEqual(2);
  });

  it('is within 2 units of the last place near 0, and 1 at 0', () => {
    const x = Float32Array.from(
      { length: 100_000 },
      (_, i) => (i % 2 ? -1 : 1) * 2 ** (-(i / 100_000) * 140),
    );
    const y = exp(x);
    let worst = 0;
    x.forEach((value, i) => (worst = Math.max(worst, ulps(y[i], Math.exp(value)))));
    expect(worst).toBeLessThanOrEqual(2);
    expect(exp([0, -0])).toEqual(Float32Array.of(1, 1));
  });

  it('is exactly 0 below its range, infinite above it, and NaN for NaN', () => {
    const below = exp([-87.5, -88, -100, -103.9, -104, -1e4, -3.4e38, -Infinity]);
    expect([...below]).toEqual(Array.from({ length: below.length }, () => 0));
    const above = exp([88.8, 89, 128, 1e4, 3.4e38, Infinity]);
    expect([...above]).toEqual(Array.from({ length: above.length }, () => Infinity));
    expect(exp([1, NaN, 2])[1]).toBeNaN();
  });

  it('never falls where its argument grows by more than rounding', () => {
    const x = Float32Array.from({ length: 200_000 }, (_, i) => -87 + i * (175 / 200_000));
    const y = exp(x);
    for (let i = 1; i < y.length; i++) if (y[i] < y[i - 1]) expect.fail(`exp(${x[i]}) < exp(${x[i - 1]})`);
  });
});
