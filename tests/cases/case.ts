import type { Kernels } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import * as references from '@freelunch/kernels/reference';
import type { Array64, Format, QuantizedArray } from '@freelunch/kernels/reference';
import { random, type Random } from '@freelunch/random';
import { QuantizedTensor, type Tensor, Tensor as TensorClass } from '@freelunch/kernels';

/** A tensor outside WASM memory. */
export interface HostTensor {
  shape: readonly number[];
  data: Float32Array | Int32Array;
}

/** An argument of a public function: a tensor or an option. */
export type HostArgs = Record<
  string,
  HostTensor | QuantizedArray | number | boolean | string | readonly number[] | object | undefined
>;

export type Size = Record<string, number | boolean | string>;

/** One op at several sizes; tests and benchmarks use the same. */
export interface Case {
  /** The public function and its reference. */
  op: string;
  /** Title, where one op has several cases. */
  title?: string;
  sizes: Size[];
  inputs(size: Size, rng: Random): HostArgs;
  /** Largest error of outputs, as a share of the largest value wanted in the tensor. */
  tolerance: number;
  /** Inputs that the function changes in place: compared as outputs. */
  updates?: string[];
  /** Whether the op has no backward for these inputs, though it has one. */
  forwardOnly?: true;
  /** Absent: the op has no backward, or another case checks it. */
  backward?: {
    tolerance: number;
    /** Inputs with a gradient. Those absent at a size are passed over. */
    inputs: string[];
    /** Outputs with an upstream gradient. */
    outputs: string[];
  };
}

export const isTensor = (value: unknown): value is HostTensor =>
  typeof value === 'object' && value !== null && 'shape' in value && 'data' in value;

export const isQuantizedArray = (value: unknown): value is QuantizedArray =>
  typeof value === 'object' && value !== null && 'bytes' in value;

/** Arguments of a public function, in its memory. */
export function give(k: Kernels, args: HostArgs): Record<string, unknown> {
  const given = (value: HostArgs[string]) => {
    if (isTensor(value)) return k.tensor(value.data, value.shape);
    return isQuantizedArray(value) ? k.quantizedTensor(value.bytes, value.shape, value.dtype) : value;
  };
  return Object.fromEntries(Object.entries(args).map(([name, value]) => [name, given(value)]));
}

/** A tensor of values made one by one. */
export function fill(shape: readonly number[], value: (index: number) => number): HostTensor {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  for (let i = 0; i < data.length; i++) data[i] = value(i);
  return { shape, data };
}

/** Normally distributed values. */
export const normal = (rng: Random, shape: readonly number[], scale = 1): HostTensor =>
  fill(shape, () => scale * rng.normal());

/** Values spread evenly over [low, high). */
export const uniform = (rng: Random, shape: readonly number[], low: number, high: number): HostTensor =>
  fill(shape, () => low + (high - low) * rng.float());

/** Whole numbers in [0, end). */
export function integers(rng: Random, shape: readonly number[], end: number): HostTensor {
  const data = new Int32Array(shape.reduce((a, b) => a * b, 1));
  for (let i = 0; i < data.length; i++) data[i] = rng.integer(end);
  return { shape, data };
}

/** Normally distributed weights, quantised. */
export function quantized(rng: Random, shape: readonly number[], dtype: Format, scale = 1): QuantizedArray {
  const { data } = normal(rng, shape, scale);
  return references.quantizeToBytes({ shape, data: Float64Array.from(data) }, dtype);
}

/** The name of an input's gradient: du, dA, ddelta, dDeltaBias. */
export function gradientName(name: string): string {
  return /[A-Z]/.test(name.slice(1)) ? `d${name[0].toUpperCase()}${name.slice(1)}` : `d${name}`;
}

export const titleOf = (c: Case): string => c.title ?? c.op;
export const argsOf = (c: Case, size: Size): HostArgs =>
  c.inputs(size, random(0).split(titleOf(c)).split(JSON.stringify(size)));

type AnyFunction = (args: Record<string, unknown>) => unknown;

/** Calls a public function with host arguments. @returns its outputs by name (`y` if there is one), copied out */
export function run(
  k: Kernels,
  op: string,
  args: HostArgs,
  updates: string[] = [],
): Record<string, HostTensor> {
  return k.scope(() => {
    const given = give(k, args);
    const fn = (k as unknown as Record<string, AnyFunction | undefined>)[op];
    if (fn === undefined) throw new Error(`no kernel ${op}`);
    const result = fn(given);
    if (internalsOf(k).allocator.guard) k.checkGuards();
    for (const [name, value] of Object.entries(args)) {
      if (isQuantizedArray(value) && !sameBytes((given[name] as QuantizedTensor).toBytes(), value.bytes))
        throw new Error(`${op}: ${name} was changed`);
      if (!isTensor(value) || updates.includes(name)) continue;
      const { data } = given[name] as Tensor;
      const at = data.findIndex((element, i) => !Object.is(element, value.data[i]));
      if (at !== -1)
        throw new Error(`${op}: ${name}[${at}] was changed from ${value.data[at]} to ${data[at]}`);
    }
    const outputs: Record<string, HostTensor> = {};
    const one = result instanceof QuantizedTensor ? k.dequantize({ x: result }) : result;
    const entries =
      one instanceof TensorClass ? { y: one } : ((one ?? {}) as Record<string, Tensor | undefined>);
    for (const [name, tensor] of Object.entries(entries)) {
      if (tensor !== undefined) outputs[name] = { shape: tensor.shape, data: tensor.toArray() };
    }
    for (const name of updates) {
      const tensor = given[name] as Tensor;
      outputs[name] = { shape: tensor.shape, data: tensor.toArray() };
    }
    return outputs;
  });
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

/** The same through the reference, in double precision. `changed` replaces tensors by their double form. */
export function runReference(
  op: string,
  args: HostArgs,
  changed: Record<string, Array64> = {},
): Record<string, Array64> {
  const given: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(args)) {
    given[name] = isTensor(value) ? { shape: value.shape, data: Float64Array.from(value.data) } : value;
  }
  const fn = (references as unknown as Record<string, AnyFunction | undefined>)[op];
  if (fn === undefined) throw new Error(`no reference for ${op}`);
  const result = fn({ ...given, ...changed });
  return ArrayBuffer.isView((result as Array64).data)
    ? { y: result as Array64 }
    : (result as Record<string, Array64>);
}

/** Random upstream gradients for the outputs of a case. */
export function upstream(c: Case, size: Size, outputs: Record<string, Array64>): Record<string, HostTensor> {
  const rng = random(1).split(titleOf(c)).split(JSON.stringify(size));
  const gradients: Record<string, HostTensor> = {};
  for (const name of c.backward!.outputs) {
    if (outputs[name] === undefined) throw new Error(`${titleOf(c)}: the reference gives no ${name}`);
    gradients[gradientName(name)] = normal(rng, outputs[name].shape);
  }
  return gradients;
}
