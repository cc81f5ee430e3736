import { ArgumentError, ShapeError, UnsupportedError } from './errors.js';
import type { Allocator } from './memory.js';
import { checkElements, type DType, dtypeOf, elementCount, Tensor, type TensorData } from './tensor.js';

/** Which binary computes: `simd` gives the same bits everywhere, `relaxed-simd` is faster where it runs. */
export type Variant = 'simd' | 'relaxed-simd';

/** The kernels as compiled: functions on addresses and sizes, which check nothing. */
export type WasmExports = Record<string, (...args: number[]) => number>;

/** What every public function works with: the compiled kernels, and tensors in their memory. */
export class Context {
  readonly variant: Variant;
  /** @internal */
  readonly wasm: WasmExports;
  /** @internal */
  readonly allocator: Allocator;
  readonly #scopes: Set<Tensor>[] = [];
  readonly #live = new Set<Tensor>();
  readonly #hooks = {
    onCreate: (tensor: Tensor) => {
      this.#live.add(tensor);
      this.#scopes.at(-1)?.add(tensor);
    },
    onDispose: (tensor: Tensor) => {
      this.#live.delete(tensor);
      for (const scope of this.#scopes) scope.delete(tensor);
    },
  };

  constructor(wasm: WasmExports, allocator: Allocator, variant: Variant) {
    this.wasm = wasm;
    this.allocator = allocator;
    this.variant = variant;
  }

  /**
   * What the memory holds: bytes of the whole WASM memory, bytes in live blocks now and at most since
   * `allocator.resetPeak()`, number of live tensors.
   */
  get memory(): { totalBytes: number; usedBytes: number; peakBytes: number; tensors: number } {
    const { usedBytes, peakBytes, memory } = this.allocator;
    return { totalBytes: memory.buffer.byteLength, usedBytes, peakBytes, tensors: this.#live.size };
  }

  /**
   * A tensor with the given elements, row-major.
   *
   * @param data   as many numbers as the shape has elements; integers for `int32`
   * @param shape  sizes from 1 up; `[data.length]` if absent
   * @param dtype  `int32` for integer arrays, else `float32`, if absent
   * @throws ShapeError, DTypeError, OutOfMemoryError
   */
  tensor<D extends DType>(data: TensorData, shape: readonly number[] | undefined, dtype: D): Tensor<D>;
  tensor(data: Int32Array | Uint8Array, shape?: readonly number[]): Tensor<'int32'>;
  tensor(data: Float32Array | Float64Array | readonly number[], shape?: readonly number[]): Tensor<'float32'>;
  tensor(data: TensorData, shape?: readonly number[]): Tensor;
  tensor(data: TensorData, shape?: readonly number[], dtype?: DType): Tensor {
    const type = dtype ?? dtypeOf('tensor', data);
    checkDType('tensor', type);
    const sizes = shape ?? [data.length];
    if (elementCount('tensor', sizes) !== data.length) {
      throw new ShapeError(
        `tensor: data must have ${elementCount('tensor', sizes)} elements for shape [${sizes.join(', ')}], got ${data.length}`,
      );
    }
    checkElements('tensor', data, type);
    const tensor = this.empty(sizes, type);
    tensor.data.set(data);
    return tensor;
  }

  /** A tensor of zeros. @throws ShapeError, OutOfMemoryError */
  zeros<D extends DType = 'float32'>(shape: readonly number[], dtype: D = 'float32' as D): Tensor<D> {
    const tensor = this.empty(shape, dtype);
    tensor.data.fill(0);
    return tensor;
  }

  /** A tensor whose elements are whatever the memory held: for outputs that are written whole. */
  empty<D extends DType = 'float32'>(shape: readonly number[], dtype: D = 'float32' as D): Tensor<D> {
    checkDType('empty', dtype);
    const bytes = elementCount('empty', shape) * 4;
    return new Tensor(
      this.allocator,
      { address: this.allocator.allocate(bytes), users: 0 },
      shape,
      dtype,
      this.#hooks,
    );
  }

  /**
   * Runs `fn` and frees all tensors made in it, but for those that it returns: alone, or in arrays and plain objects.
   * Nested scopes hand what they return to the scope around them. If `fn` throws, all it made is freed.
   * @throws UnsupportedError if `fn` returns a promise: a scope ends when `fn` returns
   */
  scope<T>(fn: () => T): T {
    const made = new Set<Tensor>();
    this.#scopes.push(made);
    let kept = new Set<Tensor>();
    try {
      const result = fn();
      if (typeof (result as { then?: unknown } | undefined)?.then === 'function') {
        throw new UnsupportedError('scope: fn must not be asynchronous, got a promise');
      }
      kept = tensorsIn(result);
      return result;
    } finally {
      this.#scopes.pop();
      for (const tensor of made) {
        if (!kept.has(tensor)) tensor.dispose();
        else if (!tensor.disposed) this.#scopes.at(-1)?.add(tensor);
      }
    }
  }

  /**
   * Working memory for one call of a kernel, freed when `use` returns.
   * @internal
   */
  scratch<T>(bytes: number, use: (address: number) => T): T {
    const address = this.allocator.allocate(bytes);
    try {
      return use(address);
    } finally {
      this.allocator.release(address);
    }
  }
}

function checkDType(where: string, dtype: DType): void {
  if (dtype !== 'float32' && dtype !== 'int32')
    throw new ArgumentError(`${where}: dtype must be 'float32' or 'int32', got '${String(dtype)}'`);
}

/** All tensors within nested arrays, maps and plain objects. */
function tensorsIn(value: unknown, found = new Set<Tensor>(), seen = new Set<object>()): Set<Tensor> {
  if (value instanceof Tensor) found.add(value);
  else if (typeof value === 'object' && value !== null && !seen.has(value)) {
    seen.add(value);
    if (value instanceof Map || value instanceof Set)
      for (const item of value.values()) tensorsIn(item, found, seen);
    else if (!ArrayBuffer.isView(value))
      for (const item of Object.values(value)) tensorsIn(item, found, seen);
  }
  return found;
}
