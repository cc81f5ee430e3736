import { createTape } from '@freelunch/autograd';
import { FreelunchError, OutOfMemoryError } from '@freelunch/errors';
import { loadKernels } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  configJson,
  createModel,
  encodeSafetensors,
  loadPretrained,
  type ModelConfig,
  train,
} from './index.js';

vi.setConfig({ testTimeout: 120_000 });
const k = await loadKernels({ variant: 'simd' });
const { allocator } = internalsOf(k);
afterEach(() => {
  vi.restoreAllMocks();
  expect(k.memory.tensors).toBe(0);
});

const config: ModelConfig = {
  vocabSize: 5,
  dModel: 8,
  nLayers: 4,
  mixer: [
    { type: 'mamba2', dState: 2, headDim: 4 },
    { type: 'mamba3', dState: 2, headDim: 4, mimo: true, nRanks: 2, outputNorm: true },
    { type: 'softmax-attention', nHeads: 2 },
    { type: 'linear-attention', nHeads: 2 },
  ],
  mlp: 'swiglu',
};
const inUse = () => ({ tensors: k.memory.tensors, bytes: k.memory.usedBytes });

/**
 * Lets each allocation of `run` fail in turn: each time it must end in OutOfMemoryError and leave memory as it was.
 * @returns how many there were
 */
async function allocationsThatMayFail(run: () => unknown): Promise<number> {
  const before = inUse();
  const allocate = allocator.allocate.bind(allocator);
  for (let n = 0; ; n++) {
    let count = 0;
    const spy = vi.spyOn(allocator, 'allocate').mockImplementation((bytes) => {
      if (count++ === n) throw new OutOfMemoryError(`allocate: ${bytes} bytes wanted, as a trial`);
      return allocate(bytes);
    });
    try {
      const made = (await run()) as { dispose?: () => void } | undefined;
      made?.dispose?.();
      expect(inUse(), 'when none fails').toEqual(before);
      return n;
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      expect(inUse(), `after allocation ${n} failed`).toEqual(before);
    } finally {
      spy.mockRestore();
    }
  }
}

describe('where memory ends, nothing stays of', () => {
  it('createModel', async () => {
    const n = await allocationsThatMayFail(() => createModel(k, config));
    expect(n).toBeGreaterThan(20);
  });

  it('loadPretrained', async () => {
    using model = createModel(k, config);
    const files = [
      new File([configJson(model.config)], 'config.json'),
      new File([encodeSafetensors(model.parameters())], 'model.safetensors'),
    ];
    expect(await allocationsThatMayFail(() => loadPretrained(k, files))).toBeGreaterThan(20);
  });

  it('initialState, forward, loss and gradients', async () => {
    using model = createModel(k, config);
    const tokens = [
      [1, 2, 3],
      [3, 2, 1],
    ];
    expect(await allocationsThatMayFail(() => model.initialState(2))).toBe(10);
    expect(await allocationsThatMayFail(() => model.forward(tokens))).toBeGreaterThan(20);
    expect(await allocationsThatMayFail(() => model.loss(tokens))).toBeGreaterThan(20);
    const gradients = () =>
      k.scope(() => {
        const tape = createTape(k, model.parameters().values());
        tape.backward(model.loss(tokens, { tape }));
      });
    expect(await allocationsThatMayFail(gradients)).toBeGreaterThan(50);
  });

  it('steps and generated text, caches that grow among it', async () => {
    using model = createModel(k, { ...config, mixer: { type: 'softmax-attention', nHeads: 2 }, nLayers: 1 });
    const long = Array.from({ length: 64 }, (_, i) => i % 5);
    const beyond = () => {
      using state = model.initialState();
      model.forward(long, { state }).dispose();
      model.step(1, state).dispose();
    };
    expect(await allocationsThatMayFail(beyond)).toBeGreaterThan(20);
    const generate = async () => {
      for await (const _ of model.generate(long, { maxTokens: 2, temperature: 1 }));
    };
    expect(await allocationsThatMayFail(generate)).toBeGreaterThan(20);
  });

  it('a step of training', async () => {
    using model = createModel(k, { ...config, nLayers: 1, mixer: { type: 'linear-attention', nHeads: 2 } });
    const batch = {
      inputs: Int32Array.of(1, 2, 3),
      targets: Int32Array.of(2, 3, 4),
      batchSize: 1,
      seqLen: 3,
    };
    const run = async () => {
      for await (const _ of train(model, [batch], { steps: 1 }));
    };
    expect(await allocationsThatMayFail(run)).toBeGreaterThan(50);
  });
});

describe('a step that finds no room', () => {
  /** Lets the n-th allocation fail. */
  const failAt = (n: number) => {
    let count = 0;
    const allocate = allocator.allocate.bind(allocator);
    vi.spyOn(allocator, 'allocate').mockImplementation((bytes) => {
      if (count++ === n) throw new OutOfMemoryError('as a trial');
      return allocate(bytes);
    });
  };

  it('half-way leaves a state that is refused: some layers have moved, some have not', () => {
    using model = createModel(k, config);
    using state = model.initialState();
    expect(() => model.step(7, state)).toThrow(/must be/); // found before anything has moved
    failAt(20);
    expect(() => model.step(1, state)).toThrow(OutOfMemoryError);
    vi.restoreAllMocks();
    for (const call of [() => model.step(1, state), () => model.forward([1], { state })]) {
      expect(call).toThrow(/state must be whole, but a call before this one failed half-way/);
      expect(call).toThrow(FreelunchError);
    }
  });

  it('for its logits leaves a state that goes on', () => {
    using model = createModel(k, config);
    using state = model.initialState();
    using whole = model.initialState();
    for (const each of [state, whole]) model.step(1, each).dispose();
    failAt(0);
    expect(() => model.step(2, state)).toThrow(OutOfMemoryError);
    vi.restoreAllMocks();
    const [after, wanted] = [state, whole].map((each) => k.scope(() => model.step(2, each).toArray()));
    expect(after).toEqual(wanted);
  });
});
