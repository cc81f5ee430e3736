import { Context, type Variant, type WasmExports } from './context.js';
import { ArgumentError } from './errors.js';
import type { Allocator } from './memory.js';
import type { Tensor } from './tensor.js';
import * as selectiveScan from './selective-scan.js';
import * as ssd from './ssd.js';
import * as linearAttention from './linear-attention.js';
import * as deltaRule from './delta-rule.js';
import * as softmaxAttention from './softmax-attention.js';
import * as causalConv1d from './causal-conv1d.js';
import * as matmul from './matmul.js';
import * as norm from './norm.js';
import * as activation from './activation.js';
import * as layout from './layout.js';
import * as rope from './rope.js';
import * as embedding from './embedding.js';
import * as loss from './loss.js';
import * as adamw from './adamw.js';
import * as sgd from './sgd.js';
import * as effectiveAttention from './effective-attention/index.js';

/** The functions of one family, with their first parameter, the context, given. */
type Bound<Family> = {
  [Name in keyof Family]: Family[Name] extends (k: Context, ...args: infer Args) => infer Result
    ? (...args: Args) => Result
    : never;
};

const families = [
  selectiveScan,
  ssd,
  linearAttention,
  deltaRule,
  softmaxAttention,
  causalConv1d,
  matmul,
  norm,
  activation,
  layout,
  rope,
  embedding,
  loss,
  adamw,
  sgd,
  effectiveAttention,
];

/** All public functions, and tensors to call them with. */
export type Kernels = Context & {
  /** Throws if a kernel wrote outside its buffers. Needs `loadKernels({ guard: true })`. */
  checkGuards(): void;
} & Bound<typeof selectiveScan> &
  Bound<typeof ssd> &
  Bound<typeof linearAttention> &
  Bound<typeof deltaRule> &
  Bound<typeof softmaxAttention> &
  Bound<typeof causalConv1d> &
  Bound<typeof matmul> &
  Bound<typeof norm> &
  Bound<typeof activation> &
  Bound<typeof layout> &
  Bound<typeof rope> &
  Bound<typeof embedding> &
  Bound<typeof loss> &
  Bound<typeof adamw> &
  Bound<typeof sgd> & {
    /** {@inheritDoc effectiveAttention.effectiveAttention} */
    effectiveAttention<Mixer extends keyof effectiveAttention.MixerArgs>(
      mixer: Mixer,
      args: effectiveAttention.MixerArgs[Mixer],
    ): Tensor<'float32'>;
  };

/** Binds every public function to the compiled kernels. */
export function createKernels(wasm: WasmExports, allocator: Allocator, variant: Variant): Kernels {
  const context = new Context(wasm, allocator, variant);
  const bound: Record<string, unknown> = { checkGuards: () => allocator.checkGuards() };
  for (const family of families) {
    for (const [name, fn] of Object.entries(family)) {
      const kernel = fn as (k: Context, ...args: unknown[]) => unknown;
      bound[name] = (...args: unknown[]) => {
        const inputs = args.at(-1);
        if (typeof inputs !== 'object' || inputs === null) {
          throw new ArgumentError(
            `${name}: inputs must be one object, got ${inputs === null ? 'null' : typeof inputs}`,
          );
        }
        return kernel(context, ...args);
      };
    }
  }
  return Object.assign(context, bound) as unknown as Kernels;
}
