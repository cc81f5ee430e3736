/**
 * COPY in a state of any size as a language model: C1 and C3 of copy.ts, for strings of one length T.
 *
 *     position  0  1 ..  T  T+1 .. 2T   2T+1
 *     token     $  s1 .. sT |   .. sT-1 sT
 *     key       .  k1 .. kT k1  .. kT   .        written with the first T, asked for with the next
 *     output    .  .  .. .  s1  .. sT   .
 *
 * A letter is a vector of signs, +-1/sqrt(dValue); the keys come with the positions and are dState numbers wide:
 * random signs, +-1/sqrt(dState), below T, unit vectors from T up, where all is exact. What is read is the letter's
 * vector and, from all others, interference; the head takes the nearest vector.
 *
 *   linear-attention  state dState dValue; identity as feature map, nothing divided
 *   mamba             B and C are the keys, the values stand in dValue channels of the scan. B and C are made from
 *                     channels of the scan, so there are at least dState more of those, each with a state of its own:
 *                     dInner dState floats, dInner = dState + 2 dValue + 3
 *   mamba3            B and C come with the positions: one head whose state is dState dValue; nothing turns, and what comes
 *                     in enters at once
 *
 * Channels of Mamba hold silu(+-128), 128 or 0; two of them, one always 128, make a sign.
 */
import { checkOptions } from '@freelunch/errors';
import { ArgumentError, type Kernels } from '@freelunch/kernels';
import type { MixerConfig, ModelConfig } from '@freelunch/models';
import { ln, random } from '@freelunch/random';
import { signCodebook } from '../mixers/codebook.js';
import { Matrix, OPEN, type Weights } from '../program/weights.js';
import { type Plan, WIDTH_STEP, withWeights } from '../program/compile.js';
import { codeBits } from '../program/program.js';

export interface KeyedCopyOptions {
  mixer: 'linear-attention' | 'mamba' | 'mamba3';
  length: number;
  vocabSize: number;
  /** Width of the keys. */
  dState: number;
  /** Width of a letter's vector; twice the bits of a letter, at least 8, if absent. */
  dValue?: number;
  /** With Mamba and Mamba-3, what is kept shrinks by e^-rate a token; 0 if absent. */
  rate?: number;
  /** Of keys and vectors; 0 if absent. */
  seed?: number;
}

/** Where things stand in the residual stream. */
interface Layout {
  value: number;
  key: number;
  query: number;
  out: number;
  dModel: number;
}
const ONE = 0; // always 1
const STORED = 1; // 1 where the token is of the string, else -1
const END = 2; // 1 at the last position, else 0

/** The vectors of the letters in a copying model with `dState`, `[vocabSize, dValue]`, as {@link predictAccuracy} takes them. */
export function copyCodebook(options: Pick<KeyedCopyOptions, 'vocabSize' | 'dValue' | 'seed'>): {
  codebook: Float32Array;
  dValue: number;
} {
  checkOptions('copyCodebook', options, ['vocabSize', 'dValue', 'seed']);
  const { vocabSize, dValue = Math.max(8, 2 * codeBits(vocabSize)), seed = 0 } = options;
  return { codebook: signCodebook(random(seed).split('codebook'), vocabSize, dValue), dValue };
}

