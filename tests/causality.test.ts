import { describe, expect, it } from 'vitest';
import {
  argsOf,
  type Case,
  gradientName,
  type HostArgs,
  type HostTensor,
  isTensor,
  run,
  runReference,
  type Size,
  titleOf,
  upstream,
} from './cases/case.ts';
import { cases } from './cases/index.ts';
import { guarded } from './kernels.ts';

// Kernels compute in blocks of steps. Within a block a later step must not reach an earlier one even as a factor of 0,
// since 0 times NaN or Infinity is NaN. So each test puts such values into one step of one batch item and asks which
// outputs change: what does not depend on that step keeps its bits.

/**
 * The inputs of each op that have steps, `[batch, steps, ...]`. `read` are those that only their own step's output
 * reads, `written` those that go into a state, or into what later steps see.
 */
const sequences: Record<string, { read: string[]; written: string[] }> = {
  selectiveScan: { read: ['C', 'z'], written: ['u', 'delta', 'B'] },
  ssd: { read: ['C', 'z'], written: ['x', 'dt', 'B'] },
  mamba3: { read: ['C'], written: ['x', 'dt', 'A', 'trap', 'B', 'angles'] },
  mamba3Gate: { read: ['x', 'z'], written: [] },
  linearAttention: { read: ['q'], written: ['k', 'v', 'decay', 'gate'] },
  deltaRule: { read: ['q'], written: ['k', 'v', 'beta'] },
  gatedDeltaRule: { read: ['q'], written: ['k', 'v', 'beta', 'decay'] },
  softmaxAttention: { read: ['q'], written: ['k', 'v'] },
  causalConv1d: { read: [], written: ['x'] },
  rope: { read: ['x'], written: [] },
};

/**
 * What goes into the state of a linear recurrence: gradients of an earlier step do not depend on it, except where later
 * outputs are divided by a sum over keys. `exceptions` are gradients that are summed from the end, over all steps.
 */
const intoState: Record<string, { inputs: string[]; exceptions: string[] }> = {
  selectiveScan: { inputs: ['u', 'B'], exceptions: [] },
  ssd: { inputs: ['x', 'B'], exceptions: [] },
  mamba3: { inputs: ['x', 'B'], exceptions: ['ddt', 'dangles'] }, // later angles are sums of the earlier ones
  linearAttention: { inputs: ['k', 'v'], exceptions: ['ddecay', 'dgate'] },
};

const hasSteps = (size: Size) => size.seqLen !== undefined || size.qLen !== undefined;
const sequenceCases = cases.filter(({ op }) => op in sequences);
/** Ops on sequences that have no output per step: one looks up integers, the other gives one number. */
const withoutSteps = ['embedding', 'crossEntropy'];

/** Numbers of an input from which on its definition takes too long to be computed anew for each step. */
const LARGE = 4000;

/** Every step of a short sequence; of a long one the ends and some between; by turns with NaN and with Infinity. */
function poisonsOf({ shape, data }: HostTensor): { step: number; value: number }[] {
  const length = shape[1];
  const count = Math.min(length, data.length < LARGE ? 12 : 3);
  return Array.from({ length: count }, (_, i) => ({
    step: Math.round((i * (length - 1)) / Math.max(1, count - 1)),
    value: i % 2 === 0 ? NaN : Infinity,
  }));
}

/** A tensor `[batch, steps, ...]` with `value` throughout one step of its first batch item. */
function poisoned({ shape, data }: HostTensor, step: number, value: number): HostTensor {
  const width = data.length / shape[0] / shape[1];
  const copy = data.slice();
  copy.fill(value, step * width, (step + 1) * width);
  return { shape, data: copy };
}

/** The tensors named that are there and have steps: shared ones, such as a decay per head, have a lower rank. */
const given = (args: HostArgs, names: string[]): [string, HostTensor][] =>
  names
    .map((name): [string, unknown] => [name, args[name]])
    .filter((entry): entry is [string, HostTensor] => isTensor(entry[1]) && entry[1].shape.length >= 3);

const bits = (data: HostTensor['data']) => new Uint32Array(data.buffer, data.byteOffset, data.length);

/** Gradients of parameters of three axes, which no other gradient of what all items share has. */
const ofParameters = new Set(['dBBias', 'dCBias', 'dMimoX', 'dMimoZ', 'dMimoO']);

/** Numbers of a batch item, and their step: sums of scores are `[batch, nHeads, qLen]`, a state has no step. */
function placesOf(name: string, { shape, data }: HostTensor) {
  const itemSize = data.length / shape[0];
  const isState = /normalizer|state|^last/i.test(name);
  const width = itemSize / shape[1];
  const stepOf = isState
    ? () => undefined
    : name === 'logSumExp'
      ? (i: number) => i % shape[2]
      : (i: number) => Math.floor((i % itemSize) / width);
  return { itemSize, stepOf };
}

