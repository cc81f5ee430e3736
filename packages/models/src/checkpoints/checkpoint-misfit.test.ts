import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FormatError, UnsupportedError } from '@freelunch/errors';
import { type Tensor } from '@freelunch/kernels';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { loadPretrained } from './checkpoint.js';
import { createModel } from '../language-model.js';
import { llama, k, mamba, file, filesOf, jsonOf, failure } from '../../tests/checkpoint-samples.js';
import * as fc from 'fast-check';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 }); // a busy disk may take long to flush
const folder = await mkdtemp(join(tmpdir(), 'freelunch-checkpoint-'));
afterAll(() => rm(folder, { recursive: true }));

describe('a checkpoint that does not fit', () => {
  it('gives one FormatError that lists all that is missing, left over or of another shape', async () => {
    using model = createModel(k, mamba);
    const tensors = new Map<string, Tensor>(model.parameters());
    tensors.delete('backbone.norm_f.weight');
    tensors.delete('backbone.layers.1.mixer.D');
    tensors.set('backbone.layers.2.mixer.D', k.zeros([12]));
    tensors.set('extra', k.zeros([1]));
    tensors.set('backbone.layers.0.mixer.D', k.zeros([3, 4]));
    tensors.set('backbone.layers.0.norm.weight', k.tensor(new Int32Array(6)));
    expect(await failure(filesOf(jsonOf(model), tensors), FormatError)).toBe(
      [
        'files: weights must fit config.json, got',
        '  missing:',
        '    backbone.layers.1.mixer.D [12]',
        '    backbone.norm_f.weight [6]',
        '  unexpected:',
        "    'backbone.layers.2.mixer.D' [12]",
        "    'extra' [1]",
        '  not fitting:',
        "    'backbone.layers.0.norm.weight' must be F32, F16, BF16 or F64, got I32",
        "    'backbone.layers.0.mixer.D' must be [12], got [3, 4]",
      ].join('\n'),
    );
  });

  it('names what is there twice under two names', async () => {
    using model = createModel(k, mamba);
    const tensors = new Map<string, Tensor>(model.parameters());
    tensors.set('norm_f.weight', model.parameters().get('backbone.norm_f.weight')!);
    expect(await failure(filesOf(jsonOf(model), tensors), FormatError)).toMatch(
      /norm_f.weight must be there once/,
    );
  });

  it.each([
    ['no object', '[]', /must hold an object/],
    ['no JSON', '{', /must be JSON/],
    ['a text for a size', { hidden_size: '6' }, /hidden_size must be a whole number.* got '6'/],
    ['a negative size', { hidden_size: -6 }, /hidden_size must be/],
    ['NaN for a number', '{"model_type": "mamba", "hidden_size": NaN}', /hidden_size must be .* got NaN/],
    ['a text for a flag', { use_bias: 'yes' }, /use_bias must be true or false/],
    ['a size of zero', { state_size: 0 }, /dState must be a whole number from 1 up, got 0/],
    ['more layers than there are tensors', { num_hidden_layers: 2 ** 50 }, /must hold \d+ layers/],
    [
      'huge sizes',
      { hidden_size: 2 ** 40, intermediate_size: 2 ** 41 },
      /dModel must be at most 16777216, got 1099511627776/,
    ],
    ['an eps that is none', { layer_norm_epsilon: -1 }, /norm.eps/],
  ])('has %s in config.json: a FormatError', async (_title, fields, message) => {
    using model = createModel(k, mamba);
    const config = typeof fields === 'string' ? fields : { ...jsonOf(model), ...fields };
    expect(await failure(filesOf(config, model.parameters()), FormatError)).toMatch(message);
  });

  it('gives a FormatError or an UnsupportedError, whatever config.json says', async () => {
    using model = createModel(k, { ...llama, position: 'alibi' });
    const good = jsonOf(model);
    expect(good.model_type).toBe('freelunch');
    const own = fc.tuple(fc.constantFrom(...Object.keys(good).slice(1)), fc.jsonValue());
    const inMixer = fc.tuple(
      fc.constantFrom('type', 'nHeads', 'nKvHeads', 'headDim', 'bias', 'window'),
      fc.jsonValue(),
    );
    await fc.assert(
      fc.asyncProperty(own, inMixer, fc.boolean(), async ([name, value], [inner, part], deep) => {
        const config = deep
          ? { ...good, mixer: { ...(good.mixer as object), [inner]: part } }
          : { ...good, [name]: value };
        try {
          (await loadPretrained(k, filesOf(config, model.parameters()))).dispose();
        } catch (error) {
          expect(error instanceof FormatError || error instanceof UnsupportedError, String(error)).toBe(true);
        }
      }),
      { numRuns: 400, seed: 4 },
    );
  });

  it('lacks a file: a FormatError that names it', async () => {
    using model = createModel(k, mamba);
    const [config, weights] = filesOf(jsonOf(model), model.parameters());
    expect(await failure([weights], FormatError)).toMatch(/must hold config\.json/);
    expect(await failure([config], FormatError)).toMatch(/must hold model\.safetensors or/);
    expect(await failure(join(folder, 'nowhere'), FormatError)).toMatch(/must hold config\.json/);
    expect(await failure([config, weights, weights], FormatError)).toMatch(/once, got it 2 times/);
  });

  it.each([
    ['no map', '{}', /weight_map must be an object/],
    [
      'a path out of its folder',
      '{"weight_map":{"a":"../a.safetensors"}}',
      /must lie in a .safetensors file/,
    ],
    ['another kind of file', '{"weight_map":{"a":"config.json"}}', /must lie in a .safetensors file/],
    ['a file that is not there', '{"weight_map":{"a":"b.safetensors"}}', /must hold b\.safetensors/],
    ['a tensor that is not there', '{"weight_map":{"a":"part.safetensors"}}', /must hold 'a'/],
  ])('has an index with %s: a FormatError', async (_title, index, message) => {
    using model = createModel(k, mamba);
    const [config, weights] = filesOf(jsonOf(model), model.parameters());
    const part = new File([weights], 'part.safetensors');
    const files = [config, part, file('model.safetensors.index.json', index)];
    expect(await failure(files, FormatError)).toMatch(message);
  });
});
