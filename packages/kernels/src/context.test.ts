import {
  ArgumentError,
  DisposedError,
  DTypeError,
  FreelunchError,
  loadKernels,
  OutOfMemoryError,
  ShapeError,
  type Tensor,
  UnsupportedError,
} from '@freelunch/kernels';
import { beforeEach, describe, expect, it } from 'vitest';

let k: Awaited<ReturnType<typeof loadKernels>>;
beforeEach(async () => {
  k = await loadKernels({ variant: 'simd' });
});

describe('tensor', () => {
  it('holds what it was given, and knows its type from it', () => {
    const t = k.tensor([1, 2, 3, 4, 5, 6], [2, 3]);
    expect([t.shape, t.dtype, t.size, [...t.data]]).toEqual([[2, 3], 'float32', 6, [1, 2, 3, 4, 5, 6]]);
    expect(k.tensor(new Int32Array([7, 8])).dtype).toBe('int32');
    expect(k.tensor([7, 8], [2], 'int32').toArray()).toEqual(new Int32Array([7, 8]));
    expect(k.tensor([5], []).shape).toEqual([]);
    expect([...k.zeros([3]).data]).toEqual([0, 0, 0]);
  });

  it('names the function, what it wanted and what it got', () => {
    expect(() => k.tensor([1, 2], [3])).toThrow(
      new ShapeError('tensor: data must have 3 elements for shape [3], got 2'),
    );
    expect(() => k.tensor([1.5], [1], 'int32')).toThrow(DTypeError);
    expect(() => k.zeros([2, 0])).toThrow(
      /every size in shape must be a whole number from 1 up, got \[2, 0\]/,
    );
    expect(() => k.zeros([NaN])).toThrow(ShapeError);
    expect(() => k.zeros([2 ** 20, 2 ** 20])).toThrow(ShapeError);
    expect(() => k.zeros([1], 'float64' as 'float32')).toThrow(ArgumentError);
    expect(() => k.tensor('abc' as never)).toThrow(ArgumentError);
  });

  it('is made from the elements of another, though memory grows for it', async () => {
    const small = await loadKernels({ variant: 'simd' });
    const values = Float32Array.from({ length: 2 ** 18 }, (_, i) => i);
    let last = small.tensor(values, [2 ** 13, 32]);
    const { totalBytes } = small.memory;
    while (small.memory.totalBytes < totalBytes + 2 ** 24) last = small.tensor(last.data, last.shape);
    expect(last.toArray().every((value, i) => value === values[i])).toBe(true); // toEqual takes seconds
    using half = small.quantize({ x: last, dtype: 'bfloat16' });
    const grown = small.memory.totalBytes;
    let copy = half;
    while (small.memory.totalBytes === grown) {
      const inMemory = new Uint8Array(last.data.buffer, copy.pointer, copy.bytes);
      copy = small.quantizedTensor(inMemory, copy.shape, 'bfloat16');
    }
    const wanted = half.toBytes();
    expect(copy.toBytes().every((byte, i) => byte === wanted[i])).toBe(true);
  });

  it('keeps its elements when memory grows, in a view that is never stale', () => {
    const t = k.tensor([1, 2, 3]);
    const old = t.data;
    const big = k.zeros([4 * 2 ** 20]);
    expect(old).toHaveLength(0);
    expect([...t.data]).toEqual([1, 2, 3]);
    t.data[0] = 9;
    expect(t.toArray()).toEqual(new Float32Array([9, 2, 3]));
    big.dispose();
  });

  it('cannot be used after it was disposed of, by itself or by a kernel', () => {
    const t = k.tensor([1]);
    t.dispose();
    t.dispose();
    expect(t.disposed).toBe(true);
    expect(() => t.data).toThrow(DisposedError);
    expect(() => k.silu({ x: t })).toThrow(/silu: x, a tensor of shape \[1\], was disposed of/);
  });

  it('is disposed of by using', () => {
    let outer: Tensor;
    {
      using t = k.zeros([8]);
      outer = t;
    }
    expect(outer.disposed).toBe(true);
    expect(k.memory.usedBytes).toBe(0);
  });

  it('is not taken from other kernels', async () => {
    const other = await loadKernels({ variant: 'simd' });
    expect(() => other.silu({ x: k.zeros([1]) })).toThrow(/got one of other kernels/);
  });

  it('shares its memory with its reshaped forms until the last is gone', () => {
    const t = k.tensor([1, 2, 3, 4]);
    expect(t.shared).toBe(false);
    const square = t.reshape([2, 2]);
    expect([t.shared, square.shared]).toEqual([true, true]);
    t.dispose();
    expect([t.shared, square.shared]).toEqual([false, false]);
    expect([...square.data]).toEqual([1, 2, 3, 4]);
    expect(() => square.reshape([3])).toThrow(ShapeError);
    square.dispose();
    expect(k.memory.usedBytes).toBe(0);
  });

  it('takes new elements in place, if as many', () => {
    const t = k.zeros([2]);
    t.set([3, 4]);
    expect([...t.data]).toEqual([3, 4]);
    expect(() => t.set([1])).toThrow(/set: data must have 2 elements, got 1/);
  });
});

