import { loadKernels } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createModel, type MixerConfig, type ModelConfig } from './index.js';

const k = await loadKernels({ variant: 'simd' });
afterEach(() => {
  vi.restoreAllMocks();
  expect(k.memory.tensors).toBe(0);
});

const VOCABULARY = 13;
const tokensOf = (length: number, seed = 0) =>
  Array.from({ length }, (_, t) => (t * 7 + (t >> 2) + seed) % VOCABULARY);

const make = (mixer: MixerConfig | MixerConfig[], config: Partial<ModelConfig> = {}) =>
  createModel(k, { vocabSize: VOCABULARY, dModel: 8, nLayers: 2, mixer, seed: 1, ...config } as ModelConfig);

const recurrent: MixerConfig[] = [
  { type: 'mamba', dState: 4 },
  { type: 'mamba', dState: 3, dConv: 0 },
  { type: 'mamba2', dState: 4, headDim: 8 },
  { type: 'mamba2', dState: 4, headDim: 8, chunkSize: 64 },
  { type: 'linear-attention', nHeads: 2 },
  { type: 'linear-attention', nHeads: 2, forget: 'channel' },
  { type: 'delta-rule', nHeads: 2, dConv: 4 },
];
/** What they hand on from piece to piece is rounded: angles, and the late share of the last input. */
const rounded: MixerConfig[] = [
  { type: 'mamba3', dState: 4, headDim: 8 },
  { type: 'mamba3', dState: 4, headDim: 8, mimo: true },
];
const attention: MixerConfig = { type: 'softmax-attention', nHeads: 2 };
const named = (mixers: MixerConfig[]) => mixers.map((mixer) => [JSON.stringify(mixer), mixer] as const);

/** Bytes that a call needs at most, over what there was. */
function peakOf(run: () => { dispose(): void }): number {
  const before = k.memory.usedBytes;
  k.resetPeak();
  run().dispose();
  return k.memory.peakBytes - before;
}

describe.each(named([...recurrent, ...rounded, attention]))('a prompt through %s', (_title, mixer) => {
  it.each(['none', 'swiglu'] as const)('needs memory that does not grow with layers, with mlp %s', (mlp) => {
    const [few, many] = [2, 7].map((nLayers) => {
      const model = make(mixer, { nLayers, mlp });
      const bytes = peakOf(() => model.forward(tokensOf(300), { lastOnly: true }));
      model.dispose();
      return bytes;
    });
    expect(many).toBe(few);
  });
});

describe.each(named(recurrent))('a long prompt through %s', (_title, mixer) => {
  it('has the bits of one that is observed, hence read at once, and leaves the same state', () => {
    const model = make(mixer, { mlp: 'gelu', position: { type: 'learned', maxLength: 2000 } });
    const tokens = [tokensOf(1711), tokensOf(1711, 5)];
    const [whole, pieces] = [() => {}, undefined].map((observe) => {
      const state = model.initialState(2);
      const logits = k.scope(() => model.forward(tokens, { state, lastOnly: true, observe }).toArray());
      const values = state.layers.flatMap(({ tensors }) => Object.values(tensors).map((t) => t.toArray()));
      expect(state.position).toBe(1711);
      state.dispose();
      return { logits, values };
    });
    expect(pieces).toEqual(whole);
    const stateless = k.scope(() => model.forward(tokens, { lastOnly: true }).toArray());
    expect(stateless).toEqual(whole.logits);
    model.dispose();
  });
});

describe.each(named(rounded))('a long prompt through %s', (_title, mixer) => {
  it('has the logits of one that is read at once, except for rounding, and leaves a state to go on from', () => {
    const model = make(mixer);
    const [whole, pieces] = [() => {}, undefined].map((observe) => {
      const state = model.initialState();
      return k.scope(() => {
        const last = model.forward(tokensOf(1711), { state, lastOnly: true, observe }).toArray();
        const next = model.step(1, state).toArray();
        state.dispose();
        return [...last, ...next];
      });
    });
    pieces.forEach((logit, i) => expect(Math.abs(logit - whole[i])).toBeLessThan(1e-5));
    model.dispose();
  });
});

describe.each(named([...recurrent, ...rounded]))('a long prompt through %s', (_title, mixer) => {
  it('needs memory that grows by its ids alone', () => {
    const model = make(mixer);
    const [short, long] = [2, 6].map((times) =>
      peakOf(() => model.forward(tokensOf(1920 * times), { lastOnly: true })),
    );
    expect(long - short).toBe(4 * 1920 * 4);
    model.dispose();
  });
});

describe('a prompt in pieces', () => {
  it('is refused before anything is read where an id far in it is wrong: the state stays good', () => {
    const model = make(recurrent[0]);
    const state = model.initialState();
    const tokens = tokensOf(2000);
    tokens[1900] = VOCABULARY;
    expect(() => model.forward(tokens, { state, lastOnly: true })).toThrow(
      'forward: tokens[0, 1900] must be an id from 0 to 12, got 13',
    );
    expect(state.position).toBe(0);
    model.step(1, state).dispose();
    state.dispose();
    model.dispose();
  });

  it('is refused before anything is read where there are not as many learned positions', () => {
    const model = make(recurrent[0], { position: { type: 'learned', maxLength: 1000 } });
    const state = model.initialState();
    expect(() => model.forward(tokensOf(1200), { state, lastOnly: true })).toThrow('got 1200');
    model.step(1, state).dispose();
    state.dispose();
    model.dispose();
  });

  it('that fails half-way leaves a state that says so', () => {
    const model = make(recurrent[0]);
    const state = model.initialState();
    let calls = 0;
    const context = internalsOf(k);
    const run = context.run.bind(context);
    vi.spyOn(context, 'run').mockImplementation((name, args, cut) => {
      if (name === 'selectiveScanForward' && ++calls === 4) throw new Error('trial');
      run(name, args, cut);
    });
    expect(() => model.forward(tokensOf(2000), { state, lastOnly: true })).toThrow('trial');
    vi.restoreAllMocks();
    expect(() => model.step(1, state)).toThrow('a call before this one failed half-way');
    state.dispose();
    model.dispose();
  });

  it('shows all positions to whoever observes', () => {
    const model = make(recurrent[0]);
    const shapes: string[] = [];
    model
      .forward(tokensOf(1000), {
        lastOnly: true,
        observe: (name, x) => void shapes.push(`${name} ${x.shape.join('x')}`),
      })
      .dispose();
    expect(shapes).toEqual([
      'hidden.0 1x1000x8',
      'hidden.1 1x1000x8',
      'hidden.2 1x1000x8',
      'final_norm 1x1x8',
    ]);
    model.dispose();
  });
});
