import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bitOf, codeBits, Expr, Program } from './program.js';

const program = () => new Program({ vocabSize: 5, length: 6 });

describe('Expr', () => {
  const exprs = fc
    .tuple(fc.array(fc.tuple(fc.nat(3), fc.integer({ min: -5, max: 5 }))), fc.integer({ min: -9, max: 9 }))
    .map(([terms, bias]) =>
      terms.reduce(
        (sum, [channel, weight]) => sum.plus(new Expr(new Map([[channel, 1]]), 0).times(weight)),
        Expr.of(bias),
      ),
    );
  const channels = fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 4, maxLength: 4 });

  it('adds, subtracts and scales as its values do', () => {
    fc.assert(
      fc.property(exprs, exprs, fc.integer({ min: -4, max: 4 }), channels, (a, b, factor, row) => {
        expect(a.plus(b).at(row)).toBe(a.at(row) + b.at(row));
        expect(a.minus(b).at(row)).toBe(a.at(row) - b.at(row));
        expect(a.minus(3).at(row)).toBe(a.at(row) - 3);
        expect(a.times(factor).at(row) + 0).toBe(a.at(row) * factor + 0); // + 0: no -0
      }),
    );
  });

  it('has one key for one combination, in whatever order it was put together', () => {
    fc.assert(
      fc.property(exprs, exprs, (a, b) => {
        expect(a.plus(b).key).toBe(b.plus(a).key);
        expect(a.plus(b).minus(b).key).toBe(a.key);
        if (a.key !== b.key) expect(a.minus(b).terms.size + Math.abs(a.bias - b.bias)).toBeGreaterThan(0);
      }),
    );
  });
});

it('tells codes apart by their bits', () => {
  expect([1, 2, 3, 4, 5, 8, 9, 4096, 4097].map(codeBits)).toEqual([1, 1, 2, 2, 3, 3, 4, 12, 13]);
  expect([0, 1, 2, 3].map((bit) => bitOf(6, bit))).toEqual([-1, 1, 1, -1]);
  expect(bitOf(2 ** 40 + 1, 40)).toBe(1);
});

describe('Program', () => {
  it('reads tokens and positions from tables, a channel for each function', () => {
    const p = program();
    const square = p.token((id) => id * id);
    const half = p.position((t) => t / 2);
    const rows = p.evaluate([3, 1, 4]);
    expect(rows.map((row) => square.at(row))).toEqual([9, 1, 16]);
    expect(rows.map((row) => half.at(row))).toEqual([0, 0.5, 1]);
    expect(rows.map((row) => p.one.at(row))).toEqual([1, 1, 1]);
    const { width } = p;
    expect(p.token((id) => id ** 2).key).toBe(square.key);
    expect(p.position((t) => 0.5 * t).key).toBe(half.key);
    expect(p.width).toBe(width);
    p.position((t) => t * t); // the same numbers as the token's, but of the position
    expect(p.width).toBe(width + 1);
  });

  it('puts each thing into the first block that comes after what it needs', () => {
    const p = program();
    const id = p.token((token) => token);
    const here = { key: p.positionCode(3, (t) => t), codes: [0, 1, 2, 3, 4, 5] };
    const before = p.positionCode(3, (t) => Math.max(0, t - 1));
    const [copied] = p.lookUp({ name: 'a', ...here, query: before, values: [id] });
    const node = p.relu(copied.minus(id));
    const early = p.relu(id.minus(2));
    const [twice] = p.lookUp({ name: 'b', ...here, query: before, values: [copied] });
    const late = p.relu(twice.plus(node));
    expect(p.blocks.map(({ lookUps, nodes }) => [lookUps.length, nodes.length])).toEqual([
      [1, 2],
      [1, 1],
    ]);
    const rows = p.evaluate([4, 2, 3, 0]);
    expect(rows.map((row) => copied.at(row))).toEqual([4, 4, 2, 3]);
    expect(rows.map((row) => twice.at(row))).toEqual([4, 4, 4, 2]);
    expect(rows.map((row) => early.at(row))).toEqual([2, 0, 1, 0]);
    expect(rows.map((row) => late.at(row))).toEqual([4, 6, 4, 5]);
  });

  it('makes a node once, and none of what is constant', () => {
    const p = program();
    const id = p.token((token) => token);
    const node = p.node([
      { weight: 2, of: id.minus(1) },
      { weight: 3, of: Expr.of(2) },
      { weight: 5, of: Expr.of(-2) },
      { weight: 0, of: id },
    ]);
    expect(p.evaluate([0, 1, 4]).map((row) => node.at(row))).toEqual([6, 6, 12]);
    expect(p.node([{ weight: 2, of: id.minus(1) }]).key).toBe(node.minus(6).key);
    expect(p.node([{ weight: 7, of: Expr.of(1) }]).key).toBe(Expr.of(7).key);
    expect(p.blocks[0].nodes).toHaveLength(1);
  });

  it('finds the latest of what is stored under a code, the token itself among it, and only codes that are kept', () => {
    const p = new Program({ vocabSize: 4, length: 6 });
    const [found] = p.lookUp({
      name: 'the latest place of the token',
      key: p.tokenCode(2, (id) => id),
      query: p.tokenCode(2, (id) => id ^ 1),
      values: [p.position((t) => t + 1)],
      codes: [0, 1, 2],
    });
    expect(p.evaluate([0, 1, 0, 1, 3, 2]).map((row) => found.at(row))).toEqual([0, 1, 2, 3, 0, 0]);
  });

  it('knows between what ends a combination lies', () => {
    const p = program();
    const id = p.token((token) => token - 2); // -2 .. 2
    const at = p.position((t) => t); // 0 .. 5
    expect(p.range(id.times(2).minus(at).plus(1))).toEqual([-8, 5]);
    expect(p.range(p.relu(id))).toEqual([0, 2]);
    expect(
      p.range(
        p.node([
          { weight: -3, of: id },
          { weight: 1, of: at.minus(4) },
        ]),
      ),
    ).toEqual([-6, 1]);
  });

  it('refuses what does not fit', () => {
    expect(() => new Program({ vocabSize: 0, length: 3 })).toThrow(
      'Program: vocabSize must be a whole number from 1 up, got 0',
    );
    expect(() => new Program({ vocabSize: 3, length: 1.5 })).toThrow('Program: length must be');
    const p = program();
    expect(() => p.token((id) => 1 / id)).toThrow(
      "Program: a token's channel must be a finite number, got Infinity for 0",
    );
    const bit = p.tokenCode(1, (id) => id % 2);
    const fit = { name: 'x', key: bit, query: bit, values: [p.one], codes: [1] };
    expect(() => p.lookUp({ ...fit, query: [...bit, ...bit] })).toThrow(
      'lookUp: query of x must have 1 bits as its key has, got 2',
    );
    expect(() => p.lookUp({ ...fit, codes: [2] })).toThrow(
      'lookUp: codes of x must be whole numbers from 0 to 1, got 2',
    );
    expect(() => p.lookUp({ ...fit, codes: [] })).toThrow(
      'lookUp: x must have bits in its key, values and codes, got 1, 1 and 0',
    );
    expect(() => p.evaluate([0, 5])).toThrow(
      'evaluate: tokens must be whole numbers from 0 to 4, got 5 at 1',
    );
    expect(() => p.evaluate([0, 0, 0, 0, 0, 0, 0])).toThrow(
      'evaluate: tokens must be at most 6, as there are positions, got 7',
    );
  });
});
