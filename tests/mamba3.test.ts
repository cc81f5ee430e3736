import { ArgumentError, type Kernels, ShapeError, type Tensor } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import {
  argsOf,
  fill,
  give,
  type HostArgs,
  type HostTensor,
  normal,
  run,
  runReference,
} from './cases/case.ts';
import { mamba3Cases } from './cases/mamba3.ts';
import { expectClose } from './compare.ts';
import { guarded } from './kernels.ts';

const [batch, seqLen, nHeads, headDim, dState, nAngles] = [2, 61, 4, 6, 10, 3];
const base = { batch, seqLen, nHeads, headDim, nGroups: 2, dState, nAngles };
const siso = { ...base, shared: true };
const mimo = { ...base, nRanks: 3, half: true };
const example = (size: typeof siso | typeof mimo): HostArgs => argsOf(mamba3Cases[0], size);

const overTime = ['x', 'dt', 'A', 'trap', 'B', 'C', 'angles'];
const states = { lastAngle: 'initialAngle', lastState: 'initialState', lastB: 'initialB', lastX: 'initialX' };

/** Steps [begin, end) of what runs over time, going on from `last`. */
function part(args: HostArgs, begin: number, end: number, last: Record<string, HostTensor>): HostArgs {
  const cut = { ...args };
  for (const name of overTime) {
    const { shape, data } = args[name] as HostTensor;
    const [items, steps, ...rest] = shape;
    const width = rest.reduce((a, b) => a * b, 1);
    cut[name] = fill([items, end - begin, ...rest], (i) => {
      const row = (end - begin) * width;
      return data[Math.floor(i / row) * steps * width + begin * width + (i % row)];
    });
  }
  for (const [from, to] of Object.entries(states)) if (last[from]) cut[to] = last[from];
  return cut;
}

/** Sequences one after the other in time. */
function join(first: HostTensor, second: HostTensor): HostTensor {
  const [items, before, ...rest] = first.shape;
  const width = rest.reduce((a, b) => a * b, 1);
  const steps = before + second.shape[1];
  return fill([items, steps, ...rest], (i) => {
    const item = Math.floor(i / (steps * width));
    const at = i % (steps * width);
    if (at < before * width) return first.data[item * before * width + at];
    return second.data[item * (steps - before) * width + at - before * width];
  });
}

const defined = [example(siso), example(mimo)].map((args) => ({ args, want: runReference('mamba3', args) }));

