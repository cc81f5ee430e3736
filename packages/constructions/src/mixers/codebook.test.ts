import { loadKernels } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { expect, it } from 'vitest';
import { decode, encode, randomUnitKeys, signCodebook } from './codebook.js';

const k = await loadKernels({ variant: 'simd' });

it.each([
  [1, 1],
  [8, 3],
  [48, 16],
])('gives %i symbols different unit vectors in %i dimensions', (vocabSize, dValue) => {
  const codebook = signCodebook(random(0), vocabSize, dValue);
  const vectors = Array.from({ length: vocabSize }, (_, s) =>
    codebook.subarray(s * dValue, (s + 1) * dValue),
  );
  expect(new Set(vectors.map(String)).size).toBe(vocabSize);
  for (const vector of vectors)
    expect(vector.reduce((sum, element) => sum + element * element, 0)).toBeCloseTo(1, 6);
});

it('refuses more symbols than there are sign vectors', () => {
  expect(() => signCodebook(random(0), 9, 3)).toThrow('2^dValue >= vocabSize = 9, got 3');
});

it('draws unit keys whose products have mean 0 and variance 1/dKey', () => {
  k.scope(() => {
    const [count, dKey] = [300, 37];
    const { data } = randomUnitKeys(k, random(1), count, dKey);
    const products: number[] = [];
    for (let i = 0; i < count; i++) {
      for (let j = 0; j <= i; j++) {
        let product = 0;
        for (let n = 0; n < dKey; n++) product += data[i * dKey + n] * data[j * dKey + n];
        if (i === j) expect(product).toBeCloseTo(1, 5);
        else products.push(product);
      }
    }
    const mean = products.reduce((sum, product) => sum + product, 0) / products.length;
    const variance = products.reduce((sum, product) => sum + product ** 2, 0) / products.length;
    expect(Math.abs(mean)).toBeLessThan(4 / Math.sqrt(dKey * products.length));
    expect(variance * dKey).toBeGreaterThan(0.95);
    expect(variance * dKey).toBeLessThan(1.05);
  });
});

it('decodes what it encoded, and zeros as nothing', () => {
  k.scope(() => {
    const codebook = signCodebook(random(2), 20, 6);
    const tokens = Array.from({ length: 20 }, (_, s) => s);
    const values = encode(k, tokens, codebook, 6);
    values.data.fill(0, 0, 6);
    expect([...decode(values, codebook)]).toEqual([-1, ...tokens.slice(1)]);
  });
});
