/**
 * Running sums modulo n by one layer of Mamba-3 with hand-set weights: parity (n = 2) and the word problem of Z_n, for the
 * texts of `parity`, `modularSum` and `wordProblem` of @freelunch/tasks in the form `direct`. There is no table of
 * positions.
 *
 *     tokens  2 1 2 2 <sep> 2 <eos>      (n = 5)
 *     output  2 3 0 2 2 <eos> .
 *
 * Two channels of the state are a point g of the plane, 0 before the first token. A number x turns the plane about
 * p = 1 by x/n of a turn, so that g is always one of n points of the circle about p through 0, and says the sum:
 *
 *     g <- a e^(i phi) g + w,   w = p (1 - a e^(i phi)),   phi = 2 pi x / n:   g - p = -(product of all a) e^(i 2 pi sum / n)
 *
 * The angle is pi tanh(+-128) dt = +-pi dt, with tanh exactly 1 and dt at most 1. What decays, by a = e^(-aFloor dt), is the
 * distance to p, not the angle. The head takes the nearest direction: it is right until the distance is lost in the
 * rounding of the state, or the rounding of dt has turned the plane too far; `reach` says when. A zero has dt = 0, which
 * changes nothing.
 *
 * A third channel remembers `<sep>`: a number after it is the answer, and the end follows.
 *
 * @see Mamba-3, https://github.com/state-spaces/mamba; Grazzi et al. 2024, https://arxiv.org/abs/2411.12537 (why decays
 *   between 0 and 1 cannot)
 */
import { checkOptions } from '@freelunch/errors';
import { ArgumentError, type Kernels } from '@freelunch/kernels';
import type { LanguageModel, ModelConfig } from '@freelunch/models';
import { exp, ln } from '@freelunch/random';
import { type Plan, withWeights } from '../program/compile.js';
import { Matrix, OPEN, type Weights } from '../program/weights.js';

export interface CyclicModelOptions {
  /** n: numbers are 0 to n - 1. Up to 1,024. */
  order: number;
  /** The slowest decay of the layer, from 1e-30 to 1; that of published models, 1e-4, if absent. */
  aFloor?: number;
}

export interface CyclicPlan extends Plan {
  /** Up to so many tokens no text has a wrong sum. Texts whose numbers turn the plane less are right for longer. */
  reach: number;
}

/** Ids of the tasks: `<pad>`, `<sep>`, `<eos>`, then the numbers. */
const SEP = 1;
const END = 2;
const FIRST = 3;

/** Channels of the residual stream. */
const [ONE, IS_SEP, DIRECTION, VALUE, STEP, TURN, OUT] = [0, 1, 2, 5, 6, 7, 8];
const D_MODEL = 12;
/** Heads of one channel each: the two coordinates of g, and whether there was `<sep>`. All store the same. */
const N_HEADS = 3;
const D_STATE = 4;

/** Bounds of what rounding does at each token: radians, and to a coordinate of g. */
const ANGLE_ERROR = 2 ** -21;
const STATE_ERROR = 2 ** -22;

/**
 * Longest text for which the worst errors leave the nearest direction right. After tokens of step size dt an error has
 * shrunk as much as the distance to p, so that relative to it the errors are sum_t STATE_ERROR e^(aFloor t dt): most where
 * dt is.
 */
function reachOf(order: number, aFloor: number): number {
  const step = (2 * Math.PI) / order;
  const decay = (aFloor * 2 * Math.floor(order / 2)) / order; // of the number that turns most
  const isRight = (length: number) => {
    const error = length * ANGLE_ERROR;
    const gap = Math.cos(error) - Math.cos(step - error);
    return error < step / 2 && gap > (STATE_ERROR * Math.expm1(decay * length)) / decay;
  };
  let [right, wrong] = [0, 2 ** 24];
  while (wrong - right > 1) {
    const middle = Math.floor((right + wrong) / 2);
    if (isRight(middle)) right = middle;
    else wrong = middle;
  }
  return right;
}

/** What the model will be, before it is made. @throws ArgumentError if an option is out of range */
export function cyclicModelPlan(options: CyclicModelOptions): CyclicPlan {
  checkOptions('cyclicModel', options, ['order', 'aFloor']);
  const { order, aFloor = 1e-4 } = options;
  if (!Number.isSafeInteger(order) || order < 2 || order > 1024)
    throw new ArgumentError(`cyclicModel: order must be a whole number from 2 to 1024, got ${order}`);
  if (!(aFloor >= 1e-30 && aFloor <= 1))
    throw new ArgumentError(`cyclicModel: aFloor must be a number from 1e-30 to 1, got ${aFloor}`);
  const vocabSize = FIRST + order;
  const config: ModelConfig = {
    vocabSize,
    dModel: D_MODEL,
    nLayers: 1,
    mixer: { type: 'mamba3', dState: D_STATE, dInner: N_HEADS, headDim: 1, nAngles: 1, aFloor },
    norm: 'none',
    tieEmbeddings: false,
    naming: 'mamba',
  };
  const projected = 2 * N_HEADS + 2 * D_STATE + 3 * N_HEADS + 1;
  const mixer = (projected + N_HEADS) * D_MODEL + 2 * N_HEADS * (1 + D_STATE) + 2 * D_STATE;
  return {
    config,
    parameters: 2 * vocabSize * D_MODEL + mixer,
    floatsKept: () => N_HEADS * (1 + D_STATE + D_STATE + 1),
    reach: reachOf(order, aFloor),
    build: (k) =>
      withWeights(
        k,
        config,
        new Map([
          ['backbone.embeddings.weight', embedding(order, aFloor)],
          ['lm_head.weight', head(order)],
          ...mixerWeights(projected, aFloor),
        ]),
      ),
  };
}