/** What the model will be, before it is made. The caller has checked `length` and `vocabSize`. */
export function keyedCopyPlan(options: KeyedCopyOptions): Plan {
  const { mixer, length, vocabSize, dState, rate = 0, seed = 0 } = options;
  if (mixer !== 'linear-attention' && mixer !== 'mamba' && mixer !== 'mamba3')
    throw new ArgumentError(`copyModel: dState must be absent for ${String(mixer)}, got ${dState}`);
  if (!Number.isSafeInteger(dState) || dState < 1)
    throw new ArgumentError(`copyModel: dState must be a whole number from 1 up, got ${dState}`);
  if (!(rate >= 0 && rate < Infinity))
    throw new ArgumentError(`copyModel: rate must be a finite number from 0 up, got ${rate}`);
  if (rate > 0 && mixer === 'linear-attention')
    throw new ArgumentError(`copyModel: rate must be absent for ${mixer}, got ${rate}`);
  const { codebook, dValue } = copyCodebook({ vocabSize, dValue: options.dValue, seed });
  const orthogonal = dState >= length;
  const value = 3;
  const key = value + dValue;
  const query = mixer === 'mamba' ? key : key + dState; // Mamba's channels for keys serve both
  const out = query + dState;
  const dModel = Math.ceil((out + dValue) / WIDTH_STEP) * WIDTH_STEP;
  const layout: Layout = { value, key, query, out, dModel };
  const positions = 2 * length + 2;
  const rows = vocabSize + 4;
  const config: ModelConfig = {
    vocabSize: rows,
    dModel,
    nLayers: 1,
    mixer: mixerOf(options, dValue),
    norm: 'none',
    position: { type: 'learned', maxLength: positions },
    tieEmbeddings: false,
    naming: 'mamba',
  };
  const inMixer = {
    mamba: dModel * (dState + 1 + 2 * dModel + (1 + 2 * dState) + 2 + dModel),
    mamba3: dModel * (3 * dValue + 2 * planes(dState) + 4) + 4 * planes(dState) + 2,
    'linear-attention': 2 * dModel * (dState + dValue),
  };
  const kept = {
    mamba: dModel * dState,
    mamba3: (dValue + 1) * (planes(dState) + 1),
    'linear-attention': dValue * dState,
  };
  return {
    config,
    parameters: (2 * rows + positions) * dModel + inMixer[mixer],
    floatsKept: () => kept[mixer],
    build(k: Kernels) {
      const embedding = new Matrix(rows, dModel);
      const head = new Matrix(rows, dModel);
      const most = 4 * length; // above all that letters can get
      for (let id = 0; id < rows; id++) {
        embedding.row(id)[ONE] = 1;
        if (id < vocabSize) {
          const vector = codebook.subarray(id * dValue, (id + 1) * dValue);
          // Mamba's channels take signs, and its output projection their size.
          embedding.row(id).set(mixer === 'mamba' ? vector.map(Math.sign) : vector, value);
          head.row(id).set(vector, out);
        } else head.row(id)[ONE] = -most;
      }
      head.row(vocabSize + 2)[END] = 2 * most; // `.`
      const table = new Matrix(positions, dModel);
      table.row(positions - 1)[END] = 1;
      const rng = random(seed).split('keys');
      const size = mixer === 'mamba' ? 1 : 1 / Math.sqrt(dState);
      for (let t = 0; t < positions; t++) table.row(t)[STORED] = t >= 1 && t <= length ? 1 : -1;
      for (let j = 0; j < length; j++) {
        for (let n = 0; n < dState; n++) {
          const element = orthogonal ? Number(n === j) : rng.integer(2) === 1 ? size : -size;
          table.row(1 + j)[key + n] = element;
          table.row(1 + length + j)[query + n] = element;
        }
      }
      const weights: Weights = new Map([
        ['backbone.embeddings.weight', embedding.data],
        ['backbone.position_embeddings.weight', table.data],
        ['lm_head.weight', head.data],
      ]);
      const prefix = 'backbone.layers.0.mixer.';
      if (mixer === 'mamba') writeMamba(weights, prefix, { layout, dValue, dState, orthogonal, rate });
      else if (mixer === 'mamba3') writeMamba3(weights, prefix, { layout, dValue, dState, rate });
      else writeLinear(weights, prefix, { layout, dValue, dState });
      return withWeights(k, config, weights);
    },
  };
}

function mixerOf({ mixer, dState, rate = 0 }: KeyedCopyOptions, dValue: number): MixerConfig {
  switch (mixer) {
    case 'mamba':
      return { type: 'mamba', dState, dConv: 0, expand: 1, dtRank: 1 };
    case 'mamba3':
      return {
        type: 'mamba3',
        dState: planes(dState),
        dInner: dValue,
        headDim: dValue,
        nAngles: 1,
        aFloor: floorOf(rate),
      };
    case 'linear-attention':
      return {
        type: 'linear-attention',
        nHeads: 1,
        headDim: dState,
        valueDim: dValue,
        featureMap: 'identity',
        normalize: false,
        forget: 'none',
      };
  }
}

/** The state of Mamba-3 has a plane at least. */
const planes = (dState: number): number => Math.max(2, dState);

/** Mamba-3's rate of decay, at steps of 128: one so slow that e^-128 A rounds to 1, or the one that is wanted. */
const floorOf = (rate: number): number => (rate === 0 ? 1e-30 : rate / OPEN);

/** Rows that copy `count` channels from `first` on. */
function select(count: number, first: number, dModel: number): Float32Array {
  const matrix = new Matrix(count, dModel);
  for (let i = 0; i < count; i++) matrix.row(i)[first + i] = 1;
  return matrix.data;
}

function writeLinear(
  weights: Weights,
  prefix: string,
  { layout, dValue, dState }: { layout: Layout; dValue: number; dState: number },
): void {
  const { value, key, query, out, dModel } = layout;
  weights.set(`${prefix}q_proj.weight`, select(dState, query, dModel));
  weights.set(`${prefix}k_proj.weight`, select(dState, key, dModel));
  weights.set(`${prefix}v_proj.weight`, select(dValue, value, dModel));
  const output = new Matrix(dModel, dValue);
  for (let d = 0; d < dValue; d++) output.row(out + d)[d] = Math.sqrt(dState); // undoes the mixer's scale
  weights.set(`${prefix}o_proj.weight`, output.data);
}

