import { ArgumentError, FormatError, loadKernels } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { afterEach, describe, expect, it } from 'vitest';
import { adamW, type Optimizer, type ParameterGroup, sgd } from './index.js';

const k = await loadKernels({ variant: 'simd', guard: true });
afterEach(() => {
  k.checkGuards();
  expect(k.memory.tensors).toBe(0);
});

const makers: [string, (groups: ParameterGroup | ParameterGroup[]) => Optimizer][] = [
  ['adamW', (groups) => adamW(k, groups, { weightDecay: 0.1 })],
  ['sgd', (groups) => sgd(k, groups, { weightDecay: 0.1 })],
  ['sgd with momentum', (groups) => sgd(k, groups, { momentum: 0.9, weightDecay: 0.1 })],
];

/** Two parameters, one of them without decay. */
function pair() {
  const [a, b] = [k.tensor([1, -2, 3, 4, 5], [5]), k.tensor([0.5, 0.25], [2])];
  const groups = [{ parameters: new Map([['a', a]]) }, { parameters: new Map([['b', b]]), weightDecay: 0 }];
  return { a, b, groups };
}

/** Steps with gradients that depend on the parameters and on the step. */
function run({ a, b }: ReturnType<typeof pair>, optimizer: Optimizer, steps: number): void {
  for (let i = 0; i < steps; i++) {
    k.scope(() => {
      const rng = random(optimizer.step);
      const gradient = (tensor: typeof a) =>
        k.tensor(
          tensor.data.map((value) => value + rng.normal()),
          tensor.shape,
        );
      optimizer.update(
        new Map([
          [a, gradient(a)],
          [b, gradient(b)],
        ]),
        0.01,
      );
    });
  }
}

describe.each(makers)('%s', (_name, make) => {
  it('does what its kernel does, with the decay of each group', () => {
    k.scope(() => {
      const ours = pair();
      const theirs = pair();
      const optimizer = make(ours.groups);
      const gradients = [k.tensor([1, 2, 3, 4, 5]), k.tensor([6, 7])];
      const zeros = [theirs.a, theirs.b].map((tensor) => [k.zeros(tensor.shape), k.zeros(tensor.shape)]);
      for (let step = 1; step <= 3; step++) {
        optimizer.update(new Map([ours.a, ours.b].map((tensor, i) => [tensor, gradients[i]])), 0.01);
        [theirs.a, theirs.b].forEach((parameter, i) => {
          const [m, v] = zeros[i];
          const args = {
            parameter,
            gradient: gradients[i],
            learningRate: 0.01,
            weightDecay: i === 0 ? 0.1 : 0,
          };
          if (_name === 'adamW') k.adamW({ ...args, m, v, step });
          else k.sgd({ ...args, velocity: m, momentum: _name === 'sgd' ? 0 : 0.9 });
        });
      }
      expect(ours.a.toArray()).toEqual(theirs.a.toArray());
      expect(ours.b.toArray()).toEqual(theirs.b.toArray());
      optimizer.dispose();
    });
  });

  it('goes on from a saved state to the same bits', () => {
    k.scope(() => {
      const through = pair();
      const whole = make(through.groups);
      run(through, whole, 7);

      const parted = pair();
      const first = make(parted.groups);
      run(parted, first, 3);
      const saved = new Map(
        [...first.state.tensors].map(([name, t]) => [name, k.tensor(t.toArray(), t.shape)]),
      );
      const { step } = first.state;
      first.dispose();
      const second = make(parted.groups);
      second.load({ step, tensors: saved });
      run(parted, second, 4);
      expect(second.step).toBe(7);
      expect(parted.a.toArray()).toEqual(through.a.toArray());
      expect(parted.b.toArray()).toEqual(through.b.toArray());
    });
  });

  it('leaves a parameter without a gradient as it is', () => {
    k.scope(() => {
      const { a, b, groups } = pair();
      const optimizer = make(groups);
      optimizer.update(new Map([[b, k.tensor([1, 1])]]), 0.1);
      expect([...a.data]).toEqual([1, -2, 3, 4, 5]);
      expect([...b.data]).not.toEqual([0.5, 0.25]);
    });
  });

  it('finds the minimum of a parabola', () => {
    k.scope(() => {
      const x = k.tensor([3, -4]);
      const optimizer = make({ parameters: new Map([['x', x]]), weightDecay: 0 });
      for (let i = 0; i < 400; i++) optimizer.update(new Map([[x, x]]), 0.03);
      expect(Math.max(...x.data.map(Math.abs))).toBeLessThan(0.05);
    });
  });

  it('refuses groups that overlap, decays out of range, and states of something else', () => {
    k.scope(() => {
      const { a, groups } = pair();
      expect(() => make([...groups, { parameters: new Map([['a', a]]) }])).toThrow(
        /a must be in one group, got it in two/,
      );
      expect(() => make({ parameters: new Map([['a', a]]), weightDecay: NaN })).toThrow(ArgumentError);
      const optimizer = make(groups);
      expect(() => optimizer.load({ step: -1, tensors: new Map() })).toThrow(FormatError);
      const [name] = optimizer.state.tensors.keys();
      if (name === undefined) return; // nothing is kept
      expect(() => optimizer.load({ step: 1, tensors: new Map() })).toThrow(`must have ${name}, got none`);
      const wrong = new Map([...optimizer.state.tensors.keys()].map((key) => [key, k.zeros([3])]));
      expect(() => optimizer.load({ step: 1, tensors: wrong })).toThrow(
        /must have 5 float32 elements, got 3/,
      );
      expect(optimizer.step).toBe(0);
    });
  });
});
