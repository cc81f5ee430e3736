import { Expression, product, type Size, sum } from './expression.js';
import { type Grain, numberOf, op, type Op } from './op.js';

export interface LinearAttentionSizes {
  batch: Size;
  seqLen: Size;
  nHeads: Size;
  /** Width of keys and of values. */
  headDim: Size;
  featureMap?: 'identity' | 'relu' | 'elu1';
  normalize?: boolean;
  /** Forget factors: fixed a head, one a head and token, or one a key channel and token. */
  forget?: 'none' | 'retention' | 'token' | 'channel';
  initialState?: boolean;
}

function sizesOf(g: Grain, s: LinearAttentionSizes) {
  const { batch, seqLen, nHeads, headDim, featureMap = 'elu1', normalize = true, forget = 'none' } = s;
  const row = product(batch, seqLen, nHeads);
  return {
    row, // heads and steps
    wide: g.round(headDim, 8),
    cells: product(g.round(headDim, 8), g.round(headDim, 8)),
    four: g.round(headDim, 4),
    map: featureMap === 'elu1' ? 1 : 0, // has an exp
    mapped: featureMap === 'identity' ? 0 : 1,
    normal: normalize ? 1 : 0,
    forgets: forget === 'none' ? 0 : 1,
    gate: forget === 'channel',
    decay: forget === 'retention' || forget === 'token',
    size: product(row, headDim),
    stateSize: product(batch, nHeads, sum(product(headDim, headDim), normalize ? headDim : 0)),
  };
}

/** Elements of the forget factors' logs. */
function forgetElements({ batch, seqLen, nHeads, forget }: LinearAttentionSizes, size: Expression) {
  return {
    activations:
      forget === 'token' ? product(batch, seqLen, nHeads) : forget === 'channel' ? size : Expression.of(0),
    weights: forget === 'retention' ? Expression.of(nHeads) : Expression.of(0),
  };
}

/** exps of forget factors, of `rows` rows */
const forgetExps = (g: Grain, { gate, decay, four }: ReturnType<typeof sizesOf>, rows: Size) =>
  gate ? product(rows, four) : decay ? product(rows, g.kernel ? 4 : 1) : Expression.of(0);

/** The recurrence: 4 FLOPs a cell of the state and step, one more to forget. */
export function linearAttention(g: Grain, s: LinearAttentionSizes): Op {
  const z = sizesOf(g, s);
  const { row, wide, cells, four, map, normal, forgets, size, stateSize } = z;
  const forget = forgetElements(s, size);
  return op({
    // state and read-out, the step's own value, the normaliser
    macs: product(row, sum(product(2, cells), wide, product(normal, wide))),
    other: sum(
      product(
        row,
        sum(
          product(forgets, cells),
          product(1 + map, four), // scale and feature maps of queries
          product(map, four),
          wide,
          product(normal, sum(product(2 + forgets, wide), 2)),
          g.extra(sum(product(3, four), 9, 5 * normal)),
        ),
      ),
      s.initialState ? g.extra(product(normal, s.batch, s.nHeads, four)) : 0,
    ),
    transcendentals: sum(product(2 * map, row, four), forgetExps(g, z, row)),
    read: {
      activations: sum(product(3, size), forget.activations),
      weights: forget.weights,
      ...(s.initialState && { state: stateSize }),
    },
    written: { activations: size, state: stateSize },
  });
}

/** Three passes of the recurrence, two of them backwards in time. */
export function linearAttentionBackward(g: Grain, s: LinearAttentionSizes): Op {
  const z = sizesOf(g, s);
  const { row, wide, cells, four, map, mapped, normal, forgets, gate, decay, size } = z;
  const forget = forgetElements(s, size);
  const { batch, seqLen, nHeads } = s;
  // Blocks of 32 steps: the second pass needs the factor of the step after as well.
  const blocks = g.kernel ? Math.ceil(numberOf(seqLen) / 32) : 0;
  const shifted = g.kernel ? product(batch, nHeads, blocks - 1) : 0;
  return op({
    macs: product(
      row,
      sum(
        product(6, cells),
        wide, // do . v
        product(normal, sum(product(6, wide))),
        product(2, wide), // the steps' own values
        wide, // q . k of the second pass
        decay ? product(2, wide) : 0,
        gate ? product(2, wide) : 0,
      ),
    ),
    other: sum(
      product(
        row,
        sum(
          product(3 * forgets, cells),
          product(1 + map, four, 2), // scale and maps of queries, twice
          product(2 * map, four), // maps of keys, twice
          product(1 + 2 * mapped, four), // scale and slopes of gradients
          wide,
          product(normal, sum(product(3 + 2 * forgets, wide), 9)),
          gate ? product(3, wide) : 0,
          decay ? (s.forget === 'retention' ? 3 : 2) : 0,
          g.extra(sum(product(8, four), gate ? product(3, four) : 0, 18, 27 * normal, decay ? 18 : 0)),
        ),
      ),
      s.forget === 'retention' ? g.extra(product(sum(batch, -1), nHeads)) : 0,
    ),
    transcendentals: sum(
      product(6 * map, row, four),
      product(2, forgetExps(g, z, row)),
      forgets ? forgetExps(g, z, shifted) : 0,
    ),
    read: { activations: sum(product(4, size), forget.activations), weights: forget.weights },
    written: { activations: sum(product(3, size), forget.activations), gradients: forget.weights },
  });
}

export function linearAttentionStep(g: Grain, sizes: Omit<LinearAttentionSizes, 'seqLen'>): Op {
  const s = { ...sizes, seqLen: 1 };
  const z = sizesOf(g, s);
  const { row, four, map, normal, forgets, size, stateSize } = z;
  const { headDim } = s;
  const forget = forgetElements(s, size);
  const cells = product(headDim, four);
  return op({
    macs: product(row, sum(product(2, cells))),
    other: product(
      row,
      sum(
        product(g.kernel ? 1 : forgets, cells), // the kernel multiplies by 1 where nothing is forgotten
        product(1 + map, four),
        product(map, four),
        product(normal, sum(product(3 + forgets, headDim), 1)),
        product(normal, four),
        g.extra(product(2 - normal, four)),
      ),
    ),
    transcendentals: sum(product(2 * map, row, four), forgetExps(g, z, row)),
    read: {
      activations: sum(product(3, size), forget.activations),
      weights: forget.weights,
      state: stateSize,
    },
    written: { activations: size, state: stateSize },
  });
}
