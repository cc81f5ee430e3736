import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { EXP_NS, MOVE_NS, runElements } from './slices.js';
import type { Tensor } from './tensor.js';
import type { KernelName } from './threads/pool.js';

interface Input {
  x: Tensor;
}
interface InputAndUpstream extends Input {
  dy: Tensor;
}
interface Pair {
  a: Tensor;
  b: Tensor;
}

/** y = f(x), any shape: checks, allocates, calls. */
function forward(
  k: Context,
  name: string,
  kernel: KernelName,
  x: Tensor,
  nsPerElement = EXP_NS,
): Tensor<'float32'> {
  new Check(name, k).rank('x', x);
  const y = k.empty(x.shape);
  runElements(k, kernel, [y.pointer, x.pointer], x.size, nsPerElement);
  return y;
}

/** dx = dy f'(x). */
function backward(
  k: Context,
  name: string,
  kernel: KernelName,
  { x, dy }: InputAndUpstream,
  nsPerElement = EXP_NS,
): { dx: Tensor<'float32'> } {
  const check = new Check(name, k);
  check.rank('x', x);
  check.float32('dy', dy, x.shape);
  const dx = k.empty(x.shape);
  runElements(k, kernel, [dx.pointer, dy.pointer, x.pointer], x.size, nsPerElement);
  return { dx };
}

function checkPair(check: Check, { a, b }: Pair): void {
  check.rank('a', a);
  check.float32('b', b, a.shape);
}

/**
 * `y = a + b`, element by element.
 *
 * @param a  any shape
 * @param b  shaped like `a`
 * @throws ShapeError if the shapes differ
 */
export function add(k: Context, { a, b }: Pair): Tensor<'float32'> {
  checkPair(new Check('add', k), { a, b });
  const y = k.empty(a.shape);
  runElements(k, 'addForward', [y.pointer, a.pointer, b.pointer], a.size, MOVE_NS);
  return y;
}

/** Gradient of {@link add}: two copies of `dy`. */
export function addBackward(
  k: Context,
  { a, b, dy }: Pair & { dy: Tensor },
): { da: Tensor<'float32'>; db: Tensor<'float32'> } {
  const check = new Check('addBackward', k);
  checkPair(check, { a, b });
  check.float32('dy', dy, a.shape);
  const da = k.empty(a.shape);
  const db = k.empty(a.shape);
  da.data.set(dy.data as Float32Array);
  db.data.set(dy.data as Float32Array);
  return { da, db };
}

/**
 * `y = a b`, element by element.
 *
 * @param a  any shape
 * @param b  shaped like `a`
 * @throws ShapeError if the shapes differ
 */
export function multiply(k: Context, { a, b }: Pair): Tensor<'float32'> {
  checkPair(new Check('multiply', k), { a, b });
  const y = k.empty(a.shape);
  runElements(k, 'multiplyForward', [y.pointer, a.pointer, b.pointer], a.size, MOVE_NS);
  return y;
}

/** Gradient of {@link multiply}: `da = dy b`, `db = dy a`. */
export function multiplyBackward(
  k: Context,
  { a, b, dy }: Pair & { dy: Tensor },
): { da: Tensor<'float32'>; db: Tensor<'float32'> } {
  const check = new Check('multiplyBackward', k);
  checkPair(check, { a, b });
  check.float32('dy', dy, a.shape);
  const da = k.empty(a.shape);
  const db = k.empty(a.shape);
  runElements(k, 'multiplyForward', [da.pointer, dy.pointer, b.pointer], a.size, MOVE_NS);
  runElements(k, 'multiplyForward', [db.pointer, dy.pointer, a.pointer], a.size, MOVE_NS);
  return { da, db };
}

/**
 * `y = e^x`, at most 2 ulp off; 0 below the normal range of float32, infinite above it.
 *
 * @param x any shape
 * @returns shaped like `x`
 */
export function exp(k: Context, { x }: Input): Tensor<'float32'> {
  return forward(k, 'exp', 'expForward', x);
}

