import { ArgumentError, FormatError, FreelunchError, loadKernels, type Tensor } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { OutOfMemoryError } from '@freelunch/errors';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { adamW, constant, cosine, createTape, linearWarmup, type Optimizer, sgd } from './index.js';

const k = await loadKernels({ variant: 'simd', guard: true });
afterEach(() => {
  vi.restoreAllMocks();
  k.checkGuards();
  expect(k.memory.tensors).toBe(0);
});

type FloatTensor = Tensor<'float32'>;

const hostile: unknown[] = [
  undefined,
  null,
  0,
  -1,
  NaN,
  1n,
  'x',
  '0.5',
  true,
  Symbol('s'),
  () => 1,
  [],
  [1],
  {},
  Object.create(null),
  { valueOf: () => 0.5 },
  new Map(),
  new Map([[1, 2]]),
  new Set([1]),
  new Float32Array(1),
  new Proxy({}, {}),
];

/** Runs `fn`, which may succeed or throw one of our errors. */
function expectTyped(what: string, fn: () => unknown): void {
  try {
    fn();
  } catch (error) {
    expect(error, `${what}: ${String(error)}`).toBeInstanceOf(FreelunchError);
  }
}

describe('a tape', () => {
  it('answers each wrong call with one of our errors', () => {
    k.scope(() => {
      const x = k.zeros([2, 2]);
      for (const value of hostile) {
        const given = value as never;
        expectTyped('createTape', () => createTape(given));
        expectTyped('createTape watching', () => createTape(k, given));
        const tape = createTape(k, [x]);
        expectTyped('watch', () => tape.watch(given));
        expectTyped('backward', () => tape.backward(given));
        expectTyped('backward from', () => tape.backward(tape.silu({ x }), given));
        expectTyped('reshape', () => tape.reshape(given, [4]));
        expectTyped('reshape to', () => tape.reshape(x, given));
        expectTyped('checkpoint', () => tape.checkpoint(given, [x]));
        expectTyped('checkpoint of', () => tape.checkpoint((inner) => inner.silu({ x }), given));
        for (const op of ['add', 'split', 'concat', 'silu', 'matmul', 'softmaxAttention'] as const) {
          expectTyped(op, () => tape[op](given));
          expectTyped(`${op} of x`, () =>
            tape[op]({ x: given, a: given, b: x, q: x, parts: given } as never),
          );
        }
        if (typeof value !== 'function') expectTyped('noGrad', () => tape.noGrad(given));
      }
    });
  });

  it('refuses options that an op does not have', () => {
    k.scope(() => {
      const x = k.zeros([2]);
      const tape = createTape(k, [x]);
      expect(() => tape.gelu({ x, aproximate: 'tanh' } as never)).toThrow(
        "gelu: 'aproximate' is not an option; did you mean 'approximate'?",
      );
      expect(() => tape.split({ x, size: [2] } as never)).toThrow(/split: 'size' is not an option/);
    });
  });

  it('goes back over what it was given, whatever became of the lists and objects since', () => {
    k.scope(() => {
      const x = k.tensor([1, 2, 3], [1, 3]);
      const tape = createTape(k, [x]);
      const sizes = [1, 2];
      const [, right] = tape.split({ x, sizes });
      sizes[0] = 3;
      const parts = [right, right];
      const joined = tape.concat({ parts });
      parts.length = 1;
      const args = { x: joined, approximate: 'none' as 'none' | 'tanh' };
      const y = tape.gelu(args);
      const upstream = k.tensor([1, 1, 1, 1], [1, 4]);
      const wanted = k.geluBackward({ x: joined, dy: upstream }).dx.toArray();
      args.approximate = 'tanh';
      const gradient = tape.backward(y, upstream).get(x)!;
      expect([...gradient.data]).toEqual([
        0,
        Math.fround(wanted[0] + wanted[2]),
        Math.fround(wanted[1] + wanted[3]),
      ]);
    });
  });
});

