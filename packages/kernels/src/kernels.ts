/// <reference lib="esnext.disposable" preserve="true" />
import { type Op, takeArguments } from './arguments.js';
import { Context, type Variant } from './context.js';
import type { WasmExports } from './wasm-exports.js';
import { ArgumentError, show } from '@freelunch/errors';
import type { Allocator } from './memory.js';
import type { Pool } from './threads/pool.js';
import type { QuantizedTensor, WeightDType } from './quantized-tensor.js';
import { disposeSymbol, type Tensor } from './tensor.js';
import * as selectiveScan from './selective-scan.js';
import * as ssd from './ssd.js';
import * as mamba3 from './mamba3.js';
import * as mamba3Gate from './mamba3-gate.js';
import * as linearAttention from './linear-attention.js';
import * as deltaRule from './delta-rule.js';
import * as softmaxAttention from './softmax-attention.js';
import * as causalConv1d from './causal-conv1d.js';
import * as matmul from './matmul.js';
import * as quantization from './quantization.js';
import * as norm from './norm.js';
import * as activation from './activation.js';
import * as scale from './scale.js';
import * as layout from './layout.js';
import * as rope from './rope.js';
import * as embedding from './embedding.js';
import * as loss from './loss.js';
import * as adamw from './adamw.js';
import * as sgd from './sgd.js';
import { effectiveAttentionOps, type MixerArgs } from './effective-attention/index.js';

type AnyOp = Op<never, unknown>;
type Ops = Readonly<Record<string, AnyOp>>;

const families: readonly Ops[] = [
  selectiveScan.ops,
  ssd.ops,
  mamba3.ops,
  mamba3Gate.ops,
  linearAttention.ops,
  deltaRule.ops,
  softmaxAttention.ops,
  causalConv1d.ops,
  matmul.ops,
  quantization.ops,
  norm.ops,
  activation.ops,
  scale.ops,
  layout.ops,
  rope.ops,
  embedding.ops,
  loss.ops,
  adamw.ops,
  sgd.ops,
];

/**
 * The functions that a family lists in `ops`, without their first parameter, the context. Taken from the module and not
 * from the list, so that editors show their docstrings.
 */
type Bound<Family extends { ops: Ops }> = WithoutContext<Pick<Family, keyof Family & keyof Family['ops']>>;

type WithoutContext<Functions> = {
  readonly [Name in keyof Functions]: Functions[Name] extends (k: Context, args: infer Args) => infer Result
    ? (args: Args) => Result
    : never;
};

/** All public functions, and tensors to call them with. */
export interface Kernels
  extends
    Readonly<
      Pick<
        Context,
        | 'variant'
        | 'threads'
        | 'memory'
        | 'tensor'
        | 'zeros'
        | 'empty'
        | 'scope'
        | 'alongside'
        | 'resetPeak'
        | 'checkGuards'
        | 'dispose'
      >
    >,
    Disposable,
    Bound<typeof selectiveScan>,
    Bound<typeof ssd>,
    Bound<typeof mamba3>,
    Bound<typeof mamba3Gate>,
    Bound<typeof linearAttention>,
    Bound<typeof deltaRule>,
    Bound<typeof softmaxAttention>,
    Bound<typeof causalConv1d>,
    Bound<typeof matmul>,
    Bound<typeof quantization>,
    Bound<typeof norm>,
    Bound<typeof activation>,
    Bound<typeof scale>,
    Bound<typeof layout>,
    Bound<typeof rope>,
    Bound<typeof embedding>,
    Bound<typeof loss>,
    Bound<typeof adamw>,
    Bound<typeof sgd> {
  /**
   * Weights in less room than float32, from the bytes of a file.
   *
   * @param bytes  `float16`, `bfloat16`: little-endian; `int8`, `int4`: blocks of 32 along a row as llama.cpp's Q8_0 (34
   *   bytes: a float16 scale d, then q as int8 of weights d q) and Q4_0 (18 bytes: d, then 16 bytes whose low halves are
   *   q of the first 16 weights d (q - 8), and whose high halves those of the others)
   * @param shape  `[rows, k]`; `k` a multiple of 32 for `int8` and `int4`
   * @throws ShapeError, ArgumentError for bytes that are no Uint8Array, OutOfMemoryError, FormatError for a scale that is
   *   not finite
   */
  quantizedTensor(bytes: Uint8Array, shape: readonly number[], dtype: WeightDType): QuantizedTensor;

  /**
   * The effective attention matrix M of a mixer: how much of the value at step j is in the output at step i.
   *
   *   selectiveScan     y[i, d] = sum_j M[d, i, j] delta[j, d] u[j, d] + D[d] u[i, d]
   *   ssd               y[i, h] = sum_j M[h, i, j] dt[j, h] x[j, h] + D[h] x[i, h]
   *   mamba3            y[i, h] = sum_j M[h, i, j] v[j, h] + D[h] v[i, h], v = x mimoX, i and j being step and rank
   *   the others        o[i, h] = sum_j M[h, i, j] v[j, h]
   *
   * The gate z, the skip D and the initial state are not part of it. Costs time and memory of the order seqLen^2: made
   * to look at, not to compute with.
   *
   * @param mixer  which mixer
   * @param args   what its function takes; values, which M does not depend on, may be left out where the type says so
   * @returns `[batch, heads or channels, seqLen, seqLen]` (`mamba3`: seqLen nRanks twice), zero where j lies after i if the mixer is causal
   * @throws ArgumentError for an unknown mixer, and what the mixer's own checks throw
   * @see theory: Ali et al. 2024, https://arxiv.org/abs/2403.01590; Dao & Gu 2024, https://arxiv.org/abs/2405.21060
   */
  effectiveAttention<Mixer extends keyof MixerArgs>(mixer: Mixer, args: MixerArgs[Mixer]): Tensor<'float32'>;
}

