import type { Allocator } from './memory.js';
import type { DType, Tensor } from './tensor.js';
import type { WasmExports } from './wasm-exports.js';

type Again = () => void;

/** What is recorded from. */
interface Source {
  readonly wasm: WasmExports;
  readonly allocator: Allocator;
  empty<D extends DType>(shape: readonly number[], dtype: D): Tensor<D>;
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
   * Runs `fn`, which computes one tensor from `source` alone. Replaying runs it again only if a bit of `source` has
   * changed since, however that came about: the elements are compared with a copy, which reads them as fast as memory
   * gives them.
   * @internal
   */
  derived(source: Tensor, fn: () => Tensor<'float32'>): Tensor<'float32'> {
    const { wasm, allocator } = this.#context;
    const outer = this.#calls;
    const inner: Again[] = (this.#calls = []);
    try {
      const made = fn();
      // Both hold from one replay to the next: nothing else may use their memory.
      const emptyLike = ({ shape }: Tensor) =>
        allocator.withoutReuse(() => this.#context.empty(shape, 'float32'));
      const [seen, result] = [emptyLike(source), emptyLike(made)];
      const [seenAt, sourceAt, sourceSize] = [seen.pointer, source.pointer, source.size];
      const [resultAt, madeAt, size] = [result.pointer, made.pointer, made.size];
      const keep = () => void wasm.refresh(resultAt, madeAt, size);
      made.dispose();
      wasm.refresh(seenAt, sourceAt, sourceSize);
      keep();
      outer.push(() => {
        if (!wasm.refresh(seenAt, sourceAt, sourceSize)) return;
        for (const call of inner) call();
        keep();
      });
      return result;
    } finally {
      this.#calls = outer;
    }
  }

  /** Computes anew, from what the memory holds now. The caller sees to it that all tensors involved still live. */
  replay(): void {
    for (const call of this.#calls) call();
  }

  dispose(): void {
    for (const tensor of this.buffers) tensor.dispose();
  }
}
