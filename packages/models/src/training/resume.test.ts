import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArgumentError, FileError, FormatError, FreelunchError } from '@freelunch/errors';
import { loadKernels } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { loadSafetensors, saveSafetensors } from '../checkpoints/safetensors.js';
import { LOCK } from '../files/lock.js';
import { createModel, type ModelConfig, train, type TrainingBatch, type TrainOptions } from '../index.js';

vi.setConfig({ testTimeout: 120_000 });
const k = await loadKernels({ variant: 'simd' });
let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'freelunch-resume-'))));
afterEach(async () => {
  await rm(folder, { recursive: true });
  expect(k.memory.tensors).toBe(0);
});

const config: ModelConfig = { vocabSize: 5, dModel: 4, nLayers: 1, mixer: { type: 'mamba', dState: 2 } };

function batchAt(position: number): TrainingBatch {
  const rng = random(1).split(position);
  const draw = () => Int32Array.from({ length: 6 }, () => rng.integer(5));
  return { inputs: draw(), targets: draw(), batchSize: 2, seqLen: 3 };
}

/** A stream that says where it stands. */
function stream(state: { position: number } = { position: 0 }) {
  let { position } = state;
  return {
    get state() {
      return { position };
    },
    next: () => ({ done: false as const, value: batchAt(position++) }),
    [Symbol.iterator]() {
      return this;
    },
  };
}

/** A stream that does not. */
function* silent(): Generator<TrainingBatch> {
  for (let position = 0; ; position++) yield batchAt(position);
}

/** Trains a fresh model to its end. @returns the steps that were taken, and all weights */
async function trained(options: TrainOptions, batches: Parameters<typeof train>[1] = stream as never) {
  using model = createModel(k, config);
  const steps: number[] = [];
  for await (const { step } of train(model, batches, options)) steps.push(step);
  return { steps, weights: Array.from(model.parameters().values(), (tensor) => tensor.toArray()) };
}

const path = (step: number) => join(folder, `step-${String(step).padStart(8, '0')}.safetensors`);
const inFolder = (steps: number, more: Partial<TrainOptions> = {}): TrainOptions => ({
  steps,
  resume: true,
  checkpoints: { every: 1, folder },
  ...more,
});

async function checkpointBytes(): Promise<Uint8Array<ArrayBuffer>> {
  let saved = new Uint8Array();
  const save = (bytes: Uint8Array) => void (saved = bytes.slice());
  await trained({ steps: 1, checkpoints: { every: 1, save } });
  return saved;
}

/** A checkpoint with other metadata, and a digest that fits. */
async function withMetadata(change: Record<string, string>): Promise<string> {
  await trained(inFolder(2));
  const { tensors, metadata } = await loadSafetensors(k, await readFile(path(2)));
  const { createHash } = await import('node:crypto');
  const changed: Record<string, string> = { ...metadata, ...change };
  const listed = Array.from(tensors, ([name, { shape }]) => [name, 'F32', shape]);
  const hash = createHash('sha256').update(
    JSON.stringify([changed.format, changed.config, changed.training, listed]),
  );
  for (const tensor of tensors.values()) hash.update(new Uint8Array(tensor.toArray().buffer));
  const file = join(folder, 'changed.safetensors');
  await saveSafetensors(file, tensors, { metadata: { ...changed, digest: hash.digest('hex') } });
  for (const tensor of tensors.values()) tensor.dispose();
  return file;
}

