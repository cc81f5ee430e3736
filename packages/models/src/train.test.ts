import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cosine } from '@freelunch/autograd';
import { ArgumentError, FreelunchError, loadKernels, ShapeError } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type Batches,
  createModel,
  type LanguageModel,
  type ModelConfig,
  type StepMetrics,
  train,
  type TrainingBatch,
  type TrainOptions,
} from './index.js';

const k = await loadKernels({ variant: 'simd' });
afterEach(() => expect(k.memory.tensors).toBe(0));

const vocabSize = 12;
const half = 6;

/** `x1 .. x6 | x1 .. x6`: the second half is to be copied from the first, and only it is scored. */
function copyBatch(seed: number, position: number, batchSize = 8): TrainingBatch {
  const rng = random(seed).split(position);
  const seqLen = 2 * half;
  const inputs = new Int32Array(batchSize * seqLen);
  const targets = new Int32Array(batchSize * seqLen);
  const lossMask = new Uint8Array(batchSize * seqLen);
  for (let b = 0; b < batchSize; b++) {
    const word = Array.from({ length: half }, () => 1 + rng.integer(vocabSize - 1));
    const text = [...word, 0, ...word];
    for (let i = 0; i < seqLen; i++) {
      inputs[b * seqLen + i] = text[i];
      targets[b * seqLen + i] = text[i + 1];
      lossMask[b * seqLen + i] = i >= half ? 1 : 0;
    }
  }
  return { inputs, targets, lossMask, batchSize, seqLen };
}

/** A stream that says where it stands. */
function stream(state: { position: number } = { position: 0 }, end = Infinity) {
  let { position } = state;
  return {
    get state() {
      return { position };
    },
    next: () =>
      position < end
        ? { done: false as const, value: copyBatch(1, position++) }
        : { done: true as const, value: undefined },
    [Symbol.iterator]() {
      return this;
    },
  };
}

/** A stream that does not. */
function* silent(): Generator<TrainingBatch> {
  for (let position = 0; ; position++) yield copyBatch(1, position);
}

const small: ModelConfig = {
  vocabSize,
  dModel: 16,
  nLayers: 1,
  mixer: { type: 'mamba', dState: 4 },
  seed: 3,
};
const attention: ModelConfig = {
  vocabSize,
  dModel: 32,
  nLayers: 2,
  mixer: { type: 'softmax-attention', nHeads: 2 },
  mlp: 'gelu',
  position: 'rope',
};

async function withModel<T>(config: ModelConfig, use: (model: LanguageModel) => Promise<T>): Promise<T> {
  const model = createModel(k, config);
  try {
    return await use(model);
  } finally {
    model.dispose();
  }
}

const weightsOf = (model: LanguageModel) =>
  [...model.parameters()].map(([name, tensor]) => [name, tensor.toArray()] as const);

async function collect<E>(metrics: AsyncIterable<StepMetrics<E>>): Promise<StepMetrics<E>[]> {
  const all: StepMetrics<E>[] = [];
  for await (const step of metrics) all.push(step);
  return all;
}

/** Trains a fresh model. @returns its metrics without the times, and its weights */
function trained(
  options: TrainOptions,
  batches: Batches | ((state?: { position: number }) => Batches) = stream,
  config = small,
) {
  return withModel(config, async (model) => {
    const metrics = await collect(train(model, batches, options));
    for (const step of metrics) step.tokensPerSecond = 0;
    return { metrics, weights: weightsOf(model) };
  });
}

