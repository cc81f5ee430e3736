/** Options that do not exist are refused by every public function of every package, with the name that was probably meant. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as autograd from '@freelunch/autograd';
import * as complexity from '@freelunch/complexity';
import * as config from '@freelunch/config';
import * as constructions from '@freelunch/constructions';
import { FreelunchError } from '@freelunch/errors';
import * as kernels from '@freelunch/kernels';
import * as inline from '@freelunch/kernels/inline';
import * as lab from '@freelunch/lab';
import * as labNode from '@freelunch/lab/node';
import * as models from '@freelunch/models';
import * as files from '@freelunch/models/files';
import * as tasks from '@freelunch/tasks';
import { afterAll, describe, expect, it } from 'vitest';

const { algorithmGrain: grain, ops } = complexity;
const k = await kernels.loadKernels({ variant: 'simd' });
const modelConfig = { vocabSize: 5, dModel: 4, nLayers: 1, mixer: { type: 'mamba', dState: 4 } } as const;
const model = models.createModel(k, modelConfig);
const weight = k.zeros([2]);
const tape = autograd.createTape(k, [weight]);
const values = k.zeros([3, 2]);
const keys = k.zeros([3, 4]);
const task = tasks.copy({ length: 3 });
const dp = tasks.lis({ length: 3 });
const arithmetic = tasks.arithmetic({ length: 3, order: 'canonical' });
const sample = task.sample(tasks.random(1));
const bytes = models.encodeSafetensors(model.parameters());
const program = new constructions.Program({ vocabSize: 2, length: 2 });
const experiment = lab.copyText;
const findings = { text: '', tables: [], verdicts: [], excerpts: [], charts: [], claims: [] };
/** Where nothing can be made: the options are checked first. */
const nowhere = '/proc/none/at/all';
afterAll(() => {
  model.dispose();
});

const notGenerators =
  'BatchStream DpTask Metrics Random Task TaskError Vocabulary createTask defineDp exp ln random readJsonLines ' +
  'readSafetensors rewriteJsonLines rewriteSafetensors taskOf writeJsonLines writeSafetensors';
const generators = Object.entries(tasks).filter(
  ([name, value]) => typeof value === 'function' && !notGenerators.split(' ').includes(name),
) as [string, (options: never) => unknown][];

/** One object of options: what is good, and the function that takes it. */
type Entry = [good: object, call: (options: never) => unknown];

const attention = { batch: 1, seqLen: 2, nHeads: 1, nKvHeads: 1, headDim: 2 };
const linear = { batch: 1, seqLen: 2, nHeads: 1, headDim: 2 };
const scan = { batch: 1, seqLen: 2, dInner: 2, dState: 2 };
const conv = { batch: 1, seqLen: 2, channels: 2, width: 2 };
const norm = { rows: 2, dim: 2 };
const sizesOfSsd = { ...linear, nGroups: 1, dState: 2 };
const turning = {
  batch: 1,
  seqLen: 2,
  nHeads: 2,
  headDim: 2,
  nRanks: 1,
  nGroups: 1,
  dState: 2,
  nAngles: 1,
  chunkSize: 2,
};
const turningGate = { rows: 2, nHeads: 2, nRanks: 1, headDim: 2 };
const loss = { rows: 2, scored: 2, vocabSize: 2 };
const product = { m: 2, n: 2, k: 2 };
const copying = { mixer: 'linear-attention', length: 4, vocabSize: 4 } as const;