/** Gradient of {@link exp}: `dx = dy e^x`. */
export function expBackward(k: Context, args: InputAndUpstream): { dx: Tensor<'float32'> } {
  return backward(k, 'expBackward', 'expBackward', args);
}

/** `y = -x`, any shape. */
export function negate(k: Context, { x }: Input): Tensor<'float32'> {
  return forward(k, 'negate', 'negateForward', x, MOVE_NS);
}

/** Gradient of {@link negate}: `dx = -dy`. */
export function negateBackward(k: Context, { x, dy }: InputAndUpstream): { dx: Tensor<'float32'> } {
  const check = new Check('negateBackward', k);
  check.rank('x', x);
  check.float32('dy', dy, x.shape);
  return { dx: forward(k, 'negateBackward', 'negateForward', dy, MOVE_NS) };
}

/**
 * SiLU (swish): `y = x sigmoid(x)`.
 *
 * @param x any shape
 * @returns shaped like `x`
 * @see Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415
 */
export function silu(k: Context, { x }: Input): Tensor<'float32'> {
  return forward(k, 'silu', 'siluForward', x);
}

/**
 * Gradient of {@link silu}.
 *
 * @param x   the input of the forward call
 * @param dy  gradient of its output, shaped like `x`
 * @returns `dx`, shaped like `x`
 * @throws ShapeError if `dy` is not shaped like `x`
 */
export function siluBackward(k: Context, args: InputAndUpstream): { dx: Tensor<'float32'> } {
  return backward(k, 'siluBackward', 'siluBackward', args);
}

/** Options of {@link gelu}. */
export interface GeluOptions {
  /** `'none'` (default): with erf, as BERT. `'tanh'`: the cubic approximation, as GPT-2. They differ by up to 5e-4. */
  approximate?: 'none' | 'tanh';
}

const geluForms = ['none', 'tanh'] as const;

/**
 * GELU: `y = x (1 + erf(x / sqrt(2))) / 2`, or `y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
 *
 * @param x any shape
 * @returns shaped like `x`
 * @throws ArgumentError if `approximate` is neither `'none'` nor `'tanh'`
 * @see Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415
 */
export function gelu(k: Context, { x, approximate = 'none' }: Input & GeluOptions): Tensor<'float32'> {
  new Check('gelu', k).oneOf('approximate', approximate, geluForms);
  return forward(k, 'gelu', approximate === 'none' ? 'geluForward' : 'geluTanhForward', x);
}

/** Gradient of {@link gelu}: arguments as there, and `dy` shaped like `x`. */
export function geluBackward(
  k: Context,
  { x, dy, approximate = 'none' }: InputAndUpstream & GeluOptions,
): { dx: Tensor<'float32'> } {
  new Check('geluBackward', k).oneOf('approximate', approximate, geluForms);
  return backward(k, 'geluBackward', approximate === 'none' ? 'geluBackward' : 'geluTanhBackward', {
    x,
    dy,
  });
}

/** `y = ln(1 + e^x)`, any shape, without overflow. */
export function softplus(k: Context, { x }: Input): Tensor<'float32'> {
  return forward(k, 'softplus', 'softplusForward', x);
}

/** Gradient of {@link softplus}: `dx = dy sigmoid(x)`. */
export function softplusBackward(k: Context, args: InputAndUpstream): { dx: Tensor<'float32'> } {
  return backward(k, 'softplusBackward', 'softplusBackward', args);
}

/** `y = ln(sigmoid(x))`, any shape, without underflow. */
export function logSigmoid(k: Context, { x }: Input): Tensor<'float32'> {
  return forward(k, 'logSigmoid', 'logSigmoidForward', x);
}

/** Gradient of {@link logSigmoid}: `dx = dy sigmoid(-x)`. */
export function logSigmoidBackward(k: Context, args: InputAndUpstream): { dx: Tensor<'float32'> } {
  return backward(k, 'logSigmoidBackward', 'logSigmoidBackward', args);
}

/** `y = 1 / (1 + e^-x)`, any shape. */
export function sigmoid(k: Context, { x }: Input): Tensor<'float32'> {
  return forward(k, 'sigmoid', 'sigmoidForward', x);
}

