import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import {
  ArgumentError,
  FormatError,
  FreelunchError,
  type Kernels,
  loadKernels,
  UnsupportedError,
} from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { describe, expect, it, vi } from 'vitest';
import { cases } from './cases/index.ts';
import { titleOf } from './cases/case.ts';
import { digests } from './digest.ts';

const alone = await digests(await loadKernels({ variant: 'simd' }));

/** Kernels that share the smallest calls too. */
async function sharing(threads: number, options = {}): Promise<Kernels> {
  const k = await loadKernels({ variant: 'simd', threads, ...options });
  internalsOf(k).worthSharingNs = 0;
  return k;
}

const poolOf = (k: Kernels) => internalsOf(k).pool!;

/** A product that is cut into parts, as numbers. */
function product(k: Kernels, size = 96): Float32Array {
  return k.scope(() => {
    const a = k.tensor(
      Float32Array.from({ length: size * size }, (_, i) => Math.sin(i)),
      [size, size],
    );
    return k.matmul({ a, b: a }).toArray();
  });
}

const wanted = product(await loadKernels({ variant: 'simd' }));

/** Runs a program of its own. @returns what it printed */
async function program(code: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
    cwd: import.meta.dirname,
    env: { ...process.env, NO_COLOR: undefined, FORCE_COLOR: undefined }, // or console.log colours numbers
    timeout: 60_000,
  });
  return stdout.trim();
}

describe.each([2, 3, 4, 7])('%i threads', (threads) => {
  it('give the bits of one, in every case', async () => {
    using k = await sharing(threads);
    expect(k.threads).toBe(threads);
    expect(await digests(k)).toEqual(alone);
  });
});

it('shares all that is long, forward, backward and step, in the cases whose bits are compared', async () => {
  using k = await sharing(3);
  await digests(k);
  const { shared } = poolOf(k);
  const { module } = await compiled();
  const names = WebAssembly.Module.exports(module).map(({ name }) => name);
  const sizes = /ScratchBytes$|SharedBytes$|Floats$|Units$|^heapBase$/;
  expect(names.filter((name) => !shared.has(name) && !sizes.test(name)).toSorted()).toEqual([
    'addFourDots', // exported to be no part of the loops that call it, as are packForget, packVector and scan
    'areFiniteHalves', // tells something of weights, once, as does widen
    'crossEntropyDivisor', // the sum over rows of what rows gave
    'crossEntropySum',
    'mamba3MatrixForward', // effectiveAttention, as are softmaxAttentionWeights and ssdMatrixForward
    'packForget',
    'packVector',
    'refresh', // tells whether it changed anything
    'scaleInPlace', // clipGradNorm has no case
    'scan',
    'softmaxAttentionWeights', // effectiveAttention, as is ssdMatrixForward
    'ssdMatrixForward',
    'sumsOfSquares', // nor has globalNorm
    'widen',
    'writeColumnSums', // the sum over runs of rows
  ]);
});

describe('one head of one sequence', () => {
  const head = { batch: 1, nHeads: 1, seqLen: 45, dKey: 20, dValue: 48 };
  const channels = { batch: 1, nHeads: 1, seqLen: 90, headDim: 32, nGroups: 1, dState: 13 };
  const sizes: Record<string, object[]> = {
    linearAttention: [
      head,
      { ...head, featureMap: 'elu1', normalize: true, initial: true },
      { ...head, gate: 'mild', initial: true },
      ...['recurrent', 'chunked'].flatMap((form) => [
        { ...head, form, decay: 'step', featureMap: 'elu1', normalize: true, initial: true },
        { ...head, form, decay: 'head' },
      ]),
    ],
    deltaRule: [head, { ...head, initial: true }],
    gatedDeltaRule: [
      { ...head, decay: 'mild' },
      { ...head, decay: 'mild', initial: true, l2Normalize: true },
    ],
    ssd: [channels, { ...channels, plain: true }, { ...channels, gate: false, skipByChannel: true }],
  };
  const ofOneHead = Object.entries(sizes).map(([op, of]) => {
    const found = cases.find((c) => titleOf(c) === op)!;
    return { ...found, sizes: of as typeof found.sizes };
  });

  it.each([2, 3])('is shared by %i threads, and gives the bits of one', async (threads) => {
    using k = await sharing(threads);
    const run = vi.spyOn(poolOf(k), 'run');
    expect(await digests(k, ofOneHead)).toEqual(
      await digests(await loadKernels({ variant: 'simd' }), ofOneHead),
    );
    expect(new Set(run.mock.calls.map(([name]) => name))).toEqual(
      new Set([
        'deltaRuleBackward',
        'deltaRuleForward',
        'linearAttentionBackward',
        'linearAttentionChunkedForward',
        'linearAttentionForward',
        'ssdChunkedBackward',
        'ssdChunkedForward',
      ]),
    );
  });
});