describe('kernels', () => {
  it('say what they take when they are given nothing, or something else', () => {
    expect(() => k.silu(undefined as never)).toThrow(
      new ArgumentError('silu: inputs must be one object, got undefined'),
    );
    expect(() => k.selectiveScan('u' as never)).toThrow(
      /selectiveScan: inputs must be one object, got string/,
    );
    expect(() => k.selectiveScan({} as never)).toThrow(
      /selectiveScan: u must be a float32 tensor, got nothing/,
    );
    expect(() => k.effectiveAttention('magic' as never, {} as never)).toThrow(
      /mixer must be one of selectiveScan, ssd/,
    );
  });
});

describe('scope', () => {
  it('frees what is made in it but for what it returns, also within objects, arrays and nested scopes', () => {
    const { kept, list } = k.scope(() => {
      k.zeros([10]);
      const inner = k.scope(() => ({ a: k.tensor([1]), b: [k.tensor([2])], lost: k.zeros([5]).shape }));
      return { kept: inner.a, list: inner.b };
    });
    expect([...kept.data, ...list[0].data]).toEqual([1, 2]);
    expect(k.memory.tensors).toBe(2);
  });

  it('finds what it returns in long lists, deep down and in circles', () => {
    interface Link {
      tensor?: Tensor;
      next?: Link;
    }
    const { long, links } = k.scope(() => {
      const first: Link = {};
      let last = first;
      for (let i = 0; i < 1e5; i++) last = last.next = {};
      Object.assign(last, { tensor: k.tensor([7]), next: first });
      return {
        long: Array.from({ length: 1e6 }, (_, i) => (i === 999_999 ? k.tensor([8]) : i)),
        links: first,
      };
    });
    let at = links;
    while (at.tensor === undefined) at = at.next!;
    expect([at.tensor.data[0], (long.at(-1) as Tensor).data[0]]).toEqual([7, 8]);
  });

  it('frees everything when the function throws', () => {
    expect(() =>
      k.scope(() => {
        k.zeros([10]);
        throw new Error('stop');
      }),
    ).toThrow('stop');
    expect(k.memory.usedBytes).toBe(0);
  });

  it('refuses asynchronous functions and frees what they made', () => {
    expect(() => k.scope(async () => k.zeros([1]))).toThrow(UnsupportedError);
    expect(k.memory.usedBytes).toBe(0);
  });
});

describe('alongside', () => {
  it('lets what is made live as long as a tensor, through the scopes between', () => {
    const cache = k.zeros([1]);
    const made = k.scope(() =>
      k.scope(() => {
        const next = k.alongside(cache, () => k.zeros([2]));
        k.zeros([3]);
        return { next };
      }),
    ).next;
    const hidden: Tensor[] = [];
    k.scope(() => void hidden.push(k.alongside(made, () => k.scope(() => (k.zeros([5]), k.zeros([2]))))));
    expect(k.memory.tensors).toBe(3);
    expect([made.disposed, hidden[0].disposed]).toEqual([false, false]);
    for (const tensor of [cache, made, ...hidden]) tensor.dispose();
  });

  it('puts it into the scope of that tensor', () => {
    const found: Tensor[] = [];
    k.scope(() => {
      const cache = k.zeros([1]);
      k.scope(() => void found.push(k.alongside(cache, () => k.zeros([2]))));
      expect(found[0].disposed).toBe(false);
    });
    expect(found[0].disposed).toBe(true);
    expect(k.memory.tensors).toBe(0);
  });

  it('frees what was made if it fails, and needs a live tensor', () => {
    const x = k.zeros([1]);
    const fail = () => {
      k.zeros([1]);
      throw new Error('stop');
    };
    expect(() => k.alongside(x, fail)).toThrow('stop');
    expect(() => k.alongside(x, async () => k.zeros([1]))).toThrow(FreelunchError);
    expect(k.memory.tensors).toBe(1);
    x.dispose();
    expect(() => k.alongside(x, () => k.zeros([1]))).toThrow(DisposedError);
    expect(k.memory.tensors).toBe(0);
  });
});

