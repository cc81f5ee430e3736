import { DisposedError } from '@freelunch/errors';
import { type Kernels, loadKernels } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import {
  createModel,
  type LanguageModel,
  type MixerConfig,
  type ModelConfig,
  type ModelState,
  quantizeModel,
  train,
} from './index.js';
import { asLayerStates } from './state.js';

const k = await loadKernels({ variant: 'simd' });
const guarded = await loadKernels({ variant: 'simd', guard: true });
const threaded = await loadKernels({ variant: 'simd', threads: 2 });
internalsOf(threaded).worthSharingNs = 0;
afterAll(() => threaded.dispose());
afterEach(() => {
  vi.restoreAllMocks();
  for (const each of [k, guarded, threaded]) expect(each.memory.tensors).toBe(0);
});

const vocabSize = 11;
const sizes = { vocabSize, dModel: 16, nLayers: 2, seed: 1 };
const softmax: MixerConfig = { type: 'softmax-attention', nHeads: 4 };
const mamba: MixerConfig = { type: 'mamba', dState: 4 };

const configs: Record<string, ModelConfig> = {
  mamba: { ...sizes, mixer: mamba },
  'mamba, awkward sizes': { ...sizes, mixer: { type: 'mamba', dState: 3, dConv: 1, bias: true } },
  'mamba without a convolution': { ...sizes, mixer: { type: 'mamba', dConv: 0 }, norm: 'layer' },
  mamba2: { ...sizes, mixer: { type: 'mamba2', dState: 4, headDim: 8, nGroups: 2 }, mlp: 'swiglu' },
  mamba3: { ...sizes, mixer: { type: 'mamba3', dState: 4, headDim: 8, nGroups: 2 }, mlp: 'swiglu' },
  'mamba3, several ranks': {
    ...sizes,
    mixer: { type: 'mamba3', dState: 6, headDim: 8, mimo: true, nRanks: 3, outputNorm: true },
  },
  'linear attention': { ...sizes, mixer: { type: 'linear-attention', nHeads: 2 }, mlp: 'relu' },
  retention: {
    ...sizes,
    mixer: { type: 'linear-attention', nHeads: 2, forget: 'retention', normalize: false },
  },
  'gated linear attention': { ...sizes, mixer: { type: 'linear-attention', nHeads: 2, forget: 'channel' } },
  'decay per token': { ...sizes, mixer: { type: 'linear-attention', nHeads: 2, forget: 'token' } },
  'delta rule': { ...sizes, mixer: { type: 'delta-rule', nHeads: 2 }, norm: 'none' },
  'gated delta rule': { ...sizes, mixer: { type: 'delta-rule', nHeads: 2, gated: true } },
  'delta rule with convolutions': { ...sizes, mixer: { type: 'delta-rule', nHeads: 2, dConv: 4 } },
  'linear attention with convolutions': {
    ...sizes,
    mixer: { type: 'linear-attention', nHeads: 2, dConv: 4 },
  },
  'softmax attention': { ...sizes, mixer: softmax, position: { type: 'learned', maxLength: 200 } },
  'rotary, shared heads': {
    ...sizes,
    mixer: { ...softmax, nKvHeads: 2 },
    position: { type: 'rope' },
    mlp: 'swiglu',
  },
  'alibi, a window': { ...sizes, mixer: { ...softmax, window: 20 }, position: { type: 'alibi' } },
  strided: { ...sizes, mixer: { ...softmax, sparse: { pattern: 'strided', stride: 6 } } },
  fixed: { ...sizes, mixer: { ...softmax, window: 50, sparse: { pattern: 'fixed', stride: 7, summary: 2 } } },
  gpt2: {
    ...sizes,
    mixer: softmax,
    norm: 'layer',
    position: { type: 'learned', maxLength: 200 },
    naming: 'gpt2',
    mlp: 'gelu',
  },
  hybrid: {
    ...sizes,
    nLayers: 3,
    mixer: [mamba, { ...softmax, window: 40 }, { type: 'none' }],
    mlp: ['none', 'gelu', 'relu'],
    tieEmbeddings: true,
  },
  'gated attention and gated delta net': {
    ...sizes,
    mixer: [
      { ...softmax, nKvHeads: 2, qkNorm: true, outputGate: true, window: 40 },
      { type: 'gated-delta-net', nKeyHeads: 2, nValueHeads: 4, headDim: 5, valueDim: 6 },
    ],
    norm: { type: 'rms', zeroCentered: true },
    position: { type: 'rope', scaling: { type: 'dynamic', factor: 2, originalMaxLength: 60 } },
  },
  'in parallel, with multipliers': {
    ...sizes,
    mixer: {
      type: 'parallel',
      branches: [
        {
          mixer: { type: 'mamba2', dState: 4, headDim: 8, multipliers: [0.5, 2, 1.5, 0.7, 1.2] },
          inMultiplier: 0.5,
        },
        { mixer: { ...softmax, keyMultiplier: 0.5 }, outMultiplier: 2 },
      ],
    },
    mlp: { type: 'swiglu', gateMultiplier: 0.5, outMultiplier: 2 },
    embeddingMultiplier: 3,
    residualMultiplier: 0.5,
    logitsMultiplier: 2,
  },
  'short convolutions': { ...sizes, mixer: { type: 'short-conv', bias: true }, mlp: 'relu2' },
  'shared blocks': {
    ...sizes,
    mixer: { type: 'mamba2', dState: 4, headDim: 8 },
    sharedBlocks: {
      layers: [0, 1],
      attention: softmax,
      dHidden: 12,
      adapterRank: 3,
      attentionAdapters: true,
    },
  },
  'no mixer': {
    ...sizes,
    mixer: { type: 'none' },
    mlp: 'relu',
    position: { type: 'learned', maxLength: 200 },
  },
};