it('gives one norm of tensors with any number of threads', async () => {
  const norm = (k: Kernels) =>
    k.globalNorm({
      tensors: [100, 300_000].map((size) => k.tensor(Float32Array.from({ length: size }, Math.sin))),
    });
  const one = norm(await loadKernels({ variant: 'simd' }));
  for (const threads of [2, 3]) {
    using k = await sharing(threads);
    expect(norm(k)).toBe(one);
    expect(poolOf(k).shared.has('sumsOfSquares')).toBe(true);
  }
});

it('shares none of its calls where each is too small to gain', async () => {
  using k = await loadKernels({ variant: 'simd', threads: 2 });
  k.silu({ x: k.zeros([64]) });
  expect([...poolOf(k).shared]).toEqual([]);
  k.silu({ x: k.zeros([2 ** 18]) });
  expect([...poolOf(k).shared]).toEqual(['siluForward']);
});

describe('loadKernels', () => {
  it.each([0, -1, 1.5, 257, 'all', null, NaN])('refuses threads: %s', async (threads) => {
    await expect(loadKernels({ threads: threads as never })).rejects.toThrow(ArgumentError);
    await expect(loadKernels({ threads: threads as never })).rejects.toThrow(
      /threads must be 'auto' or a whole/,
    );
  });

  it('starts no thread unasked', async () => {
    const k = await loadKernels();
    expect([k.threads, internalsOf(k).pool]).toEqual([1, undefined]);
  });

  it('needs the bytes of a binary to share its memory, not a module', async () => {
    const { module } = await compiled();
    const options = { source: module, variant: 'simd', threads: 2 } as const;
    await expect(loadKernels(options)).rejects.toThrow(UnsupportedError);
  });

  it.each([5, 1e15, null, {}, 'text', []])(
    'refuses what is no binary, with threads and without: %j',
    async (source) => {
      for (const threads of [1, 2]) {
        const options = { source: source as never, variant: 'simd', threads } as const;
        await expect(loadKernels(options)).rejects.toThrow(
          /^loadKernels: source must be a binary of these kernels/,
        );
      }
    },
  );

  it('refuses a binary that is cut off, or damaged before its imports end', async () => {
    const { bytes } = await compiled();
    const importsEnd = Buffer.from(bytes).indexOf('memory') + 10;
    for (let i = 8; i < importsEnd; i++) {
      const damaged = bytes.slice();
      damaged[i] = 0xff;
      for (const source of [bytes.slice(0, i), damaged]) {
        const error: unknown = await loadKernels({ source, variant: 'simd', threads: 2 }).catch(
          (cause) => cause,
        );
        // A byte within the types alone may still be a module.
        if (error instanceof Error) expect(error).toBeInstanceOf(FormatError);
        else (error as Kernels).dispose();
      }
    }
  });

  it('says to how much the memory may grow where a device gives less than it is asked for', async () => {
    const { Memory } = WebAssembly;
    WebAssembly.Memory = class extends Memory {
      constructor(options: WebAssembly.MemoryDescriptor) {
        if (options.shared === true && options.maximum! > 20_000)
          throw new RangeError('could not allocate memory');
        super(options);
      }
    } as typeof Memory;
    try {
      using k = await loadKernels({ threads: 2 });
      expect(() => k.zeros([2 ** 29])).toThrow(`may grow to ${16_384 * 65_536}`);
    } finally {
      WebAssembly.Memory = Memory;
    }
  });

  it('takes bytes, and leaves them as they are', async () => {
    const { bytes } = await compiled();
    const before = bytes.slice();
    using k = await loadKernels({ source: bytes, variant: 'simd', threads: 2 });
    expect([k.threads, bytes]).toEqual([2, before]);
  });

  it('keeps to maximumBytes with threads', async () => {
    using k = await loadKernels({ threads: 2, maximumBytes: 2 ** 22 });
    expect(() => k.zeros([2 ** 20])).toThrow(/may grow to 4194304/);
    expect(k.zeros([2 ** 18]).size).toBe(2 ** 18);
  });
});

async function compiled() {
  const { readFile } = await import('node:fs/promises');
  const { fileURLToPath } = await import('node:url');
  const bytes = await readFile(fileURLToPath(import.meta.resolve('@freelunch/kernels/simd.wasm')));
  return { bytes, module: await WebAssembly.compile(bytes) };
}

