import { type Kernels, loadKernels, type Tensor } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { afterEach, describe, expect, it } from 'vitest';
import { randomUnitKeys } from './codebook.js';
import {
  copyAddressed,
  copyLinearAttention,
  copyRegisterFile,
  copySelectiveScan,
  copySoftmaxAttention,
  positionBits,
} from './copy.js';
import { decayError, decayReach } from './prediction.js';

const k = await loadKernels({ variant: 'simd', guard: true });
afterEach(() => k.checkGuards());

/** Values of all magnitudes at which 128 times the value is still a float32. */
function normalValues(seqLen: number, dValue: number): Tensor<'float32'> {
  const rng = random(5).split('values');
  const data = Float32Array.from({ length: seqLen * dValue }, (_, i) => rng.normal() * 10 ** ((i % 41) - 20));
  return k.tensor(data, [seqLen, dValue]);
}

const rows = (values: Tensor<'float32'>, keep: (t: number) => boolean) => {
  const dValue = values.shape[1];
  return values.toArray().map((element, i) => (keep(Math.floor(i / dValue)) ? element : 0));
};

/** The definition of what linear attention gives back, in double precision. */
function recalled(
  values: Tensor<'float32'>,
  keys: Tensor<'float32'>,
  forget: (j: number) => number,
): Float64Array {
  const [seqLen, dValue] = values.shape;
  const dKey = keys.shape[1];
  const [v, key] = [values.toArray(), keys.toArray()];
  const o = new Float64Array(seqLen * dValue);
  for (let p = 0; p < seqLen; p++) {
    for (let j = 0; j < seqLen; j++) {
      let product = 0;
      for (let n = 0; n < dKey; n++) product += key[p * dKey + n] * key[j * dKey + n];
      for (let d = 0; d < dValue; d++) o[p * dValue + d] += forget(j) * product * v[j * dValue + d];
    }
  }
  return o;
}

function greatestError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(got.length).toBe(wanted.length);
  let greatest = 0;
  for (let i = 0; i < got.length; i++) {
    const error = Math.abs(got[i] - wanted[i]);
    if (!(error <= greatest)) greatest = error; // NaN counts
  }
  return greatest;
}

// The last ones are longer than one run of the kernels.
const sizes = [
  { seqLen: 1, dValue: 1 },
  { seqLen: 7, dValue: 3 },
  { seqLen: 65, dValue: 16 },
  { seqLen: 301, dValue: 17 },
];

describe.each(sizes)('$seqLen tokens of $dValue floats', ({ seqLen, dValue }) => {
  it.each([seqLen, seqLen + 3])('come back bit for bit from %i addresses', (dState) => {
    k.scope(() => {
      const values = normalValues(seqLen, dValue);
      expect(copyAddressed(k, { values, dState }).toArray()).toEqual(values.toArray());
    });
  });

  it.each([seqLen, seqLen + 3])('come back bit for bit from %i registers', (slots) => {
    k.scope(() => {
      const values = normalValues(seqLen, dValue);
      expect(copyRegisterFile(k, { values, slots }).toArray()).toEqual(values.toArray());
    });
  });

  it('come back from softmax attention with an error within the bound', () => {
    k.scope(() => {
      const values = normalValues(seqLen, dValue);
      const greatest = values.data.reduce((most, element) => Math.max(most, Math.abs(element)), 0);
      const bound = 2 * greatest * ((1 + Math.exp(-24)) ** positionBits(seqLen) - 1) + greatest * 2 ** -23;
      const o = copySoftmaxAttention(k, { values });
      expect(greatestError(o.data, values.data)).toBeLessThanOrEqual(bound);
    });
  });
});

it('keeps the first tokens where addresses are fewer than tokens', () => {
  k.scope(() => {
    const values = normalValues(50, 5);
    expect(copyAddressed(k, { values, dState: 13 }).toArray()).toEqual(rows(values, (t) => t < 13));
  });
});

