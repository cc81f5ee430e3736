import { limits } from './limits.js';
import { Part } from './part.js';
import type {
  DeltaRuleConfig,
  LinearAttentionConfig,
  Mamba2Config,
  MambaConfig,
  MixerConfig,
  ResolvedMixer,
  SoftmaxAttentionConfig,
  SparsePattern,
} from './types.js';

/** What mixers take from the rest of the model. */
export interface Surroundings {
  dModel: number;
  /** Epsilon of the norms. */
  eps: number;
  /** Whether parameters are named as in GPT-2, whose projections have biases. */
  gpt2: boolean;
}

interface Kind {
  options: readonly string[];
  resolve(p: Part, around: Surroundings, where: string, name: string): ResolvedMixer;
}

const options =
  <C extends MixerConfig>() =>
  (...names: readonly (keyof C & string)[]): readonly string[] => ['type', ...names];

/** dInner, by itself or as a multiple of dModel. */
function innerWidth(p: Part, dModel: number): number {
  const given = p.whole('dInner', undefined);
  if (given !== undefined && p.get('expand') === undefined) return given;
  const multiple = dModel * p.whole('expand', 2, 1, Math.floor(limits.size / dModel));
  if (given !== undefined && given !== multiple)
    p.fail('dInner', `expand dModel = ${multiple}, or expand absent`);
  return multiple;
}

/** nHeads and headDim. */
function headsOf(p: Part, dModel: number): { nHeads: number; headDim: number } {
  const nHeads = p.needed('nHeads', limits.nHeads);
  const headDim = p.whole('headDim', undefined, 1, Math.floor(limits.size / nHeads));
  if (headDim === undefined && dModel % nHeads !== 0)
    p.fail('nHeads', `a divisor of dModel = ${dModel}, or headDim given`);
  return { nHeads, headDim: headDim ?? dModel / nHeads };
}

const valueDimOf = (p: Part, nHeads: number, headDim: number): number =>
  p.whole('valueDim', headDim, 1, Math.floor(limits.size / nHeads));

function dtLimitOf(p: Part): readonly [number, number] | undefined {
  const given = p.get('dtLimit');
  if (given === undefined) return undefined;
  const [least, most] = Array.isArray(given) && given.length === 2 ? (given as unknown[]) : [];
  if (!(
    typeof least === 'number' &&
    typeof most === 'number' &&
    least >= 0 &&
    least < Infinity &&
    most >= least
  ))
    return p.fail('dtLimit', '[min, max] with 0 <= min <= max');
  return [least, most];
}

function sparseOf(p: Part, where: string, name: string): SparsePattern | undefined {
  const given = p.get('sparse');
  if (given === undefined) return undefined;
  if (typeof given !== 'object' || given === null) p.fail('sparse', 'an object with a pattern');
  const s = new Part(where, `${name}.sparse`, given, ['pattern', 'stride', 'summary']);
  if (s.get('pattern') === undefined) s.fail('pattern', "'strided' or 'fixed'");
  const pattern = s.oneOf('pattern', 'strided', 'fixed');
  const stride = s.needed('stride', limits.length);
  if (pattern === 'fixed') return { pattern, stride, summary: s.needed('summary', stride) };
  if (s.get('summary') !== undefined) s.fail('summary', "absent where the pattern is 'strided'");
  return { pattern, stride };
}

