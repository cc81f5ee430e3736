import { Expression, product, type Size, sum } from '../expression.js';
import { columnSums } from './matmul.js';
import { type Grain, numberOf, op, type Op } from './op.js';
import type { LinearAttentionSizes } from './sizes.js';

export type { LinearAttentionSizes } from './sizes.js';

function sizesOf(g: Grain, s: LinearAttentionSizes) {
  const { batch, seqLen, nHeads, headDim, valueDim = headDim } = s;
  const { featureMap = 'elu1', normalize = true, forget = 'none' } = s;
  const row = product(batch, seqLen, nHeads);
  return {
    row, // heads and steps
    // keys and values, in whole tiles and in whole vectors
    wideKey: g.round(headDim, 8),
    wideValue: g.round(valueDim, 8),
    cells: product(g.round(headDim, 8), g.round(valueDim, 8)),
    fourKey: g.round(headDim, 4),
    fourValue: g.round(valueDim, 4),
    map: featureMap === 'elu1' ? 1 : 0, // has an exp
    mapped: featureMap === 'identity' ? 0 : 1,
    normal: normalize ? 1 : 0,
    forgets: forget === 'none' ? 0 : 1,
    gate: forget === 'channel',
    decay: forget === 'retention' || forget === 'token',
    keySize: product(row, headDim),
    valueSize: product(row, valueDim),
    stateSize: product(batch, nHeads, sum(product(headDim, valueDim), normalize ? headDim : 0)),
  };
}

/** Elements of the forget factors' logs. */
function forgetElements({ batch, seqLen, nHeads, forget }: LinearAttentionSizes, keySize: Expression) {
  return {
    activations:
      forget === 'token' ? product(batch, seqLen, nHeads) : forget === 'channel' ? keySize : Expression.of(0),
    weights: forget === 'retention' ? Expression.of(nHeads) : Expression.of(0),
  };
}

/** exps of forget factors, of `rows` rows */
const forgetExps = (g: Grain, { gate, decay, fourKey }: ReturnType<typeof sizesOf>, rows: Size) =>
  gate ? product(rows, fourKey) : decay ? product(rows, g.kernel ? 4 : 1) : Expression.of(0);

/** The recurrence: 4 FLOPs a cell of the state and step, one more to forget. */
export function linearAttention(g: Grain, s: LinearAttentionSizes): Op {
  const z = sizesOf(g, s);
  const { row, wideKey, wideValue, cells, fourKey, fourValue, map, normal, forgets, stateSize } = z;
  const { keySize, valueSize } = z;
  const forget = forgetElements(s, keySize);
  const traffic = {
    read: {
      activations: sum(product(2, keySize), valueSize, forget.activations),
      weights: forget.weights,
      ...(s.initialState && { state: stateSize }),
    },
    written: { activations: valueSize, state: stateSize },
  };
  const chunked = g.kernel?.linearAttentionChunked(s);
  if (chunked !== undefined) return { ...chunked, ...traffic };
  return op({
    // state and read-out, the step's own value, the normaliser
    macs: product(row, sum(product(2, cells), wideKey, product(normal, wideKey))),
    other: sum(
      product(
        row,
        sum(
          product(forgets, cells),
          product(1 + map, fourKey), // scale and feature maps of queries
          product(map, fourKey),
          wideValue,
          product(normal, sum(product(1 + forgets, wideKey), wideValue, 2)),
          g.extra(sum(fourKey, product(2, fourValue), 9, 5 * normal)),
        ),
      ),
      s.initialState ? g.extra(product(normal, s.batch, s.nHeads, fourKey)) : 0,
    ),
    transcendentals: sum(product(2 * map, row, fourKey), forgetExps(g, z, row)),
    ...traffic,
  });
}

/** Three passes of the recurrence, two of them backwards in time. */
export function linearAttentionBackward(g: Grain, s: LinearAttentionSizes): Op {
  const z = sizesOf(g, s);
  const { row, wideKey, wideValue, cells, fourKey, fourValue, map, mapped, normal, forgets, gate, decay } = z;
  const { keySize, valueSize } = z;
  const forget = forgetElements(s, keySize);
  const { batch, seqLen, nHeads } = s;
  // Blocks of 32 steps: the second pass needs the factor of the step after as well.
  const blocks = g.kernel ? Math.ceil(numberOf(seqLen) / 32) : 0;
  const shifted = g.kernel ? product(batch, nHeads, blocks - 1) : 0;
  return op({
    macs: product(
      row,
      sum(
        product(6, cells),
        wideValue, // do . v
        product(6 * normal, wideKey),
        product(2, wideKey), // the steps' own values
        wideKey, // q . k of the second pass
        decay ? product(2, wideKey) : 0,
        gate ? product(2, wideKey) : 0,
      ),
    ),
    other: sum(
      product(
        row,
        sum(
          product(3 * forgets, cells),
          product(1 + map, fourKey, 2), // scale and maps of queries, twice
          product(2 * map, fourKey), // maps of keys, twice
          product(1 + 2 * mapped, fourKey), // scale and slopes of gradients
          wideValue,
          product(normal, sum(product(2 + 2 * forgets, wideKey), wideValue, 9)),
          gate ? product(3, wideKey) : 0,
          decay ? (s.forget === 'retention' ? 3 : 2) : 0,
          g.extra(
            sum(product(gate ? 6 : 3, fourKey), product(5, fourValue), 18, 27 * normal, decay ? 18 : 0),
          ),
        ),
      ),
      s.forget === 'retention' && g.kernel && numberOf(batch) > 1 ? columnSums(g, batch, nHeads) : 0,
    ),
    transcendentals: sum(
      product(6 * map, row, fourKey),
      product(2, forgetExps(g, z, row)),
      forgets ? forgetExps(g, z, shifted) : 0,
    ),
    read: {
      activations: sum(product(2, keySize), product(2, valueSize), forget.activations),
      weights: forget.weights,
    },
    written: {
      activations: sum(product(2, keySize), valueSize, forget.activations),
      gradients: forget.weights,
    },
  });
}

export function linearAttentionStep(g: Grain, sizes: Omit<LinearAttentionSizes, 'seqLen'>): Op {
  const s = { ...sizes, seqLen: 1 };
  const z = sizesOf(g, s);
  const { row, fourKey, fourValue, map, normal, forgets, keySize, valueSize, stateSize } = z;
  const { headDim } = s;
  const forget = forgetElements(s, keySize);
  const cells = product(headDim, fourValue);
  return op({
    macs: product(row, sum(product(2, cells))),
    other: product(
      row,
      sum(
        product(g.kernel ? 1 : forgets, cells), // the kernel multiplies by 1 where nothing is forgotten
        product(1 + map, fourKey),
        product(map, fourKey),
        product(normal, sum(product(3 + forgets, headDim), 1)),
        product(normal, fourValue),
        g.extra(sum(fourKey, product(1 - normal, fourValue))),
      ),
    ),
    transcendentals: sum(product(2 * map, row, fourKey), forgetExps(g, z, row)),
    read: {
      activations: sum(product(2, keySize), valueSize, forget.activations),
      weights: forget.weights,
      state: stateSize,
    },
    written: { activations: valueSize, state: stateSize },
  });
}
