import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { fill, type HostArgs, type HostTensor, normal, run } from './cases/case.ts';
import { expectClose } from './compare.ts';
import { guarded } from './kernels.ts';

const channels = 10;

const example = (width: number, seqLen: number): Record<string, HostTensor> => {
  const rng = random(11);
  return {
    x: normal(rng, [1, seqLen, channels]),
    weight: normal(rng, [channels, width]),
    bias: normal(rng, [channels]),
  };
};

/** Steps [begin, end) of a tensor [1, seqLen, channels]. */
const rows = ({ data }: HostTensor, begin: number, end: number): HostTensor =>
  fill([1, end - begin, channels], (i) => data[begin * channels + i]);

describe.each(guarded)('%s', (_variant, k) => {
  describe.each([2, 3, 4, 8])('of width %i', (width) => {
    it.each([1, 2, 11, 22])('gives in two parts, cut at %i, what it gives in one', (cut) => {
      const { x, ...others } = example(width, 23);
      const args: HostArgs = { ...others, activation: 'silu' };
      const whole = run(k, 'causalConv1d', { ...args, x });
      const first = run(k, 'causalConv1d', { ...args, x: rows(x, 0, cut) });
      const second = run(k, 'causalConv1d', {
        ...args,
        x: rows(x, cut, 23),
        initialState: first.lastState,
      });
      expectClose('y', first.y, rows(whole.y, 0, cut), 1e-6);
      expectClose('y', second.y, rows(whole.y, cut, 23), 1e-6);
      expect(second.lastState.data).toEqual(whole.lastState.data);
    });

    it('gives in steps what it gives in one, on the state that a sequence left', () => {
      const args: HostArgs = { ...example(width, 20), activation: 'silu' };
      const whole = run(k, 'causalConv1d', args);
      let { lastState: state } = run(k, 'causalConv1d', { ...args, x: rows(args.x as HostTensor, 0, 9) });
      for (let t = 9; t < 20; t++) {
        const x = { shape: [1, channels], data: rows(args.x as HostTensor, t, t + 1).data };
        const step = run(k, 'causalConv1dStep', { ...args, x, state }, ['state']);
        state = step.state;
        expectClose(`y at ${t}`, step.y, { shape: [1, channels], data: rows(whole.y, t, t + 1).data }, 1e-6);
      }
      expect(state.data).toEqual(whole.lastState.data);
    });
  });

  it('looks at nothing to come: a change at one step changes no step before it, and width steps from it on', () => {
    const args = example(4, 30);
    const changed = { ...args, x: { ...args.x, data: args.x.data.slice() } };
    for (let c = 0; c < channels; c++) changed.x.data[13 * channels + c] += 1;
    const before = run(k, 'causalConv1d', args).y;
    const after = run(k, 'causalConv1d', changed).y;
    for (let t = 0; t < 30; t++) {
      const same = rows(before, t, t + 1).data.every((value, c) => value === rows(after, t, t + 1).data[c]);
      expect(same, `step ${t}`).toBe(t < 13 || t > 16);
    }
  });

  it('has no state to give or take with width 1', () => {
    const args = example(1, 6);
    expect(Object.keys(run(k, 'causalConv1d', args))).toEqual(['y']);
    const state = fill([1, 1, channels], () => 0);
    expect(() => run(k, 'causalConv1d', { ...args, initialState: state })).toThrow(
      'must be absent, as width is 1',
    );
    const step = { ...args, x: fill([1, channels], () => 1) };
    expect(() => run(k, 'causalConv1dStep', { ...step, state })).toThrow('must be absent, as width is 1');
  });

  it('takes an absent upstream gradient for zeros', () => {
    const args = { ...example(4, 12), activation: 'silu' };
    const dLastState = normal(random(2), [1, 3, channels]);
    const absent = run(k, 'causalConv1dBackward', { ...args, dLastState });
    const given = run(k, 'causalConv1dBackward', {
      ...args,
      dLastState,
      dy: fill([1, 12, channels], () => 0),
    });
    expect(rows(absent.dx, 9, 12).data).toEqual(dLastState.data);
    for (const name of Object.keys(given)) expectClose(name, absent[name], given[name], 0);
  });

  it.each<[string, (args: HostArgs) => HostArgs, string]>([
    [
      'weights of other channels',
      (args) => ({ ...args, weight: fill([channels + 1, 4], () => 0) }),
      'weight must be',
    ],
    ['a bias of another size', (args) => ({ ...args, bias: fill([1], () => 0) }), 'bias must be'],
    [
      'an unknown activation',
      (args) => ({ ...args, activation: 'gelu' }),
      'activation must be one of none, silu',
    ],
    [
      'a state as wide as the weights',
      (args) => ({ ...args, initialState: fill([1, 4, channels], () => 0) }),
      'initialState must be',
    ],
    [
      'integers',
      (args) => ({ ...args, x: { shape: [1, 5, channels], data: new Int32Array(5 * channels) } }),
      'x must be float32',
    ],
    ['no weights', (args) => ({ ...args, weight: undefined }), 'weight must be'],
  ])('refuses %s', (_title, change, message) => {
    const { usedBytes } = k.memory;
    expect(() => run(k, 'causalConv1d', change(example(4, 5)))).toThrow(`causalConv1d: ${message}`);
    expect(k.memory.usedBytes).toBe(usedBytes);
  });

  it('refuses to step without a state, and to go backwards from nothing', () => {
    const args = example(4, 5);
    const x = fill([1, channels], () => 1);
    expect(() => run(k, 'causalConv1dStep', { ...args, x })).toThrow('causalConv1dStep: state must be');
    expect(() => run(k, 'causalConv1dBackward', args)).toThrow('dy must be given, or dLastState');
  });
});
