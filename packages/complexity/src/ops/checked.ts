/** The ops as users call them: sizes that an op does not have are refused. Models call the ops without that. */
import { checkOptions } from '@freelunch/errors';
import * as all from './index.js';

/** In a mapped type editors still show the docstrings of the functions. */
export type Ops = { readonly [Name in keyof typeof all]: (typeof all)[Name] };

type SizesOf<Name extends keyof Ops> =
  Parameters<Ops[Name]> extends [unknown, infer Sizes, ...unknown[]] ? Sizes : never;
type Names<Sizes> = Sizes extends object ? Record<keyof Sizes, true> : never;

const rows = { rows: true, dim: true } as const;
const grouped = { ...rows, groups: true, normBeforeGate: true } as const;
const row = { batch: true, seqLen: true, nHeads: true, headDim: true } as const;
const convolution = {
  batch: true,
  seqLen: true,
  channels: true,
  width: true,
  bias: true,
  silu: true,
  initialState: true,
} as const;
const delta = { ...row, valueDim: true, gated: true, initialState: true } as const;
const linear = {
  ...row,
  valueDim: true,
  featureMap: true,
  normalize: true,
  forget: true,
  initialState: true,
} as const;
const loss = { rows: true, scored: true, vocabSize: true } as const;
const product = { m: true, n: true, k: true, bias: true, transposed: true } as const;
const scan = { batch: true, seqLen: true, dInner: true, dState: true, z: true, initialState: true } as const;
const visible = { window: true, sparse: true, stride: true } as const;
const softmax = {
  ...row,
  ...visible,
  nKvHeads: true,
  valueDim: true,
  alibi: true,
} as const;
const duality = { ...row, nGroups: true, dState: true, chunkSize: true, initialState: true } as const;

const turning = { ...duality, nRanks: true, nAngles: true, ownAngles: true, mimo: true } as const;
const turningGate = {
  rows: true,
  nHeads: true,
  nRanks: true,
  headDim: true,
  norm: true,
  mimo: true,
} as const;

const names = {
  causalConv1d: convolution,
  causalConv1dBackward: convolution,
  causalConv1dStep: convolution,
  deltaRule: delta,
  deltaRuleBackward: delta,
  deltaRuleStep: delta,
  linearAttention: linear,
  linearAttentionBackward: linear,
  linearAttentionStep: linear,
  crossEntropy: loss,
  crossEntropyBackward: loss,
  mamba3: turning,
  mamba3Backward: turning,
  mamba3Step: turning,
  mamba3Gate: turningGate,
  mamba3GateBackward: turningGate,
  matmul: product,
  matmulBackward: product,
  rmsNorm: rows,
  rmsNormBackward: rows,
  layerNorm: rows,
  layerNormBackward: rows,
  gatedRmsNorm: grouped,
  gatedRmsNormBackward: grouped,
  rope: { ...row, rotaryDim: true, interleaved: true, scaling: true },
  selectiveScan: scan,
  selectiveScanBackward: scan,
  selectiveScanStep: scan,
  softmaxAttention: softmax,
  softmaxAttentionBackward: softmax,
  softmaxAttentionStep: softmax,
  ssd: duality,
  ssdBackward: duality,
  ssdStep: duality,
  visibleKeys: visible,
  visiblePairs: visible,
} satisfies { [Name in keyof Ops]?: Names<SizesOf<Name>> };

type Call = (g: unknown, sizes: object, ...rest: unknown[]) => unknown;

/** What single ops cost: each takes a grain and sizes, as numbers or expressions. */
export const ops: Ops = /* @__PURE__ */ checked();

function checked(): Ops {
  const entries = Object.entries(all).map(([name, op]) => {
    const sizes = Object.keys(names[name as keyof typeof names] ?? {});
    if (sizes.length === 0) return [name, op];
    const call: Call = (g, given, ...rest) => {
      checkOptions(name, given, sizes);
      return (op as unknown as Call)(g, given, ...rest);
    };
    return [name, call];
  });
  return Object.freeze(Object.fromEntries(entries)) as Ops;
}
