import { type ModelConfig, resolveConfig, type ResolvedConfig } from '@freelunch/config';
import { checkOptions } from '@freelunch/errors';
import { fail, oneOf, whole } from './check.js';
import {
  type Context,
  type Cost,
  type Draft,
  type Figure,
  figures,
  type Figures,
  flows,
  leaf,
  mapDraft,
  once,
  opDraft,
  together,
  valued,
  zero,
} from './draft.js';
import { adamW } from './ops/adamw.js';
import { crossEntropy, crossEntropyBackward } from './ops/loss.js';
import { Expression, maximum, product, type Size, sum } from './expression.js';
import { block, embed, head } from './model.js';
import { type Entry, type Phase, type Situation, Sizes } from './model/layer.js';
import { leadOf } from './model/shared-block.js';
import { type ElementKind, type Grain, grainOf } from './ops/op.js';

export { figures };
export type { Cost, Figure };
export type Mode = Phase | 'generate';

/** Bits of an element; without the scales of `int8` and `int4` weights. */
export const dtypeBits = {
  float64: 64,
  float32: 32,
  float16: 16,
  bfloat16: 16,
  float8: 8,
  int8: 8,
  int4: 4,
} as const;
export type DType = keyof typeof dtypeBits;

export interface CostOptions {
  mode: Mode;
  /** Sequences at once; 1 if absent. */
  batch?: number;
  /** `train`: length of the sequences; `prefill`, `generate`: of the prompt; `decode`: tokens before the one that is made. */
  promptLength: number;
  /** Steps after the prompt, for `generate`. */
  newTokens?: number;
  /**
   * float32 if absent; one for all, or by what it is for. `optimizer` are the moments. `weights` of `float16` or
   * `bfloat16` are those that `loadPretrained` keeps so, the matrices of linear layers and embeddings; `int8` and `int4`,
   * for all too, those of them whose rows are whole blocks of 32 weights with a scale of 2 bytes. Other weights then are
   * float32.
   */
  dtype?: DType | Partial<Record<'weights' | 'activations' | 'state' | 'gradients' | 'optimizer', DType>>;
  /**
   * `algorithmGrain` (default): what the formulas of the ops need, with expressions. `kernelGrain`: what the kernels of
   * this project execute, whose vectors and tiles are filled up; numbers only.
   */
  grain?: Grain;
  /** Whether each block is computed again in the backward pass, and only its input kept; false if absent. */
  recompute?: boolean;
  /** The optimiser of `train`; AdamW if absent. */
  optimizer?: 'adamw' | 'none';
  /** Whether a prefill computes logits at every position, and not at the last alone; false if absent. */
  allLogits?: boolean;
}

/** The longest sequence, or largest batch, that formulas are evaluated at. */
const LONGEST = 2 ** 40;
/** And where what kernels execute is counted step by step. */
const LONGEST_COUNTED = 2 ** 20;

const dtypes = Object.keys(dtypeBits) as DType[];

/** The names of {@link CostOptions}. */
export const costOptions: readonly (keyof CostOptions)[] = ['mode', 'batch', 'promptLength', 'newTokens', 'dtype', 'grain', 'recompute', 'optimizer', 'allLogits']; // prettier-ignore

const camel = (type: string) => type.replace(/(^|-)(\w)/g, (_, __, letter: string) => letter.toUpperCase());

