import { loadKernels } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { decode, encode, randomUnitKeys, signCodebook } from './codebook.js';
import { copyLinearAttention } from './copy.js';
import { chiSquared, decayReach, informationBits, predictAccuracy, welchBound } from './prediction.js';

const k = await loadKernels({ variant: 'simd' });

/** Symbols evenly, or so that a few are frequent, as in text. */
const sequences = {
  even: (length: number, vocabSize: number, seed: number) => {
    const rng = random(seed);
    return Array.from({ length }, () => rng.integer(vocabSize));
  },
  uneven: (length: number, vocabSize: number, seed: number) => {
    const rng = random(seed);
    return Array.from({ length }, () => Math.floor(vocabSize * rng.float() ** 3));
  },
};

function measured(
  tokens: number[],
  codebook: Float32Array,
  dValue: number,
  dKey: number,
  draws: number,
): number {
  const rng = random(99);
  let right = 0;
  for (let draw = 0; draw < draws; draw++) {
    k.scope(() => {
      const values = encode(k, tokens, codebook, dValue);
      const keys = randomUnitKeys(k, rng.split(draw), tokens.length, dKey);
      const symbols = decode(copyLinearAttention(k, { values, keys }), codebook);
      right += symbols.filter((symbol, t) => symbol === tokens[t]).length;
    });
  }
  return right / (draws * tokens.length);
}

describe.each([
  { kind: 'even', seqLen: 64, vocabSize: 32, dValue: 16, seed: 0 },
  { kind: 'even', seqLen: 200, vocabSize: 10, dValue: 5, seed: 1 },
  { kind: 'uneven', seqLen: 64, vocabSize: 32, dValue: 16, seed: 2 },
  { kind: 'uneven', seqLen: 256, vocabSize: 60, dValue: 12, seed: 3 },
] as const)('$kind, $seqLen tokens of $vocabSize symbols in $dValue dimensions', (size) => {
  const { kind, seqLen, vocabSize, dValue, seed } = size;
  const tokens = sequences[kind](seqLen, vocabSize, seed);
  const codebook = signCodebook(random(seed).split('codebook'), vocabSize, dValue);
  const predict = predictAccuracy({ codebook, dValue, tokens });

  it.each([1 / 4, 1 / 2, 1, 2, 4])('decode as predicted from N = %f T', (ratio) => {
    const dKey = Math.round(ratio * seqLen);
    const got = measured(tokens, codebook, dValue, dKey, Math.ceil(16000 / seqLen));
    expect(Math.abs(got - predict(dKey))).toBeLessThan(0.02);
  });

  it('decode better the more slots there are', () => {
    const curve = [1, 2, 4, 8, 16, 64, 256, 1024, 1e6].map(predict);
    expect(curve).toEqual(curve.toSorted((a, b) => a - b));
    expect(curve.at(-1)).toBeCloseTo(1, 9);
  });
});

const normal = (x: number) => 0.5 + chiSquared(x * x, 1) / 2; // for x >= 0

it('has the closed form Phi(d / 2 sigma) for two symbols', () => {
  const codebook = Float32Array.from([0.6, 0.8, -0.8, 0.6]); // |v_0 - v_1|^2 = 2
  const tokens = [0, 0, 0, 0, 1, 1, 1];
  const predict = predictAccuracy({ codebook, dValue: 2, tokens });
  // e . (v_1 - v_0) has variance (n_0 + n_1) / N, for 6 other tokens, and must stay below 1.
  for (const dKey of [1, 3, 10, 40]) expect(predict(dKey)).toBeCloseTo(normal(Math.sqrt(dKey / 6)), 2);
});

it('is certain of a single token, and of a single symbol', () => {
  const codebook = signCodebook(random(0), 4, 4);
  expect(predictAccuracy({ codebook, dValue: 4, tokens: [2] })(1)).toBe(1);
  expect(predictAccuracy({ codebook: codebook.slice(0, 4), dValue: 4, tokens: [0, 0, 0] })(1)).toBe(1);
});

it('finds about four fifths at N = T and nearly all at N = 2 T, for 32 symbols in 16 dimensions at T = 64', () => {
  const results = [0, 1, 2, 3].map((seed) => {
    const tokens = sequences.even(64, 32, seed);
    const codebook = signCodebook(random(seed), 32, 16);
    return [64, 128].map((dKey) => measured(tokens, codebook, 16, dKey, 50));
  });
  for (const [equal, double] of results) {
    expect(equal).toBeGreaterThan(0.75);
    expect(equal).toBeLessThan(0.9);
    expect(double).toBeGreaterThan(0.95);
  }
});

describe('chiSquared', () => {
  it('has its closed forms for even degrees', () => {
    for (const degrees of [2, 4, 16]) {
      for (const x of [0.01, 1, 7, 20, 60]) {
        let sum = 0;
        let term = 1;
        for (let i = 0; i < degrees / 2; i++, term *= x / 2 / i) sum += term;
        expect(chiSquared(x, degrees)).toBeCloseTo(1 - Math.exp(-x / 2) * sum, 12);
      }
    }
  });

  it('has tabulated values for odd degrees', () => {
    expect(chiSquared(1, 1)).toBeCloseTo(0.6826894921370859, 12);
    expect(chiSquared(7.814727903251179, 3)).toBeCloseTo(0.95, 12);
    expect(chiSquared(24.99579013972863, 15)).toBeCloseTo(0.95, 12);
  });

  it('goes from 0 to 1', () => {
    expect(chiSquared(0, 5)).toBe(0);
    expect(chiSquared(1e6, 5)).toBe(1);
  });
});

it('knows the Welch bound of a simplex: width + 1 vectors with products -1/width', () => {
  for (const width of [1, 2, 5, 100]) expect(welchBound(width + 1, width)).toBeCloseTo(1 / width, 12);
  expect(welchBound(8, 8)).toBe(0);
  expect(() => welchBound(0, 3)).toThrow('welchBound: count must be a whole number from 1 up, got 0');
});

it('counts a bit for each free choice between two symbols', () => {
  expect(informationBits(10, 2)).toBe(10);
  expect(informationBits(5, 256)).toBe(40);
  expect(informationBits(5, 1)).toBe(0);
});

it('reaches for ever without decay', () => {
  expect(decayReach({ rate: 0, error: 0.1 })).toBe(Infinity);
  expect(() => decayReach({ rate: 1, error: 1 })).toThrow('decayReach: error must be');
});
