import { FreelunchError, loadKernels, ShapeError, type Tensor } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { afterEach, describe, expect, it } from 'vitest';
import { createTape, type Tape } from './index.js';

const k = await loadKernels({ variant: 'simd', guard: true });
afterEach(() => {
  k.checkGuards();
  expect(k.memory.tensors).toBe(0);
});

type FloatTensor = Tensor<'float32'>;

const rng = random(7);
const normal = (shape: number[]): FloatTensor =>
  k.tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()),
    shape,
  );

/** Sum of `x * weights`, `[1, 1]`: a scalar that depends on every element, each by another factor. */
function weighted(t: Tape, x: FloatTensor, seed = 1): FloatTensor {
  const stream = random(seed);
  const weights = k.tensor(
    Float32Array.from({ length: x.size }, () => stream.normal()),
    [x.size, 1],
  );
  return t.matmul({ a: t.reshape(x, [1, x.size]), b: weights });
}

/**
 * Compares gradients with central differences. All within float32, so the step is large and the bound is wide; it
 * holds because what is differentiated is smooth.
 */
function expectGradients(inputs: FloatTensor[], fn: (t: Tape) => FloatTensor): void {
  const tape = createTape(k, inputs);
  const gradients = tape.backward(fn(tape));
  const value = () => k.scope(() => fn(createTape(k)).toArray()[0]);
  const step = 2 ** -7;
  for (const input of new Set(inputs)) {
    const gradient = gradients.get(input)!;
    expect(gradient.shape).toEqual(input.shape);
    const scale = Math.max(...gradient.data.map(Math.abs), 1e-3);
    for (let i = 0; i < input.size; i++) {
      const before = input.data[i];
      input.data[i] = before + step;
      const above = value();
      input.data[i] = before - step;
      const below = value();
      input.data[i] = before;
      const slope = (above - below) / (2 * step);
      expect(
        Math.abs(gradient.data[i] - slope),
        `element ${i}: ${gradient.data[i]}, wanted ${slope}`,
      ).toBeLessThan(5e-3 * Math.max(scale, Math.abs(slope)));
    }
  }
}

