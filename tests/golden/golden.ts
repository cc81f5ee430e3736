import type { Kernels, Tensor } from '@freelunch/kernels';
import type { HostTensor } from '../cases/case.ts';

/** One golden case as packed by pack.mjs: names `in.X`, `out.X`, `up.X`, `grad.X`. */
export interface GoldenCase {
  name: string;
  op: string;
  // Scalars and flags differ by op; each runner reads those of its own.
  config: Record<string, number & string & boolean & number[]>;
  tolerance: Record<string, number>;
  tensors: Record<string, { shape: number[]; data: Float32Array | Int32Array | Float64Array }>;
  /** Of cases of whole models: config.json and model.safetensors. */
  checkpoint?: {
    config: string;
    /** The same as release 5 of Transformers writes it. */
    configOfRelease5?: string;
    weightBytes: number;
    weights: Uint8Array<ArrayBuffer>;
  };
  /** Elements [from, to) of a tensor that are rounding noise alone. */
  skipRanges?: Record<string, [number, number]>;
}

/** Computes all `out.X` and `grad.X` of a case, in the layout of the golden file. */
export type GoldenRunner = (k: Kernels, golden: GoldenCase) => Record<string, ArrayLike<number>>;

const widths = { F32: 4, I32: 4, F64: 8 };

async function readBytes(op: string, folder: string): Promise<Uint8Array<ArrayBuffer>> {
  if (typeof window !== 'undefined')
    return new Uint8Array(await (await fetch(`/${folder}/data/${op}.bin`)).arrayBuffer());
  const { readFile } = await import('node:fs/promises');
  return Uint8Array.from(await readFile(new URL(`../${folder}/data/${op}.bin`, import.meta.url)));
}

/** All golden cases in a file: of an op, or of a model. */
export async function readGolden(op: string, folder = 'golden'): Promise<GoldenCase[]> {
  const unzipped = new Blob([await readBytes(op, folder)])
    .stream()
    .pipeThrough(new DecompressionStream('gzip'));
  const bytes = new Uint8Array(await new Response(unzipped).arrayBuffer());
  const headerBytes = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + headerBytes)));
  let offset = 4 + headerBytes;
  const takeBytes = (length: number, width: number) => {
    const count = length / width;
    const plain = new Uint8Array(length);
    for (let b = 0; b < width; b++)
      for (let i = 0; i < count; i++) plain[i * width + b] = bytes[offset + b * count + i];
    offset += length;
    return plain;
  };
  for (const golden of header) {
    for (const tensor of Object.values(golden.tensors) as {
      dtype: keyof typeof widths;
      shape: number[];
      data: unknown;
    }[]) {
      const count = tensor.shape.reduce((a, b) => a * b, 1);
      const plain = takeBytes(count * widths[tensor.dtype], widths[tensor.dtype]);
      const ArrayType = { F32: Float32Array, I32: Int32Array, F64: Float64Array }[tensor.dtype];
      tensor.data = new ArrayType(plain.buffer);
    }
    const { checkpoint } = golden;
    if (checkpoint !== undefined) checkpoint.weights = takeBytes(checkpoint.weightBytes, 4);
  }
  return header;
}

/** A golden tensor, if the case has it, as a tensor in WASM memory, its axes in another order: `axes[i]` is the golden axis that becomes axis i. */
export function give(
  k: Kernels,
  golden: GoldenCase,
  name: string,
  axes?: number[],
): Tensor<'float32'> | undefined {
  const tensor = golden.tensors[name];
  if (tensor === undefined) return undefined;
  const { shape, data } = axes === undefined ? tensor : permute(tensor, axes);
  return k.tensor(Float32Array.from(data), shape);
}

/** Integers of a case as an int32 tensor. */
export function giveIntegers(k: Kernels, golden: GoldenCase, name: string): Tensor<'int32'> {
  const { shape, data } = golden.tensors[name];
  return k.tensor(Int32Array.from(data), shape, 'int32');
}

/** Copies a result out, its axes in another order. */
export function take(tensor: Tensor, axes?: number[]): Float32Array | Int32Array {
  const host: HostTensor = { shape: tensor.shape, data: tensor.toArray() };
  return (axes === undefined ? host : permute(host, axes)).data as Float32Array;
}

/** The same elements with axis `axes[i]` as axis i. */
export function permute<
  T extends { shape: readonly number[]; data: Float32Array | Int32Array | Float64Array },
>(tensor: T, axes: number[]) {
  const { shape, data } = tensor;
  const outShape = axes.map((axis) => shape[axis]);
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const out = data.slice();
  const index = Array.from({ length: axes.length }, () => 0);
  for (let i = 0; i < out.length; i++) {
    out[i] = data[axes.reduce((sum, axis, position) => sum + strides[axis] * index[position], 0)];
    for (let a = axes.length - 1; a >= 0 && ++index[a] === outShape[a]; a--) index[a] = 0;
  }
  return { shape: outShape, data: out };
}
