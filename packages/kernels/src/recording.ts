import type { Allocator } from './memory.js';
import type { DType, Tensor } from './tensor.js';
import type { WasmExports } from './wasm-exports.js';

type Again = () => void;

/** What is recorded from. */
interface Source {
  readonly wasm: WasmExports;
  readonly allocator: Allocator;
  empty(shape: readonly number[], dtype: DType): Tensor;
}

/**
 * Calls of kernels that were noted once, to be made again over the same memory: nothing is checked, allocated or bound
 * any more. Made by `Context.record`, which says what it takes.
 */
export class Recording {
  readonly #context: Source;
  #calls: Again[] = [];
  /** What the calls work on, in between. */
  buffers: readonly Tensor[] = [];

  constructor(context: Source) {
    this.#context = context;
  }

  /** @internal */
  note(call: Again): void {
    this.#calls.push(call);
  }

  /**
   * Runs `fn`, which computes something from `source` alone. Replaying runs it again only if a bit of `source` has
   * changed since, however that came about: the elements are compared with a copy, which reads them as fast as memory
   * gives them.
   * @internal
   */
  derived<T>(source: Tensor, fn: () => T): T {
    const { wasm, allocator } = this.#context;
    return allocator.withoutReuse(() => {
      const copy = this.#context.empty(source.shape, source.dtype);
      const outer = this.#calls;
      const inner: Again[] = (this.#calls = []);
      try {
        const [target, from, size] = [copy.pointer, source.pointer, source.size];
        wasm.refresh(target, from, size);
        const result = fn();
        outer.push(() => {
          if (wasm.refresh(target, from, size)) for (const call of inner) call();
        });
        return result;
      } finally {
        this.#calls = outer;
      }
    });
  }

  /** Computes anew, from what the memory holds now. The caller sees to it that all tensors involved still live. */
  replay(): void {
    for (const call of this.#calls) call();
  }

  dispose(): void {
    for (const tensor of this.buffers) tensor.dispose();
  }
}
