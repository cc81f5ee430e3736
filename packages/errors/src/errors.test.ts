import { describe, expect, it } from 'vitest';
import { ArgumentError, checkOptions, FreelunchError, nearest, ShapeError, show } from './index.js';

describe('errors', () => {
  it('descend from one base and keep their names', () => {
    const error = new ShapeError('f: x must be [2], got [3]', { cause: 1 });
    expect(error).toBeInstanceOf(FreelunchError);
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).toBe('ShapeError: f: x must be [2], got [3]');
    expect(error.cause).toBe(1);
  });
});

describe('checkOptions', () => {
  const names = ['maxTokens', 'temperature', 'topK'];

  it('accepts known names, absent options and undefined values', () => {
    checkOptions('generate', undefined, names);
    checkOptions('generate', {}, names);
    checkOptions('generate', { topK: undefined, temperature: 1 }, names);
  });

  it('names the option that was probably meant, and all there are', () => {
    expect(() => checkOptions('generate', { temprature: 1 }, names)).toThrow(
      new ArgumentError(
        "generate: 'temprature' is not an option; did you mean 'temperature'? The options are maxTokens, temperature, topK",
      ),
    );
    expect(() => checkOptions('generate', { lr: 1 }, names)).toThrow(
      new ArgumentError("generate: 'lr' is not an option; the options are maxTokens, temperature, topK"),
    );
  });

  it.each([null, 1, 'x', [], new Float32Array(1), () => 0])('refuses %o as options', (given) => {
    expect(() => checkOptions('generate', given, names)).toThrow(
      /^generate: options must be an object, got /,
    );
  });

  it('is not fooled by names that objects inherit', () => {
    expect(() => checkOptions('generate', JSON.parse('{"__proto__": 1}'), names)).toThrow(
      /'__proto__' is not/,
    );
    expect(() => checkOptions('generate', { constructor: 1 }, names)).toThrow(/'constructor' is not/);
  });
});

describe('nearest', () => {
  it.each([
    ['deltaSoftPlus', ['delta', 'deltaSoftplus', 'deltaBias'], 'deltaSoftplus'],
    ['dstate', ['dState', 'dConv'], 'dState'],
    ['lsi', ['lis', 'lcs'], 'lis'],
    ['softmax_attention', ['softmax-attention', 'linear-attention'], 'softmax-attention'],
    ['lr', ['learningRate', 'steps'], undefined],
    ['a', ['b'], undefined],
    ['', ['b'], undefined],
    ['x'.repeat(1e6), ['b'], undefined],
  ])('of %j is found among %j', (name, names, wanted) => {
    expect(nearest(name, names)).toBe(wanted);
  });
});

describe('show', () => {
  it.each([
    ['a', "'a'"],
    [undefined, 'undefined'],
    [null, 'null'],
    [NaN, 'NaN'],
    [1n, '1n'],
    [Symbol('s'), 'Symbol(s)'],
    [{ a: [1] }, '{"a":[1]}'],
    [new Float32Array(3), 'Float32Array of 3'],
    [() => 0, 'a function'],
    ['a\u001b[31m', "'a\\u001b[31m'"],
  ])('writes %o', (value, text) => {
    expect(show(value)).toBe(text);
  });

  it('writes anything at all, in at most 80 characters', () => {
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    const throws = new Proxy(
      {},
      {
        ownKeys: () => {
          throw new Error('no');
        },
      },
    );
    const deep: unknown = JSON.parse('['.repeat(1e5) + ']'.repeat(1e5));
    for (const value of [circular, throws, deep, { a: 1n }, 'x'.repeat(1e6), Array(1e4).fill(0)])
      expect(show(value).length).toBeLessThanOrEqual(80);
  });
});
