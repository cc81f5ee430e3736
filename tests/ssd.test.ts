import type { Kernels, Tensor } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { fill, type HostArgs, type HostTensor, normal, run, runReference, uniform } from './cases/case.ts';
import { expectClose, relativeError } from './compare.ts';
import { guarded } from './kernels.ts';

const [batch, seqLen, nHeads, headDim, nGroups, dState] = [2, 93, 4, 6, 2, 9];

function example(): Record<string, HostTensor> & { dtSoftplus: boolean } {
  const rng = random(7);
  return {
    x: normal(rng, [batch, seqLen, nHeads, headDim]),
    dt: normal(rng, [batch, seqLen, nHeads]),
    A: uniform(rng, [nHeads], -1, -0.05),
    B: normal(rng, [batch, seqLen, nGroups, dState]),
    C: normal(rng, [batch, seqLen, nGroups, dState]),
    D: normal(rng, [nHeads]),
    z: normal(rng, [batch, seqLen, nHeads, headDim]),
    dtBias: uniform(rng, [nHeads], -2, -1),
    dtSoftplus: true,
  } as never;
}

const overTime = ['x', 'dt', 'B', 'C', 'z'];

/** Steps [begin, end) of what runs over time. */
function part(args: HostArgs, begin: number, end: number): HostArgs {
  const cut = { ...args };
  for (const name of overTime) {
    const { shape, data } = args[name] as HostTensor;
    const [, steps, ...rest] = shape;
    const width = rest.reduce((a, b) => a * b, 1);
    cut[name] = fill([batch, end - begin, ...rest], (i) => {
      const row = (end - begin) * width;
      return data[Math.floor(i / row) * steps * width + begin * width + (i % row)];
    });
  }
  return cut;
}

/** Sequences one after the other in time, from those of the parts. */
function join(first: HostTensor, second: HostTensor): HostTensor {
  const [, before, ...rest] = first.shape;
  const after = second.shape[1];
  const width = rest.reduce((a, b) => a * b, 1);
  return fill([batch, before + after, ...rest], (i) => {
    const b = Math.floor(i / ((before + after) * width));
    const at = i % ((before + after) * width);
    if (at < before * width) return first.data[b * before * width + at];
    return second.data[b * after * width + at - before * width];
  });
}

/** Inputs of one head, given step by step. */
function oneHead(steps: { x: number; dt: number; B: number; C: number }[], A: number): HostArgs {
  const over = (name: 'x' | 'dt' | 'B' | 'C', shape: number[]) => fill(shape, (i) => steps[i][name]);
  const { length } = steps;
  return {
    x: over('x', [1, length, 1, 1]),
    dt: over('dt', [1, length, 1]),
    A: fill([1], () => A),
    B: over('B', [1, length, 1, 1]),
    C: over('C', [1, length, 1, 1]),
  };
}

/** Bytes of working memory that a call takes on sequences of a length. */
function working(k: Kernels, op: 'ssd' | 'ssdBackward', length: number): number {
  const args = { ...example(), chunkSize: 16 } as HostArgs;
  for (const name of overTime) {
    const [, , ...rest] = (args[name] as HostTensor).shape;
    args[name] = fill([batch, length, ...rest], (i) => Math.sin(i));
  }
  if (op === 'ssdBackward') args.dy = args.x;
  let most = 0;
  const context = internalsOf(k);
  const { scratch } = context;
  context.scratch = (bytes, use) => {
    most = Math.max(most, bytes);
    return scratch.call(context, bytes, use) as never;
  };
  try {
    run(k, op, args);
  } finally {
    context.scratch = scratch;
  }
  return most;
}