describe('loadKernels', () => {
  it.each([null, 0, 1n, 'simd', true, () => 1, [], ['simd'], new Float32Array(2), { constructor: 1 }])(
    'refuses %o',
    async (value) => {
      await expect(loadKernels(value as never)).rejects.toThrow(FreelunchError);
    },
  );

  it('refuses options that there are not, and values of the wrong kind', async () => {
    await expect(loadKernels({ variants: 'simd' } as never)).rejects.toThrow(
      "loadKernels: 'variants' is not an option; did you mean 'variant'?",
    );
    for (const guard of ['yes', 1, null]) {
      await expect(loadKernels({ guard } as never)).rejects.toThrow(/guard must be true or false/);
    }
    for (const maximumBytes of ['1e9', null, 1.5, -1, {}]) {
      await expect(loadKernels({ maximumBytes } as never)).rejects.toThrow(/maximumBytes must be/);
    }
    for (const source of ['x', 1, {}, [1], null]) {
      await expect(loadKernels({ variant: 'simd', source } as never)).rejects.toThrow(FreelunchError);
    }
    for (const baseUrl of ['nowhere', 5, {}, null]) {
      await expect(loadKernels({ variant: 'simd', baseUrl } as never)).rejects.toThrow(FreelunchError);
    }
  });

  it('takes simd on auto and refuses relaxed-simd by name where the runtime has no relaxed SIMD', async () => {
    const has = (await import('@freelunch/kernels')).supportedVariants();
    expect(has).toContain('simd');
    expect((await loadKernels()).variant).toBe(has[0]);
    if (!has.includes('relaxed-simd')) {
      await expect(loadKernels({ variant: 'relaxed-simd' })).rejects.toThrow(UnsupportedError);
      await expect(loadKernels({ variant: 'relaxed-simd' })).rejects.toThrow(
        /cannot run variant 'relaxed-simd' \(Node has it from 21 up\)/,
      );
    }
  });

  it('refuses what is no binary of these kernels, and unknown options', async () => {
    await expect(loadKernels({ source: new Uint8Array([1, 2, 3]), variant: 'simd' })).rejects.toThrow(
      FreelunchError,
    );
    const empty = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    await expect(loadKernels({ source: empty, variant: 'simd' })).rejects.toThrow(
      /a module without heapBase/,
    );
    await expect(loadKernels({ source: empty })).rejects.toThrow(
      /variant must be 'simd' or 'relaxed-simd' where source is given/,
    );
    await expect(loadKernels({ variant: 'fast' as 'simd' })).rejects.toThrow(ArgumentError);
    await expect(loadKernels({ maximumBytes: NaN })).rejects.toThrow(ArgumentError);
    await expect(loadKernels({ baseUrl: 'file:///nowhere/' })).rejects.toThrow();
  });

  it('takes a compiled module, its bytes, a response or a promise of one', async () => {
    const { readFile } = await import('node:fs/promises');
    const { fileURLToPath } = await import('node:url');
    const bytes = await readFile(fileURLToPath(import.meta.resolve('@freelunch/kernels/simd.wasm')));
    const response = new Response(bytes, { headers: { 'content-type': 'application/wasm' } });
    for (const source of [new WebAssembly.Module(bytes), bytes, Promise.resolve(bytes), response]) {
      const loaded = await loadKernels({ source, variant: 'simd' });
      expect([...loaded.silu({ x: loaded.tensor([0]) }).data]).toEqual([0]);
    }
    await expect(loadKernels({ source: new Response('', { status: 404 }), variant: 'simd' })).rejects.toThrow(
      /HTTP status 404/,
    );
  });

  it('has the same kernels in the entry that holds the binaries', async () => {
    const inline = await import('@freelunch/kernels/inline');
    const loaded = await inline.loadKernels({ variant: 'simd' });
    const x = [-3, -1, 0, 0.5, 7];
    expect(loaded.silu({ x: loaded.tensor(x) }).toArray()).toEqual(k.silu({ x: k.tensor(x) }).toArray());
  });

  it('stops with a clear error at the limit of memory that it was given', async () => {
    const small = await loadKernels({ variant: 'simd', maximumBytes: 2 ** 21 });
    expect(() => small.zeros([2 ** 20])).toThrow(OutOfMemoryError);
    expect(small.zeros([2 ** 16]).size).toBe(2 ** 16);
  });
});

it('tensors refuse to be cloned into another thread, where they would be empty', () => {
  const x = k.tensor(new Float32Array(32), [1, 32]);
  for (const tensor of [x, k.quantize({ x, dtype: 'int8' })]) {
    expect(() => structuredClone({ tensor })).toThrow(
      /which lie in WASM memory: pass what toArray or toBytes gives/,
    );
    expect(JSON.stringify(tensor)).toBe('{}');
  }
});
