import { ArgumentError, FreelunchError, loadKernels, ShapeError, Tensor } from '@freelunch/kernels';
import { describe, expect, it } from 'vitest';
import { argsOf, type Case, give as giveTo, gradientName, type HostArgs } from './cases/case.ts';
import { cases } from './cases/index.ts';

const k = await loadKernels({ variant: 'simd', guard: true });

type Args = Record<string, unknown>;
const give = (args: HostArgs): Args => giveTo(k, args);
const functions = k as unknown as Record<string, (...args: unknown[]) => unknown>;

/** Every public function that takes one object, with good arguments of a few sizes. */
const examples = new Map<string, (c?: Case) => Args>();
for (const c of cases) {
  const size = c.sizes.at(-1)!;
  if (examples.has(c.op)) continue;
  examples.set(c.op, () => give(argsOf(c, size)));
  if (c.backward === undefined) continue;
  const { outputs } = c.backward;
  examples.set(`${c.op}Backward`, () => {
    const args = give(argsOf(c, size));
    const result = functions[c.op](args);
    const named = (result instanceof Tensor ? { y: result } : result) as Record<string, Tensor>;
    return { ...args, ...Object.fromEntries(outputs.map((name) => [gradientName(name), named[name]])) };
  });
}
examples.set('concat', () => ({ parts: [k.zeros([2, 3]), k.zeros([2, 1])] }));
examples.set('alibiSlopes', () => ({ nHeads: 4 }));
examples.set('globalNorm', () => ({ tensors: [k.zeros([2])] }));
examples.set('clipGradNorm', () => ({ tensors: [k.zeros([2])], maxNorm: 1 }));

const names = [...examples.keys()];

const hostile: unknown[] = [
  null,
  0,
  -1,
  1.5,
  NaN,
  Infinity,
  2 ** 31,
  2 ** 53,
  1e300,
  1n,
  '',
  'x',
  '1',
  true,
  Symbol('s'),
  () => 1,
  [],
  [1],
  ['x'],
  [null],
  [[1]],
  Object.assign([], { length: 3 }),
  {},
  { length: 2 },
  Object.create(null),
  { valueOf: () => 1 },
  new Float32Array(2),
  new Date(0),
  /x/,
  new Proxy([], {}),
  new Proxy({}, {}),
  Object.create(Tensor.prototype),
];

/** Runs `fn`, which may succeed or throw one of our errors; nothing else, and no tensor of it may be left. */
function expectTyped(what: string, fn: () => unknown): void {
  try {
    fn();
  } catch (error) {
    expect(error, `${what}: ${String(error)}`).toBeInstanceOf(FreelunchError);
  }
  k.checkGuards();
}

describe('every public function', () => {
  it('has an example here', () => {
    const others = [
      'variant',
      'memory',
      'tensor',
      'quantizedTensor',
      'zeros',
      'empty',
      'scope',
      'alongside',
      'effectiveAttention',
    ];
    const expected = Object.keys(k).filter(
      (name) => ![...others, 'resetPeak', 'checkGuards', 'dispose', 'threads'].includes(name),
    );
    expect(names.toSorted()).toEqual(expected.toSorted());
  });

  it.each(names)('%s refuses what is no object of arguments', (name) => {
    for (const given of [...hostile, undefined]) {
      k.scope(() => expectTyped(`${name}(${typeof given})`, () => functions[name](given)));
    }
    expect(() => functions[name](null)).toThrow(
      new ArgumentError(`${name}: inputs must be one object, got null`),
    );
    expect(() => functions[name]([])).toThrow(ArgumentError);
    expect(() => functions[name]({})).toThrow(FreelunchError);
  });

  it.each(names)('%s answers each wrong argument with one of our errors', (name) => {
    k.scope(() => {
      const good = examples.get(name)!();
      functions[name](good);
      for (const argument of Object.keys(good)) {
        for (const value of hostile) {
          k.scope(() => {
            expectTyped(`${name}: ${argument}`, () => functions[name]({ ...good, [argument]: value }));
          });
        }
      }
    });
  });

  it.each(names)('%s refuses an option that it does not have', (name) => {
    k.scope(() => {
      const good = examples.get(name)!();
      const [first] = Object.keys(good);
      expect(() => functions[name]({ ...good, [`${first}x`]: 1 })).toThrow(
        `${name}: '${first}x' is not an option`,
      );
      expect(() => functions[name]({ ...good, constructor: 1 })).toThrow(/'constructor' is not an option/);
    });
  });

  it.each(names)('%s reads each argument once, before anything else', (name) => {
    k.scope(() => {
      const good = examples.get(name)!();
      const reads = new Map<string, number>();
      const watched = {};
      for (const [argument, value] of Object.entries(good)) {
        Object.defineProperty(watched, argument, {
          enumerable: true,
          get() {
            const count = (reads.get(argument) ?? 0) + 1;
            reads.set(argument, count);
            return count === 1 ? value : k.zeros([1]);
          },
        });
      }
      functions[name](watched);
      expect([...reads]).toEqual(Object.keys(good).map((argument) => [argument, 1]));
    });
  });
});