/** The keys are so large that the epsilon of their norm is lost. */
function writeMamba3(
  weights: Weights,
  prefix: string,
  { layout, dValue, dState, rate }: { layout: Layout; dValue: number; dState: number; rate: number },
): void {
  const { value, key, query, out, dModel } = layout;
  const width = planes(dState);
  const inProj = new Matrix(2 * dValue + 2 * width + 4, dModel); // z, x, B, C, dt, A, trap, angle
  const outProj = new Matrix(dModel, dValue);
  for (let d = 0; d < dValue; d++) {
    inProj.row(d)[ONE] = OPEN;
    inProj.row(dValue + d)[value + d] = 1 / OPEN; // dt x = the value
    outProj.row(out + d)[d] = 1 / OPEN;
  }
  for (let n = 0; n < dState; n++) {
    inProj.row(2 * dValue + n)[key + n] = OPEN;
    inProj.row(2 * dValue + width + n)[query + n] = OPEN;
  }
  const firstStep = 2 * dValue + 2 * width;
  inProj.row(firstStep)[ONE] = OPEN;
  inProj.row(firstStep + 1)[ONE] = -2 / floorOf(rate);
  inProj.row(firstStep + 2)[ONE] = OPEN;
  const size = new Float32Array(width).fill(1 / Math.sqrt(width)); // of a norm of 1
  weights.set(`${prefix}dt_bias`, new Float32Array(1));
  weights.set(`${prefix}B_bias`, new Float32Array(width));
  weights.set(`${prefix}C_bias`, new Float32Array(width));
  weights.set(`${prefix}B_norm.weight`, size);
  weights.set(`${prefix}C_norm.weight`, size);
  weights.set(`${prefix}D`, new Float32Array(1));
  weights.set(`${prefix}in_proj.weight`, inProj.data);
  weights.set(`${prefix}out_proj.weight`, outProj.data);
}

/** Channels of the scan: always 128; 128 where a token is stored; the values, 0 where none is stored; the keys. */
function writeMamba(
  weights: Weights,
  prefix: string,
  sizes: { layout: Layout; dValue: number; dState: number; orthogonal: boolean; rate: number },
): void {
  const { layout, dValue, dState, orthogonal, rate } = sizes;
  const { value, key, out, dModel } = layout;
  const [always, stored, firstValue] = [0, 1, 2];
  const firstKey = firstValue + dValue;
  const inProj = new Matrix(2 * dModel, dModel);
  inProj.row(always)[ONE] = OPEN;
  inProj.row(stored)[STORED] = OPEN;
  inProj.row(dModel + stored)[ONE] = OPEN; // gates are open where something is read
  const outProj = new Matrix(dModel, dModel);
  const size = 1 / Math.sqrt(dValue) / OPEN / OPEN;
  for (let d = 0; d < dValue; d++) {
    const row = inProj.row(firstValue + d);
    row[value + d] = OPEN;
    row[STORED] = OPEN;
    row[ONE] = -OPEN;
    inProj.row(dModel + firstValue + d)[ONE] = OPEN;
    // +-1 as 2 bit - 1
    outProj.row(out + d)[firstValue + d] = 2 * size;
    outProj.row(out + d)[stored] = -size;
  }
  const xProj = new Matrix(1 + 2 * dState, dModel); // delta, B, C
  const element = 1 / (orthogonal ? 1 : Math.sqrt(dState)) / OPEN;
  for (let n = 0; n < dState; n++) {
    inProj.row(firstKey + n)[key + n] = OPEN;
    for (const [first, scale] of [
      [1, element / OPEN], // delta is 128
      [1 + dState, element],
    ]) {
      const row = xProj.row(first + n);
      row[firstKey + n] = (orthogonal ? 1 : 2) * scale;
      if (!orthogonal) row[always] = -scale;
    }
  }
  const decay = rate === 0 ? -40 : ln(rate / OPEN);
  weights.set(`${prefix}A_log`, new Float32Array(dModel * dState).fill(decay));
  weights.set(`${prefix}D`, new Float32Array(dModel));
  weights.set(`${prefix}in_proj.weight`, inProj.data);
  weights.set(`${prefix}x_proj.weight`, xProj.data);
  weights.set(`${prefix}dt_proj.weight`, new Float32Array(dModel));
  weights.set(`${prefix}dt_proj.bias`, new Float32Array(dModel).fill(OPEN));
  weights.set(`${prefix}out_proj.weight`, outProj.data);
}