const tokenAt = (t: number, b = 0) => (t * 7 + (t >> 2) + 3 * b) % vocabSize;

function withState<T>(model: LanguageModel, batch: number, run: (state: ModelState) => T): T {
  const state = model.initialState(batch);
  try {
    return run(state);
  } finally {
    state.dispose();
  }
}

const logitsOf = (model: LanguageModel, state: ModelState, ids: number[] = [1]) =>
  model.k.scope(() => model.step(ids, state).toArray());

/** The next step is computed by the ordinary code, as the first was. */
function forget(state: ModelState): void {
  const states = asLayerStates('forget', state);
  states.plan?.dispose();
  states.plan = undefined;
}

const valuesOf = (state: ModelState) =>
  state.layers.map(({ tensors, position, held }) => ({
    position,
    held,
    values: Object.entries(tensors).map(([name, tensor]) => [name, tensor.toArray()]),
  }));

/** Logits of `steps` steps, and what the state is then. */
const stepsOf = (
  model: LanguageModel,
  batch: number,
  steps: number,
  before?: (state: ModelState, t: number) => void,
) =>
  withState(model, batch, (state) => {
    const logits = Array.from({ length: steps }, (_, t) => {
      before?.(state, t);
      return logitsOf(
        model,
        state,
        Array.from({ length: batch }, (_, b) => tokenAt(t, b)),
      );
    });
    return { logits, state: valuesOf(state) };
  });