describe('the pool', () => {
  it('computes on when a worker has died', async () => {
    using k = await sharing(3);
    poolOf(k).workers[0].terminate();
    expect(product(k)).toEqual(wanted); // the death is not known yet
    await expect.poll(() => k.threads).toBe(2);
    expect(product(k)).toEqual(wanted);
  });

  it('says so if a worker dies in the middle of its work, and computes on without', async () => {
    using k = await sharing(2);
    const pool = poolOf(k);
    pool.patienceMs = 200;
    const { control: places } = pool;
    Atomics.add(new Int32Array(places), 3 * 16, 1); // one that entered and never leaves
    expect(() => product(k)).toThrow(/^matmulForward: a worker thread stopped in the middle of its work/);
    expect(k.threads).toBe(1);
    expect(product(k)).toEqual(wanted);
  });

  it('hands on what fails in a worker, and computes on', async () => {
    using k = await sharing(2);
    const pool = poolOf(k);
    // The second part lies a GiB beyond the memory; the first takes long enough for a worker to wake and take the second.
    const grain = 2 ** 20;
    const x = k.zeros([grain]);
    const job = { units: 2 * grain, grain, slices: { countAt: 2, steps: [1024, 1024] } };
    let failure: unknown;
    for (let i = 0; i < 500 && !(failure instanceof FreelunchError); i++) {
      try {
        pool.run('siluForward', [x.pointer, x.pointer, grain], job);
      } catch (error) {
        failure = error; // if the caller took the second part, it is the runtime's own
      }
    }
    expect(failure).toBeInstanceOf(FreelunchError);
    expect((failure as Error).message).toMatch(/^siluForward: a worker thread failed: .*memory/);
    expect(product(k)).toEqual(wanted);
    expect(k.threads).toBe(2);
  });

  it('sees memory that has grown since it started', async () => {
    using k = await sharing(2);
    const before = k.memory.totalBytes;
    const kept = k.zeros([2 ** 20]);
    expect(k.memory.totalBytes).toBeGreaterThan(before);
    expect(product(k)).toEqual(wanted);
    kept.data.fill(2);
    const [one] = k.silu({ x: k.tensor([2]) }).data;
    expect(k.silu({ x: kept }).data.every((value) => value === one)).toBe(true);
  });

  it('is one for each set of kernels', async () => {
    using k = await sharing(2);
    using other = await sharing(3);
    for (let i = 0; i < 5; i++) expect([product(k), product(other)]).toEqual([wanted, wanted]);
    k.dispose();
    expect([k.threads, other.threads]).toEqual([1, 3]);
    expect([product(k), product(other)]).toEqual([wanted, wanted]);
  });

  it('leaves the kernels usable when it is ended, twice too', async () => {
    const k = await sharing(2);
    k.dispose();
    k.dispose();
    expect(k.threads).toBe(1);
    expect(product(k)).toEqual(wanted);
  });

  it('stays within its buffers', async () => {
    using k = await sharing(3, { guard: true });
    expect(product(k)).toEqual(wanted);
    k.checkGuards();
  });
});

const loading = "const { loadKernels } = await import('@freelunch/kernels');";

describe('a process', () => {
  it('ends though it forgets its threads', async () => {
    expect(await program(`${loading} console.log((await loadKernels({ threads: 3 })).threads)`)).toBe('3');
  });

  it('uses no processor while its threads have nothing to do', async () => {
    const busy = await program(`${loading}
      const k = await loadKernels({ threads: 3 });
      k.silu({ x: k.zeros([2 ** 20]) });
      await new Promise((resolve) => setTimeout(resolve, 200));
      const before = process.cpuUsage();
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const { user, system } = process.cpuUsage(before);
      console.log((user + system) / 1000);`);
    expect(Number(busy)).toBeLessThan(100); // of 1000 ms; two that spin would take 2000
  });

  it('can load them in a worker', async () => {
    const code = `${loading}
      const k = await loadKernels({ threads: 2 });
      const y = k.silu({ x: k.zeros([2 ** 20]) });
      (await import('node:worker_threads')).parentPort.postMessage([k.threads, y.size]);`;
    const printed = await program(`
      const { Worker } = await import('node:worker_threads');
      const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(
        code.replace("'@freelunch/kernels'", JSON.stringify(import.meta.resolve('@freelunch/kernels'))),
      )})));
      worker.on('message', (message) => console.log(message.join()));`);
    expect(printed).toBe('2,1048576');
  });

  it('gets one thread where memory cannot be shared, and an error if it wants more', async () => {
    const printed = await program(`delete globalThis.SharedArrayBuffer; ${loading}
      const k = await loadKernels({ threads: 'auto' });
      const error = await loadKernels({ threads: 2 }).catch((error) => error);
      console.log([k.threads, error.name, error.message].join('; '))`);
    expect(printed).toBe(
      '1; UnsupportedError; loadKernels: threads 2: this runtime has no SharedArrayBuffer',
    );
  });

  it.skipIf(process.platform === 'win32')('ends at once by Ctrl-C while all threads compute', () => {
    const { signal } = spawnSync(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `${loading} const k = await loadKernels({ threads: 3 });
        const { Worker } = await import('node:worker_threads');
        new Worker("setTimeout(() => process.kill(process.pid, 'SIGINT'), 200)", { eval: true });
        const x = k.zeros([2 ** 20]);
        for (;;) k.silu({ x }).dispose();`,
      ],
      { cwd: import.meta.dirname, timeout: 30_000 },
    );
    expect(signal).toBe('SIGINT');
  });
});