/** One pass of a model: a tree of layers and ops. */
function pass(context: Context, situation: Situation, model: ResolvedConfig, lastOnly: boolean): Draft {
  const { mixers, mlps } = model;
  const ops = (entries: readonly Entry[], again = false) =>
    entries.map((entry) => opDraft(context, entry, again));
  const group = (name: string, drafts: Draft[]) => together(name, drafts, once(drafts));

  const kinds = new Map<string, { draft: Draft; layers: number[]; type: string }>();
  mixers.forEach((mixer, i) => {
    const lead = leadOf(model, i);
    const key = JSON.stringify([mixer, mlps[i], lead]);
    let kind = kinds.get(key);
    if (kind === undefined) {
      const parts = block(situation, mixer, mlps[i], model, lead);
      const draft = group('', [
        ...(parts.mixer.length > 0 ? [group(mixer.type, ops(parts.mixer, context.recompute))] : []),
        ...(parts.mlp.length > 0 ? [group('mlp', ops(parts.mlp, context.recompute))] : []),
      ]);
      kind = { draft, layers: [], type: mixer.type === 'none' ? 'mlp' : mixer.type };
      kinds.set(key, kind);
    }
    kind.layers.push(i);
  });
  const count = (kind: { layers: number[]; type: string }) =>
    context.sizes.size(kinds.size === 1 ? 'nLayers' : `n${camel(kind.type)}`, kind.layers.length);
  const counted = [...kinds.values()].map((kind) => ({ draft: kind.draft, times: count(kind) }));
  const layers = mixers.map((_, i) => {
    const kind = [...kinds.values()].find(({ layers: own }) => own.includes(i))!;
    const { formulas, children } = kind.draft;
    return { name: `layers.${i}`, formulas, children };
  });
  const blocks = together('layers', layers, counted);
  if (context.recompute) {
    // Inputs of the blocks, and the inside of one of them.
    const inputs = product(
      sum(...counted.map(({ times }) => times)),
      situation.batch,
      situation.seqLen,
      situation.dModel,
      context.bytes.activations,
    );
    const inside = counted
      .map(({ draft }) => draft.formulas.activationBytes)
      .reduce((most, formula) => maximum(most, formula));
    blocks.formulas.activationBytes = inputs.plus(inside);
  }

  const parts = [
    group('embedding', ops(embed(situation, model))),
    blocks,
    group('head', ops(head(situation, model, lastOnly))),
  ];
  if (context.training) {
    const rows = situation.batch.times(situation.seqLen);
    const vocabSize = context.sizes.size('vocabSize', model.vocabSize);
    // The last token of a sequence has none to predict.
    const shape = { rows, scored: rows.minus(situation.batch), vocabSize };
    parts.push(
      leaf(
        context,
        'loss',
        [crossEntropy(situation.grain, shape), crossEntropyBackward(situation.grain, shape)],
        {
          activationBytes: product(rows, context.bytes.activations),
        },
      ),
    );
    if (context.optimizer) {
      const all = together('', parts, once(parts)).formulas.params;
      parts.push(
        leaf(context, 'optimizer', [adamW(situation.grain, all, parameterTensors(situation, model))]),
      );
    }
  }
  return group('model', parts);
}

/** Sizes of the tensors of parameters: kernels of the optimiser go through them one by one. */
function parameterTensors(situation: Situation, model: ResolvedConfig): readonly Size[] {
  if (!situation.grain.kernel) return [];
  const layers = model.mixers.flatMap((mixer, i) => {
    const { mixer: first, mlp } = block(situation, mixer, model.mlps[i], model, leadOf(model, i));
    return [...first, ...mlp];
  });
  return [...embed(situation, model), ...layers, ...head(situation, model, false)].flatMap(
    ({ tensors }) => tensors,
  );
}

/**
 * What a model costs, as a tree of layers and ops, by formula from its config alone.
 *
 *     const tree = cost({ vocabSize: 50280, dModel: 768, nLayers: 24, mixer: { type: 'mamba' } },
 *                       { mode: 'decode', promptLength: 1000 });
 *     tree.flops, tree.formulas.flops.toString(), tree.formulas.stateBytes.order(['position'])
 *
 * Formulas are in `batch`, `seqLen` (of what is computed at once), `position` (tokens before a step), `newTokens` and the
 * sizes of the config: `dModel`, `dState`, `window` ... Sizes of the same name that differ from layer to layer get digits.
 *
 * @throws ArgumentError naming a field of the config or an option, what it must be and what it is
 */