describe('a tape', () => {
  it('adds up the gradients of what is used twice', () => {
    k.scope(() => {
      const x = normal([2, 3]);
      expectGradients([x], (t) => weighted(t, t.add({ a: x, b: x })));
      expectGradients([x], (t) => weighted(t, t.multiply({ a: x, b: x })));
      expectGradients([x], (t) => {
        const y = t.add({ a: x, b: t.silu({ x }) });
        return weighted(t, t.add({ a: t.add({ a: y, b: x }), b: t.multiply({ a: y, b: t.tanh({ x: y }) }) }));
      });
    });
  });

  it('differentiates tied weights: an embedding that is the head too', () => {
    k.scope(() => {
      const weight = normal([5, 3]);
      const ids = k.tensor([1, 4, 1, 0], [1, 4], 'int32');
      const targets = k.tensor([4, 1, 0, 2], [1, 4], 'int32');
      expectGradients([weight], (t) => {
        const x = t.tanh({ x: t.embedding({ ids, weight }) });
        return t.crossEntropy({ logits: t.matmul({ a: x, b: weight, transposeB: true }), targets }).loss;
      });
    });
  });

  it('differentiates reshape, split and concat, with parts left unused', () => {
    k.scope(() => {
      const x = normal([2, 6]);
      expectGradients([x], (t) => {
        const [a, b, c] = t.split({ x, sizes: [2, 1, 3] });
        const joined = t.concat({ parts: [t.silu({ x: c }), a, a] });
        return t.add({ a: weighted(t, joined), b: weighted(t, t.reshape(t.exp({ x: b }), [2]), 2) });
      });
      expectGradients([x], (t) => weighted(t, t.split({ x, sizes: [2, 4] })[1]));
    });
  });

  it('goes back through a small attention block', () => {
    k.scope(() => {
      const [x, w] = [normal([1, 3, 4]), normal([4, 12])];
      const gain = normal([4]);
      expectGradients([x, w, gain], (t) => {
        const h = t.rmsNorm({ x, weight: gain });
        const parts = t.split({ x: t.matmul({ a: h, b: w }), sizes: [4, 4, 4] });
        const [q, key, v] = parts.map((part) => t.reshape(part, [1, 3, 2, 2]));
        const { o } = t.softmaxAttention({ q, k: key, v, causal: true });
        return weighted(t, t.add({ a: x, b: t.reshape(o, [1, 3, 4]) }));
      });
    });
  });

  it('takes an upstream gradient, and gradients of what lies between', () => {
    k.scope(() => {
      const x = k.tensor([1, 2, 3]);
      const tape = createTape(k, [x]);
      const y = tape.multiply({ a: x, b: x });
      tape.watch([y]);
      const z = tape.multiply({ a: y, b: y });
      const gradients = tape.backward(z, k.tensor([1, 1, 10]));
      expect([...gradients.get(y)!.data]).toEqual([2, 8, 180]);
      expect([...gradients.get(x)!.data]).toEqual([4, 32, 1080]);
    });
  });

  it('gives each gradient memory of its own', () => {
    k.scope(() => {
      const [a, b] = [k.tensor([1, 2]), k.tensor([3, 4])];
      const tape = createTape(k, [a, b]);
      const gradients = tape.backward(tape.add({ a, b: tape.reshape(b, [2]) }), k.tensor([5, 6]));
      gradients.get(a)!.data.fill(0);
      expect([...gradients.get(b)!.data]).toEqual([5, 6]);
      expect([...gradients.values()].some((gradient) => gradient.shared)).toBe(false);
    });
  });

  it('does not record what nobody watches', () => {
    k.scope(() => {
      const [x, constant] = [normal([4]), normal([4])];
      const tape = createTape(k, [x]);
      tape.silu({ x: constant });
      expect(tape.length).toBe(0);
      const frozen = tape.noGrad(() => tape.silu({ x }));
      expect([tape.length, tape.recording]).toEqual([0, true]);
      const gradients = tape.backward(tape.multiply({ a: x, b: frozen }), k.tensor([1, 1, 1, 1]));
      expect(gradients.get(x)!.toArray()).toEqual(frozen.toArray());
      expect(gradients.size).toBe(1);
      expect(() =>
        tape.noGrad(() => {
          throw new Error('stop');
        }),
      ).toThrow('stop');
      expect(tape.recording).toBe(true);
      expect(createTape(k).recording).toBe(false);
    });
  });

  it('computes the same bits with checkpoints as without', () => {
    k.scope(() => {
      const [x, w] = [normal([3, 4]), normal([4, 4])];
      const block = (t: Tape, input: FloatTensor) =>
        t.add({ a: input, b: t.gelu({ x: t.matmul({ a: input, b: w }) }) });
      const [kept, again] = [false, true].map((checkpoint) => {
        const tape = createTape(k, [x, w]);
        let h = x;
        for (let i = 0; i < 3; i++) {
          const input = h;
          h = checkpoint ? tape.checkpoint((t) => block(t, input), [input, w]) : block(tape, input);
        }
        const gradients = tape.backward(weighted(tape, h));
        return [gradients.get(x)!.toArray(), gradients.get(w)!.toArray()];
      });
      expect(again).toEqual(kept);
    });
  });

  it('keeps nothing once its scope is left, even after a failure', () => {
    const before = k.memory.usedBytes;
    k.scope(() => {
      const x = normal([8, 8]);
      const tape = createTape(k, [x]);
      const y = tape.checkpoint((t) => t.silu({ x: t.matmul({ a: x, b: x }) }), [x]);
      const live = k.memory.tensors;
      const gradients = tape.backward(y, normal([8, 8]));
      expect(k.memory.tensors).toBe(live + 2); // the upstream and the one gradient
      expect(gradients.size).toBe(1);
      expect(() => tape.backward(y, normal([8, 7]))).toThrow(ShapeError);
    });
    expect(k.memory.usedBytes).toBe(before);
  });

  it('says what it cannot differentiate', () => {
    k.scope(() => {
      const x = normal([2, 2]);
      const tape = createTape(k, [x]);
      const y = tape.silu({ x });
      expect(() => tape.backward(y)).toThrow(
        'backward: output must have one element where upstream is absent, got [2, 2]',
      );
      expect(() => tape.backward(y, normal([4]))).toThrow(
        'backward: upstream must be shaped like output, [2, 2], got [4]',
      );
      expect(() => tape.backward(k.silu({ x }))).toThrow(FreelunchError);
      expect(() => tape.matmul({ a: x, b: normal([3, 2]) })).toThrow(ShapeError);
    });
  });
});
