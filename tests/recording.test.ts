import { UnsupportedError } from '@freelunch/errors';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Kernels, loadKernels } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';

const k = await loadKernels({ variant: 'simd' });
const guarded = await loadKernels({ variant: 'simd', guard: true });
afterEach(() => {
  vi.restoreAllMocks();
  for (const each of [k, guarded]) expect(each.memory.tensors).toBe(0);
  guarded.checkGuards();
});

const numbers = (length: number, seed: number) =>
  Float32Array.from({ length }, (_, i) => Math.sin(seed + 1.7 * i));

describe('a recording', () => {
  it('computes anew from what its tensors hold', () => {
    for (const kernels of [k, guarded]) {
      kernels.scope(() => {
        const [x, w] = [numbers(6, 1), numbers(12, 2)].map((data) =>
          kernels.tensor(data, [data.length / 3, 3]),
        );
        const compute = () =>
          kernels.softplus({ x: kernels.silu({ x: kernels.matmul({ a: x, b: w, transposeB: true }) }) });
        const { result, recording } = internalsOf(kernels).record(compute);
        expect(result.toArray()).toEqual(compute().toArray());
        for (const seed of [3, 4]) {
          x.set(numbers(6, seed));
          w.set(numbers(12, seed + 5));
          recording.replay();
          expect(result.toArray()).toEqual(compute().toArray());
        }
        recording.dispose();
      });
    }
  });

  it('multiplies by quantised weights', () => {
    k.scope(() => {
      const x = k.tensor(numbers(64, 1), [1, 64]);
      for (const dtype of ['float16', 'bfloat16', 'int8', 'int4'] as const) {
        const b = k.quantize({ x: k.tensor(numbers(640, 2), [10, 64]), dtype });
        const compute = () => k.matmul({ a: k.silu({ x }), b, transposeB: true });
        const { result, recording } = internalsOf(k).record(compute);
        x.set(numbers(64, 9));
        recording.replay();
        expect(result.toArray()).toEqual(compute().toArray());
        recording.dispose();
      }
    });
  });

  it('lets tensors that are gone make room for others of their size, but keeps what was written from outside', () => {
    k.scope(() => {
      const x = k.tensor(numbers(40, 1), [40]);
      const compute = (kernels: Kernels) => {
        let y = x;
        for (let i = 0; i < 20; i++) {
          const before = y;
          y = kernels.scope(() => kernels.add({ a: before, b: kernels.tensor(numbers(40, i)) }));
          if (before !== x) before.dispose();
        }
        return y;
      };
      const { result, recording } = internalsOf(k).record(() => compute(k));
      // 20 constants, and two sums that take turns, one of them the result.
      expect(recording.buffers.map(({ size }) => size)).toEqual(Array.from({ length: 21 }, () => 40));
      x.set(numbers(40, 50));
      recording.replay();
      expect(result.toArray()).toEqual(compute(k).toArray());
      recording.dispose();
    });
  });

  it('calls the same kernels on threads where that is worth it', async () => {
    using threaded = await loadKernels({ variant: 'simd', threads: 2 });
    const context = internalsOf(threaded);
    context.worthSharingNs = 0;
    threaded.scope(() => {
      const x = threaded.tensor(numbers(4096, 1));
      const { result, recording } = context.record(() => threaded.silu({ x }));
      context.pool!.shared.clear();
      x.set(numbers(4096, 2));
      recording.replay();
      expect([...context.pool!.shared]).toEqual(['siluForward']);
      const shared = result.toArray();
      threaded.dispose();
      recording.replay();
      expect(result.toArray()).toEqual(shared);
      recording.dispose();
    });
  });

  it('frees all it made where it fails, and gives it back with dispose', () => {
    const context = internalsOf(k);
    const x = k.tensor([1, 2]);
    const before = k.memory;
    const same = { tensors: before.tensors, usedBytes: before.usedBytes };
    expect(() =>
      context.record(() => {
        k.silu({ x: k.exp({ x }) });
        throw new Error('in the middle');
      }),
    ).toThrow('in the middle');
    expect(k.memory).toMatchObject(same);
    const { result, recording } = context.record(() => k.silu({ x: k.exp({ x }) }));
    expect(k.memory.usedBytes).toBeGreaterThan(before.usedBytes);
    result.dispose();
    recording.dispose();
    expect(k.memory).toMatchObject(same);
    x.dispose();
  });

  it('holds no other', () => {
    const context = internalsOf(k);
    const x = k.tensor([1, 2]);
    const inner = () => context.record(() => k.exp({ x })).result;
    expect(() => context.record(inner)).toThrow(UnsupportedError);
    x.dispose();
  });
});

describe('what is derived from a tensor', () => {
  it('is computed again only where a bit of it has changed, whoever changed it', () => {
    k.scope(() => {
      const context = internalsOf(k);
      for (const size of [1, 4, 7, 40]) {
        const [w, x] = [k.tensor(numbers(size, 1)), k.tensor(numbers(size, 2))];
        const compute = () => {
          const rates = context.derived(w, () => k.negate({ x: k.exp({ x: w }) }));
          return k.multiply({ a: k.silu({ x: k.exp({ x }) }), b: rates });
        };
        const calls = vi.spyOn(context.wasm, 'negateForward');
        const { result, recording } = context.record(compute);
        const view = w.data;
        const changes: [changed: boolean, change: () => void][] = [
          [false, () => {}],
          [true, () => void (view[size - 1] += 1)],
          [false, () => void (view[0] = Math.fround(view[0]))],
          [true, () => void (view[0] = NaN)],
          [false, () => {}],
          [true, () => void (view[0] = 0)],
          [true, () => void (view[0] = -0)],
          [true, () => k.accumulate({ target: w, source: x })],
        ];
        for (const [changed, change] of changes) {
          change();
          x.data[0] += 0.5;
          calls.mockClear();
          recording.replay();
          expect(calls).toHaveBeenCalledTimes(Number(changed));
          expect(result.toArray()).toEqual(compute().toArray());
        }
        recording.dispose();
      }
    });
  });
});
