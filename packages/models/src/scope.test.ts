import { loadKernels } from '@freelunch/kernels';
import { afterEach, describe, expect, it } from 'vitest';
import { createModel, type MixerConfig } from './index.js';

const k = await loadKernels({ variant: 'simd', guard: true });
afterEach(() => {
  k.checkGuards();
  expect(k.memory.tensors).toBe(0);
});

const STEPS = 200;
const VOCABULARY = 11;

const mixers: MixerConfig[] = [
  { type: 'mamba', dState: 4 },
  { type: 'mamba2', dState: 4, headDim: 8 },
  { type: 'mamba3', dState: 4, headDim: 8 },
  { type: 'linear-attention', nHeads: 2 },
  { type: 'delta-rule', nHeads: 2 },
  { type: 'softmax-attention', nHeads: 2 },
  { type: 'softmax-attention', nHeads: 2, window: 40 },
  { type: 'none' },
];

const tokens = Array.from({ length: STEPS }, (_, t) => (t * 7 + (t >> 2)) % VOCABULARY);

describe.each(mixers.map((mixer) => [JSON.stringify(mixer), mixer] as const))(
  'a model of %s',
  (_title, mixer) => {
    const make = () =>
      createModel(k, { vocabSize: VOCABULARY, dModel: 8, nLayers: 2, mixer, mlp: { type: 'relu' }, seed: 1 });

    it(`takes ${STEPS} steps, each in a scope of its own, and gives what it gives at once`, () => {
      const model = make();
      const wanted = k.scope(() => [...model.forward(tokens).data]);
      const state = model.initialState(1);
      tokens.forEach((token, t) => {
        const row = k.scope(() => [...model.step(token, state).data]);
        row.forEach((logit, i) => expect(logit).toBeCloseTo(wanted[t * VOCABULARY + i], 4));
      });
      state.dispose();
      model.dispose();
    });

    it('reads a long prompt in a scope, and goes on outside', () => {
      const model = make();
      const state = model.initialState(1);
      const wanted = k.scope(() => [...model.forward(tokens).data].slice(-VOCABULARY));
      k.scope(() => void model.forward(tokens.slice(0, 150), { state }));
      let last: number[] = [];
      for (const token of tokens.slice(150)) last = k.scope(() => [...model.step(token, state).data]);
      last.forEach((logit, i) => expect(logit).toBeCloseTo(wanted[i], 4));
      state.dispose();
      model.dispose();
    });

    it('is freed by the scope in which it and its state were made, however far the state grew', () => {
      k.scope(() => {
        const model = make();
        const state = model.initialState(1);
        for (const token of tokens.slice(0, 130)) k.scope(() => void model.step(token, state));
        const before = k.memory.tensors;
        k.scope(() => void model.step(1, state));
        expect(k.memory.tensors).toBe(before);
      });
    });
  },
);