describe('options', () => {
  const tensors = () => {
    const x = k.zeros([1, 2, 4]);
    return { u: x, delta: x, A: k.zeros([4, 2]), B: k.zeros([1, 2, 2]), C: k.zeros([1, 2, 2]) };
  };

  it('that are misspelt are named, with what was meant and what there is', () => {
    k.scope(() => {
      const args = { ...tensors(), deltaSoftPlus: true };
      expect(() => k.selectiveScan(args)).toThrow(
        "selectiveScan: 'deltaSoftPlus' is not an option; did you mean 'deltaSoftplus'? The options are u, delta, A,",
      );
      const q = k.zeros([1, 4, 2, 4]);
      const sparse = { pattern: 'strided', stride: 2, sumary: 1 } as const;
      expect(() => k.softmaxAttention({ q, k: q, v: q, causal: true, sparse })).toThrow(
        "softmaxAttention: sparse: 'sumary' is not an option; did you mean 'summary'?",
      );
      expect(() => k.effectiveAttention('selectiveScan', args)).toThrow(
        /effectiveAttention: 'deltaSoftPlus' is not/,
      );
    });
  });

  it('that are undefined are as good as absent', () => {
    k.scope(() => {
      expect(() => k.selectiveScan({ ...tensors(), D: undefined, deltaSoftplus: undefined })).not.toThrow();
    });
  });

  it('that are flags must be true or false', () => {
    k.scope(() => {
      const a = k.zeros([2, 2]);
      for (const flag of ['false', 0, 1, null, {}]) {
        const transposeB = flag as unknown as boolean;
        expect(() => k.matmul({ a, b: a, transposeB })).toThrow(
          /^matmul: transposeB must be true or false, got /,
        );
      }
    });
  });

  it('that are numbers are no strings and no objects with a value', () => {
    k.scope(() => {
      const p = k.zeros([1]);
      const beta1 = '0.9' as unknown as number;
      expect(() =>
        k.adamW({ parameter: p, gradient: p, m: p, v: p, step: 1, learningRate: 0, beta1 }),
      ).toThrow("adamW: beta1 must be a number from 0 up, below 1, got '0.9'");
      const maxNorm = { valueOf: () => 1 } as unknown as number;
      expect(() => k.clipGradNorm({ tensors: [p], maxNorm })).toThrow(/maxNorm must be a finite number/);
    });
  });
});

describe('lists', () => {
  it('are read once: a list that changes as it is read gives what was checked', () => {
    k.scope(() => {
      const x = k.tensor([1, 2, 3, 4], [1, 4]);
      let reads = 0;
      const sizes = new Proxy([2, 2], {
        get(target, name) {
          if (name !== '0') return Reflect.get(target, name) as unknown;
          return reads++ === 0 ? 2 : 2 ** 20;
        },
      });
      expect(k.split({ x, sizes }).map((part) => [...part.data])).toEqual([
        [1, 2],
        [3, 4],
      ]);
      expect(reads).toBe(1);
    });
  });

  it('that claim to be endless are refused', () => {
    k.scope(() => {
      const endless = new Proxy([], { get: (_, name) => (name === 'length' ? 2 ** 53 : 1) });
      expect(() => k.split({ x: k.zeros([4]), sizes: endless })).toThrow(
        /sizes must be at most 1048576 long/,
      );
      expect(() => k.zeros(endless)).toThrow(ShapeError);
      expect(() => k.tensor(endless as number[])).toThrow(FreelunchError);
    });
  });
});