describe.each(guarded)('%s', (_variant, k) => {
  it.each([1, 2, 7, 13, 40, 61, 1024])('gives the same in chunks of %i as its definition', (chunkSize) => {
    for (const { args, want } of defined) {
      const got = run(k, 'mamba3', { ...args, chunkSize });
      for (const name of Object.keys(want)) expectClose(name, got[name], want[name], 3e-6);
    }
  });

  it('gives the same gradients whatever the chunks are', () => {
    for (const args of [example(siso), example(mimo)]) {
      const rng = random(3);
      const nRanks = (args.B as HostTensor).shape[2];
      const up = { dy: normal(rng, [batch, seqLen, nHeads, nRanks, headDim]) };
      const want = run(k, 'mamba3Backward', { ...args, ...up, chunkSize: 61 });
      for (const chunkSize of [undefined, 1, 17, 32]) {
        const got = run(k, 'mamba3Backward', { ...args, ...up, chunkSize });
        for (const name of Object.keys(want)) expectClose(name, got[name], want[name], 5e-6);
      }
    }
  });

  it.each([
    [41, undefined],
    [1, undefined],
    [50, 16],
    [60, 1],
  ])('gives in two parts, cut at %i, what it gives in one', (cut, chunkSize) => {
    for (const args of [example(siso), example(mimo)]) {
      const whole = run(k, 'mamba3', args);
      const first = run(k, 'mamba3', { ...part(args, 0, cut, {}), chunkSize });
      const second = run(k, 'mamba3', { ...part(args, cut, seqLen, first), chunkSize });
      expectClose('y', join(first.y, second.y), whole.y, 3e-6);
      for (const name of Object.keys(states)) expectClose(name, second[name], whole[name], 3e-6);
    }
  });

  it('gives in steps what it gives in one, on the states that a sequence left', () => {
    for (const args of [example(siso), example(mimo)]) {
      const whole = run(k, 'mamba3', args);
      let { y, ...last } = run(k, 'mamba3', part(args, 0, 50, {}));
      for (let t = 50; t < seqLen; t++) {
        const step = part(args, t, t + 1, {});
        for (const name of overTime) {
          const { shape, data } = step[name] as HostTensor;
          step[name] = { shape: [batch, ...shape.slice(2)], data };
        }
        for (const name of Object.values(states)) delete step[name];
        const carried = {
          angle: last.lastAngle,
          state: last.lastState,
          lastB: last.lastB,
          lastX: last.lastX,
        };
        const got = run(k, 'mamba3Step', { ...step, ...carried }, Object.keys(carried));
        y = join(y, { shape: [batch, 1, ...got.y.shape.slice(1)], data: got.y.data });
        last = { lastAngle: got.angle, lastState: got.state, lastB: got.lastB, lastX: got.lastX };
      }
      expectClose('y', y, whole.y, 3e-6);
      for (const name of Object.keys(states)) expectClose(name, last[name], whole[name], 3e-6);
    }
  });

  it('is ssd where inputs enter at their own step alone and nothing turns', () => {
    const rng = random(4);
    const inputs = {
      x: normal(rng, [batch, seqLen, nHeads, headDim]),
      dt: normal(rng, [batch, seqLen, nHeads]),
      D: normal(rng, [nHeads]),
      dtBias: normal(rng, [nHeads]),
      dtSoftplus: true,
    };
    const [B, C] = [normal(rng, [batch, seqLen, 2, dState]), normal(rng, [batch, seqLen, 2, dState])];
    const A = fill([nHeads], (i) => -0.2 * (i + 1));
    const want = run(k, 'ssd', { ...inputs, A, B, C });
    const ranked = ({ shape, data }: HostTensor) => ({ shape: [batch, seqLen, 1, ...shape.slice(2)], data });
    const got = run(k, 'mamba3', {
      ...inputs,
      A: fill([batch, seqLen, nHeads], (i) => A.data[i % nHeads]),
      B: ranked(B),
      C: ranked(C),
      trap: fill([batch, seqLen, nHeads], () => 200),
      angles: fill([batch, seqLen, 1, nAngles], () => 0),
    });
    expectClose('y', { shape: want.y.shape, data: got.y.data }, want.y, 2e-6);
    expectClose('lastState', got.lastState, want.lastState, 2e-6);
  });

  it('remembers which of n inputs it saw, by angles alone, after thousands of turns', () => {
    // The state is one number that never decays; each step turns it by a seventh of a circle or not at all.
    const length = 4000;
    const rng = random(5);
    const seen = Array.from({ length }, () => rng.integer(2));
    const steps = (value: (t: number) => number) => fill([1, length, 1], value);
    const row = (even: number) => fill([1, length, 1, 1, 2], (i) => (i % 2 === 0 ? even : 0));
    const { y } = run(k, 'mamba3', {
      x: fill([1, length, 1, 1], (t) => (t === 0 ? 1 : 0)),
      dt: steps(() => 1),
      A: steps(() => 0),
      trap: steps(() => 200),
      B: row(1),
      C: row(1),
      angles: fill([1, length, 1, 1], (t) => (t > 0 && seen[t] === 1 ? Math.atanh(2 / 7) : 0)),
    });
    let turns = 0;
    for (let t = 0; t < length; t++) {
      if (t > 0) turns += seen[t];
      expect(Math.abs(y.data[t] - Math.cos((2 * Math.PI * turns) / 7))).toBeLessThan(2e-4);
    }
  });

  it('has an effective attention matrix that takes v to y', () => {
    for (const size of [siso, mimo]) {
      const { D: _, initialAngle, initialState, initialB, initialX, ...args } = example(size);
      expect([initialAngle, initialState, initialB, initialX]).not.toContain(undefined);
      const { y } = run(k, 'mamba3', args);
      k.scope(() => {
        const given = give(k, args) as unknown as Parameters<Kernels['mamba3']>[0];
        const { x, mimoX, ...others } = given;
        const M = k.effectiveAttention('mamba3', others);
        const nRanks = given.B.shape[2];
        const rows = seqLen * nRanks;
        expect(M.shape).toEqual([batch, nHeads, rows, rows]);
        const v = (item: number, head: number, row: number, p: number) => {
          const [t, r] = [Math.floor(row / nRanks), row % nRanks];
          const mix = mimoX ? mimoX.data[(head * nRanks + r) * headDim + p] : 1;
          return x.data[((item * seqLen + t) * nHeads + head) * headDim + p] * mix;
        };
        const got = fill(y.shape, (i) => {
          const p = i % headDim;
          const r = Math.floor(i / headDim) % nRanks;
          const head = Math.floor(i / headDim / nRanks) % nHeads;
          const token = Math.floor(i / headDim / nRanks / nHeads);
          const [item, t] = [Math.floor(token / seqLen), token % seqLen];
          const from = ((item * nHeads + head) * rows + t * nRanks + r) * rows;
          let sum = 0;
          for (let j = 0; j < rows; j++) sum += M.data[from + j] * v(item, head, j, p);
          return sum;
        });
        expectClose('y', got, y, 3e-6);
      });
    }
  });

  it('needs memory backwards that grows linearly with the length, and none per head', () => {
    const bytes = (length: number, heads: number) => {
      k.scope(() => {
        const args = give(
          k,
          argsOf(mamba3Cases[0], { ...siso, nGroups: 1, batch: 1, seqLen: length, nHeads: heads }),
        );
        const given = args as unknown as Parameters<Kernels['mamba3Backward']>[0];
        const before = k.memory.usedBytes;
        k.resetPeak();
        const dy = k.zeros([1, length, heads, 1, headDim]);
        const got = k.mamba3Backward({ ...given, dy });
        const kept = [dy, ...(Object.values(got) as Tensor[])].reduce((sum, { size }) => sum + 4 * size, 0);
        most = k.memory.peakBytes - before - kept;
      });
      return most;
    };
    let most = 0;
    const [short, middle, long] = [400, 800, 1600].map((length) => bytes(length, 8));
    expect((long - middle) / (middle - short)).toBeCloseTo(2, 1);
    expect(bytes(800, 32)).toBeLessThan(1.2 * middle);
  });

  it('says what does not fit', () => {
    type Args = Parameters<Kernels['mamba3']>[0];
    const refused = (
      size: typeof siso | typeof mimo,
      change: (args: Args) => object,
      kind: object,
      message: RegExp,
    ) =>
      k.scope(() => {
        const args = give(k, example(size)) as unknown as Args;
        const act = () => k.mamba3({ ...args, ...change(args) });
        expect(act).toThrow(kind as typeof Error);
        expect(act).toThrow(message);
      });
    refused(
      mimo,
      () => ({ mimoX: undefined }),
      ArgumentError,
      /mamba3: mimoX must be given where nRanks is above 1/,
    );
    refused(siso, () => ({ aFloor: -1 }), ArgumentError, /aFloor must be a finite number from 0/);
    refused(
      siso,
      () => ({ convention: 'third' }),
      ArgumentError,
      /convention must be one of interleaved, half/,
    );
    refused(siso, () => ({ chunkSize: 0 }), ArgumentError, /chunkSize must be a whole number from 1 to 1024/);
    const angles = (heads: number, count: number) => () => ({
      angles: k.zeros([batch, seqLen, heads, count]),
    });
    refused(
      siso,
      angles(3, nAngles),
      ShapeError,
      /angles must be \[..., nHeads = 4, nAngles\] or \[..., 1, nAngles\]/,
    );
    refused(
      siso,
      angles(1, 6),
      ShapeError,
      /angles must be \[..., nAngles\] with nAngles up to dState \/ 2 = 5, got/,
    );
    const B = () => ({
      B: k.zeros([batch, seqLen, 1, 3, dState]),
      C: k.zeros([batch, seqLen, 1, 3, dState]),
    });
    refused(siso, B, ShapeError, /nGroups a divisor of nHeads = 4/);
    k.scope(() => {
      const args = give(k, example(siso)) as unknown as Args;
      expect(() => k.mamba3Backward(args)).toThrow(/dy must be given, or dLastAngle/);
    });
  });
});