/** Every public function that takes options, by package. */
const takers: Record<string, Record<string, Entry>> = {
  kernels: { loadKernels: [{}, (o) => kernels.loadKernels(o)] },
  inline: { loadKernels: [{}, (o) => inline.loadKernels(o)] },
  autograd: {
    adamW: [{}, (o) => autograd.adamW(k, [{ parameters: new Map([['w', weight]]) }], o)],
    sgd: [{}, (o) => autograd.sgd(k, [{ parameters: new Map([['w', weight]]) }], o)],
    cosine: [{ peak: 1, totalSteps: 10 }, (o) => autograd.cosine(o)],
  },
  tape: Object.fromEntries(
    Object.keys(autograd.rules)
      .concat('split', 'concat')
      .map((op): [string, Entry] => [
        op,
        [{}, (o) => (tape as never as Record<string, (o: never) => void>)[op](o)],
      ]),
  ),
  config: { resolveConfig: [modelConfig, (o) => config.resolveConfig(o)] },
  complexity: {
    cost: [{ mode: 'train', promptLength: 2 }, (o) => complexity.cost(modelConfig, o)],
    compare: [{ mode: 'train', figure: 'flops' }, (o) => complexity.compare({ a: modelConfig }, [2], o)],
    crossover: [{ mode: 'train', figure: 'flops' }, (o) => complexity.crossover(modelConfig, modelConfig, o)],
    crossing: [
      { from: 1, to: 4 },
      (o) =>
        complexity.crossing(
          (x) => x,
          () => 2,
          o,
        ),
    ],
    roofline: [
      { flops: 1, bytes: 1 },
      (o) => complexity.roofline(complexity.cost(modelConfig, { mode: 'train', promptLength: 2 }), o),
    ],
    predict: [
      { flops: 1, bytes: 1 },
      (o) => complexity.predict(complexity.cost(modelConfig, { mode: 'train', promptLength: 2 }), o),
    ],
    table: [{ T: 4 }, (o) => complexity.table(o)],
  },
  'complexity.ops': {
    causalConv1d: [conv, (o) => ops.causalConv1d(grain, o)],
    causalConv1dBackward: [conv, (o) => ops.causalConv1dBackward(grain, o)],
    causalConv1dStep: [conv, (o) => ops.causalConv1dStep(grain, o)],
    deltaRule: [linear, (o) => ops.deltaRule(grain, o)],
    deltaRuleBackward: [linear, (o) => ops.deltaRuleBackward(grain, o)],
    deltaRuleStep: [linear, (o) => ops.deltaRuleStep(grain, o)],
    linearAttention: [linear, (o) => ops.linearAttention(grain, o)],
    linearAttentionBackward: [linear, (o) => ops.linearAttentionBackward(grain, o)],
    linearAttentionStep: [linear, (o) => ops.linearAttentionStep(grain, o)],
    crossEntropy: [loss, (o) => ops.crossEntropy(grain, o)],
    crossEntropyBackward: [loss, (o) => ops.crossEntropyBackward(grain, o)],
    mamba3: [turning, (o) => ops.mamba3(grain, o)],
    mamba3Backward: [turning, (o) => ops.mamba3Backward(grain, o)],
    mamba3Step: [turning, (o) => ops.mamba3Step(grain, o)],
    mamba3Gate: [turningGate, (o) => ops.mamba3Gate(grain, o)],
    mamba3GateBackward: [turningGate, (o) => ops.mamba3GateBackward(grain, o)],
    matmul: [product, (o) => ops.matmul(grain, o)],
    matmulBackward: [product, (o) => ops.matmulBackward(grain, o)],
    rmsNorm: [norm, (o) => ops.rmsNorm(grain, o)],
    rmsNormBackward: [norm, (o) => ops.rmsNormBackward(grain, o)],
    layerNorm: [norm, (o) => ops.layerNorm(grain, o)],
    layerNormBackward: [norm, (o) => ops.layerNormBackward(grain, o)],
    gatedRmsNorm: [{ ...norm, groups: 1 }, (o) => ops.gatedRmsNorm(grain, o)],
    gatedRmsNormBackward: [{ ...norm, groups: 1 }, (o) => ops.gatedRmsNormBackward(grain, o)],
    rope: [{ ...linear, rotaryDim: 2 }, (o) => ops.rope(grain, o)],
    selectiveScan: [scan, (o) => ops.selectiveScan(grain, o)],
    selectiveScanBackward: [scan, (o) => ops.selectiveScanBackward(grain, o)],
    selectiveScanStep: [scan, (o) => ops.selectiveScanStep(grain, o)],
    softmaxAttention: [attention, (o) => ops.softmaxAttention(grain, o)],
    softmaxAttentionBackward: [attention, (o) => ops.softmaxAttentionBackward(grain, o)],
    softmaxAttentionStep: [attention, (o) => ops.softmaxAttentionStep(grain, o, 1)],
    ssd: [sizesOfSsd, (o) => ops.ssd(grain, o)],
    ssdStep: [sizesOfSsd, (o) => ops.ssdStep(grain, o)],
    visibleKeys: [{ window: 2 }, (o) => ops.visibleKeys(3, o)],
    visiblePairs: [{ window: 2 }, (o) => ops.visiblePairs(3, o)],
    ssdBackward: [sizesOfSsd, (o) => ops.ssdBackward(grain, o)],
  },
  constructions: {
    arithmeticModel: [{ mixer: 'mamba', size: 2 }, (o) => constructions.arithmeticModel(k, arithmetic, o)],
    arithmeticModelPlan: [
      { mixer: 'mamba', size: 2 },
      (o) => constructions.arithmeticModelPlan(arithmetic, o),
    ],
    copyAddressed: [{ values, dState: 4 }, (o) => constructions.copyAddressed(k, o)],
    copyLinearAttention: [{ values, keys }, (o) => constructions.copyLinearAttention(k, o)],
    copyRegisterFile: [{ values, slots: 3 }, (o) => constructions.copyRegisterFile(k, o)],
    copySelectiveScan: [{ values, keys }, (o) => constructions.copySelectiveScan(k, o)],
    copySoftmaxAttention: [{ values }, (o) => constructions.copySoftmaxAttention(k, o)],
    copyCodebook: [{ vocabSize: 4 }, (o) => constructions.copyCodebook(o)],
    copyModel: [copying, (o) => constructions.copyModel(k, o)],
    copyModelPlan: [copying, (o) => constructions.copyModelPlan(o)],
    copyPrice: [
      { mixer: 'addressed', seqLen: 4, reads: 4, dValue: 2, slots: 4 },
      (o) => constructions.copyPrice(o),
    ],
    decayError: [{ rate: 1, distance: 1 }, (o) => constructions.decayError(o)],
    decayReach: [{ rate: 1, error: 0.1 }, (o) => constructions.decayReach(o)],
    predictAccuracy: [
      { codebook: new Float32Array(4), dValue: 2, tokens: [0, 1] },
      (o) => constructions.predictAccuracy(o),
    ],
    compile: [{ mixer: 'mamba', output: program.one }, (o) => constructions.compile(program, o)],
    Program: [{ vocabSize: 2, length: 2 }, (o) => new constructions.Program(o)],
    dpModel: [{ mixer: 'mamba', size: 3 }, (o) => constructions.dpModel(k, dp, o)],
    cyclicModel: [{ order: 2 }, (o) => constructions.cyclicModel(k, o)],
    cyclicModelPlan: [{ order: 2 }, (o) => constructions.cyclicModelPlan(o)],
    dpModelPlan: [{ mixer: 'mamba', size: 3 }, (o) => constructions.dpModelPlan(dp, o)],
    recallModel: [copying, (o) => constructions.recallModel(k, o)],
    recallModelPlan: [copying, (o) => constructions.recallModelPlan(o)],
  },
  models: {
    createModel: [modelConfig, (o) => models.createModel(k, o)],
    resolveConfig: [modelConfig, (o) => models.resolveConfig(o)],
    train: [{ steps: 1 }, (o) => models.train(model, [], o)],
    evaluate: [{ contextLength: 4 }, (o) => models.evaluate(model, [1, 2, 3], o)],
    generateText: [{}, (o) => models.generateText(model, models.byteTokens, [1], o)],
    textBatches: [{ batchSize: 1, seqLen: 1 }, (o) => models.textBatches([1, 2], o)],
    splitTokens: [{}, (o) => models.splitTokens([1, 2], o)],
    quantizeModel: [{ dtype: 'int8' }, (o) => models.quantizeModel(model, o)],
    loadPretrained: [{}, (o) => models.loadPretrained(k, nowhere, o)],
    inspectPretrained: [{}, (o) => models.inspectPretrained(nowhere, o)],
    encodePretrained: [{}, (o) => models.encodePretrained(model, o)],
    savePretrained: [{}, (o) => models.savePretrained(nowhere, model, o)],
    saveSafetensors: [{}, (o) => models.saveSafetensors(nowhere, model.parameters(), o)],
    encodeSafetensors: [{}, (o) => models.encodeSafetensors(model.parameters(), o)],
    safetensorsChunks: [{}, (o) => models.safetensorsChunks(model.parameters(), o)],
    loadSafetensors: [{}, (o) => models.loadSafetensors(k, bytes, o)],
    urlSource: [{}, (o) => models.urlSource('http://127.0.0.1:1', o)],
  },
  LanguageModel: {
    forward: [{}, (o) => model.forward([1], o)],
    loss: [{}, (o) => model.loss([1, 2], o)],
    generate: [{}, (o) => model.generate([1], o)],
  },
  files: {
    stageFile: [{}, (o) => files.stageFile(nowhere, '', o)],
    writeDurably: [{}, (o) => files.writeDurably(nowhere, '', o)],
  },
  Task: {
    batches: [{ batchSize: 1 }, (o) => task.batches(o)],
    split: [{}, (o) => task.split(o)],
    check: [{}, (o) => task.check(sample, sample.answer, o)],
    Vocabulary: [{ pad: 'a' }, (o) => new tasks.Vocabulary(['a'], o)],
    writeJsonLines: [{ count: 1, seed: 1 }, (o) => tasks.writeJsonLines(task, o).next()],
    writeSafetensors: [{ count: 1, seed: 1 }, (o) => tasks.writeSafetensors(task, o).next()],
  },
  tasks: Object.fromEntries(generators.map(([name, make]): [string, Entry] => [name, [{}, (o) => make(o)]])),
  lab: {
    copyTextConfig: [{}, (o) => lab.copyTextConfig(lab.tokenize('x', new Uint8Array([1, 2]), 'bytes'), o)],
    runInMemory: [{}, (o) => lab.runInMemory(experiment, k, {}, o)],
    findingsText: [{ columns: 80, colour: false }, (o) => lab.findingsText(experiment, findings as never, o)],
    runExperiment: [{}, (o) => labNode.runExperiment(experiment, {}, o)],
  },
};

