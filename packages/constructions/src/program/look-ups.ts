/**
 * Look-ups, one a head, by mixer (C2 and C4 of copy.ts); a code has b bits, and 128 is where sigmoid is 1 in float32:
 *
 *   softmax-attention  keys are the bits, +-1, queries beta times them: the match wins by 2 beta
 *   linear-attention   feature map relu: unit i of a key is relu(sum_j +-bit_j - (b - 1)), 1 for code i and 0 else, so
 *                      keys are unit vectors, exactly; nothing is overwritten
 *   mamba              dState 1, a register for each code: delta = softplus(128 (sum_j +-bit_j - (b - 1))) is 128 on
 *                      the register that is written, where e^-128 erases, and 0 elsewhere, where all is held; the gate
 *                      z opens the register that is read in the same way: silu(128) = 128, silu(-128) = 0
 *   mamba2             a group a look-up; B and C are unit vectors made in the same way, with 128 for 1, A = -e^-40
 *                      holds all; nothing is overwritten. Values are +1 and -1: a pair of channels each, 128 and 0 or 0
 *                      and 128, so that the norm of a group is known beforehand and its weight undoes it
 *   mamba3             a head for each code is a register: dt and the gate z select it as delta and z do with mamba, A = -1,
 *                      nothing turns, and what comes in enters at once (the trapezoidal rule with a share of 1 is Euler's)
 */
import type { MixerConfig } from '@freelunch/models';
import { bitOf, type Expr, type PlacedLookUp } from './program.js';
import { type Half, linearRow, matchRow, Matrix, OPEN, type Sizes } from './weights.js';

/** Which kernel looks up. */
export type LookUpMixer = 'softmax-attention' | 'linear-attention' | 'mamba' | 'mamba2' | 'mamba3';

/** What look-ups may be told: see `CompileOptions`. */
export interface LookUpOptions {
  window?: number;
  beta?: number;
}

/** Numbers are stored this much higher, where silu(x) = x in float32. */
const LIFT = 32;

export interface MixerPlan extends Half {
  config: MixerConfig;
}

const sameExprs = (exprs: readonly Expr[]) => exprs.map(({ key }) => key).join(' ');

/** Names what a head stores: heads with one name can share it. */
const stored = ({ key, values }: PlacedLookUp) => `${sameExprs(key)} | ${sameExprs(values)}`;

const longest = (lists: readonly { length: number }[]) =>
  lists.reduce((most, { length }) => Math.max(most, length), 1);

type Planner = (lookUps: readonly PlacedLookUp[], sizes: Sizes, options: LookUpOptions) => MixerPlan;

/** C4. Heads that read the same keys and values share them (multi-query attention). */
const planSoftmax: Planner = (lookUps, { dModel, one }, { window, beta = 12 }) => {
  const nHeads = lookUps.length;
  const shared = lookUps.every((lookUp) => stored(lookUp) === stored(lookUps[0]));
  const nKvHeads = shared ? 1 : nHeads;
  const headDim = longest(lookUps.map(({ key }) => key));
  const valueDim = longest(lookUps.map(({ values }) => values));
  return {
    config: {
      type: 'softmax-attention',
      nHeads,
      nKvHeads,
      headDim,
      valueDim,
      ...(window !== undefined && { window }),
    },
    parameters: dModel * (nHeads + nKvHeads) * (headDim + valueDim),
    floatsKept: (length) => Math.min(length, window ?? Infinity) * nKvHeads * (headDim + valueDim),
    write(weights, prefix) {
      const q = new Matrix(nHeads * headDim, dModel);
      const key = new Matrix(nKvHeads * headDim, dModel);
      const value = new Matrix(nKvHeads * valueDim, dModel);
      const out = new Matrix(dModel, nHeads * valueDim);
      lookUps.forEach((lookUp, head) => {
        lookUp.query.forEach((bit, i) =>
          linearRow(q.row(head * headDim + i), bit, one, beta * Math.sqrt(headDim)),
        );
        lookUp.channels.forEach((channel, i) => (out.row(channel)[head * valueDim + i] = 1));
        if (head >= nKvHeads) return;
        lookUp.key.forEach((bit, i) => linearRow(key.row(head * headDim + i), bit, one));
        lookUp.values.forEach((expr, i) => linearRow(value.row(head * valueDim + i), expr, one));
      });
      weights.set(`${prefix}q_proj.weight`, q.data);
      weights.set(`${prefix}k_proj.weight`, key.data);
      weights.set(`${prefix}v_proj.weight`, value.data);
      weights.set(`${prefix}o_proj.weight`, out.data);
    },
  };
};