/**
 * A model of one layer that says at every number the sum so far modulo `order`, and after `<sep>` the sum, then `<eos>`. It
 * keeps 30 floats, whatever the length.
 *
 * @throws ArgumentError if an option is out of range
 */
export function cyclicModel(k: Kernels, options: CyclicModelOptions): LanguageModel {
  return cyclicModelPlan(options).build(k);
}

/** softplus of it is dt. */
const beforeSoftplus = (dt: number) => dt + ln(1 - exp(-dt));

/** What a token turns the plane by and adds to it. */
function embedding(order: number, aFloor: number): Float32Array {
  const table = new Matrix(FIRST + order, D_MODEL);
  for (let id = 0; id < table.rows; id++) {
    table.row(id)[ONE] = 1;
    table.row(id)[STEP] = -OPEN; // dt = 0: all is held
  }
  const sep = table.row(SEP);
  sep[IS_SEP] = 1;
  sep[DIRECTION + 2] = 1;
  sep[VALUE] = 1;
  sep[STEP] = beforeSoftplus(1);
  for (let x = 1; x < order; x++) {
    const halfTurns = (2 * x) / order <= 1 ? (2 * x) / order : (2 * x) / order - 2;
    const dt = Math.abs(halfTurns);
    const decay = Math.exp(-aFloor * dt);
    const w = [1 - decay * Math.cos(Math.PI * halfTurns), -decay * Math.sin(Math.PI * halfTurns)];
    const size = Math.hypot(...w);
    const row = table.row(FIRST + x);
    row[DIRECTION] = w[0] / size;
    row[DIRECTION + 1] = w[1] / size;
    row[VALUE] = size / dt; // the layer multiplies it by dt
    row[STEP] = beforeSoftplus(dt);
    row[TURN] = -Math.sign(halfTurns); // as C turns, what was stored turns back
  }
  return table.data;
}

/** The direction of g - p; the end after a number that comes after `<sep>`. */
function head(order: number): Float32Array {
  const table = new Matrix(FIRST + order, D_MODEL);
  table.row(0)[ONE] = -8;
  table.row(SEP)[ONE] = -8;
  const end = table.row(END);
  end[OUT + 2] = 8;
  end[IS_SEP] = -8;
  end[ONE] = -4;
  for (let sum = 0; sum < order; sum++) {
    const row = table.row(FIRST + sum);
    const angle = (2 * Math.PI * sum) / order;
    row[OUT] = -Math.cos(angle);
    row[OUT + 1] = -Math.sin(angle);
    row[ONE] = Math.cos(angle);
  }
  return table.data;
}

function mixerWeights(projected: number, aFloor: number): Weights {
  const inProj = new Matrix(projected, D_MODEL);
  let next = 0;
  const rows = (count: number, fill: (row: Float32Array, i: number) => void) => {
    for (let i = 0; i < count; i++) fill(inProj.row(next + i), i);
    next += count;
  };
  rows(N_HEADS, (row) => (row[ONE] = OPEN)); // z: silu(128) = 128
  rows(N_HEADS, (row) => (row[VALUE] = 1));
  rows(D_STATE - 1, (row, i) => (row[DIRECTION + i] = OPEN)); // B, so large that the epsilon of its norm is lost
  rows(1 + D_STATE, () => {}); // the last of B, and C, which is its bias
  rows(N_HEADS, (row) => (row[STEP] = 1));
  rows(N_HEADS, (row) => (row[ONE] = -2 / aFloor)); // the rate is aFloor
  rows(N_HEADS, (row) => (row[ONE] = OPEN)); // what comes in enters at once
  rows(1, (row) => (row[TURN] = OPEN));
  const outProj = new Matrix(D_MODEL, N_HEADS);
  const CBias = new Matrix(N_HEADS, D_STATE);
  for (let h = 0; h < N_HEADS; h++) {
    outProj.row(OUT + h)[h] = 1 / OPEN;
    CBias.row(h)[h] = 1;
  }
  const prefix = 'backbone.layers.0.mixer.';
  return new Map([
    [`${prefix}dt_bias`, new Float32Array(N_HEADS)],
    [`${prefix}B_bias`, new Float32Array(N_HEADS * D_STATE)],
    [`${prefix}C_bias`, CBias.data],
    [`${prefix}B_norm.weight`, new Float32Array(D_STATE).fill(1 / Math.sqrt(D_STATE))],
    [`${prefix}C_norm.weight`, new Float32Array(D_STATE)],
    [`${prefix}D`, new Float32Array(N_HEADS)],
    [`${prefix}in_proj.weight`, inProj.data],
    [`${prefix}out_proj.weight`, outProj.data],
  ]);
}