it('keeps the last tokens where registers are fewer than tokens, however often each was overwritten', () => {
  k.scope(() => {
    const values = normalValues(50, 5);
    for (const slots of [1, 13, 49])
      expect(copyRegisterFile(k, { values, slots }).toArray()).toEqual(rows(values, (t) => t >= 50 - slots));
  });
});

it('keeps in registers what softmax attention sees through a window of as many tokens', () => {
  k.scope(() => {
    const [seqLen, window, dValue] = [40, 11, 3];
    const rng = random(9);
    const values = k.tensor(
      Float32Array.from({ length: seqLen * dValue }, () => rng.normal()),
      [seqLen, dValue],
    );
    const bits = positionBits(seqLen);
    const codes = Float32Array.from({ length: seqLen * bits }, (_, i) =>
      (Math.floor(i / bits) >> (i % bits)) & 1 ? 1 : -1,
    );
    // One head for each token that is read: all of them look back from the last position.
    const { o } = k.softmaxAttention({
      q: k.tensor(
        codes.map((code) => 12 * code),
        [1, 1, seqLen, bits],
      ),
      k: k.tensor(codes, [1, seqLen, 1, bits]),
      v: values.reshape([1, seqLen, 1, dValue]),
      causal: true,
      scale: 1,
      window,
      queryOffset: seqLen - 1,
    });
    const kept = copyRegisterFile(k, { values, slots: window }).toArray();
    const first = (seqLen - window) * dValue;
    expect(greatestError(o.toArray().slice(first), kept.slice(first))).toBeLessThan(1e-6);
    for (let t = 0; t < seqLen - window; t++) {
      const row = (data: Float32Array) => data.subarray(t * dValue, (t + 1) * dValue);
      expect(greatestError(row(o.toArray()), row(values.toArray()))).toBeGreaterThan(0.01);
      expect([...row(kept)]).toEqual([0, 0, 0]);
    }
  });
});

it('reads in any order, and any token again', () => {
  k.scope(() => {
    const values = normalValues(9, 4);
    const reads = [8, 0, 3, 3, 7];
    const wanted = Float32Array.from(reads.flatMap((t) => [...values.data.subarray(t * 4, (t + 1) * 4)]));
    expect(copyAddressed(k, { values, dState: 9, reads }).toArray()).toEqual(wanted);
    expect(copyRegisterFile(k, { values, slots: 9, reads }).toArray()).toEqual(wanted);
    const small = k.tensor(wanted.map((_, i) => (i % 7) - 3).slice(0, 20), [5, 4]);
    const picked = copySoftmaxAttention(k, { values: small, reads: [4, 1, 1] });
    expect(picked.shape).toEqual([3, 4]);
    expect([...picked.data.subarray(4, 8)]).toEqual([...small.data.subarray(4, 8)]);
  });
});

it('copies 8,192 tokens by softmax with an error below 1e-9 of the greatest value', () => {
  k.scope(() => {
    const rng = random(6);
    const values = k.tensor(
      Float32Array.from({ length: 8192 * 4 }, () => 2 * rng.float() - 1),
      [8192, 4],
    );
    expect(greatestError(copySoftmaxAttention(k, { values }).data, values.data)).toBeLessThan(1e-9);
  });
});

// The last has keys longer than one run of the kernels.
const keyed = [
  { seqLen: 1, dKey: 1 },
  { seqLen: 40, dKey: 7 },
  { seqLen: 90, dKey: 12000 },
];

it.each(keyed)('gives back v_p + sum (k_p . k_j) v_j: $seqLen tokens, keys of $dKey', ({ seqLen, dKey }) => {
  k.scope(() => {
    const rng = random(7);
    const values = k.tensor(
      Float32Array.from({ length: seqLen * 5 }, () => rng.normal()),
      [seqLen, 5],
    );
    const keys = randomUnitKeys(k, rng, seqLen, dKey);
    const wanted = recalled(values, keys, () => 1);
    expect(greatestError(copyLinearAttention(k, { values, keys }).data, wanted)).toBeLessThan(1e-5);
    expect(greatestError(copySelectiveScan(k, { values, keys }).data, wanted)).toBeLessThan(1e-5);
  });
});

