import { ArgumentError, FreelunchError } from '@freelunch/errors';
import { loadKernels } from '@freelunch/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import * as models from './index.js';

const k = await loadKernels({ variant: 'simd' });
const config: models.ModelConfig = {
  vocabSize: 5,
  dModel: 4,
  nLayers: 1,
  mixer: { type: 'mamba', dState: 2 },
};
const model = models.createModel(k, config);
const state = model.initialState();
const parameters = model.parameters();
const bytes = models.encodeSafetensors(parameters);
afterAll(() => {
  state.dispose();
  model.dispose();
});

type Call = (wrong: never) => unknown;
/** Where nothing can be made. */
const nowhere = '/proc/none/at/all';
const pathOr = (wrong: unknown) => (typeof wrong === 'string' ? nowhere : wrong) as string;

/** Every public function, with each argument in turn as the one that is wrong. */
const calls: Record<string, Call[]> = {
  createModel: [(wrong) => models.createModel(wrong, config), (wrong) => models.createModel(k, wrong)],
  forward: [
    (wrong) => model.forward(wrong),
    (wrong) => model.forward([1], wrong ?? null),
    (wrong) => model.forward([1], { tape: wrong ?? null }),
    (wrong) => model.forward([1], { state: wrong ?? null }),
    (wrong) => model.forward([1], { observe: wrong ?? null }),
    (wrong) => model.forward([wrong]),
    (wrong) => model.forward([[1], wrong]),
  ],
  loss: [
    (wrong) => model.loss(wrong),
    (wrong) => model.loss([1, 2], wrong ?? null),
    (wrong) => model.loss([1, 2], { targets: wrong ?? null }),
    (wrong) => model.loss([1, 2], { mask: wrong ?? null }),
    (wrong) => model.loss([1, 2], { tape: wrong ?? null }),
  ],
  step: [(wrong) => model.step(wrong, state), (wrong) => model.step(1, wrong)],
  initialState: [(wrong) => model.initialState(wrong ?? null)],
  stateBytes: [(wrong) => model.stateBytes(wrong)],
  generate: [
    (wrong) => model.generate(wrong),
    (wrong) => model.generate([wrong]),
    (wrong) => model.generate([[1], wrong] as never),
    (wrong) => model.generate([1], wrong ?? null),
    ...(['maxTokens', 'topK', 'topP', 'minP', 'processLogits', 'stopTokens', 'signal'] as const).map(
      (name): Call =>
        (wrong) =>
          model.generate([1], { [name]: wrong ?? null }),
    ),
  ],
  train: [
    (wrong) => models.train(wrong, [], { steps: 1 }),
    (wrong) => models.train(model, wrong, { steps: 1 }).next(),
    (wrong) => models.train(model, [], wrong),
  ],
  loadPretrained: [
    (wrong) => models.loadPretrained(wrong, nowhere),
    (wrong) => models.loadPretrained(k, wrong),
    (wrong) => models.loadPretrained(k, nowhere, wrong ?? null),
    (wrong) => models.loadPretrained(k, nowhere, { timeoutMs: wrong ?? null }),
    (wrong) => models.loadPretrained(k, nowhere, { signal: wrong ?? null }),
    (wrong) => models.loadPretrained(k, nowhere, { onProgress: wrong ?? null }),
    (wrong) => models.loadPretrained(k, nowhere, { normGroups: wrong ?? null }),
  ],
  inspectPretrained: [
    (wrong) => models.inspectPretrained(wrong),
    (wrong) => models.inspectPretrained(nowhere, wrong ?? null),
    (wrong) => models.inspectPretrained(nowhere, { weights: wrong === true ? 1 : (wrong ?? null) } as never),
    (wrong) => models.inspectPretrained(nowhere, { signal: wrong ?? null }),
  ],
  evaluate: [
    (wrong) => models.evaluate(wrong, [1, 2]),
    (wrong) => models.evaluate(model, wrong),
    (wrong) => models.evaluate(model, [1, 2], wrong ?? null),
    (wrong) => models.evaluate(model, [1, 2], { contextLength: wrong ?? null }),
    (wrong) => models.evaluate(model, [1, 2], { contextLength: 4, stride: wrong ?? null }),
    (wrong) => models.evaluate(model, [1, 2], { onProgress: wrong ?? null }),
    (wrong) => models.evaluate(model, [1, 2], { signal: wrong ?? null }),
  ],
  generateText: [
    (wrong) => models.generateText(wrong, models.byteTokens, [1]),
    (wrong) => models.generateText(model, wrong, [1]),
    (wrong) => models.generateText(model, models.byteTokens, wrong),
    (wrong) => models.generateText(model, models.byteTokens, [1], wrong ?? null),
    (wrong) => models.generateText(model, models.byteTokens, [1], { stop: wrong ?? null }),
  ],
  characterTokens: [
    (wrong) => models.characterTokens(typeof wrong === 'string' ? ('' as never) : wrong),
    (wrong) => models.characterTokens('y').encode(wrong),
    (wrong) => models.characterTokens('y').decode(wrong),
  ],
  textBatches: [
    (wrong) => models.textBatches(wrong, { batchSize: 1, seqLen: 1 }),
    (wrong) => models.textBatches([1, 2], wrong),
    (wrong) => models.textBatches([1, 2], { batchSize: wrong, seqLen: 1 }),
    (wrong) => models.textBatches([1, 2], { batchSize: 1, seqLen: 1, seed: wrong ?? null }),
    (wrong) => models.textBatches([1, 2], { batchSize: 1, seqLen: 1, state: wrong ?? null }),
  ],
  splitTokens: [
    (wrong) => models.splitTokens(wrong),
    (wrong) => models.splitTokens([1, 2], wrong ?? null),
    (wrong) => models.splitTokens([1, 2], { validation: wrong ?? null }),
  ],
  TextStream: [
    (wrong) => new models.TextStream(wrong, []),
    (wrong) => new models.TextStream(() => '', wrong),
  ],
  StopTexts: [(wrong) => new models.StopTexts(wrong)],
  quantizeModel: [
    (wrong) => models.quantizeModel(wrong, { dtype: 'int8' }),
    (wrong) => models.quantizeModel(model, wrong),
    (wrong) => models.quantizeModel(model, { dtype: wrong }),
    (wrong) => models.quantizeModel(model, { dtype: 'int8', except: wrong ?? null }),
  ],
  encodePretrained: [
    (wrong) => models.encodePretrained(wrong),
    (wrong) => models.encodePretrained(model, wrong ?? null),
    (wrong) => models.encodePretrained(model, { dtype: wrong ?? null }),
  ],
  savePretrained: [
    (wrong) => models.savePretrained(pathOr(wrong), model),
    (wrong) => models.savePretrained(nowhere, wrong),
    (wrong) => models.savePretrained(nowhere, model, wrong ?? null),
    (wrong) => models.savePretrained(nowhere, model, { dtype: wrong ?? null }),
  ],
  saveSafetensors: [
    (wrong) => models.saveSafetensors(pathOr(wrong), parameters),
    (wrong) => models.saveSafetensors(nowhere, wrong),
    (wrong) => models.saveSafetensors(nowhere, parameters, wrong ?? null),
    (wrong) => models.saveSafetensors(nowhere, parameters, { metadata: wrong ?? null }),
  ],
  encodeSafetensors: [
    (wrong) => models.encodeSafetensors(wrong),
    (wrong) => models.encodeSafetensors(new Map([['a', wrong]])),
    (wrong) => models.encodeSafetensors(parameters, wrong ?? null),
  ],
  safetensorsChunks: [(wrong) => models.safetensorsChunks(wrong)],
  loadSafetensors: [
    (wrong) => models.loadSafetensors(wrong, bytes),
    (wrong) => models.loadSafetensors(k, wrong),
    (wrong) => models.loadSafetensors(k, bytes, wrong ?? null),
    (wrong) => models.loadSafetensors(k, bytes, { select: wrong ?? null }),
    (wrong) => models.loadSafetensors(k, bytes, { signal: wrong ?? null }),
    (wrong) => models.loadSafetensors(k, bytes, { onProgress: wrong ?? null }),
  ],
  readSafetensorsHeader: [(wrong) => models.readSafetensorsHeader(wrong)],
  readTensor: [
    (wrong) => models.readTensor(wrong, entry, parameters.values().next().value!),
    (wrong) => models.readTensor(models.bytesSource(bytes), wrong, parameters.values().next().value!),
    (wrong) => models.readTensor(models.bytesSource(bytes), entry, wrong),
  ],
  bytesSource: [(wrong) => models.bytesSource(wrong)],
  blobSource: [(wrong) => models.blobSource(wrong)],
  fileSource: [(wrong) => models.fileSource(wrong)],
  urlSource: [
    (wrong) => models.urlSource(wrong),
    (wrong) => models.urlSource('http://127.0.0.1:1', wrong ?? null),
  ],
  // Absent and true are as they should be: the usual place.
  openCache: [(wrong) => models.openCache([undefined, true, 'x'].includes(wrong) ? ('' as never) : wrong)],
  streamSource: [
    (wrong) => models.streamSource(wrong),
    (wrong) => models.streamSource(new ReadableStream(), wrong ?? null),
  ],
  configJson: [(wrong) => models.configJson(wrong)],
  resolveConfig: [(wrong) => models.resolveConfig(wrong)],
};
const entry = [...(await models.readSafetensorsHeader(models.bytesSource(bytes))).entries.values()][0];

