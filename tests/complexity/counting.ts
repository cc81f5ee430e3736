import { readFileSync } from 'node:fs';
import { loadKernels, type Kernels, type Tensor } from '@freelunch/kernels';

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
    this.#counters = k.wasm as unknown as Record<string, WebAssembly.Global>;
  }

  static async load(): Promise<CountingKernels> {
    return new CountingKernels(await loadKernels({ variant: 'simd', source: readFileSync(binary) }));
  }

  /** What the kernels execute while `run` runs. */
  count(run: () => unknown): Counts {
    const read = () => names.map((name) => this.#counters[name].value as bigint);
    const before = read();
    this.k.scope(() => void run());
    const after = read();
    return Object.fromEntries(
      names.map((name, i) => [name, Number(after[i] - before[i])]),
    ) as unknown as Counts;
  }

  /**
   * Bytes that `run` loads from `inputs` and stores to what it returns, each word once.
   *
   * @param inputs tensors that exist already; what is returned is made by `run`
   */
  traffic(inputs: readonly Tensor[], run: () => readonly Tensor[]): { read: number; written: number } {
    const { k } = this;
    const words = 2 ** 20;
    const shadow = k.zeros([words / 4], 'int32');
    const [start, limit] = [this.#counters.shadow, this.#counters.shadowWords];
    start.value = shadow.pointer;
    limit.value = words;
    let outputs: readonly Tensor[] = [];
    try {
      outputs = run();
      const marks = new Uint8Array(k.allocator.memory.buffer, shadow.pointer, words);
      const marked = (tensors: readonly Tensor[], bit: number) => {
        let bytes = 0;
        for (const { pointer, size } of tensors) {
          if (pointer / 4 + size > words) throw new RangeError('traffic: tensors must lie within the shadow');
          for (let word = pointer / 4; word < pointer / 4 + size; word++) if (marks[word] & bit) bytes += 4;
        }
        return bytes;
      };
      return { read: marked(inputs, 1), written: marked(outputs, 2) };
    } finally {
      limit.value = 0;
      for (const tensor of outputs) if (!tensor.disposed) tensor.dispose();
      shadow.dispose();
    }
  }
}
