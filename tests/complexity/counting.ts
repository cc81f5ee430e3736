import { readFileSync } from 'node:fs';
import { type Kernels, loadKernels, Tensor } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';

export interface Counts {
  flops: number;
  macs: number;
  transcendentals: number;
  /** What instructions move, again and again. */
  bytesLoaded: number;
  bytesStored: number;
}

const names = ['flops', 'macs', 'transcendentals', 'bytesLoaded', 'bytesStored'] as const;
const binary = new URL('../../assembly/build/counting.wasm', import.meta.url);

/** The kernels of the counting build: see assembly/counting. */
export class CountingKernels {
  readonly k: Kernels;
  readonly #counters: Record<string, WebAssembly.Global>;

  private constructor(k: Kernels) {
    this.k = k;
    this.#counters = internalsOf(k).wasm as unknown as Record<string, WebAssembly.Global>;
  }

  static async load(): Promise<CountingKernels> {
    return new CountingKernels(await loadKernels({ variant: 'simd', source: readFileSync(binary) }));
  }

  /**
   * What the kernels execute while `run` runs.
   *
   * @param scoped whether all tensors that it makes are freed; true if absent
   */
  count(run: () => unknown, { scoped = true }: { scoped?: boolean } = {}): Counts {
    const read = () => names.map((name) => this.#counters[name].value as bigint);
    const before = read();
    if (scoped) this.k.scope(() => void run());
    else run();
    const after = read();
    return Object.fromEntries(
      names.map((name, i) => [name, Number(after[i] - before[i])]),
    ) as unknown as Counts;
  }

  /**
   * Bytes that `run` loads from `inputs`, and stores to what it returns and to `updated`, each word once.
   *
   * @param inputs   tensors that exist already
   * @param updated  those of them that `run` changes
   */
  traffic(
    inputs: readonly Tensor[],
    updated: readonly Tensor[],
    run: () => unknown,
  ): { read: number; written: number } {
    const { k } = this;
    return k.scope(() => {
      const words = 12 * 2 ** 20; // 48 MiB
      const shadow = k.zeros([words / 4], 'int32');
      this.#counters.shadow.value = shadow.pointer;
      this.#counters.shadowWords.value = words;
      const result = run();
      this.#counters.shadowWords.value = 0;
      const outputs = result instanceof Tensor ? [result] : Object.values(result ?? {});
      const marks = new Uint8Array(internalsOf(k).allocator.memory.buffer, shadow.pointer, words);
      const marked = (tensors: readonly unknown[], bit: number) => {
        let bytes = 0;
        for (const tensor of tensors) {
          if (!(tensor instanceof Tensor)) continue;
          const first = tensor.pointer / 4;
          if (first + tensor.size > words)
            throw new RangeError('traffic: tensors must lie within the shadow');
          for (let word = first; word < first + tensor.size; word++) if (marks[word] & bit) bytes += 4;
        }
        return bytes;
      };
      return { read: marked(inputs, 1), written: marked([...outputs, ...updated], 2) };
    });
  }
}
