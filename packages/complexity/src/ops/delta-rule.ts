import { product, type Size, sum } from '../expression.js';
import { type Grain, numberOf, op, type Op } from './op.js';

/** Queries and keys are normalised to length 1, as DeltaNet has them. */
export interface DeltaRuleSizes {
  batch: Size;
  seqLen: Size;
  nHeads: Size;
  /** Width of queries and keys. */
  headDim: Size;
  /** Of values; headDim if absent. */
  valueDim?: Size;
  /** Whether there is a forget factor a head and step. */
  gated?: boolean;
  initialState?: boolean;
}

function sizesOf(
  g: Grain,
  { batch, seqLen, nHeads, headDim, valueDim = headDim, gated = false }: DeltaRuleSizes,
) {
  const row = product(batch, seqLen, nHeads);
  const [wide, wideValue] = [g.round(headDim, 8), g.round(valueDim, 8)];
  return {
    row,
    wide,
    wideValue,
    cells: product(wide, wideValue),
    four: g.round(headDim, 4),
    fourOfValue: g.round(valueDim, 4),
    keys: product(row, headDim),
    values: product(row, valueDim),
    stateSize: product(batch, nHeads, headDim, valueDim),
    numbers: product(gated ? 2 : 1, row), // beta and decay
    exps: gated ? product(row, g.kernel ? 4 : 1) : 0,
    blocks: g.kernel ? Math.ceil(numberOf(seqLen) / 32) : 0,
    heads: product(batch, nHeads),
  };
}

/** One row made a unit vector: its length, and the products. */
const normalized = (g: Grain, headDim: Size, four: Size) => ({
  macs: g.tail(headDim),
  other: sum(four, 4, g.extra(5)),
});

export function deltaRule(g: Grain, s: DeltaRuleSizes): Op {
  const sizes = sizesOf(g, s);
  const { row, wide, wideValue, cells, four, fourOfValue, keys, values, stateSize, numbers, exps } = sizes;
  const { blocks, heads } = sizes;
  const key = normalized(g, s.headDim, four);
  return op({
    // a write and two reads of the state: what the next step recalls, and its output
    macs: sum(
      product(row, sum(product(3, cells), product(2, key.macs), wide, wideValue)),
      g.extra(product(2 * blocks, heads, cells)),
    ),
    other: product(
      row,
      sum(
        cells,
        product(2, key.other),
        product(6, wideValue),
        g.extra(sum(product(2, fourOfValue), product(1 / 2, wideValue), 9)),
      ),
    ),
    transcendentals: exps,
    read: {
      activations: sum(product(2, keys), values, numbers),
      ...(s.initialState && { state: stateSize }),
    },
    written: { activations: values, state: stateSize },
  });
}

/** Two passes find what each step wrote and its gradient, two more the gradients of queries and keys. */
export function deltaRuleBackward(g: Grain, s: DeltaRuleSizes): Op {
  const sizes = sizesOf(g, s);
  const { row, wide, wideValue, cells, four, fourOfValue, keys, values, numbers, exps, blocks, heads } =
    sizes;
  const { gated = false, headDim, seqLen } = s;
  const key = normalized(g, headDim, four);
  const pairs = sum(row, product(-1, heads)); // of neighbouring steps
  // With a decay, the last step is a block of its own.
  const firstBlocks =
    gated && g.kernel && numberOf(seqLen) > 1 ? Math.ceil((numberOf(seqLen) - 1) / 32) + 1 : blocks;
  return op({
    macs: sum(
      product(row, sum(product(12, cells), product(9, key.macs), product(4, wide), product(6, wideValue))),
      gated ? product(pairs, wideValue) : 0,
      g.extra(product(2 * firstBlocks + firstBlocks, heads, cells)),
    ),
    other: sum(
      product(
        row,
        sum(
          product(4, cells),
          product(9, key.other),
          product(12, wideValue),
          product(8, headDim), // keys' and queries' gradients, made to stand upright on them
          product(2, four),
          product(2, fourOfValue),
          g.extra(sum(product(6, fourOfValue), product(1 / 2, wideValue), 58)),
        ),
      ),
      // the gradient of the decay: a sum over the last state, then a difference from step to step
      gated
        ? sum(product(3, heads, cells), product(2, pairs), g.extra(product(pairs, sum(fourOfValue, 9))))
        : 0,
    ),
    transcendentals: gated ? sum(product(4, exps), product(g.kernel ? -8 : -2, heads)) : 0,
    read: { activations: sum(product(2, keys), product(2, values), numbers) },
    written: { activations: sum(product(2, keys), values, numbers) },
  });
}

export function deltaRuleStep(g: Grain, sizes: Omit<DeltaRuleSizes, 'seqLen'>): Op {
  const s = { ...sizes, seqLen: 1 };
  const { row, four, fourOfValue, keys, values, stateSize, numbers, exps } = sizesOf(g, s);
  const key = normalized(g, s.headDim, four);
  const cells = product(s.headDim, fourOfValue);
  return op({
    macs: product(row, sum(product(3, cells), product(2, key.macs), fourOfValue)),
    other: product(row, sum(cells, product(2, key.other), fourOfValue)),
    transcendentals: exps,
    read: { activations: sum(product(2, keys), values, numbers), state: stateSize },
    written: { activations: values, state: stateSize },
  });
}
