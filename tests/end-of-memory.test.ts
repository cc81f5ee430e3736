import { type Kernels, loadKernels, OutOfMemoryError, supportedVariants, Tensor } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { afterAll, describe, expect, it } from 'vitest';
import { argsOf, give, gradientName, titleOf } from './cases/case.ts';
import { cases } from './cases/index.ts';

const END = 2 ** 32 - 65536; // the last page is never handed out
const LOW = 2 ** 22; // room for all other blocks, at the start of memory

/**
 * Kernels whose memory is as large as it gets, all of it taken except `LOW` bytes at its start and as many at its end as
 * `room` asks for. Nothing touches the great block between: the system gives no memory for it.
 */
class FullMemory {
  readonly k: Kernels;
  readonly #start: number;
  #filler: number;

  constructor(k: Kernels) {
    this.k = k;
    const { allocator } = internalsOf(k);
    const low = allocator.allocate(LOW);
    // Stays, so that what is freed on its two sides is never joined.
    const between = allocator.allocate(64);
    this.#start = between + 64;
    this.#filler = allocator.allocate(END - this.#start);
    allocator.release(low);
  }

  /** Leaves so many bytes free at the end of memory. */
  room(bytes: number): void {
    const { allocator } = internalsOf(this.k);
    allocator.release(this.#filler);
    this.#filler = allocator.allocate(END - this.#start - bytes);
  }
}

const alignUp = (bytes: number) => Math.ceil(bytes / 64) * 64;

type Args = Record<string, unknown>;
type Results = Record<string, Float32Array | Int32Array>;

/** Calls an op, and its backward with its own outputs as gradients. @returns copies of all that it gave and changed */
function call(k: Kernels, op: string, args: Args, outputs: string[] | undefined): Results {
  const functions = k as unknown as Record<string, (args: object) => unknown>;
  const found: Results = {};
  const keep = (prefix: string, result: unknown) => {
    const named = (result instanceof Tensor ? { y: result } : (result ?? {})) as Record<string, Tensor>;
    for (const [name, tensor] of Object.entries(named)) {
      if (tensor instanceof Tensor) found[prefix + name] = tensor.toArray();
    }
    return named;
  };
  const results = keep('', functions[op](args));
  keep('given ', args);
  if (outputs !== undefined) {
    const upstream = outputs.map((name) => [gradientName(name), results[name]] as const);
    keep('', functions[`${op}Backward`]({ ...args, ...Object.fromEntries(upstream) }));
  }
  return found;
}

/** Sizes in bytes, each rounded up as the allocator does, of all blocks that `run` takes. */
function blocksOf(k: Kernels, run: () => void): Set<number> {
  const { allocator } = internalsOf(k);
  const { allocate } = allocator;
  const sizes = new Set<number>();
  allocator.allocate = (bytes) => {
    sizes.add(alignUp(Math.max(bytes, 1)));
    return allocate.call(allocator, bytes);
  };
  try {
    run();
  } finally {
    allocator.allocate = allocate;
  }
  return sizes;
}

describe.each(supportedVariants())('at the end of a memory of 4 GiB, %s', async (variant) => {
  const plain = await loadKernels({ variant });
  const full = new FullMemory(await loadKernels({ variant }));
  const { k } = full;
  afterAll(() => expect(k.memory.totalBytes).toBe(END));

  it('a block may end where the last page begins, and none lies beyond', () => {
    full.room(64);
    const last = k.zeros([16]);
    expect(last.pointer + 64).toBe(END);
    last.dispose();
    full.room(0);
    expect(() => k.empty([2 ** 22])).toThrow(OutOfMemoryError);
  });

  describe.each(cases.map((c) => [titleOf(c), c] as const))('%s', (_title, c) => {
    it.each(c.sizes.slice(0, 2))('computes the same with any of its blocks there, at %o', (size) => {
      const hostArgs = argsOf(c, size);
      const outputs = c.backward?.outputs;
      let wanted: Results = {};
      const sizes = blocksOf(plain, () => {
        plain.scope(() => void (wanted = call(plain, c.op, give(plain, hostArgs), outputs)));
      });
      for (const bytes of sizes) {
        // The block of this size that is taken first lies at the end: among the arguments, or among what the call makes.
        for (const first of ['arguments', 'the call'] as const) {
          k.scope(() => {
            full.room(first === 'arguments' ? bytes : 0);
            const args = give(k, hostArgs);
            if (first === 'the call') full.room(bytes);
            const got = call(k, c.op, args, outputs);
            expect(Object.keys(got)).toEqual(Object.keys(wanted));
            for (const [name, data] of Object.entries(got)) {
              const same = Buffer.from(data.buffer).equals(Buffer.from(wanted[name].buffer));
              expect(same, `${name}, where a block of ${bytes} bytes lies there, ${first} first`).toBe(true);
            }
          });
        }
      }
    });
  });
});
