import { describe, expect, it } from 'vitest';
import { InputError } from '../errors.js';
import { experimentOf } from '../running/registry.js';
import { digestOf, piecesOf, queuedPiece, rowsOf } from './piece.js';

const run = digestOf('run');
const good = {
  format: 1,
  build: '0.1.0+0',
  run,
  experiment: 'copy-capacity',
  config: digestOf('config'),
  piece: 'p',
  key: 'k',
};

describe('a job', () => {
  it('is its names, and nothing else that lies in it', () => {
    expect(queuedPiece({ ...good, code: 'process.exit()' }, '')).toEqual(good);
  });

  it.each([
    [[], 'the whole must be an object'],
    [null, 'the whole must be an object'],
    [{}, 'format must be one of 1, got undefined'],
    [{ ...good, format: 2 }, 'format must be one of 1, got 2'],
    [{ ...good, build: 5 }, 'build must be text, got 5'],
    [{ ...good, run: '../..' }, 'run must be a digest'],
    [{ ...good, config: `${run}0` }, 'config must be a digest'],
    [{ ...good, piece: '' }, 'piece must be text of 1 to'],
    [{ ...good, key: 'x'.repeat(5000) }, 'key must be text of 1 to'],
    [JSON.parse('{"__proto__":{"format":1}}'), 'format must be one of 1, got undefined'],
  ])('%# is refused for its shape', (data, message) => {
    expect(() => queuedPiece(data, '')).toThrow(InputError);
    expect(() => queuedPiece(data, '')).toThrow(message);
  });
});

describe('the configuration of a job', () => {
  const experiment = experimentOf('copy-capacity');
  const pieces = (config: unknown) => {
    const json = JSON.stringify(config);
    return piecesOf(experiment, json, digestOf(json));
  };

  it('gives the pieces that the experiment has', () => {
    const config = experiment.presets.quick;
    expect([...pieces(config).values()]).toEqual(experiment.pieces(config));
  });

  it.each([
    [{ lengths: [1e9] }, 'lengths[0] must be a whole number'],
    [{ lengths: Array.from({ length: 2000 }, (_, i) => i + 2) }, 'a list of at most 1000 elements'],
    [{ run: 'process.exit()' }, "has no field 'run'"],
    [JSON.parse('{"__proto__":{"lengths":[16]}}'), "has no field '__proto__'"],
    [[1], 'must be an object'],
  ])('%# is checked as on the command line', (config, message) => {
    expect(() => pieces(config)).toThrow(InputError);
    expect(() => pieces(config)).toThrow(message);
  });

  it('is refused if it is another than was queued, or no JSON', () => {
    expect(() => piecesOf(experiment, '{}', run)).toThrow('is not the one that was queued');
    expect(() => piecesOf(experiment, '{', digestOf('{'))).toThrow('is not JSON');
  });
});

describe('rows from a worker', () => {
  it('are what they were', () => {
    const rows: object[] = [{ a: 0.1, b: [1, { c: null }], constructor: 'x' }, {}];
    expect(rowsOf(JSON.stringify(rows))).toEqual(rows);
  });

  it.each([
    ['', 'is not JSON'],
    ['{}', 'rows must be a list, got {}'],
    ['[1]', 'rows[0] must be an object, got 1'],
    ['[{},[]]', 'rows[1] must be an object, got []'],
    ['[{"piece":"a"}]', "rows[0] must not have a field 'piece'"],
    ['[{"rows":1}]', "rows[0] must not have a field 'rows'"],
    ['[{"a":1e999}]', 'must hold finite numbers'],
    ['[{"a":[{"__proto__":{"b":1}}]}]', "must not have a field '__proto__'"],
    [`[{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}]`, 'nested at most'],
  ])('%# are refused for their shape', (json, message) => {
    expect(() => rowsOf(json)).toThrow(InputError);
    expect(() => rowsOf(json)).toThrow(message);
    expect(({} as { b?: number }).b).toBeUndefined();
  });
});