describe('a checkpoint that has changed since it was written', () => {
  it('is noticed, whichever bit it is', async () => {
    const bytes = await checkpointBytes();
    const headerBytes = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const rng = random(5);
    const among = (count: number, end: number) => Array.from({ length: count }, () => rng.integer(8 * end));
    const places = [...among(150, headerBytes), ...among(100, bytes.length)];
    using model = createModel(k, config);
    const before = model.parameters().values().next().value!.toArray();
    for (const bit of places) {
      const flipped = bytes.slice();
      flipped[bit >> 3] ^= 1 << (bit & 7);
      const run = train(model, stream as never, { steps: 1, resume: flipped });
      await expect(run.next(), `bit ${bit} of ${8 * bytes.length}`).rejects.toThrow(FormatError);
    }
    expect(model.parameters().values().next().value!.toArray()).toEqual(before);
  });

  it('is named, and the one before it used, to the same bits in the end', async () => {
    const whole = await trained({ steps: 6 });
    await trained(inFolder(4, { checkpoints: { every: 1, folder, keep: 2 } }));
    const newest = await readFile(path(4));
    newest[newest.length - 5] ^= 4;
    await writeFile(path(4), newest);
    const warnings: string[] = [];
    const options = { onWarning: (message: string) => void warnings.push(message) };
    const rest = await trained(inFolder(6, { ...options, checkpoints: { every: 100, folder, keep: 1 } }));
    expect(rest.steps).toEqual([4, 5, 6]);
    expect(rest.weights).toEqual(whole.weights);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/step-00000004.*digest.*it has changed since it was written/);
    expect((await readdir(folder)).sort()).toEqual([
      'step-00000004.safetensors.broken',
      'step-00000006.safetensors',
    ]);
  });

  it('goes to the warnings of the runtime where nobody listens', async () => {
    await trained(inFolder(2));
    await writeFile(path(2), 'torn');
    using spy = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    expect((await trained(inFolder(3))).steps).toEqual([2, 3]);
    expect(spy).toHaveBeenCalledTimes(1);
  });

  it('stops the run where no other one is left, and stays where it is', async () => {
    await trained(inFolder(1));
    await writeFile(path(1), '');
    for (let i = 0; i < 2; i++) {
      await expect(trained(inFolder(2))).rejects.toThrow(/must hold a checkpoint that is as it was written/);
      await expect(trained(inFolder(2))).rejects.toThrow(FormatError);
    }
    expect(await readdir(folder)).toEqual(['step-00000001.safetensors']);
  });
});

describe('metadata of a checkpoint', () => {
  const deep = `${'['.repeat(1e5)}${']'.repeat(1e5)}`;
  it.each([
    [{ training: 'null' }, /metadata\.training must be an object, got null/],
    [{ config: 'null' }, /metadata\.config must be an object, got null/],
    [{ config: '7' }, /metadata\.config must be an object/],
    [{ config: deep }, /metadata\.config must be at most 200 levels deep/],
    [{ training: `{"step":2,"stream":${deep}}` }, /metadata\.training must be at most 200 levels deep/],
    [{ training: '{' }, /metadata\.training must be JSON/],
    [{ training: '{}' }, /training\.step must be a whole number from 1 up, got undefined/],
    [{ training: '{"step":-1}' }, /training\.step must be/],
    [{ training: '{"step":2,"accumulate":1,"batches":1.5}' }, /training\.batches must be/],
    [
      { training: '{"step":2,"accumulate":1,"batches":1}' },
      /batches must be a whole number from 2 up, got 1/,
    ],
    [{ training: '{"step":2,"batches":2000000000}' }, /training\.accumulate must be/],
    [
      { training: '{"step":2,"accumulate":1,"batches":2000000000}' },
      /batches must be at most 2 after 2 steps of 1, got 2000000000/,
    ],
    [{ training: '{"step":2,"accumulate":1,"batches":2,"optimizer":"x"}' }, /optimizer must be 'adamw' or/],
    [{ format: 'other' }, /metadata\.format must be/],
  ])('that is %j gives a FormatError', async (change, message) => {
    const resume = await withMetadata(change);
    await expect(trained({ steps: 3, resume })).rejects.toThrow(message);
    await expect(trained({ steps: 3, resume })).rejects.toThrow(FormatError);
  });

  it('may send a stream far ahead, which can be aborted', async () => {
    const training = '{"step":2,"accumulate":1000000000,"batches":2000000000,"optimizer":"adamw"}';
    const resume = await withMetadata({ training });
    const signal = AbortSignal.timeout(100);
    await expect(trained({ steps: 3, resume, signal }, silent as never)).rejects.toThrow(/time/i);
  });

  it('is refused before it is written where the stream stands at no plain data', async () => {
    const circle: unknown[] = [];
    circle.push(circle);
    for (const state of [1n, circle, JSON.parse(`${'['.repeat(300)}${']'.repeat(300)}`)]) {
      const batches = () => Object.defineProperty(stream(), 'state', { value: state });
      await expect(trained(inFolder(1), batches as never)).rejects.toThrow(
        /^train: the state of batches must be plain data/,
      );
      await expect(trained(inFolder(1), batches as never)).rejects.toThrow(ArgumentError);
    }
  });
});