describe.each(guarded)('%s', (_variant, k) => {
  it.each([1, 2, 7, 40, 64, 93, 1024])('gives the same in chunks of %i as its definition', (chunkSize) => {
    const args = example();
    const got = run(k, 'ssd', { ...args, chunkSize });
    const want = runReference('ssd', args);
    expectClose('y', got.y, want.y, 2e-6);
    expectClose('lastState', got.lastState, want.lastState, 2e-6);
  });

  it('gives the same gradients whatever the chunks are', () => {
    const args = example();
    const rng = random(3);
    const up = { dy: normal(rng, args.x.shape), dLastState: normal(rng, [batch, nHeads, headDim, dState]) };
    const want = run(k, 'ssdBackward', { ...args, ...up, chunkSize: 93 });
    for (const chunkSize of [undefined, 1, 17, 32]) {
      const got = run(k, 'ssdBackward', { ...args, ...up, chunkSize });
      for (const name of Object.keys(want)) expectClose(name, got[name], want[name], 3e-6);
    }
  });

  it('gives each item of a batch the gradients that it has alone, also where they do not all fit into its memory', () => {
    const rng = random(4);
    const [items, steps] = [10, 400];
    const rows = normal(rng, [items, steps, 1, 2]);
    const inputs: HostArgs = {
      x: rows,
      dt: uniform(rng, [items, steps, 1], 0, 0.1),
      B: rows,
      C: rows,
      dy: rows,
    };
    const shared = { A: fill([1], () => -0.5), D: fill([1], () => 2), chunkSize: steps };
    const want = run(k, 'ssdBackward', { ...inputs, ...shared });
    let dA = 0;
    for (let item = 0; item < items; item++) {
      const own = Object.entries(inputs as Record<string, HostTensor>).map(([name, { shape, data }]) => {
        const size = data.length / items;
        return [name, { shape: [1, ...shape.slice(1)], data: data.slice(item * size, (item + 1) * size) }];
      });
      const got = run(k, 'ssdBackward', { ...Object.fromEntries(own), ...shared });
      for (const name of ['dx', 'ddt', 'dB', 'dC']) {
        const size = got[name].data.length;
        expect(got[name].data).toEqual(want[name].data.slice(item * size, (item + 1) * size));
      }
      dA += got.dA.data[0];
    }
    expect(want.dA.data[0] / dA).toBeCloseTo(1, 5);
  });

  it.each([
    [41, undefined],
    [1, undefined],
    [50, 16],
    [90, 1],
  ])('gives in two parts, cut at %i, what it gives in one', (cut, chunkSize) => {
    const args = example();
    const whole = run(k, 'ssd', args);
    const first = run(k, 'ssd', { ...part(args, 0, cut), chunkSize });
    const second = run(k, 'ssd', { ...part(args, cut, seqLen), chunkSize, initialState: first.lastState });
    expectClose('y', join(first.y, second.y), whole.y, 2e-6);
    expectClose('lastState', second.lastState, whole.lastState, 2e-6);
  });

  it('gives in steps what it gives in one, on the state that a sequence left', () => {
    const args = example();
    const whole = run(k, 'ssd', args);
    const before = run(k, 'ssd', part(args, 0, 80));
    let state = before.lastState;
    let y = before.y;
    for (let t = 80; t < seqLen; t++) {
      const step: HostArgs = { ...part(args, t, t + 1), state };
      for (const name of overTime) {
        const { shape, data } = step[name] as HostTensor;
        step[name] = { shape: [batch, ...shape.slice(2)], data };
      }
      const got = run(k, 'ssdStep', step, ['state']);
      state = got.state;
      y = join(y, { shape: [batch, 1, nHeads, headDim], data: got.y.data });
    }
    expectClose('y', y, whole.y, 2e-6);
    expectClose('state', state, whole.lastState, 2e-6);
  });

  it('keeps all digits where the decays of a chunk add up to thousands', () => {
    // Most steps forget everything; those that do not must not suffer from the size of the sum before them.
    const rng = random(5);
    const steps = Array.from({ length: 600 }, (_, t) => ({
      x: rng.normal(),
      dt: t % 7 === 0 ? 60 + 20 * rng.float() : 0.05 * rng.float(),
      B: rng.normal(),
      C: rng.normal(),
    }));
    const args = oneHead(steps, -3);
    const want = runReference('ssd', args);
    for (const chunkSize of [40, 600]) {
      expectClose('y', run(k, 'ssd', { ...args, chunkSize }).y, want.y, 1e-6);
    }
    const dy = fill([1, 600, 1, 1], () => rng.normal());
    const gradients = run(k, 'ssdBackward', { ...args, dy, chunkSize: 600 });
    const nudge = 1e-6;
    const objective = (shift: number) => {
      const dt = args.dt as HostTensor;
      const moved = Float64Array.from(dt.data, (value, i) => value + (i === 301 ? shift : 0));
      const { y } = runReference('ssd', args, { dt: { shape: dt.shape, data: moved } });
      return y.data.reduce((total, value, i) => total + value * dy.data[i], 0);
    };
    const slope = (objective(nudge) - objective(-nudge)) / (2 * nudge);
    expect(Math.abs(gradients.ddt.data[301] - slope)).toBeLessThan(2e-5 * Math.abs(slope));
  });

  it('is right where the state grows, and where a step goes backwards', () => {
    const rng = random(6);
    const steps = Array.from({ length: 90 }, () => ({
      x: rng.normal(),
      dt: rng.float() - 0.3,
      B: rng.normal(),
      C: rng.normal(),
    }));
    for (const A of [0.9, -0.9]) {
      const args = oneHead(steps, A);
      const want = runReference('ssd', args);
      for (const chunkSize of [1, 40, 90]) {
        expectClose('y', run(k, 'ssd', { ...args, chunkSize }).y, want.y, 2e-6);
      }
    }
  });

  it('stays finite when steps are enormous: the state is forgotten, the input is not', () => {
    const steps = Array.from({ length: 50 }, () => ({ x: 1, dt: 1e30, B: 1e-30, C: 1 }));
    for (const chunkSize of [1, 16]) {
      const { y } = run(k, 'ssd', { ...oneHead(steps, -1e5), chunkSize });
      for (const value of y.data) expect(value).toBeCloseTo(1, 6);
    }
  });

  it('has no gradient of dt where dtLimit cuts it off, and one elsewhere', () => {
    const args = example();
    const { ddt } = run(k, 'ssdBackward', { ...args, dtLimit: [0.2, 0.4], dy: args.x });
    const step = Array.from(args.dt.data, (value, i) =>
      Math.log1p(Math.exp(value + args.dtBias.data[i % nHeads])),
    );
    const within = step.map((value) => value > 0.2 && value < 0.4);
    expect(within).toContain(true);
    expect(within).toContain(false);
    within.forEach((inside, i) => expect(ddt.data[i] !== 0).toBe(inside));
  });

  it('takes a limit without end', () => {
    const args = example();
    const open = run(k, 'ssd', { ...args, dtLimit: [0, Infinity] });
    expect(open.y.data).toEqual(run(k, 'ssd', args).y.data);
  });

  it('takes an absent upstream gradient for zeros', () => {
    const args = example();
    const dLastState = normal(random(4), [batch, nHeads, headDim, dState]);
    const dy = fill(args.x.shape, () => 0);
    const absent = run(k, 'ssdBackward', { ...args, dLastState });
    const given = run(k, 'ssdBackward', { ...args, dLastState, dy });
    for (const name of Object.keys(given)) {
      expect(relativeError(absent[name].data, given[name].data), name).toBeLessThanOrEqual(1e-7);
    }
  });

  it('works in memory that does not grow with the length, and linearly with it backwards', () => {
    const [short, middle, long] = [320, 640, 1280].map((length) => working(k, 'ssdBackward', length));
    expect(working(k, 'ssd', 1280)).toBe(working(k, 'ssd', 320));
    expect(working(k, 'ssd', 320)).toBeGreaterThan(0);
    expect(long - middle).toBe(2 * (middle - short));
  });

  it('has an effective attention matrix that takes dt x to y', () => {
    const args = example();
    const dtLimit: [number, number] = [0.15, 0.5];
    k.scope(() => {
      const tensors = Object.fromEntries(
        ['x', 'dt', 'A', 'B', 'C', 'dtBias'].map((name) => [
          name,
          k.tensor(args[name].data, args[name].shape),
        ]),
      ) as unknown as Record<'x' | 'dt' | 'A' | 'B' | 'C' | 'dtBias', Tensor<'float32'>>;
      const M = k.effectiveAttention('ssd', { ...tensors, dtSoftplus: true, dtLimit });
      expect(M.shape).toEqual([batch, nHeads, seqLen, seqLen]);
      const { y } = k.ssd({ ...tensors, dtSoftplus: true, dtLimit });
      const { x, dt, dtBias } = args;
      const got = new Float64Array(y.size);
      for (let b = 0; b < batch; b++) {
        for (let h = 0; h < nHeads; h++) {
          for (let i = 0; i < seqLen; i++) {
            for (let j = 0; j < seqLen; j++) {
              const weight = M.data[((b * nHeads + h) * seqLen + i) * seqLen + j];
              if (j > i) expect(weight).toBe(0);
              const token = (b * seqLen + j) * nHeads + h;
              const raw = Math.log1p(Math.exp(dt.data[token] + dtBias.data[h]));
              const step = Math.min(Math.max(raw, 0.15), 0.5);
              for (let p = 0; p < headDim; p++) {
                got[((b * seqLen + i) * nHeads + h) * headDim + p] +=
                  weight * step * x.data[token * headDim + p];
              }
            }
          }
        }
      }
      expect(relativeError(got, y.data)).toBeLessThan(2e-6);
    });
  });

  describe('refuses', () => {
    type Args = Parameters<Kernels['ssd']>[0];
    const with_ = (change: (args: Args) => Record<string, unknown>, op: 'ssd' | 'ssdBackward' = 'ssd') => {
      const before = k.memory;
      const act = () =>
        k.scope(() => {
          const args = Object.fromEntries(
            Object.entries(example()).map(([name, value]) => [
              name,
              typeof value === 'boolean' ? value : k.tensor(value.data as Float32Array, value.shape),
            ]),
          ) as unknown as Args;
          k[op]({ ...args, ...change(args) } as never);
        });
      return { act, unchanged: () => expect(k.memory.usedBytes).toBe(before.usedBytes) };
    };
    const dState2 = [batch, nHeads, headDim, dState + 1];

    it.each<[string, (args: Args) => Record<string, unknown>, string]>([
      ['x of another rank', () => ({ x: k.zeros([batch, seqLen, nHeads]) }), 'ssd: x must be'],
      ['dt of another length', () => ({ dt: k.zeros([batch, 5, nHeads]) }), 'ssd: dt must be'],
      ['A per channel', () => ({ A: k.zeros([nHeads, dState]) }), 'ssd: A must be'],
      [
        'groups that do not divide the heads',
        () => ({ B: k.zeros([batch, seqLen, 3, dState]), C: k.zeros([batch, seqLen, 3, dState]) }),
        'nGroups a divisor of nHeads',
      ],
      ['C unlike B', () => ({ C: k.zeros([batch, seqLen, nGroups, dState + 1]) }), 'ssd: C must be'],
      ['D of another size', () => ({ D: k.zeros([nHeads, headDim + 1]) }), 'ssd: D must be'],
      ['a state of another size', () => ({ initialState: k.zeros(dState2) }), 'ssd: initialState must be'],
      [
        'integers for x',
        () => ({ x: k.zeros([batch, seqLen, nHeads, headDim], 'int32') }),
        'ssd: x must be float32',
      ],
      ['no B', () => ({ B: undefined }), 'ssd: B must be'],
      ['limits that are no numbers', () => ({ dtLimit: [0, NaN] }), 'ssd: dtLimit must be'],
      ['limits in the wrong order', () => ({ dtLimit: [1, 0] }), 'ssd: dtLimit must be'],
      ['one limit', () => ({ dtLimit: [1] }), 'ssd: dtLimit must be'],
      ['a chunk of nothing', () => ({ chunkSize: 0 }), 'ssd: chunkSize must be'],
      ['a chunk of a fraction', () => ({ chunkSize: 1.5 }), 'ssd: chunkSize must be'],
      ['a chunk that is not a number', () => ({ chunkSize: NaN }), 'ssd: chunkSize must be'],
      ['a chunk whose square would not fit', () => ({ chunkSize: 1e6 }), 'ssd: chunkSize must be'],
    ])('%s', (_title, change, message) => {
      const { act, unchanged } = with_(change);
      expect(act).toThrow(message);
      unchanged();
    });

    it('a tensor that was disposed of', () => {
      const { act } = with_((args) => {
        args.x.dispose();
        return {};
      });
      expect(act).toThrow('was disposed of');
    });

    it('to go backwards from nothing', () => {
      const { act, unchanged } = with_(() => ({}), 'ssdBackward');
      expect(act).toThrow('ssdBackward: dy must be given, or dLastState');
      unchanged();
    });
  });
});