const kinds: Readonly<Record<MixerConfig['type'], Kind>> = {
  mamba: {
    options: options<MambaConfig>()(
      'dState', 'dConv', 'expand', 'dInner', 'dtRank', 'bias', 'convBias', 'innerNorms', 'innerNormEps',
    ), // prettier-ignore
    resolve: (p, { dModel, eps }) => ({
      type: 'mamba',
      dState: p.whole('dState', 16),
      dConv: p.whole('dConv', 4, 0, limits.dConv),
      dInner: innerWidth(p, dModel),
      dtRank: p.whole('dtRank', Math.ceil(dModel / 16)),
      bias: p.flag('bias', false),
      convBias: p.flag('convBias', true),
      innerNorms: p.oneOf('innerNorms', 'none', 'weighted', 'unweighted'),
      innerNormEps: p.eps('innerNormEps', eps),
    }),
  },

  mamba2: {
    options: options<Mamba2Config>()(
      'dState', 'dConv', 'expand', 'dInner', 'headDim', 'nGroups', 'chunkSize', 'bias', 'convBias', 'normBeforeGate', 'dtLimit',
    ), // prettier-ignore
    resolve(p, { dModel }) {
      const dInner = innerWidth(p, dModel);
      const headDim = p.whole('headDim', 64);
      if (dInner % headDim !== 0) p.fail('headDim', `a divisor of dInner = ${dInner}`, headDim);
      const nHeads = dInner / headDim;
      if (nHeads > limits.nHeads) p.fail('headDim', `at least dInner / ${limits.nHeads}`, headDim);
      const nGroups = p.whole('nGroups', 1);
      if (nHeads % nGroups !== 0) p.fail('nGroups', `a divisor of the ${nHeads} heads`);
      return {
        type: 'mamba2',
        dState: p.whole('dState', 128),
        dConv: p.whole('dConv', 4, 0, limits.dConv),
        dInner,
        headDim,
        nGroups,
        chunkSize: p.whole('chunkSize', undefined, 1, limits.chunkSize),
        bias: p.flag('bias', false),
        convBias: p.flag('convBias', true),
        normBeforeGate: p.flag('normBeforeGate', false),
        dtLimit: dtLimitOf(p),
      };
    },
  },

  'linear-attention': {
    options: options<LinearAttentionConfig>()(
      'nHeads',
      'headDim',
      'valueDim',
      'featureMap',
      'normalize',
      'forget',
      'dConv',
    ),
    resolve(p, { dModel }) {
      const { nHeads, headDim } = headsOf(p, dModel);
      const forget = p.oneOf('forget', 'none', 'retention', 'token', 'channel');
      return {
        type: 'linear-attention',
        nHeads,
        headDim,
        valueDim: valueDimOf(p, nHeads, headDim),
        featureMap: p.oneOf('featureMap', 'elu1', 'identity', 'relu'),
        normalize: p.flag('normalize', forget === 'none'),
        forget,
        dConv: p.whole('dConv', 0, 0, limits.dConv),
      };
    },
  },

  'delta-rule': {
    options: options<DeltaRuleConfig>()('nHeads', 'headDim', 'gated', 'dConv'),
    resolve: (p, { dModel }) => ({
      type: 'delta-rule',
      ...headsOf(p, dModel),
      gated: p.flag('gated', false),
      dConv: p.whole('dConv', 0, 0, limits.dConv),
    }),
  },

  'softmax-attention': {
    options: options<SoftmaxAttentionConfig>()(
      'nHeads', 'nKvHeads', 'headDim', 'valueDim', 'window', 'sparse', 'bias', 'qkvBias',
    ), // prettier-ignore
    resolve(p, { dModel, gpt2 }, where, name) {
      const { nHeads, headDim } = headsOf(p, dModel);
      const nKvHeads = p.whole('nKvHeads', nHeads);
      if (nHeads % nKvHeads !== 0) p.fail('nKvHeads', `a divisor of nHeads = ${nHeads}`);
      const bias = p.flag('bias', gpt2);
      const qkvBias = p.flag('qkvBias', bias);
      if (bias && !qkvBias) p.fail('qkvBias', 'true or absent where bias is true');
      return {
        type: 'softmax-attention',
        nHeads,
        nKvHeads,
        headDim,
        valueDim: valueDimOf(p, nHeads, headDim),
        window: p.whole('window', undefined, 1, limits.length),
        sparse: sparseOf(p, where, name),
        bias,
        qkvBias,
      };
    },
  },

  none: { options: ['type'], resolve: () => ({ type: 'none' }) },
};

export const mixerTypes = Object.keys(kinds) as MixerConfig['type'][];

/** Checks a mixer whose type is known and fills in what is absent. */
export const resolveMixer = (
  where: string,
  name: string,
  mixer: MixerConfig,
  around: Surroundings,
): ResolvedMixer => {
  const kind = kinds[mixer.type];
  return kind.resolve(new Part(where, name, mixer, kind.options), around, where, name);
};