describe('a tensor', () => {
  it('keeps its shape, size, type and address whatever is tried', () => {
    k.scope(() => {
      const x = k.tensor([1, 2, 3, 4]);
      const { pointer } = x;
      for (const name of ['shape', 'size', 'dtype', 'pointer', 'data', 'disposed', 'isIn', 'made up']) {
        expect(() => Object.defineProperty(x, name, { value: [2 ** 28] }), name).toThrow(TypeError);
        expect(() => Object.assign(x, { [name]: [2 ** 28] }), name).toThrow(TypeError);
        expect(() => Object.defineProperty(Tensor.prototype, name, { value: 0 }), name).toThrow(TypeError);
      }
      expect(() => Object.setPrototypeOf(x, {})).toThrow(TypeError);
      expect(() => Object.defineProperty(Tensor, Symbol.hasInstance, { value: () => true })).toThrow(
        TypeError,
      );
      expect(() => (x.shape as number[]).push(1)).toThrow(TypeError);
      expect([x.shape, x.size, x.dtype, x.pointer]).toEqual([[4], 4, 'float32', pointer]);
      expect([...k.negate({ x }).data]).toEqual([-1, -2, -3, -4]);
    });
  });

  it('is made by the kernels alone', () => {
    k.scope(() => {
      const Made = Tensor as unknown as new (...args: unknown[]) => Tensor;
      const x = k.zeros([1]);
      expect(() => new Made()).toThrow(ArgumentError);
      expect(
        () => new Made(Symbol('key'), {}, { address: 0, users: 0 }, { shape: [9], size: 9 }, 'float32'),
      ).toThrow('Tensor: tensors are made by k.tensor, k.zeros and the kernels, not by new');
      expect(() => new (class extends Made {})()).toThrow(ArgumentError);
      const pretenders: object[] = [
        Object.create(Tensor.prototype),
        Object.create(x),
        new Proxy(x, {}),
        { shape: [1], size: 1, dtype: 'float32', pointer: 0, disposed: false, isIn: () => true },
      ];
      for (const pretender of pretenders) {
        expect(pretender instanceof Tensor).toBe(false);
        expect(() => k.negate({ x: pretender as Tensor })).toThrow(
          /negate: x must be a float32 tensor, got /,
        );
      }
      expect(x instanceof Tensor).toBe(true);
    });
  });

  it('shows its type and shape where it is printed', () => {
    k.scope(() => expect(String(k.zeros([2, 3]))).toBe('Tensor<float32>[2, 3]'));
  });

  it.each([
    ['undefined', () => k.zeros(undefined as never)],
    ['text', () => k.zeros('33' as never)],
    ['a number', () => k.zeros(3 as never)],
    ['text within', () => k.zeros(['3'] as never)],
    ['null', () => k.empty(null as never)],
    ['65 axes', () => k.zeros(Array.from({ length: 65 }, () => 1))],
    ['a view', () => k.zeros(new Int32Array(1) as never)],
  ])('is not made in a shape that is %s', (_what, make) => {
    expect(make).toThrow(ShapeError);
  });

  it.each([
    [[1n], 'tensor: data must be numbers, got 1n at 0'],
    [['x'], "tensor: data must be numbers, got 'x' at 0"],
    [[1, undefined], 'tensor: data must be numbers, got undefined at 1'],
    [[1, null], 'tensor: data must be numbers, got null at 1'],
    [[{}], 'tensor: data must be numbers, got {} at 0'],
    [[true], 'tensor: data must be numbers, got true at 0'],
  ])('is not made from %o', (data, message) => {
    expect(() => k.tensor(data as number[])).toThrow(message);
    k.scope(() => {
      const x = k.zeros([data.length]);
      expect(() => x.set(data as number[])).toThrow(message.replace('tensor:', 'set:'));
    });
    expect(k.memory.tensors).toBe(0);
  });

  it('takes as many elements as an array has, not as many as it says', () => {
    const lying = Object.defineProperty(new Float32Array(8), 'length', { value: 2 });
    expect(() => k.tensor(lying, [2])).toThrow('tensor: data must have 2 elements for shape [2], got 8');
    expect(() => k.tensor(Object.create(Float32Array.prototype) as Float32Array)).toThrow(ArgumentError);
    expect(k.memory.tensors).toBe(0);
  });

  it('answers every wrong call with one of our errors', () => {
    k.scope(() => {
      const x = k.zeros([2]);
      for (const value of [...hostile, undefined]) {
        const given = value as never;
        expectTyped('tensor', () => k.tensor(given));
        expectTyped('tensor with shape', () => k.tensor([1], given));
        expectTyped('tensor with dtype', () => k.tensor([1], [1], given));
        expectTyped('zeros', () => k.zeros(given));
        expectTyped('zeros with dtype', () => k.zeros([1], given));
        expectTyped('empty', () => k.empty([given]));
        expectTyped('reshape', () => x.reshape(given));
        expectTyped('set', () => x.set(given));
        if (typeof value !== 'function') expectTyped('scope', () => k.scope(given));
        expectTyped('alongside', () => k.alongside(given, () => 0));
        expectTyped('alongside it', () => k.alongside(x, typeof value === 'function' ? null! : given));
        expectTyped('effectiveAttention', () => k.effectiveAttention(given, {} as never));
        expectTyped('effectiveAttention with', () => k.effectiveAttention('ssd', given));
      }
    });
  });
});
