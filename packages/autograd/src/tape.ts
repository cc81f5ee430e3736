import {
  ArgumentError,
  FreelunchError,
  type Kernels,
  QuantizedTensor,
  ShapeError,
  Tensor,
  UnsupportedError,
} from '@freelunch/kernels';
import { show } from '@freelunch/errors';
import { type ArgsOf, type Differentiable, type ResultOf, type Rule, rules } from './rules.js';

/** One recorded call: what went in, what came out, and how gradients flow back. */
interface Entry {
  inputs: readonly Tensor[];
  outputs: readonly Tensor[];
  /**
   * @param upstream a gradient for each output, or undefined for zero
   * @returns one for each input, or undefined; they may share memory with each other and with `upstream`
   */
  vjp(upstream: readonly (Tensor | undefined)[]): readonly (Tensor | undefined)[];
}

type FloatTensor = Tensor<'float32'>;
type AnyFunction = (args: Record<string, unknown>) => unknown;

/** Every differentiable kernel, called as on the kernels themselves, and recorded. */
export type TapeOps = { [Op in Differentiable]: (args: ArgsOf<Op>) => ResultOf<Op> };

/** The name of an argument's gradient in the results of a backward kernel: `du`, `dDeltaBias`. */
export function gradientName(name: string): string {
  return /[A-Z]/.test(name.slice(1)) ? `d${name[0].toUpperCase()}${name.slice(1)}` : `d${name}`;
}

/**
 * A copy of a call's arguments, each read once: the backward pass uses what the forward pass did, whatever the caller
 * does with the object or its lists in between. What is no object goes on to the kernel, which refuses it.
 */
function takeArguments<Args extends object>(args: Args): Args {
  if (typeof args !== 'object' || args === null || Array.isArray(args)) return args;
  const taken = { ...args } as Record<string, unknown>;
  for (const [name, value] of Object.entries(taken)) {
    if (Array.isArray(value)) taken[name] = value.slice();
    else if (typeof value === 'object' && value !== null && !isTensor(value)) taken[name] = { ...value };
  }
  return taken as Args;
}

const isTensor = (value: unknown): boolean => value instanceof Tensor || value instanceof QuantizedTensor;

/** @throws ArgumentError unless they are tensors */
function takeTensors(where: string, name: string, tensors: Iterable<Tensor>): Set<Tensor> {
  if (typeof (tensors as Partial<Iterable<Tensor>> | null)?.[Symbol.iterator] !== 'function')
    throw new ArgumentError(`${where}: ${name} must be tensors, got ${show(tensors)}`);
  const taken = new Set<Tensor>();
  for (const tensor of tensors) {
    if (!(tensor instanceof Tensor))
      throw new ArgumentError(`${where}: ${name} must be tensors, got ${show(tensor)} among them`);
    taken.add(tensor);
  }
  return taken;
}

class TapeCore {
  readonly k: Kernels;
  readonly #entries: Entry[] = [];
  /** Tensors whose gradient somebody wants, and all that was computed from them. */
  readonly #tracked: Set<Tensor>;
  readonly #watched: Set<Tensor>;
  #recording: boolean;

  constructor(k: Kernels, watched: Iterable<Tensor> = []) {
    if (typeof (k as Partial<Kernels> | null)?.scope !== 'function')
      throw new ArgumentError(`createTape: k must be kernels, got ${show(k)}`);
    this.k = k;
    this.#watched = takeTensors('createTape', 'watched', watched);
    this.#tracked = new Set(this.#watched);
    this.#recording = this.#tracked.size > 0;
    for (const op of Object.keys(rules) as Differentiable[]) {
      if (op === 'add') continue;
      (this as unknown as Record<string, unknown>)[op] = (args: never) => this.#call(op, args);
    }
  }

  /** False inside `noGrad`, and on a tape that watches nothing. */
  get recording(): boolean {
    return this.#recording;
  }

  /** Number of calls recorded so far. */
  get length(): number {
    return this.#entries.length;
  }

  /** Wants gradients of these tensors too, in what is computed from now on. */
  watch(tensors: Iterable<Tensor>): void {
    for (const tensor of takeTensors('watch', 'tensors', tensors)) {
      this.#watched.add(tensor);
      this.#tracked.add(tensor);
    }
    this.#recording = true;
  }