describe.each(Object.entries(takers))('%s', (_package, functions) => {
  it.each(Object.entries(functions))(
    '%s refuses an option that does not exist',
    async (_name, [good, call]) => {
      const { tensors } = k.memory;
      const outcome = await (async () => call({ ...good, notAnOption: 1 } as never))().then(
        () => 'accepted',
        (error: unknown) => error,
      );
      expect(outcome).toBeInstanceOf(FreelunchError);
      expect(String(outcome)).toMatch(/'notAnOption' is not an option/);
      expect(k.memory.tensors).toBe(tensors);
    },
  );
});

/** Functions of a package by the text of their parameters, as its declarations have them. */
function signatures(name: string): Map<string, string> {
  const folder = fileURLToPath(new URL(`../packages/${name}/dist/`, import.meta.url));
  const found = new Map<string, string>();
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.d.ts')) continue;
    const text = readFileSync(folder + file, 'utf8');
    for (const [, each, parameters] of text.matchAll(
      /^export declare function (\w+)(?:<.*>)?\(([^]*?)\): /gm,
    ))
      found.set(each, parameters);
  }
  return found;
}

describe('functions that take options', () => {
  const packages = {
    kernels,
    autograd,
    complexity,
    config,
    constructions,
    models,
    lab: { ...lab, ...labNode },
  };
  /** Functions whose objects are data: a tensor's entry, a file's metadata, a text. */
  const takeData = ['readGgufConfig', 'readTensor', 'glyphs'];
  const listed = new Set(
    Object.values(takers)
      .flatMap((functions) => Object.keys(functions))
      .concat(takeData),
  );

  it.each(Object.entries(packages))('of %s are all listed here', (name, exports) => {
    const all = signatures(name);
    const taking = Object.keys(exports).filter((each) =>
      /options|Options|Args\b|\{/.test(all.get(each) ?? ''),
    );
    expect(all.size).toBeGreaterThan(3);
    expect(taking.filter((each) => !listed.has(each))).toEqual([]);
  });

  it('of the ops of complexity are all listed here', () => {
    const all = signatures('complexity');
    const taking = Object.keys(ops).filter((each) => /Sizes/.test(all.get(each) ?? ''));
    expect(taking.length).toBeGreaterThan(20);
    expect(taking.filter((each) => !(each in takers['complexity.ops']))).toEqual([]);
  });
});