it('scales what it gives back by e^(-rate distance) if the state decays', () => {
  k.scope(() => {
    const rng = random(8);
    const [seqLen, rate] = [60, 0.05];
    const values = k.tensor(
      Float32Array.from({ length: seqLen * 3 }, () => rng.normal()),
      [seqLen, 3],
    );
    const keys = randomUnitKeys(k, rng, seqLen, 32);
    const wanted = recalled(values, keys, (j) => Math.exp(-rate * (seqLen - 1 - j)));
    expect(greatestError(copySelectiveScan(k, { values, keys, rate }).data, wanted)).toBeLessThan(1e-5);
  });
});

it('errs through decay by what decayError says, and reaches as far as decayReach says', () => {
  k.scope(() => {
    const [seqLen, rate, error] = [80, 0.004, 0.1];
    const values = k.tensor(new Float32Array(seqLen).fill(1), [seqLen, 1]);
    const orthogonal = k.zeros([seqLen, seqLen]);
    for (let t = 0; t < seqLen; t++) orthogonal.data[t * seqLen + t] = 1;
    const o = copySelectiveScan(k, { values, keys: orthogonal, rate }).data;
    const errors = Array.from({ length: seqLen }, (_, distance) => 1 - o[seqLen - 1 - distance]);
    errors.forEach((got, distance) => expect(got).toBeCloseTo(decayError({ rate, distance }), 5));
    expect(errors.findLastIndex((got) => got <= error)).toBe(decayReach({ rate, error }));
  });
});

it('leaves nothing in memory but its output', () => {
  const values = normalValues(40, 4);
  const keys = randomUnitKeys(k, random(1), 40, 9);
  const before = k.memory.tensors;
  const outputs = [
    copyLinearAttention(k, { values, keys }),
    copySelectiveScan(k, { values, keys }),
    copyAddressed(k, { values, dState: 9 }),
    copyRegisterFile(k, { values, slots: 9 }),
    copySoftmaxAttention(k, { values }),
  ];
  expect(k.memory.tensors).toBe(before + outputs.length);
  for (const tensor of [...outputs, values, keys]) tensor.dispose();
});

it('says what is wrong with an argument', () => {
  k.scope(() => {
    const values = k.zeros([4, 2]);
    const keys = k.zeros([5, 2]);
    const wrong: [(kernels: Kernels) => unknown, string][] = [
      [
        () => copyAddressed(k, { values, dState: 0 }),
        'copyAddressed: dState must be a whole number from 1 up, got 0',
      ],
      [
        () => copyRegisterFile(k, { values, slots: NaN }),
        'copyRegisterFile: slots must be a whole number from 1 up, got NaN',
      ],
      [
        () => copyLinearAttention(k, { values, keys }),
        'copyLinearAttention: keys must be [seqLen, dKey] = [4, dKey], got [5, 2]',
      ],
      [
        () => copySoftmaxAttention(k, { values, reads: [4] }),
        'copySoftmaxAttention: reads must be whole numbers from 0 to 3, got 4 at 0',
      ],
      [
        () => copySoftmaxAttention(k, { values, reads: [] }),
        'copySoftmaxAttention: reads must name at least one token, got none',
      ],
      [
        () => copySoftmaxAttention(k, { values, beta: NaN }),
        'copySoftmaxAttention: beta must be a finite number, got NaN',
      ],
      [
        () => copySelectiveScan(k, { values, keys: values, rate: -1 }),
        'copySelectiveScan: rate must be a finite number from 0 up, got -1',
      ],
      [
        () => copyAddressed(k, { values: k.zeros([4]), dState: 1 }),
        'copyAddressed: values must have two axes, got [4]',
      ],
    ];
    for (const [call, message] of wrong) expect(() => call(k)).toThrow(message);
  });
});

it.each([
  [1, 1],
  [2, 1],
  [3, 2],
  [8192, 13],
  [8193, 14],
])('tells %i positions apart with %i bits', (seqLen, bits) => {
  expect(positionBits(seqLen)).toBe(bits);
});