describe.each(Object.entries(configs))('steps of %s', (_name, config) => {
  it.each([1, 3])('have the bits of the ordinary code, also as caches grow, with batch %i', (batch) => {
    using model = createModel(k, config);
    expect(stepsOf(model, batch, 140)).toEqual(stepsOf(model, batch, 140, forget));
  });

  it('write nowhere but into their buffers', () => {
    using model = createModel(guarded, config);
    stepsOf(model, 2, 140);
    guarded.checkGuards();
  });

  it('have the same bits on two threads', () => {
    const [one, two] = [k, threaded].map((kernels) => {
      using model = createModel(kernels, config);
      return stepsOf(model, 2, 70);
    });
    expect(two).toEqual(one);
  });

  it('go on after a prompt, and before the next', () => {
    using model = createModel(k, config);
    const run = (before: (state: ModelState) => void) =>
      withState(model, 1, (state) =>
        [30, 1, 40].map((length) => {
          model
            .forward(
              Array.from({ length }, (_, t) => tokenAt(t)),
              { state },
            )
            .dispose();
          return [2, 3, 4].map((id) => (before(state), logitsOf(model, state, [id])));
        }),
      );
    expect(run(() => {})).toEqual(run(forget));
  });

  it('allocate nothing but their logits once there was one', () => {
    using model = createModel(k, config);
    withState(model, 1, (state) => {
      if (Object.keys(state.layers[0].tensors).length === 0) return;
      logitsOf(model, state);
      const { tensors, usedBytes } = k.memory;
      const spy = vi.spyOn(internalsOf(k).allocator, 'allocate');
      for (let t = 0; t < 10; t++) logitsOf(model, state, [tokenAt(t)]);
      expect(spy).toHaveBeenCalledTimes(10);
      expect(k.memory).toMatchObject({ tensors, usedBytes });
    });
  });
});

describe('steps with quantised weights', () => {
  it.each(['float16', 'bfloat16', 'int8', 'int4'] as const)(
    'of %s have the bits of the ordinary code',
    (dtype) => {
      const wide = {
        ...configs.hybrid,
        dModel: 32,
        nLayers: 2,
        mixer: [mamba, softmax],
        mlp: 'gelu',
      } as const;
      using full = createModel(k, wide);
      using model = quantizeModel(full, { dtype });
      expect(model.weights().get('backbone.layers.0.mixer.in_proj.weight')!.dtype).toBe(dtype);
      const steps = stepsOf(model, 2, 80);
      expect(steps).toEqual(stepsOf(model, 2, 80, forget));
      expect(steps.logits).not.toEqual(stepsOf(full, 2, 80).logits);
    },
  );
});

describe('a step after a change of weights', () => {
  const batch = {
    inputs: Int32Array.of(1, 2, 3),
    targets: Int32Array.of(2, 3, 4),
    batchSize: 1,
    seqLen: 3,
  };
  const all = (model: LanguageModel) => [...model.parameters().values()];
  const changes: Record<string, (model: LanguageModel, views: Float32Array[]) => void | Promise<void>> = {
    'by set': (model) =>
      all(model).forEach((tensor) => tensor.set(tensor.toArray().map((x) => 1.1 * x + 0.01))),
    'by data': (model) =>
      all(model).forEach((tensor) => tensor.data.forEach((x, i, data) => (data[i] = x - 0.02))),
    'by views taken before the first step': (_model, views) =>
      views.forEach((view) => view.forEach((x, i) => (view[i] = 1.2 * x))),
    'of one element': (model) => {
      const { data } = model.parameters().get('backbone.layers.1.mixer.A_log')!;
      data[data.length - 1] += 0.5;
    },
    'by a kernel': (model) => all(model).forEach((target) => k.accumulate({ target, source: target })),
    'by another tensor on the same memory': (model) =>
      all(model).forEach((tensor) => {
        const view = tensor.reshape([tensor.size]);
        view.data.fill(0.125);
        view.dispose();
      }),
    'by training': async (model) => {
      for await (const _ of train(model, [batch], { steps: 1 }));
    },
  };
  const mixers: MixerConfig[] = [mamba, { type: 'mamba2', dState: 5, headDim: 8, expand: 2 }];

  it.each(
    Object.entries(changes).flatMap(([how, change]) =>
      mixers.map((mixer) => [how, mixer.type, change, mixer] as const),
    ),
  )('%s is right, of %s', async (_how, _type, change, mixer) => {
    using model = createModel(k, { ...sizes, mixer, mlp: 'gelu' });
    using state = model.initialState();
    using ordinary = model.initialState();
    const views = all(model).map(({ data }) => data);
    const both = () => {
      forget(ordinary);
      const wanted = logitsOf(model, ordinary);
      expect(logitsOf(model, state)).toEqual(wanted);
      return wanted;
    };
    both();
    const before = both();
    await change(model, views);
    expect(both()).not.toEqual(before);
    both();
    await change(model, views);
    both();
  });
});