/** C2 with orthogonal keys: as many as there are codes. */
const planLinear: Planner = (lookUps, { dModel, one }) => {
  const nHeads = lookUps.length;
  const headDim = longest(lookUps.map(({ codes }) => codes));
  const valueDim = longest(lookUps.map(({ values }) => values));
  return {
    config: {
      type: 'linear-attention',
      nHeads,
      headDim,
      valueDim,
      featureMap: 'relu',
      normalize: false,
      forget: 'none',
    },
    parameters: 2 * dModel * nHeads * (headDim + valueDim),
    floatsKept: () => nHeads * headDim * valueDim,
    write(weights, prefix) {
      const q = new Matrix(nHeads * headDim, dModel);
      const key = new Matrix(nHeads * headDim, dModel);
      const value = new Matrix(nHeads * valueDim, dModel);
      const out = new Matrix(dModel, nHeads * valueDim);
      lookUps.forEach((lookUp, head) => {
        lookUp.codes.forEach((code, i) => {
          matchRow(q.row(head * headDim + i), lookUp.query, code, one);
          matchRow(key.row(head * headDim + i), lookUp.key, code, one);
        });
        lookUp.values.forEach((expr, i) => linearRow(value.row(head * valueDim + i), expr, one));
        lookUp.channels.forEach((channel, i) => (out.row(channel)[head * valueDim + i] = Math.sqrt(headDim)));
      });
      weights.set(`${prefix}q_proj.weight`, q.data);
      weights.set(`${prefix}k_proj.weight`, key.data);
      weights.set(`${prefix}v_proj.weight`, value.data);
      weights.set(`${prefix}o_proj.weight`, out.data);
    },
  };
};

/**
 * C2 (b): registers. Channels of the scan: one that is always 128, the bits of the keys (128 for +1, 0 for -1), then a
 * register for each code and value of each head.
 */
const planMamba: Planner = (lookUps, { dModel, one }) => {
  const keys = new Map<string, { key: readonly Expr[]; first: number }>();
  let bits = 0;
  for (const { key } of lookUps) {
    const name = sameExprs(key);
    if (keys.has(name)) continue;
    keys.set(name, { key, first: bits });
    bits += key.length;
  }
  const registers = lookUps.reduce((sum, { codes, values }) => sum + codes.length * values.length, 0);
  const expand = Math.ceil((1 + bits + registers) / dModel);
  const dInner = expand * dModel;
  const dtRank = bits;
  return {
    config: { type: 'mamba', dState: 1, dConv: 0, expand, dtRank, bias: true },
    parameters: dInner * (2 * dModel + 2 + (dtRank + 2) + dtRank + 1 + dModel + 1 + 1) + dModel,
    floatsKept: () => dInner,
    write(weights, prefix) {
      const inProj = new Matrix(2 * dInner, dModel);
      const xProj = new Matrix(dtRank + 2, dInner);
      const dtProj = new Matrix(dInner, dtRank);
      const dtBias = new Float32Array(dInner).fill(-OPEN); // softplus gives 0: nothing is written
      const outProj = new Matrix(dModel, dInner);
      const outBias = new Float32Array(dModel);
      inProj.row(0)[one] = OPEN;
      xProj.row(dtRank)[0] = 1 / OPEN / OPEN; // B = 1/128: delta B u = u
      xProj.row(dtRank + 1)[0] = 1 / OPEN; // C = 1
      for (const { key, first } of keys.values()) {
        key.forEach((bit, i) => {
          linearRow(inProj.row(1 + first + i), bit, one, OPEN);
          xProj.row(first + i)[1 + first + i] = 1 / OPEN; // 1 or 0
        });
      }
      let channel = 1 + bits;
      for (const { key, query, values, codes, channels } of lookUps) {
        const { first } = keys.get(sameExprs(key))!;
        for (const code of codes) {
          for (const [i, value] of values.entries()) {
            linearRow(inProj.row(channel), value.plus(LIFT), one);
            matchRow(inProj.row(dInner + channel), query, code, one, OPEN);
            // 128 (sum_j (+-1) (2 bit_j - 1) - (b - 1)), with bits of 0 and 1
            let bias = -OPEN * (key.length - 1);
            for (let bit = 0; bit < key.length; bit++) {
              dtProj.row(channel)[first + bit] = 2 * OPEN * bitOf(code, bit);
              bias -= OPEN * bitOf(code, bit);
            }
            dtBias[channel] = bias;
            outProj.row(channels[i])[channel] = 1 / OPEN;
            channel++;
          }
        }
        for (const written of channels) outBias[written] = -LIFT;
      }
      weights.set(`${prefix}A_log`, new Float32Array(dInner)); // A = -1
      weights.set(`${prefix}D`, new Float32Array(dInner));
      weights.set(`${prefix}in_proj.weight`, inProj.data);
      weights.set(`${prefix}in_proj.bias`, new Float32Array(2 * dInner));
      weights.set(`${prefix}x_proj.weight`, xProj.data);
      weights.set(`${prefix}dt_proj.weight`, dtProj.data);
      weights.set(`${prefix}dt_proj.bias`, dtBias);
      weights.set(`${prefix}out_proj.weight`, outProj.data);
      weights.set(`${prefix}out_proj.bias`, outBias);
    },
  };
};