async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'freelunch-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('train', () => {
  it.each([
    ['softmax attention', attention, 5e-3, 300, 0.99],
    ['Mamba', { ...small, dModel: 32, nLayers: 2, mixer: { type: 'mamba' } } as ModelConfig, 1e-2, 800, 0.95],
  ])('teaches %s to copy', async (_title, config, peak, steps, accuracy) => {
    const { metrics } = await trained(
      { steps, learningRate: cosine({ peak, warmupSteps: 20, totalSteps: steps }) },
      stream,
      config,
    );
    expect(metrics).toHaveLength(steps);
    expect(metrics[0].loss).toBeGreaterThan(0.9 * Math.log(vocabSize));
    const last = metrics.slice(-10);
    expect(last.reduce((sum, { accuracy: share }) => sum + share, 0) / 10).toBeGreaterThan(accuracy);
    expect(Math.max(...last.map(({ loss }) => loss))).toBeLessThan(0.15 * Math.log(vocabSize));
  });

  it('reports what it did', async () => {
    await withModel(small, async (model) => {
      const batch = copyBatch(1, 0);
      const { loss, correct } = k.scope(() => {
        const shape = [batch.batchSize, batch.seqLen];
        const tokens = k.tensor(batch.inputs, shape);
        const logits = model.forward(tokens).toArray();
        let right = 0;
        batch.targets.forEach((target, i) => {
          const row = logits.subarray(i * vocabSize, (i + 1) * vocabSize);
          if (batch.lossMask![i] && row.indexOf(Math.max(...row)) === target) right++;
        });
        const mean = model.loss(tokens, { targets: k.tensor(batch.targets, shape), mask: batch.lossMask });
        return { loss: mean.data[0], correct: right };
      });
      const [first, second] = await collect(
        train(model, stream(), {
          steps: 2,
          learningRate: (step) => step / 100,
          evaluate: { every: 2, run: (evaluated, step) => `${step} ${evaluated === model}` },
        }),
      );
      expect(first.loss).toBeCloseTo(loss, 6);
      expect(first.accuracy).toBe(correct / (8 * half));
      expect([first.step, first.learningRate, first.evaluation]).toEqual([1, 0.01, undefined]);
      expect([second.step, second.learningRate, second.evaluation]).toEqual([2, 0.02, '2 true']);
      expect(first.tokensPerSecond).toBeGreaterThan(0);
      expect(first.gradientNorm).toBeGreaterThan(0);
    });
  });

  it('takes the steps of its optimiser, and leaves biases and decays undecayed', async () => {
    await withModel(small, async (model) => {
      const before = new Map(weightsOf(model));
      const options = { steps: 1, learningRate: 0.5, maxGradientNorm: 1e-12 }; // nothing but decay is left
      await collect(train(model, stream(), { ...options, optimizer: { type: 'sgd', weightDecay: 0.25 } }));
      const decays = new Map(model.specs.map((spec) => [spec.name, spec.decays]));
      for (const [name, after] of weightsOf(model)) {
        const factor = decays.get(name) ? 1 - 0.5 * 0.25 : 1;
        after.forEach((value, i) => expect(value).toBeCloseTo(factor * before.get(name)![i], 6));
      }
    });
  });

  it('adds up the gradients of several batches as of one', async () => {
    const parts = [0, 1, 2, 3].map((position) => copyBatch(1, position, 2));
    const join4 = <K extends 'inputs' | 'targets'>(key: K) =>
      Int32Array.from(parts.flatMap((part) => Array.from(part[key])));
    const whole: TrainingBatch = {
      inputs: join4('inputs'),
      targets: join4('targets'),
      lossMask: Uint8Array.from(parts.flatMap((part) => Array.from(part.lossMask!))),
      batchSize: 8,
      seqLen: 2 * half,
    };
    const options = {
      steps: 1,
      optimizer: { type: 'sgd' as const },
      learningRate: 1,
      maxGradientNorm: Infinity,
    };
    const one = await trained(options, [whole]);
    const four = await trained({ ...options, accumulate: 4 }, parts);
    expect(four.metrics[0].loss).toBeCloseTo(one.metrics[0].loss, 6);
    expect(four.metrics[0].accuracy).toBe(one.metrics[0].accuracy);
    four.weights.forEach(([, weight], i) =>
      weight.forEach((value, j) => expect(value).toBeCloseTo(one.weights[i][1][j], 5)),
    );
  });

  it('gives the same bits with gradient checkpointing, and needs less memory for each layer', async () => {
    expect(await trained({ steps: 3, gradientCheckpointing: true }, stream, attention)).toEqual(
      await trained({ steps: 3 }, stream, attention),
    );
    const peak = async (nLayers: number, gradientCheckpointing: boolean) => {
      const config = { ...attention, nLayers };
      return withModel(config, async (model) => {
        k.resetPeak();
        await collect(
          train(model, stream(), { steps: 1, gradientCheckpointing, optimizer: { type: 'sgd' } }),
        );
        return k.memory.peakBytes;
      });
    };
    const perLayer = async (checkpointing: boolean) =>
      ((await peak(10, checkpointing)) - (await peak(2, checkpointing))) / 8;
    // What is left is a layer's input, its weights and their gradients.
    expect(await perLayer(true)).toBeLessThan(0.35 * (await perLayer(false)));
  });

  it('keeps memory flat from the second step on', async () => {
    await withModel(attention, async (model) => {
      const used: number[] = [];
      const total: number[] = [];
      for await (const _ of train(model, stream(), { steps: 12 })) {
        used.push(k.memory.usedBytes);
        total.push(k.memory.totalBytes);
      }
      expect(new Set(used).size).toBe(1);
      expect(new Set(total.slice(1)).size).toBe(1);
    });
  });

  it('ends with the batches, and takes a last step with fewer of them', async () => {
    const { metrics } = await trained(
      { steps: 100, accumulate: 2 },
      [0, 1, 2].map((i) => copyBatch(1, i)),
    );
    expect(metrics.map(({ step }) => step)).toEqual([1, 2]);
  });

  it('goes on from bytes to the same bits, whether the stream says where it stands or not', async () => {
    const whole = await trained({ steps: 9 });
    for (const batches of [stream, silent]) {
      const saved = new Map<number, Uint8Array>();
      const save = (bytes: Uint8Array, step: number) => void saved.set(step, bytes);
      await trained({ steps: 5, checkpoints: { every: 2, save } }, batches);
      expect([...saved.keys()]).toEqual([2, 4, 5]);
      const rest = await trained({ steps: 9, resume: saved.get(4) }, batches, { ...small, seed: 99 });
      expect(rest.metrics).toEqual(whole.metrics.slice(4));
      expect(rest.weights).toEqual(whole.weights);
    }
  });

  it('saves files, keeps the newest, and goes on from the last', async () => {
    const whole = await trained({ steps: 9 });
    await inFolder(async (parent) => {
      const folder = join(parent, 'run');
      const options = { steps: 9, resume: true, checkpoints: { every: 2, folder, keep: 2 } };
      await trained({ ...options, steps: 7 });
      expect((await readdir(folder)).sort()).toEqual([
        'step-00000006.safetensors',
        'step-00000007.safetensors',
      ]);
      await writeFile(join(folder, 'step-00000008.safetensors.abc.partial'), 'of a run that was killed');
      const rest = await trained(options);
      expect(rest.metrics).toEqual(whole.metrics.slice(7));
      expect(rest.weights).toEqual(whole.weights);
      expect((await readdir(folder)).sort()).toEqual([
        'step-00000008.safetensors',
        'step-00000009.safetensors',
      ]);
      expect((await trained(options)).weights).toEqual(whole.weights); // all done already

      await expect(trained({ ...options, resume: false })).rejects.toThrow(
        'checkpoints.folder must be without checkpoints beyond step 0, where this run begins',
      );
    });
  });

  it('saves when it is aborted, and goes on from there', async () => {
    const whole = await trained({ steps: 6 });
    await inFolder(async (folder) => {
      const controller = new AbortController();
      const options = { steps: 6, resume: true, checkpoints: { every: 100, folder } };
      await withModel(small, async (model) => {
        const run = async () => {
          for await (const { step } of train(model, stream, { ...options, signal: controller.signal }))
            if (step === 4) controller.abort(new Error('enough'));
        };
        await expect(run()).rejects.toThrow('enough');
      });
      expect(await readdir(folder)).toEqual(['step-00000004.safetensors']);
      expect((await trained(options)).weights).toEqual(whole.weights);
      const { signal } = controller;
      await expect(trained({ steps: 1, signal })).rejects.toThrow('enough');
    });
  });

  it('lets timers run, and so can be aborted by one', async () => {
    await expect(trained({ steps: 1e6, signal: AbortSignal.timeout(40) })).rejects.toThrow(/timeout/);
  });

  it('stops at a loss that is no number, names the step, and keeps weights and checkpoint', async () => {
    await inFolder(async (folder) => {
      await withModel(small, async (model) => {
        const weight = model.parameters().get('backbone.norm_f.weight')!;
        let before: ReturnType<typeof weightsOf> = [];
        const run = async () => {
          for await (const { step } of train(model, stream(), {
            steps: 9,
            checkpoints: { every: 2, folder },
          })) {
            if (step === 5) {
              weight.data[3] = NaN;
              before = weightsOf(model);
            }
          }
        };
        await expect(run()).rejects.toThrow(
          new FreelunchError('train: the loss of step 6 is NaN; the last checkpoint is of step 4'),
        );
        expect(weightsOf(model)).toEqual(before);
        expect((await readdir(folder)).sort()).toEqual([
          'step-00000002.safetensors',
          'step-00000004.safetensors',
        ]);
      });
      await expect(trained({ steps: 2, learningRate: 1e30, maxGradientNorm: Infinity })).rejects.toThrow(
        /^train: the .* of step 2 is (NaN|Infinity); there is no checkpoint$/,
      );
    });
  });

  it('refuses checkpoints of something else', async () => {
    const saved: Uint8Array[] = [];
    await trained({ steps: 1, checkpoints: { every: 1, save: (bytes) => void saved.push(bytes) } });
    const [resume] = saved;
    await expect(trained({ steps: 2, resume }, stream, attention)).rejects.toThrow(/a model with config/);
    await expect(trained({ steps: 2, resume, optimizer: { type: 'sgd' } })).rejects.toThrow(
      "optimizer must be 'adamw' as in resume, got 'sgd'",
    );
    await expect(trained({ steps: 2, resume: resume.slice(0, 5000) })).rejects.toThrow(FreelunchError);
    await expect(trained({ steps: 2, resume: '/nowhere/at-all' })).rejects.toThrow(/ENOENT/);
  });

  it('refuses bad options and batches, and names them', async () => {
    await withModel(small, async (model) => {
      const bad: [object, string][] = [
        [{}, 'steps must be a whole number from 1 up, got undefined'],
        [{ steps: 1.5 }, 'steps must be'],
        [{ steps: 1, learningRate: NaN }, 'rate must be'],
        [{ steps: 1, accumulate: 0 }, 'accumulate must be'],
        [{ steps: 1, maxGradientNorm: NaN }, 'maxGradientNorm must be a number above 0, got NaN'],
        [{ steps: 1, optimizer: { type: 'lion' } }, "optimizer.type must be 'adamw' or 'sgd', got 'lion'"],
        [{ steps: 1, evaluate: { every: 0 } }, 'evaluate.every must be'],
        [{ steps: 1, checkpoints: { every: NaN } }, 'checkpoints.every must be'],
        [{ steps: 1, checkpoints: { every: 1, folder: 'x', keep: 0 } }, 'checkpoints.keep must be'],
        [{ steps: 1, resume: 'x' }, 'batches must be a function'],
      ];
      for (const [options, message] of bad) {
        expect(() => train(model, stream(), options as TrainOptions), message).toThrow(ArgumentError);
        expect(() => train(model, stream(), options as TrainOptions)).toThrow(message);
      }
      expect(() => train(model, stream, { steps: 1, resume: true })).toThrow(
        'checkpoints.folder must be given',
      );
      const batch = copyBatch(1, 0);
      const fails = async (wrong: object, error: unknown) =>
        expect(collect(train(model, [{ ...batch, ...wrong }], { steps: 1 }))).rejects.toThrow(
          error as string,
        );
      await fails(
        { seqLen: 5 },
        new ShapeError('train: inputs of step 1 must be [8, 5], 40 elements, got 96'),
      );
      await fails({ lossMask: new Uint8Array(3) }, /lossMask of step 1 must be/);
      await fails({ targets: undefined }, /targets of step 1 must be .* got none/);
      await fails({ lossMask: new Uint8Array(96) }, 'lossMask of step 1 must be 1 somewhere');
      await fails({ inputs: new Int32Array(96).fill(12) }, /tokens\[0, 0\] must be/);
    });
  });
});