describe('plans', () => {
  it('of several states and models keep out of each other’s way', () => {
    using a = createModel(k, configs.mamba);
    using b = createModel(k, { ...configs['softmax attention'], seed: 2 });
    const alone = [stepsOf(a, 1, 80), stepsOf(a, 1, 80), stepsOf(b, 1, 80)];
    const states = [a, a, b].map((model) => model.initialState());
    const logits = states.map(() => [] as Float32Array[]);
    for (let t = 0; t < 80; t++)
      [a, a, b].forEach((model, i) => logits[i].push(logitsOf(model, states[i], [tokenAt(t)])));
    expect(logits).toEqual(alone.map((each) => each.logits));
    for (const state of states) state.dispose();
  });

  it('are those of the model that takes the step, where two share a state', () => {
    using a = createModel(k, configs.mamba);
    using b = createModel(k, { ...configs.mamba, seed: 5 });
    const run = (before: (state: ModelState) => void) =>
      withState(a, 1, (state) => [a, b, b, a, b].map((model) => (before(state), logitsOf(model, state))));
    expect(run(() => {})).toEqual(run(forget));
  });

  it('follow a tensor of the state that was replaced', () => {
    using model = createModel(k, configs.mamba);
    withState(model, 1, (state) => {
      const first = logitsOf(model, state);
      logitsOf(model, state);
      for (const { tensors } of state.layers) {
        for (const [name, tensor] of Object.entries(tensors)) {
          tensors[name] = k.zeros(tensor.shape);
          tensor.dispose();
        }
      }
      expect(logitsOf(model, state)).toEqual(first);
    });
  });

  it('hold as memory grows', () => {
    const own = (kernels: Kernels, grows: boolean) => {
      using model = createModel(kernels, configs['softmax attention']);
      return withState(model, 1, (state) =>
        [1, 2, 3, 4].map((id) => {
          const logits = logitsOf(model, state, [id]);
          if (grows) kernels.scope(() => void kernels.empty([kernels.memory.totalBytes / 4]));
          return logits;
        }),
      );
    };
    expect(own(k, true)).toEqual(own(k, false));
  });

  it('end with a weight that they read: the step names it', () => {
    const model = createModel(k, configs.mamba);
    withState(model, 1, (state) => {
      logitsOf(model, state);
      model.parameters().get('backbone.layers.1.mixer.D')!.dispose();
      expect(() => model.step(1, state)).toThrow(DisposedError);
      expect(() => model.step(1, state)).toThrow('failed half-way');
    });
    model.dispose();
  });

  it('go with their state, and with the scope that it was made in', () => {
    using model = createModel(k, configs.hybrid);
    const before = k.memory;
    const state = model.initialState();
    logitsOf(model, state);
    state.dispose();
    expect(k.memory).toMatchObject({ tensors: before.tensors, usedBytes: before.usedBytes });
    k.scope(() => {
      const inside = model.initialState();
      logitsOf(model, inside);
      logitsOf(model, inside);
    });
    expect(k.memory).toMatchObject({ tensors: before.tensors, usedBytes: before.usedBytes });
  });

  it('give logits that are the caller’s own', () => {
    using model = createModel(k, configs.mamba);
    withState(model, 1, (state) => {
      const [first, second] = [model.step(1, state), model.step(2, state)];
      const values = first.toArray();
      second.data.fill(7);
      model.step(3, state).dispose();
      expect(first.toArray()).toEqual(values);
      expect(second.data[0]).toBe(7);
      first.dispose();
      second.dispose();
    });
  });
});
