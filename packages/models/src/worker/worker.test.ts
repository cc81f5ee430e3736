import { ArgumentError, DisposedError, FreelunchError, loadKernels } from '@freelunch/kernels';
import { byteTokens, createModel, evaluate, loadSafetensors, textBatches, train } from '@freelunch/models';
import { startWorker } from '@freelunch/models/worker';
import { afterAll, describe, expect, it } from 'vitest';

const k = await loadKernels({ variant: 'simd' });
const worker = await startWorker({ variant: 'simd' });
afterAll(() => worker.terminate());

const config = { vocabSize: 256, dModel: 16, nLayers: 2, mixer: { type: 'mamba' }, seed: 7 } as const;
const text = byteTokens.encode('what is kept, and what is lost? '.repeat(30));
const batches = () => textBatches(text, { batchSize: 2, seqLen: 32, seed: 1 });
async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const value of values) found.push(value);
  return found;
}
const plain = <T extends { tokensPerSecond: number }>(metrics: T) => ({ ...metrics, tokensPerSecond: 0 });

describe('a model in a worker', () => {
  it('trains, generates and is saved as one in this thread, bit for bit', async () => {
    using here = createModel(k, config);
    await using there = await worker.createModel(config);
    expect(there.config).toEqual(here.config);
    expect(there.parameterCount).toBe(here.parameterCount);

    const options = { steps: 4, learningRate: 0.01 };
    const wanted = await all(train(here, batches(), options));
    const found = await all(there.train(batches(), options));
    expect(found.map(plain)).toEqual(wanted.map(plain));
    expect(found.length).toBe(4);

    const drawing = { maxTokens: 12, temperature: 0.8, seed: 3 };
    expect(await all(there.generate([1, 2, 3], drawing))).toEqual(
      await all(here.generate([1, 2, 3], drawing)),
    );
    expect(await there.evaluate(text.slice(0, 100), { contextLength: 32 })).toEqual(
      await evaluate(here, text.slice(0, 100), { contextLength: 32 }),
    );

    const { tensors } = await loadSafetensors(k, await there.save());
    const [[name, weight]] = here.parameters();
    expect(tensors.get(name)!.toArray()).toEqual(weight.toArray());
    for (const tensor of tensors.values()) tensor.dispose();
  });

  it('runs a stream only as far as it is read, and ends the batches', async () => {
    await using model = await worker.createModel(config);
    let given = 0;
    let isClosed = false;
    function* counted() {
      try {
        for (const batch of batches()) {
          given++;
          yield batch;
        }
      } finally {
        isClosed = true;
      }
    }
    for await (const { step } of model.train(counted(), { steps: 100 })) if (step === 3) break;
    expect(given).toBe(3);
    expect(isClosed).toBe(true);
  });

  it('stops when its signal is aborted, with the reason of this side', async () => {
    await using model = await worker.createModel(config);
    const controller = new AbortController();
    const reason = new Error('enough');
    const training = (async () => {
      for await (const { step } of model.train(batches(), { steps: 1000, signal: controller.signal }))
        if (step === 2) controller.abort(reason);
    })();
    await expect(training).rejects.toBe(reason);
    await expect(model.generate([1], { signal: controller.signal }).next()).rejects.toBe(reason);
    expect(await all(model.generate([1], { maxTokens: 2 }))).toHaveLength(2); // the worker is as good as before
  });

  it('throws what the functions throw, and what the batches throw', async () => {
    await using model = await worker.createModel(config);
    await expect(worker.createModel({ ...config, dmodel: 3 } as never)).rejects.toThrow(ArgumentError);
    await expect(model.generate([999]).next()).rejects.toThrow(
      /^generate: prompt\[0\] must be a token from 0 to 255/,
    );
    const broken = new RangeError('no more text');
    const failing = {
      *[Symbol.iterator]() {
        yield batches().next().value;
        throw broken;
      },
    };
    await expect(all(model.train(failing, { steps: 5 }))).rejects.toBe(broken);
    await expect(worker.loadPretrained('/proc/none/at/all')).rejects.toThrow(FreelunchError);
  });

  it('refuses functions, which cannot be sent, and options that do not exist', async () => {
    await using model = await worker.createModel(config);
    const evaluating = { steps: 1, evaluate: { every: 1, run: () => 1 } } as never;
    await expect(all(model.train(batches(), evaluating))).rejects.toThrow(
      /arguments must be data that can be sent/,
    );
    expect(() => model.generate([1], { processLogits: () => {} } as never)).toThrow(
      "'processLogits' is not an option",
    );
    await expect(startWorker({ source: new Uint8Array() } as never)).rejects.toThrow(
      "'source' is not an option",
    );
    await expect(startWorker({ variant: 'fast' } as never)).rejects.toThrow(ArgumentError);
  });

  it('fails at once where the worker was terminated or the model disposed of', async () => {
    const other = await startWorker({ variant: 'simd' });
    const model = await other.createModel(config);
    await model.dispose();
    await expect(model.save()).rejects.toThrow(DisposedError);
    const waiting = (await other.createModel(config)).train(batches(), { steps: 1e6 });
    await waiting.next();
    const next = all(waiting);
    other.terminate();
    await expect(next).rejects.toThrow(/^worker: it was terminated/);
    await expect(other.createModel(config)).rejects.toThrow(DisposedError);
  });
});