/** What tests and measurements look at, by the kernels that it belongs to. */
const contexts = new WeakMap<object, Context>();

/**
 * What lies behind a set of kernels, compiled functions and allocator among it: for tests and measurements. Whoever
 * calls them by hand can write anywhere in the kernels' memory.
 * @throws ArgumentError if `k` is not what `loadKernels` gave
 */
export function internalsOf(k: Kernels): Context {
  const context = contexts.get(k);
  if (context === undefined) throw new ArgumentError(`internalsOf: k must be kernels, got ${show(k)}`);
  return context;
}

/**
 * The door to one public function: takes the arguments, calls it, and if it throws frees what it made. A scope would do
 * that too, but would cost as much again as a small call.
 */
function enter(context: Context, where: string, { run, args }: AnyOp): (given: unknown) => unknown {
  return (given) => {
    const inputs = takeArguments<never>(where, given, args);
    const before = context.tensors;
    try {
      return run(context, inputs);
    } catch (error) {
      context.freeBeyond(before);
      throw error;
    }
  };
}

/** Binds every public function to the compiled kernels. */
export function createKernels(
  wasm: WasmExports,
  allocator: Allocator,
  variant: Variant,
  pool?: Pool,
): Kernels {
  const context = new Context(wasm, allocator, variant, pool);
  const matrices = new Map(
    Object.entries<AnyOp>(effectiveAttentionOps).map(([mixer, op]) => [
      mixer,
      enter(context, 'effectiveAttention', op),
    ]),
  );
  const kernels: Record<string | symbol, unknown> = {
    variant,
    get threads() {
      return context.threads;
    },
    get memory() {
      return context.memory;
    },
    tensor: context.tensor.bind(context),
    quantizedTensor: quantization.quantizedTensor.bind(undefined, context),
    zeros: context.zeros.bind(context),
    empty: context.empty.bind(context),
    scope: context.scope.bind(context),
    alongside: context.alongside.bind(context),
    resetPeak: context.resetPeak.bind(context),
    checkGuards: context.checkGuards.bind(context),
    dispose: context.dispose.bind(context),
    [disposeSymbol]: context.dispose.bind(context),
    effectiveAttention(mixer: string, args: unknown) {
      const matrix = matrices.get(mixer);
      if (matrix === undefined) {
        throw new ArgumentError(
          `effectiveAttention: mixer must be one of ${[...matrices.keys()].join(', ')}, got ${show(mixer)}`,
        );
      }
      return matrix(args);
    },
  };
  for (const ops of families) {
    for (const [name, op] of Object.entries(ops)) kernels[name] = enter(context, name, op);
  }
  contexts.set(kernels, context);
  return Object.freeze(kernels) as unknown as Kernels;
}