describe('a folder of checkpoints', () => {
  it('is for one run at a time', async () => {
    using first = createModel(k, config);
    const run = train(first, stream as never, inFolder(3));
    await run.next();
    await expect(trained(inFolder(3))).rejects.toThrow(new RegExp(`in use by process ${process.pid}`));
    await expect(trained(inFolder(3))).rejects.toThrow(FileError);
    await run.return();
    expect((await trained(inFolder(3))).steps).toEqual([2, 3]);
    expect(await readdir(folder)).not.toContain(LOCK);
  });

  it('may hold folders named like checkpoints, which are left alone', async () => {
    await mkdir(path(9));
    await mkdir(`${path(9)}.x.partial`);
    expect((await trained(inFolder(2))).steps).toEqual([1, 2]);
    await rm(path(2));
    await mkdir(path(2));
    await expect(trained(inFolder(3))).rejects.toThrow(
      /step-00000002.safetensors: must be a file, got a folder/,
    );
    await expect(trained(inFolder(3))).rejects.toThrow(FileError);
  });

  it('with a pipe in place of a checkpoint ends with a FileError', async () => {
    execFileSync('mkfifo', [path(2)]);
    await expect(trained({ steps: 3, resume: path(2) })).rejects.toThrow(FileError);
    expect((await trained(inFolder(1))).steps).toEqual([1]);
  });

  it.each(['/proc/none/run', '/dev/null', '/dev/null/run'])(
    'that cannot be made gives a FileError: %s',
    async (at) => {
      await expect(trained({ steps: 1, checkpoints: { every: 1, folder: at } })).rejects.toThrow(FileError);
    },
  );
});

describe('options of train', () => {
  it.each([
    [{ lr: 1 }, /'lr' is not an option/],
    [{ checkpoints: { every: 1, folder: 'x', kep: 1 } }, /did you mean 'keep'/],
    [{ checkpoints: { every: 1 } }, /with a folder or with save/],
    [{ checkpoints: { every: 1, folder: 7 } }, /folder must be a path/],
    [{ evaluate: { every: 1, run: () => 0, when: 1 } }, /'when' is not an option/],
    [{ evaluate: { every: 1 } }, /evaluate.run must be a function/],
    [{ optimizer: { type: 'adamw', momentum: 1 } }, /'momentum' is not an option/],
    [{ optimizer: null }, /optimizer must be an object with a type/],
    [{ learningRate: '1' }, /learningRate must be a number or a function/],
    [{ maxGradientNorm: '1' }, /maxGradientNorm must be/],
    [{ signal: 7 }, /signal must be an AbortSignal/],
    [{ resume: 7 }, /resume must be/],
    [{ onWarning: 7 }, /onWarning must be a function/],
    [{ gradientCheckpointing: 1 }, /gradientCheckpointing must be true or false/],
  ])('are refused where they are unknown or of another kind: %o', async (more, message) => {
    using model = createModel(k, config);
    const call = () => train(model, stream as never, { steps: 1, ...more } as never);
    expect(call).toThrow(message);
    expect(call).toThrow(ArgumentError);
  });

  it.each([[null], [7], ['x'], [undefined]])('model, batches and options are not %j', async (wrong) => {
    using model = createModel(k, config);
    expect(() => train(wrong as never, silent(), { steps: 1 })).toThrow(ArgumentError);
    expect(() => train(model, wrong as never, { steps: 1 })).toThrow(ArgumentError);
    expect(() => train(model, silent(), wrong as never)).toThrow(ArgumentError);
    const run = train(model, (() => wrong) as never, { steps: 1 });
    await expect(run.next()).rejects.toThrow(FreelunchError);
    const batches = [wrong] as never;
    await expect(train(model, batches, { steps: 1 }).next()).rejects.toThrow(FreelunchError);
  });
});