/** Gradient of {@link sigmoid}: `dx = dy sigmoid(x) (1 - sigmoid(x))`. */
export function sigmoidBackward(k: Context, args: InputAndUpstream): { dx: Tensor<'float32'> } {
  return backward(k, 'sigmoidBackward', 'sigmoidBackward', args);
}

/** `y = tanh(x)`, any shape. */
export function tanh(k: Context, { x }: Input): Tensor<'float32'> {
  return forward(k, 'tanh', 'tanhForward', x);
}

/** Gradient of {@link tanh}: `dx = dy (1 - tanh(x)^2)`. */
export function tanhBackward(k: Context, args: InputAndUpstream): { dx: Tensor<'float32'> } {
  return backward(k, 'tanhBackward', 'tanhBackward', args);
}

/** `y = max(x, 0)`, any shape. */
export function relu(k: Context, { x }: Input): Tensor<'float32'> {
  return forward(k, 'relu', 'reluForward', x, MOVE_NS);
}

/** Gradient of {@link relu}: `dx = dy` where `x > 0`, else 0. */
export function reluBackward(k: Context, args: InputAndUpstream): { dx: Tensor<'float32'> } {
  return backward(k, 'reluBackward', 'reluBackward', args, MOVE_NS);
}

/**
 * `y = max(x, 0)^2`, any shape.
 *
 * @see So et al. 2021, https://arxiv.org/abs/2109.08668
 */
export function relu2(k: Context, { x }: Input): Tensor<'float32'> {
  return forward(k, 'relu2', 'relu2Forward', x, MOVE_NS);
}

/** Gradient of {@link relu2}: `dx = 2 dy max(x, 0)`. */
export function relu2Backward(k: Context, args: InputAndUpstream): { dx: Tensor<'float32'> } {
  return backward(k, 'relu2Backward', 'relu2Backward', args, MOVE_NS);
}

/**
 * `y = elu(x) + 1`, any shape: `x + 1` above 0, `e^x` below; a positive feature map of linear attention.
 *
 * @see Katharopoulos et al. 2020, eq. 7, https://arxiv.org/abs/2006.16236
 */
export function elu1(k: Context, { x }: Input): Tensor<'float32'> {
  return forward(k, 'elu1', 'elu1Forward', x);
}

/** Gradient of {@link elu1}: `dx = dy min(e^x, 1)`. */
export function elu1Backward(k: Context, args: InputAndUpstream): { dx: Tensor<'float32'> } {
  return backward(k, 'elu1Backward', 'elu1Backward', args);
}

const input = { x: 'tensor' } as const;
const inputAndUpstream = { x: 'tensor', dy: 'tensor' } as const;
const pair = { a: 'tensor', b: 'tensor' } as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  add: op(add, pair),
  addBackward: op(addBackward, { ...pair, dy: 'tensor' }),
  multiply: op(multiply, pair),
  multiplyBackward: op(multiplyBackward, { ...pair, dy: 'tensor' }),
  exp: op(exp, input),
  expBackward: op(expBackward, inputAndUpstream),
  negate: op(negate, input),
  negateBackward: op(negateBackward, inputAndUpstream),
  silu: op(silu, input),
  siluBackward: op(siluBackward, inputAndUpstream),
  softplus: op(softplus, input),
  softplusBackward: op(softplusBackward, inputAndUpstream),
  logSigmoid: op(logSigmoid, input),
  logSigmoidBackward: op(logSigmoidBackward, inputAndUpstream),
  sigmoid: op(sigmoid, input),
  sigmoidBackward: op(sigmoidBackward, inputAndUpstream),
  tanh: op(tanh, input),
  tanhBackward: op(tanhBackward, inputAndUpstream),
  relu: op(relu, input),
  reluBackward: op(reluBackward, inputAndUpstream),
  relu2: op(relu2, input),
  relu2Backward: op(relu2Backward, inputAndUpstream),
  elu1: op(elu1, input),
  elu1Backward: op(elu1Backward, inputAndUpstream),
  gelu: op(gelu, { ...input, approximate: 'text' }),
  geluBackward: op(geluBackward, { ...inputAndUpstream, approximate: 'text' }),
};
