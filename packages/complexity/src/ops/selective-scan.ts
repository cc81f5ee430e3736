import { ceil, type Expression, product, type Size, sum } from '../expression.js';
import { type Grain, numberOf, op, type Op } from './op.js';

export interface ScanSizes {
  batch: Size;
  seqLen: Size;
  dInner: Size;
  dState: Size;
  /** Whether there is a gate z; true if absent. D, deltaBias and softplus are always there: as in Mamba. */
  z?: boolean;
  initialState?: boolean;
}

const FORWARD_CHUNK = 64;
const BACKWARD_CHUNK = 128;

/** Chunks of time that the kernel goes by, and what each looks at first: whether exponents are small. */
function chunks(g: Grain, seqLen: Size, dState: Size, most: number): number {
  if (!g.kernel) return 0;
  return Math.ceil(numberOf(seqLen) / Math.max(16, Math.min(most, Math.floor(4096 / numberOf(dState)))));
}

/** Parts of the batch and of the channels, from which the kernel adds up the gradients of what these share. */
function partsOf({ batch, seqLen, dInner, dState }: ScanSizes): [batchParts: number, channelParts: number] {
  const [sequences, channels] = [numberOf(batch), numberOf(dInner)];
  const nanoseconds = 2 * sequences * numberOf(seqLen) * channels * numberOf(dState);
  const most = Math.max(1, Math.min(16, Math.floor(nanoseconds / 20_000)));
  const batchParts = Math.ceil(sequences / Math.ceil(sequences / most));
  const least = Math.max(channels / Math.floor(most / batchParts), 64);
  return [batchParts, Math.ceil(channels / (16 * Math.ceil(least / 16)))];
}

/** Adds up parts of so many elements each, on whole vectors. */
const addedUp = (g: Grain, elements: Size, parts: number): Size =>
  parts === 1 ? 0 : product(parts + 1, g.round(elements, 4));

/** Operations on each state of each step: one exp, and the update and the read-out. */
interface Counts {
  macs: Expression;
  other: Expression;
  transcendentals: Expression;
}

function scan(g: Grain, seqLen: Size, { batch, dInner, dState }: ScanSizes, checks: number): Counts {
  const channels = product(batch, g.round(dInner, 4));
  const steps = product(channels, seqLen);
  const states = product(steps, dState);
  return {
    macs: product(2, states),
    // exponents and inputs; softplus of delta and its bias, and what both are made from
    other: sum(product(2, states), product(4, steps), g.extra(product(checks, channels, dState))),
    transcendentals: sum(states, product(2, steps)),
  };
}

const size = ({ batch, seqLen, dInner }: ScanSizes) => product(batch, seqLen, dInner);
const stateSize = ({ batch, dInner, dState }: ScanSizes) => product(batch, dInner, dState);
const rowsSize = ({ batch, seqLen, dState }: ScanSizes) => product(2, batch, seqLen, dState);
const weights = ({ dInner, dState }: ScanSizes) => product(dInner, sum(dState, 2));

/** Selective scan with D, deltaBias and softplus, as Mamba has it. */
export function selectiveScan(g: Grain, sizes: ScanSizes): Op {
  const { batch, seqLen, dInner, dState, z = true } = sizes;
  const { macs, other, transcendentals } = scan(g, seqLen, sizes, chunks(g, seqLen, dState, FORWARD_CHUNK));
  const steps = product(batch, g.round(dInner, 4), seqLen);
  return op({
    macs: sum(macs, steps),
    other: sum(other, z ? product(3, steps) : 0),
    transcendentals: sum(transcendentals, z ? steps : 0),
    read: {
      activations: sum(product(z ? 3 : 2, size(sizes)), rowsSize(sizes)),
      weights: weights(sizes),
      ...(sizes.initialState && { state: stateSize(sizes) }),
    },
    written: { activations: size(sizes), state: stateSize(sizes) },
  });
}

/** States are computed twice more: to the starts of the chunks, and within each. */
export function selectiveScanBackward(g: Grain, sizes: ScanSizes): Op {
  const { batch, seqLen, dInner, dState, z = true } = sizes;
  const count = chunks(g, seqLen, dState, BACKWARD_CHUNK);
  const length = g.kernel ? numberOf(seqLen) : 0;
  // The last chunk's states are computed once.
  const blocks = ceil(product(1 / BACKWARD_CHUNK, seqLen)); // up to a dState of 32; then chunks are shorter
  const before: Size = g.kernel
    ? (count - 1) * Math.ceil(length / count)
    : sum(seqLen, product(-1, seqLen, blocks.inverse()));
  const again = scan(
    g,
    before,
    sizes,
    g.kernel && numberOf(before) > 0 ? chunks(g, before, dState, BACKWARD_CHUNK) : 0,
  );
  const once = scan(g, seqLen, sizes, count);
  const steps = product(batch, g.round(dInner, 4), seqLen);
  const states = product(steps, dState);
  // B and C serve all channels: the lanes of their gradients are added up, for each part of the channels.
  const [batchParts, channelParts] = g.kernel ? partsOf(sizes) : [1, 1];
  const rows = sum(
    product(8 * channelParts, batch, seqLen, g.round(dState, 4)),
    product(2, addedUp(g, product(batch, seqLen, dState), channelParts)),
    addedUp(g, product(dInner, dState), batchParts),
    product(2, addedUp(g, dInner, batchParts)),
  );
  return op({
    macs: sum(again.macs, once.macs, product(6, states), product(z ? 5 : 3, steps)),
    other: sum(again.other, once.other, product(2, states), product(z ? 15 : 6, steps), g.extra(rows)),
    transcendentals: sum(again.transcendentals, once.transcendentals, product(z ? 3 : 1, steps)),
    read: { activations: sum(product(z ? 4 : 3, size(sizes)), rowsSize(sizes)), weights: weights(sizes) },
    written: {
      activations: sum(product(z ? 3 : 2, size(sizes)), rowsSize(sizes)),
      gradients: weights(sizes),
      ...(sizes.initialState && { state: stateSize(sizes) }),
    },
  });
}

export function selectiveScanStep(g: Grain, sizes: Omit<ScanSizes, 'seqLen'>): Op {
  const all: ScanSizes = { ...sizes, seqLen: 1, initialState: true };
  if (g.kernel && numberOf(sizes.dState) % 4 !== 0) return selectiveScan(g, all);
  const { batch, dInner, dState, z = true } = all;
  const states = product(batch, dInner, dState);
  const lanes = product(batch, g.round(dInner, 4));
  return op({
    macs: sum(product(2, states), lanes),
    other: sum(product(2, states), product(z ? 7 : 4, lanes), g.extra(product(3, lanes))),
    transcendentals: sum(states, product(z ? 3 : 2, lanes)),
    read: {
      activations: sum(product(z ? 3 : 2, size(all)), rowsSize(all)),
      weights: weights(all),
      state: stateSize(all),
    },
    written: { activations: size(all), state: stateSize(all) },
  });
}
