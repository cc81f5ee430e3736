import { type Case, type HostArgs, normal, type Size, uniform } from './case.ts';
import type { Random } from '@freelunch/random';

/** Rates from -0.2 to -2.2, so that states neither vanish at once nor stay for ever. */
const rates = (rng: Random, dInner: number, dState: number) => uniform(rng, [dInner, dState], -2.2, -0.2);

/** B or C of a kind: a number of groups, `var` (shared by all channels) or `const`. */
function projection(rng: Random, kind: Size[string], size: number[], step = false) {
  const [batch, seqLen, dInner, dState] = size;
  const times = step ? [batch] : [batch, seqLen];
  if (kind === 'const') return normal(rng, [dInner, dState]);
  if (kind === 'var') return normal(rng, [...times, dState]);
  return normal(rng, [...times, Number(kind), dState]);
}

function inputs(size: Size, rng: Random): HostArgs {
  const [batch, seqLen, dInner, dState] = [size.batch, size.seqLen, size.dInner, size.dState].map(Number);
  const full = [batch, seqLen, dInner];
  const { all, softplus } = size;
  return {
    u: normal(rng, full),
    delta: softplus ? normal(rng, full, Number(size.deltaScale ?? 1)) : uniform(rng, full, 0.05, 1),
    A: rates(rng, dInner, dState),
    B: projection(rng, size.B ?? 'var', [batch, seqLen, dInner, dState]),
    C: projection(rng, size.C ?? 'var', [batch, seqLen, dInner, dState]),
    D: all ? normal(rng, [dInner]) : undefined,
    z: all || size.z ? normal(rng, full) : undefined,
    deltaBias: all || size.bias ? normal(rng, [dInner]) : undefined,
    deltaSoftplus: softplus,
    initialState: all || size.state ? normal(rng, [batch, dInner, dState]) : undefined,
  };
}

function stepInputs(size: Size, rng: Random): HostArgs {
  const [batch, dInner, dState] = [size.batch, size.dInner, size.dState].map(Number);
  const full = [batch, dInner];
  const { all } = size;
  return {
    state: normal(rng, [batch, dInner, dState]),
    u: normal(rng, full),
    delta: all ? normal(rng, full) : uniform(rng, full, 0.05, 1),
    A: rates(rng, dInner, dState),
    B: projection(rng, size.B ?? 'var', [batch, 1, dInner, dState], true),
    C: projection(rng, size.C ?? 'var', [batch, 1, dInner, dState], true),
    D: all ? normal(rng, [dInner]) : undefined,
    z: all ? normal(rng, full) : undefined,
    deltaBias: all ? normal(rng, [dInner]) : undefined,
    deltaSoftplus: all,
  };
}

const every = { all: true, softplus: true };

export const selectiveScanCases: Case[] = [
  {
    op: 'selectiveScan',
    sizes: [
      { batch: 1, seqLen: 1, dInner: 1, dState: 1 },
      { batch: 2, seqLen: 7, dInner: 5, dState: 3, ...every },
      { batch: 1, seqLen: 5, dInner: 18, dState: 4, ...every },
      { batch: 1, seqLen: 9, dInner: 4, dState: 17, softplus: true, bias: true },
      { batch: 1, seqLen: 6, dInner: 3, dState: 5, bias: true, z: true },
      { batch: 2, seqLen: 3, dInner: 6, dState: 1, state: true },
      { batch: 2, seqLen: 150, dInner: 2, dState: 2, ...every },
      { batch: 1, seqLen: 35, dInner: 2, dState: 259, B: 'const', softplus: true },
      { batch: 2, seqLen: 6, dInner: 8, dState: 4, B: 2, C: 2, ...every },
      { batch: 1, seqLen: 5, dInner: 9, dState: 3, B: 3, C: 'var', ...every },
      { batch: 1, seqLen: 4, dInner: 24, dState: 2, B: 3, C: 2, ...every },
      { batch: 2, seqLen: 5, dInner: 6, dState: 5, B: 'const', C: 'const', ...every },
      { batch: 1, seqLen: 8, dInner: 5, dState: 4, B: 'const', C: 5, softplus: true },
      { batch: 1, seqLen: 8, dInner: 6, dState: 2, B: 1, C: 'const', z: true },
    ],
    inputs,
    tolerance: 2e-6,
    backward: {
      tolerance: 2e-5,
      inputs: ['u', 'delta', 'A', 'B', 'C', 'D', 'z', 'deltaBias', 'initialState'],
      outputs: ['y', 'lastState'],
    },
  },
  {
    op: 'selectiveScan',
    title: 'selectiveScan, whose gradients are added up from parts',
    sizes: [
      { batch: 3, seqLen: 40, dInner: 130, dState: 4, ...every },
      { batch: 1, seqLen: 80, dInner: 192, dState: 3, B: 2, C: 'const', ...every },
      { batch: 2, seqLen: 40, dInner: 100, dState: 5, B: 'const', C: 'var', ...every },
    ],
    inputs,
    tolerance: 2e-6,
    backward: {
      tolerance: 2e-5,
      inputs: ['u', 'delta', 'A', 'B', 'C', 'D', 'z', 'deltaBias', 'initialState'],
      outputs: ['y', 'lastState'],
    },
  },
  {
    op: 'selectiveScan',
    title: 'selectiveScan, larger',
    sizes: [
      { batch: 2, seqLen: 200, dInner: 33, dState: 16, ...every },
      { batch: 1, seqLen: 65, dInner: 24, dState: 64, B: 3, C: 6, ...every },
      { batch: 1, seqLen: 130, dInner: 40, dState: 1, ...every },
      { batch: 1, seqLen: 90, dInner: 12, dState: 8, softplus: true, deltaScale: 60 },
    ],
    inputs,
    tolerance: 2e-6,
  },
  {
    op: 'selectiveScanStep',
    sizes: [
      { batch: 1, dInner: 1, dState: 1 },
      { batch: 3, dInner: 5, dState: 4, all: true },
      { batch: 2, dInner: 7, dState: 3, all: true },
      { batch: 2, dInner: 34, dState: 20, all: true },
      { batch: 2, dInner: 6, dState: 8, B: 3, C: 2, all: true },
      { batch: 2, dInner: 6, dState: 8, B: 2, C: 3, all: true },
      { batch: 2, dInner: 6, dState: 4, B: 'const', C: 'var' },
      { batch: 3, dInner: 4, dState: 5, B: 4, C: 'const', all: true },
      { batch: 4, dInner: 4, dState: 4 },
    ],
    inputs: stepInputs,
    updates: ['state'],
    tolerance: 2e-6,
  },
];