export function cost(config: ModelConfig, options: CostOptions): Cost {
  if (options === undefined) fail('cost', 'options', 'an object with mode and promptLength', options);
  checkOptions('cost', options, costOptions);
  const { recompute = false, optimizer = 'adamw', allLogits = false } = options;
  const mode = oneOf('cost', 'mode', options.mode, ['train', 'prefill', 'decode', 'generate']);
  const grain = grainOf('cost', options.grain);
  oneOf('cost', 'optimizer', optimizer, ['adamw', 'none']);
  for (const [name, flag] of Object.entries({ recompute, allLogits }))
    if (typeof flag !== 'boolean') fail('cost', name, 'true or false', flag);
  const longest = grain.kernel ? LONGEST_COUNTED : LONGEST;
  const batch = whole('cost', 'batch', options.batch === undefined ? 1 : options.batch, 1, LONGEST);
  const promptLength = whole(
    'cost',
    'promptLength',
    options.promptLength,
    mode === 'decode' ? 0 : 1,
    longest,
  );
  const newTokens = whole(
    'cost',
    'newTokens',
    options.newTokens === undefined ? 0 : options.newTokens,
    0,
    longest,
  );
  const model = resolveConfig(config, 'cost');
  const sizes = new Sizes(!grain.kernel);
  const training = mode === 'train';
  const context: Context = {
    grain,
    bytes: elementBytes(options.dtype),
    recompute: training && recompute,
    optimizer: optimizer === 'adamw',
    training,
    sizes,
  };
  const shared = {
    grain,
    sizes,
    batch: sizes.size('batch', batch),
    dModel: sizes.size('dModel', model.dModel),
  };
  const run = (phase: Phase, position: number): Draft => {
    const step = phase === 'decode';
    const situation: Situation = {
      ...shared,
      phase,
      seqLen: step ? Expression.of(1) : sizes.size('seqLen', promptLength),
      position: step ? sizes.size('position', position) : zero,
    };
    return pass(context, situation, model, phase === 'prefill' ? !allLogits : step);
  };
  if (mode !== 'generate') return valued(run(mode, promptLength), sizes.values);

  const prompt = { ...run('prefill', 0), name: 'prefill' };
  const steps = {
    ...(grain.kernel
      ? stepsOneByOne(run, promptLength, newTokens)
      : stepsTogether(run, sizes, promptLength, newTokens)),
    name: 'decode',
  };
  const both = together('generate', [prompt, steps], once([prompt, steps]));
  for (const figure of figures) {
    if (flows.has(figure)) continue;
    both.formulas[figure] =
      figure === 'stateBytes' && newTokens > 0 ? steps.formulas[figure] : prompt.formulas[figure];
  }
  return valued(both, sizes.values);
}

/** Sums of the formulas of a step over its positions; state as it is in the end. */
function stepsTogether(
  run: (phase: Phase, position: number) => Draft,
  sizes: Sizes,
  from: number,
  count: number,
): Draft {
  const one = run('decode', from);
  const start = sizes.size('seqLen', from);
  const end = start.plus(sizes.size('newTokens', count));
  delete sizes.values.position;
  const last = { position: end.minus(1) };
  return mapDraft(one, (formula, figure) =>
    flows.has(figure) ? formula.sumOver('position', start, end) : formula.substitute(last),
  );
}

/** The same, where a formula is for one position only. */
function stepsOneByOne(run: (phase: Phase, position: number) => Draft, from: number, count: number): Draft {
  let total = mapDraft(run('decode', from), (formula, figure) => (flows.has(figure) ? zero : formula));
  const add = (a: Draft, b: Draft): Draft => ({
    name: a.name,
    formulas: Object.fromEntries(
      figures.map((figure) => [
        figure,
        flows.has(figure) ? a.formulas[figure].plus(b.formulas[figure]) : b.formulas[figure],
      ]),
    ) as Figures<Expression>,
    children: a.children.map((child, i) => add(child, b.children[i])),
  });
  for (let i = 0; i < count; i++) total = add(total, run('decode', from + i));
  return total;
}

/** Of a weight in a block of 32, which share a scale of 2 bytes. */
const SCALE_BYTES = 2 / 32;

function elementBytes(dtype: CostOptions['dtype'] = 'float32'): Record<ElementKind, number> {
  if (typeof dtype !== 'string')
    checkOptions('cost: dtype', dtype, ['weights', 'activations', 'state', 'gradients', 'optimizer']);
  const of = (use: 'weights' | 'activations' | 'state' | 'gradients' | 'optimizer') => {
    const name = typeof dtype === 'string' ? dtype : (dtype[use] ?? 'float32');
    return dtypeBits[oneOf('cost', 'dtype', name, dtypes)] / 8;
  };
  const weights = of('weights');
  const name = typeof dtype === 'string' ? dtype : dtype.weights;
  const inBlocks = name === 'int8' || name === 'int4';
  const halves = typeof dtype !== 'string' && (name === 'float16' || name === 'bfloat16');
  return {
    weights: inBlocks || halves ? 4 : weights,
    matrices: inBlocks ? weights + SCALE_BYTES : weights,
    unevenMatrices: inBlocks ? 4 : weights,
    activations: of('activations'),
    state: of('state'),
    gradients: of('gradients'),
    moments: of('optimizer'),
    ids: 4,
  };
}