describe.each([
  ['adamW', adamW],
  [
    'sgd',
    (kernels: typeof k, groups: never, options = {}) => sgd(kernels, groups, { momentum: 0.5, ...options }),
  ],
] as [string, (kernels: typeof k, groups: never, options?: object) => Optimizer][])('%s', (name, make) => {
  it('answers each wrong call with one of our errors, and changes nothing', () => {
    k.scope(() => {
      const parameter = k.tensor([1, 2]);
      const parameters = new Map([['p', parameter]]);
      const optimizer = make(k, { parameters } as never);
      for (const value of hostile) {
        const given = value as never;
        k.scope(() => {
          expectTyped('groups', () => make(k, given));
          expectTyped('list of groups', () => make(k, [given] as never));
          expectTyped('parameters', () => make(k, { parameters: given } as never));
          expectTyped('parameter', () => make(k, { parameters: new Map([['p', given]]) } as never));
          expectTyped('options', () => make(k, { parameters } as never, given).dispose());
          expectTyped('weightDecay', () => make(k, { parameters, weightDecay: given } as never).dispose());
        });
        for (const call of [
          () => optimizer.update(given, 1),
          () => optimizer.update(new Map(), given),
          () => optimizer.update(new Map([[parameter, given]]), 1),
          () => optimizer.load(given),
          () => optimizer.load({ step: given, tensors: optimizer.state.tensors }),
          () => optimizer.load({ step: 1, tensors: given }),
        ]) {
          expectTyped('update or load', call);
        }
        expect([...parameter.data]).toEqual([1, 2]);
      }
      expect(() => make(k, { parameters } as never, { lr: 1 })).toThrow(`${name}: 'lr' is not an option`);
      expect(() => make(k, { parameters, decay: 1 } as never)).toThrow(/group: 'decay' is not an option/);
    });
  });

  it('keeps its state beyond the scope in which it was made', () => {
    const parameter = k.tensor([1, 2]);
    let made: Optimizer | undefined;
    k.scope(() => {
      made = make(k, { parameters: new Map([['p', parameter]]) } as never);
    });
    for (let i = 0; i < 3; i++)
      k.scope(() => made!.update(new Map([[parameter as Tensor, k.tensor([1, 1])]]), 0.1));
    expect(made!.step).toBe(3);
    made!.dispose();
    parameter.dispose();
  });

  it('updates all parameters or none', () => {
    k.scope(() => {
      const [p, q] = [k.tensor([1]), k.tensor([2])];
      const optimizer = make(k, {
        parameters: new Map([
          ['p', p],
          ['q', q],
        ]),
      } as never);
      const gradients = new Map<Tensor, Tensor>([
        [p, k.tensor([1])],
        [q, k.tensor([1, 2])],
      ]);
      expect(() => optimizer.update(gradients, 1)).toThrow(
        `${name}: the gradient of q must be a tensor of shape [1], got Tensor<float32>[2]`,
      );
      expect([p.data[0], q.data[0], optimizer.step]).toEqual([1, 2, 0]);
    });
  });

  it('leaves nothing when memory ends before it is made', () => {
    const parameters = new Map(['a', 'b'].map((role) => [role, k.zeros([3]) as FloatTensor]));
    const before = k.memory.usedBytes;
    const { allocator } = internalsOf(k);
    const allocate = allocator.allocate.bind(allocator);
    const failures: number[] = [];
    for (let n = 0; ; n++) {
      let count = 0;
      vi.spyOn(allocator, 'allocate').mockImplementation((bytes) => {
        if (count++ === n) throw new OutOfMemoryError('allocate: no more');
        return allocate(bytes);
      });
      try {
        make(k, { parameters } as never).dispose();
        break;
      } catch (error) {
        expect(error).toBeInstanceOf(OutOfMemoryError);
        failures.push(n);
        expect(k.memory.usedBytes).toBe(before);
      }
    }
    expect(failures).toHaveLength(name === 'adamW' ? 4 : 2);
    for (const tensor of parameters.values()) tensor.dispose();
  });
});

describe('a schedule', () => {
  it('is refused where a number is none, or an option unknown', () => {
    for (const value of hostile) {
      if (value === 0) continue;
      const given = value as never;
      expect(() => constant(given), String(typeof value)).toThrow(ArgumentError);
      expect(() => linearWarmup(given, 2)).toThrow(ArgumentError);
      if (value !== undefined) {
        expect(() => cosine({ peak: 1, totalSteps: 10, floor: given })).toThrow(ArgumentError);
        if (typeof value !== 'function') expect(() => linearWarmup(1, 2, given)).toThrow(ArgumentError);
      }
      expect(() => cosine(given)).toThrow(ArgumentError);
    }
    expect(() => cosine({ peak: 1, totalSteps: 10, warmup: 2 } as never)).toThrow(
      /cosine: 'warmup' is not an option/,
    );
    expect(() => sgd(k, { parameters: new Map() }).load(null as never)).toThrow(FormatError);
  });
});