/** Fails at the first number that must stay as it was and does not. @returns how many must stay */
function expectKept(
  label: string,
  before: Record<string, HostTensor>,
  after: Record<string, HostTensor>,
  mustStay: (name: string, index: number, step: number | undefined) => boolean,
): number {
  let kept = 0;
  for (const [name, tensor] of Object.entries(before)) {
    const { itemSize, stepOf } = placesOf(name, tensor);
    const [old, now] = [bits(tensor.data), bits(after[name].data)];
    for (let i = 0; i < old.length; i++) {
      // Only the first batch item has the poison; a gradient of what all items share has no items.
      const isOther = i >= itemSize && tensor.shape.length >= 3 && !ofParameters.has(name);
      if (!isOther && !mustStay(name, i, stepOf(i))) continue;
      kept++;
      if (old[i] !== now[i]) {
        expect.fail(`${label}: ${name}[${i}] changes from ${tensor.data[i]} to ${after[name].data[i]}`);
      }
    }
  }
  return kept;
}

it('knows which inputs of each op have steps', () => {
  const ops = new Set(cases.filter(({ sizes }) => sizes.some(hasSteps)).map(({ op }) => op));
  expect([...ops].sort()).toEqual([...Object.keys(sequences), ...withoutSteps].sort());
});

/** The position of the first query among the keys. */
const offsetOf = (args: HostArgs) => Number(args.queryOffset ?? 0);
const isCausal = (c: Case, args: HostArgs) => c.op !== 'softmaxAttention' || args.causal === true;

describe.each(guarded)('%s', (_variant, k) => {
  describe.each(sequenceCases.map((c) => [titleOf(c), c] as const))('%s', (_title, c) => {
    const { read, written } = sequences[c.op];

    it.each(c.sizes)('keeps outputs that do not depend on a step with NaN or Infinity, at %o', (size) => {
      const args = argsOf(c, size);
      const causal = isCausal(c, args);
      const before = run(k, c.op, args, c.updates);
      const wanted = runReference(c.op, args);
      let kept = 0;
      for (const [input, tensor] of given(args, [...read, ...written])) {
        const offset = c.op === 'softmaxAttention' && input !== 'q' ? offsetOf(args) : 0;
        for (const { step, value } of poisonsOf(tensor)) {
          const changed = { ...args, [input]: poisoned(tensor, step, value) };
          const reference = tensor.data.length < LARGE ? runReference(c.op, changed) : undefined;
          const after = run(k, c.op, changed, c.updates);
          kept += expectKept(`${input} ${value} at step ${step}`, before, after, (name, i, own) => {
            if (causal && own !== undefined && own + offset < step) return true;
            return reference !== undefined && reference[name].data[i] === wanted[name].data[i];
          });
        }
      }
      const steps = Number(size.seqLen ?? size.qLen);
      if (steps > 1 && causal) expect(kept).toBeGreaterThan(0);
    });

    const { backward } = c;
    if (backward === undefined) return;
    it.each(c.sizes)('keeps gradients of steps after one whose output is NaN or Infinity, at %o', (size) => {
      const args = argsOf(c, size);
      const up = upstream(c, size, runReference(c.op, args));
      const all = { ...args, ...up };
      const causal = isCausal(c, args);
      const attends = c.op === 'softmaxAttention';
      const before = run(k, `${c.op}Backward`, all);
      const withSteps = new Set(given(args, [...read, ...written]).map(([name]) => gradientName(name)));
      const upstreamNames = Object.keys(up).filter((name) => name === 'dy' || name === 'do');
      for (const [input, tensor] of given(all, [...upstreamNames, ...read])) {
        for (const { step, value } of poisonsOf(tensor)) {
          const after = run(k, `${c.op}Backward`, { ...all, [input]: poisoned(tensor, step, value) });
          expectKept(`${input} ${value} at step ${step}`, before, after, (name, _, own) => {
            if (own === undefined || !withSteps.has(name)) return false;
            if (attends && name === 'dq') return own !== step;
            return causal && own > step + (attends ? offsetOf(args) : 0);
          });
        }
      }
    });

    if (!(c.op in intoState)) return;
    const { inputs, exceptions } = intoState[c.op];
    const sizes = c.sizes.filter(({ normalize }) => normalize !== true);
    it.skipIf(sizes.length === 0).each(sizes)(
      'keeps gradients of steps before one whose input is NaN or Infinity, at %o',
      (size) => {
        const args = argsOf(c, size);
        const all = { ...args, ...upstream(c, size, runReference(c.op, args)) };
        const before = run(k, `${c.op}Backward`, all);
        const withSteps = new Set(given(args, [...read, ...written]).map(([name]) => gradientName(name)));
        for (const [input, tensor] of given(args, inputs)) {
          for (const { step, value } of poisonsOf(tensor)) {
            const after = run(k, `${c.op}Backward`, { ...all, [input]: poisoned(tensor, step, value) });
            expectKept(`${input} ${value} at step ${step}`, before, after, (name, _, own) => {
              return own !== undefined && own < step && withSteps.has(name) && !exceptions.includes(name);
            });
          }
        }
      },
    );
  });
});