  /** Runs `fn` without recording: what it computes is a constant. */
  noGrad<T>(fn: () => T): T {
    if (typeof fn !== 'function') throw new ArgumentError(`noGrad: fn must be a function, got ${show(fn)}`);
    const before = this.#recording;
    this.#recording = false;
    try {
      return fn();
    } finally {
      this.#recording = before;
    }
  }

  /** `a + b`, of one shape. Both gradients are the upstream one: it is shared, where `k.addBackward` copies it. */
  add(args: ArgsOf<'add'>): FloatTensor {
    const taken = takeArguments(args);
    const y = this.k.add(taken);
    const { a, b } = taken;
    this.#record([a, b], [y], ([dy]) => [dy?.reshape(a.shape), dy?.reshape(b.shape)]);
    return y;
  }

  /** The same elements under another shape; the gradient goes back under the old one. */
  reshape(x: FloatTensor, shape: readonly number[]): FloatTensor {
    if (!(x instanceof Tensor)) throw new ArgumentError(`reshape: x must be a tensor, got ${show(x)}`);
    const y = x.reshape(shape);
    this.#record([x], [y], ([dy]) => [dy?.reshape(x.shape)]);
    return y;
  }

  /** Cuts the last axis into parts. @returns tensors of widths `sizes`, which add up to the width of `x` */
  split(args: { x: FloatTensor; sizes: readonly number[] }): FloatTensor[] {
    const taken = takeArguments(args);
    const parts = this.k.split(taken);
    this.#record([taken.x], parts, (upstream) =>
      this.k.scope(() => [
        this.k.concat({
          parts: parts.map((part, i) => (upstream[i] as FloatTensor) ?? this.k.zeros(part.shape)),
        }),
      ]),
    );
    return parts;
  }

  /** Puts tensors side by side along the last axis. */
  concat(args: { parts: readonly FloatTensor[] }): FloatTensor {
    const taken = takeArguments(args);
    const y = this.k.concat(taken);
    const { parts } = taken;
    const sizes = parts.map((part) => part.shape.at(-1)!);
    this.#record(parts, [y], ([dy]) => this.k.split({ x: dy as FloatTensor, sizes }));
    return y;
  }

  /**
   * Runs `fn` without keeping what it computes on the way; the backward pass runs it again. Trades one more forward
   * for memory that holds one block's activations at a time.
   *
   * @param fn      computes one tensor from `inputs` alone, and the same when run again
   * @param inputs  every tensor that it takes and that may have a gradient
   */
  checkpoint(fn: (tape: Tape) => FloatTensor, inputs: readonly FloatTensor[]): FloatTensor {
    const { k } = this;
    const taken = [...takeTensors('checkpoint', 'inputs', inputs)];
    const y = k.scope(() => {
      const result: unknown = typeof fn === 'function' ? fn(createTape(k)) : fn;
      if (!(result instanceof Tensor))
        throw new ArgumentError(`checkpoint: fn must return one tensor, got ${show(result)}`);
      return result as FloatTensor;
    });
    this.#record(taken, [y], ([dy]) =>
      k.scope(() => {
        const tape = createTape(k, taken);
        const gradients = tape.backward(fn(tape), dy);
        return taken.map((tensor) => gradients.get(tensor));
      }),
    );
    return y;
  }

  /**
   * Gradients of a scalar, or of the sum of `upstream * output`, by going back over the tape.
   *
   * @param output    what to differentiate; a single element if `upstream` is absent
   * @param upstream  shaped like `output`
   * @returns the gradient of each watched tensor that `output` depends on; the caller disposes of them
   * @throws ShapeError, FreelunchError if `output` was not computed on this tape from a watched tensor
   */
  backward(output: Tensor, upstream?: Tensor): Map<Tensor, FloatTensor> {
    const { k } = this;
    if (!this.#tracked.has(output))
      throw new FreelunchError('backward: output must be computed on this tape from a watched tensor');
    if (upstream === undefined && output.size !== 1) {
      throw new ShapeError(
        `backward: output must have one element where upstream is absent, got [${output.shape.join(', ')}]`,
      );
    }
    if (upstream !== undefined && !(upstream instanceof Tensor))
      throw new ArgumentError(`backward: upstream must be a tensor, got ${show(upstream)}`);
    if (upstream !== undefined && upstream.shape.join() !== output.shape.join()) {
      throw new ShapeError(
        `backward: upstream must be shaped like output, [${output.shape.join(', ')}], got [${upstream.shape.join(', ')}]`,
      );
    }
    return k.scope(() => {
      const gradients = new Map<Tensor, FloatTensor>();
      const seed = k.empty(output.shape);
      if (upstream === undefined) seed.data.fill(1);
      else seed.set(upstream.data);
      gradients.set(output, seed);
      for (let i = this.#entries.length - 1; i >= 0; i--) {
        const { inputs, outputs, vjp } = this.#entries[i];
        if (!outputs.some((tensor) => gradients.has(tensor))) continue;
        const found = vjp(outputs.map((tensor) => gradients.get(tensor)));
        inputs.forEach((tensor, position) => {
          const gradient = found[position] as FloatTensor | undefined;
          if (gradient === undefined) return;
          const before = gradients.get(tensor);
          if (!this.#tracked.has(tensor)) {
            gradient.dispose();
          } else if (before === undefined) {
            gradients.set(tensor, gradient);
          } else if (before.shared) {
            gradients.set(tensor, k.add({ a: before, b: gradient }));
            before.dispose();
            gradient.dispose();
          } else {
            k.accumulate({ target: before, source: gradient });
            gradient.dispose();
          }
        });
        // Nothing before this call can use its outputs' gradients.
        for (const tensor of outputs) {
          if (this.#watched.has(tensor)) continue;
          gradients.get(tensor)?.dispose();
          gradients.delete(tensor);
        }
      }
      // What the caller gets is theirs alone, to be changed in place.
      for (const [tensor, gradient] of gradients) {
        if (!gradient.shared) continue;
        gradients.set(tensor, k.tensor(gradient.toArray(), gradient.shape));
        gradient.dispose();
      }
      return gradients;
    });
  }

  #record(inputs: readonly Tensor[], outputs: readonly Tensor[], vjp: Entry['vjp']): void {
    if (!this.#recording || !inputs.some((tensor) => this.#tracked.has(tensor))) return;
    for (const tensor of outputs) this.#tracked.add(tensor);
    this.#entries.push({ inputs, outputs, vjp });
  }

  #call<Op extends Differentiable>(op: Op, given: Record<string, unknown>): unknown {
    const args = takeArguments(given);
    for (const name in args) {
      if (!(args[name] instanceof QuantizedTensor)) continue;
      throw new UnsupportedError(
        `${op}: a tape takes no quantised tensor, got ${String(args[name])} as ${name}: there are no gradients through it. Call the kernels without a tape, or train with k.dequantize({ x })`,
      );
    }
    const kernels = this.k as unknown as Record<string, AnyFunction>;
    const rule = rules[op] as unknown as Rule<Differentiable>;
    const result = kernels[op](args);
    const results = (result instanceof Tensor ? { y: result } : result) as Record<string, Tensor>;
    const inputNames = rule.inputs.filter((name) => args[name] !== undefined);
    const outputNames = rule.outputs.filter((name) => results[name] !== undefined);
    this.#record(
      inputNames.map((name) => args[name] as Tensor),
      outputNames.map((name) => results[name]),
      (upstream) => {
        const all: Record<string, unknown> = { ...args };
        for (const name of rule.saved ?? []) all[name] = results[name];
        outputNames.forEach((name, i) => (all[gradientName(name)] = upstream[i]));
        const gradients = kernels[`${op}Backward`](all) as Record<string, Tensor | undefined>;
        return inputNames.map((name) => gradients[gradientName(name)]);
      },
    );
    return result;
  }
}

/**
 * A tape: records what is computed from the tensors that it watches, and goes back over it for their gradients.
 *
 *   const tape = createTape(k, [weight]);
 *   const { loss } = tape.crossEntropy({ logits: tape.matmul({ a: x, b: weight }), targets });
 *   const gradients = tape.backward(loss);
 *   gradients.get(weight);
 */
export type Tape = TapeCore & TapeOps;

/** A tape that wants the gradients of `watched`; without any it records nothing. */
export function createTape(k: Kernels, watched: Iterable<Tensor> = []): Tape {
  return new TapeCore(k, watched) as unknown as Tape;
}