/** C2 (a): the address in the state. A group has the head of one look-up, with two channels a value. */
const planMamba2: Planner = (lookUps, { dModel, one }) => {
  const nGroups = lookUps.length;
  const dState = longest(lookUps.map(({ codes }) => codes));
  const channelsNeeded = 2 * longest(lookUps.map(({ values }) => values));
  let expand = Math.ceil((nGroups * channelsNeeded) / dModel);
  while ((expand * dModel) % nGroups !== 0) expand++;
  const dInner = expand * dModel;
  const headDim = dInner / nGroups;
  const dGroups = nGroups * dState;
  const projected = 2 * dInner + 2 * dGroups + nGroups;
  return {
    config: { type: 'mamba2', dState, dConv: 0, expand, headDim, nGroups },
    parameters: 3 * nGroups + dModel * (projected + dInner) + dInner,
    floatsKept: () => dInner * dState,
    write(weights, prefix) {
      const inProj = new Matrix(projected, dModel); // z, x, B, C, dt
      const norm = new Float32Array(dInner);
      const outProj = new Matrix(dModel, dInner);
      for (let channel = 0; channel < dInner; channel++) inProj.row(channel)[one] = OPEN;
      lookUps.forEach(({ key, query, values, codes, channels }, group) => {
        const first = group * headDim;
        values.forEach((value, i) => {
          linearRow(inProj.row(dInner + first + 2 * i), value, one, OPEN);
          linearRow(inProj.row(dInner + first + 2 * i + 1), value, one, -OPEN);
          outProj.row(channels[i]).set([1, -1], first + 2 * i);
        });
        codes.forEach((code, i) => {
          const B = 2 * dInner + group * dState + i;
          matchRow(inProj.row(B), key, code, one, OPEN);
          matchRow(inProj.row(B + dGroups), query, code, one, OPEN);
        });
        // One channel of each pair has the size a, the others 0: the mean of squares is a^2 values / headDim.
        norm.fill(Math.sqrt(values.length / headDim), first, first + headDim);
      });
      weights.set(`${prefix}dt_bias`, new Float32Array(nGroups).fill(OPEN)); // dt = 128, always
      weights.set(`${prefix}A_log`, new Float32Array(nGroups).fill(-40)); // e^(-128 e^-40) rounds to 1
      weights.set(`${prefix}D`, new Float32Array(nGroups));
      weights.set(`${prefix}in_proj.weight`, inProj.data);
      weights.set(`${prefix}norm.weight`, norm);
      weights.set(`${prefix}out_proj.weight`, outProj.data);
    },
  };
};

/** C2 (b) with heads for registers. B and C are their biases, (1/128, 0) and (1, 0). */
const planMamba3: Planner = (lookUps, { dModel, one }) => {
  const nHeads = lookUps.reduce((sum, { codes }) => sum + codes.length, 0);
  const headDim = longest(lookUps.map(({ values }) => values));
  const dInner = nHeads * headDim;
  const dState = 2; // the least
  const projected = 2 * dInner + 2 * dState + 3 * nHeads + 1;
  return {
    config: { type: 'mamba3', dState, dInner, headDim, nAngles: 1 },
    parameters: (projected + dInner) * dModel + 2 * nHeads * (1 + dState) + 2 * dState,
    floatsKept: () => nHeads * (headDim * dState + dState + headDim + 1),
    write(weights, prefix) {
      const inProj = new Matrix(projected, dModel); // z, x, B, C, dt, A, trap, angles
      const outProj = new Matrix(dModel, dInner);
      const BBias = new Matrix(nHeads, dState);
      const CBias = new Matrix(nHeads, dState);
      const firstStep = 2 * dInner + 2 * dState;
      let head = 0;
      for (const { key, query, values, codes, channels } of lookUps) {
        for (const code of codes) {
          matchRow(inProj.row(firstStep + head), key, code, one, OPEN);
          inProj.row(firstStep + 2 * nHeads + head)[one] = OPEN; // trap; A is f(0) = -1
          for (const [i, value] of values.entries()) {
            const channel = head * headDim + i;
            matchRow(inProj.row(channel), query, code, one, OPEN);
            linearRow(inProj.row(dInner + channel), value, one);
            outProj.row(channels[i])[channel] = 1 / OPEN;
          }
          BBias.row(head)[0] = 1 / OPEN; // dt B x = x
          CBias.row(head)[0] = 1;
          head++;
        }
      }
      weights.set(`${prefix}dt_bias`, new Float32Array(nHeads));
      weights.set(`${prefix}B_bias`, BBias.data);
      weights.set(`${prefix}C_bias`, CBias.data);
      weights.set(`${prefix}B_norm.weight`, new Float32Array(dState));
      weights.set(`${prefix}C_norm.weight`, new Float32Array(dState));
      weights.set(`${prefix}D`, new Float32Array(nHeads));
      weights.set(`${prefix}in_proj.weight`, inProj.data);
      weights.set(`${prefix}out_proj.weight`, outProj.data);
    },
  };
};

/** The plan of a layer of look-ups, by mixer. */
export const planners: Record<LookUpMixer, Planner> = {
  'softmax-attention': planSoftmax,
  'linear-attention': planLinear,
  mamba: planMamba,
  mamba2: planMamba2,
  mamba3: planMamba3,
};