const wrongs: [string, unknown][] = [
  ['null', null],
  ['undefined', undefined],
  ['a number', 7.5],
  ['a text', 'x'],
  ['true', true],
  ['a symbol', Symbol('x')],
  ['an object', { x: 1 }],
];

describe.each(wrongs)('%s in place of an argument', (_title, wrong) => {
  it.each(Object.entries(calls))('gives an error of ours: %s', async (_name, tries) => {
    for (const [i, call] of tries.entries()) {
      const { tensors } = k.memory;
      const outcome = await (async () => call(wrong as never))().catch((error: unknown) => error);
      expect(outcome, `${i}: ${String(call)}`).toBeInstanceOf(FreelunchError);
      expect(k.memory.tensors).toBe(tensors);
    }
  });
});

it('are all functions that there are', () => {
  const functions = Object.entries(models).filter(([, value]) => typeof value === 'function');
  const tested = new Set([...Object.keys(calls), 'LanguageModel']);
  expect(functions.map(([name]) => name).filter((name) => !tested.has(name))).toEqual([]);
});

it.each([
  [() => model.generate([1], { temprature: 1 } as never), /did you mean 'temperature'/],
  [() => model.forward([1], { stat: state } as never), /did you mean 'state'/],
  [() => model.loss([1, 2], { target: [1, 2] } as never), /did you mean 'targets'/],
  [() => models.loadPretrained(k, nowhere, { onprogress: () => {} } as never), /did you mean 'onProgress'/],
  [() => models.savePretrained(nowhere, model, { dtyp: 'F16' } as never), /did you mean 'dtype'/],
  [
    () => models.saveSafetensors(nowhere, parameters, { meta: {} } as never),
    /the options are metadata, dtype/,
  ],
  [
    () => models.loadSafetensors(k, bytes, { only: 1 } as never),
    /the options are signal, onProgress, select/,
  ],
  [() => models.createModel(k, { ...config, mixer: { type: 'mamba', dstate: 4 } } as never), /dState/],
])('an option that does not exist is refused: %#', async (call, message) => {
  await expect((async () => call())()).rejects.toThrow(message);
  await expect((async () => call())()).rejects.toThrow(ArgumentError);
});
