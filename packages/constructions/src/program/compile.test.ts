import { cost } from '@freelunch/complexity';
import { loadKernels } from '@freelunch/kernels';
import { type Random, random } from '@freelunch/random';
import { afterEach, describe, expect, it } from 'vitest';
import { compile } from './compile.js';
import type { LookUpMixer } from './look-ups.js';
import { copyModelPlan } from '../models/copy.js';
import { equals, lookUpNumber, maximum } from './integers.js';
import { codeBits, Expr, Program } from './program.js';
import { recallModelPlan } from '../models/recall.js';

const k = await loadKernels({ variant: 'simd', guard: true });
afterEach(() => k.checkGuards());

const mixers: LookUpMixer[] = ['softmax-attention', 'linear-attention', 'mamba', 'mamba2', 'mamba3'];

/** A program of random look-ups and nodes, each reading what others made, and an output between 0 and vocabSize - 1. */
function randomProgram(rng: Random, mixer: LookUpMixer): { p: Program; output: Expr } {
  const [vocabSize, length] = [2 + rng.integer(9), 3 + rng.integer(20)];
  const p = new Program({ vocabSize, length });
  const numbers = [p.token((id) => id), p.position((t) => t % 4)];
  const bits = [...p.tokenCode(2, (id) => id), ...p.positionCode(2, (t) => t)];
  const pick = <T>(list: readonly T[]) => list[rng.integer(list.length)];
  const addressBits = codeBits(length);
  const codes = Array.from({ length }, (_, t) => t);
  for (let i = 0; i < 10; i++) {
    const choice = rng.integer(4);
    if (choice === 0) bits.push(equals(p, pick(numbers), rng.integer(4)).times(2).minus(1));
    else if (choice === 1) numbers.push(maximum(p, pick(numbers), pick(numbers)));
    else {
      const distance = rng.integer(4);
      const values = Array.from({ length: 1 + rng.integer(3) }, () => pick(bits));
      const carries = mixer !== 'mamba2' && choice === 2; // numbers too
      const found = p.lookUp({
        name: `look-up ${i}`,
        key: p.positionCode(addressBits, (t) => t),
        query: p.positionCode(addressBits, (t) => Math.max(0, t - distance)),
        values: carries ? [...values, pick(numbers)] : values,
        codes,
      });
      if (carries) numbers.push(found.pop()!);
      bits.push(...found);
    }
  }
  const output = numbers.reduce((sum, x) => sum.plus(x.times(1 / 8)), Expr.of(0));
  return { p, output };
}

describe.each(mixers)('programs for %s', (mixer) => {
  const cases = Array.from({ length: 20 }, (_, seed) => {
    const rng = random(seed).split('programs');
    const { p, output } = randomProgram(rng, mixer);
    const tokens = Array.from({ length: p.length }, () => rng.integer(p.vocabSize));
    return { p, output, tokens, plan: compile(p, { mixer, output }) };
  });

  it('leave in each channel what the interpreter does', () => {
    for (const { p, plan, tokens } of cases) {
      const model = plan.build(k);
      const rows = p.evaluate(tokens);
      let last = new Float32Array();
      model.forward(tokens, {
        observe: (name, value) => {
          if (name === `hidden.${plan.config.nLayers}`) last = value.toArray() as Float32Array<ArrayBuffer>;
        },
      });
      expect(last).toHaveLength(tokens.length * plan.config.dModel);
      for (let t = 0; t < tokens.length; t++) {
        for (let channel = 0; channel < p.width; channel++) {
          const error = Math.abs(last[t * plan.config.dModel + channel] - rows[t][channel]);
          expect(error, `token ${t}, channel ${channel}`).toBeLessThan(1e-4);
        }
      }
      model.dispose();
    }
  });

  it('say the id that is nearest to the output', () => {
    for (const { p, plan, tokens, output } of cases) {
      const model = plan.build(k);
      const logits = model.forward(tokens);
      const said = Array.from(tokens, (_, t) => {
        const row = logits.data.subarray(t * p.vocabSize, (t + 1) * p.vocabSize);
        return row.indexOf(Math.max(...row));
      });
      p.evaluate(tokens).forEach((row, t) => {
        const wanted = output.at(row);
        const nearest = Math.max(0, Math.min(p.vocabSize - 1, Math.round(wanted)));
        const tie = Math.abs(wanted - Math.floor(wanted) - 0.5) < 1e-3;
        if (!tie) expect(said[t]).toBe(nearest);
      });
      logits.dispose();
      model.dispose();
    }
  });

  it('give step by step what they give at once', () => {
    for (const { p, plan, tokens } of cases) {
      const model = plan.build(k);
      const logits = model.forward(tokens);
      using state = model.initialState();
      tokens.forEach((token, t) => {
        const step = model.step(token, state);
        const size = Math.max(1, ...step.data.map(Math.abs));
        for (let id = 0; id < p.vocabSize; id++) {
          const error = Math.abs(step.data[id] - logits.data[t * p.vocabSize + id]);
          expect(error / size, `token ${t}, logit ${id}`).toBeLessThan(1e-5);
        }
        step.dispose();
      });
      logits.dispose();
      model.dispose();
    }
  });

  it('have as many parameters as their plan says', () => {
    for (const { plan } of cases) {
      const model = plan.build(k);
      expect(model.parameterCount).toBe(plan.parameters);
      expect(cost(plan.config, { mode: 'decode', promptLength: 1 }).params).toBe(plan.parameters);
      model.dispose();
    }
  });
});

describe('floats kept', () => {
  const plans = (mixer: LookUpMixer) => [
    copyModelPlan({ mixer, length: 70, vocabSize: 26 }),
    recallModelPlan({ mixer, length: 142, vocabSize: 20 }),
  ];
  const lengths = [1, 63, 64, 65, 142];
  const counted = (plan: ReturnType<typeof copyModelPlan>, length: number) =>
    cost(plan.config, { mode: 'prefill', promptLength: length }).stateBytes / 4;

  it.each(['linear-attention', 'mamba', 'mamba2', 'mamba3'] as const)(
    '%s holds all of its state, always',
    (mixer) => {
      for (const plan of plans(mixer)) {
        const model = plan.build(k);
        for (const length of lengths) {
          expect(plan.floatsKept(length)).toBe(model.stateBytes(length) / 4);
          expect(plan.floatsKept(length)).toBe(counted(plan, length));
        }
        using state = model.initialState();
        expect(state.bytes / 4).toBe(plan.floatsKept(0));
        model.dispose();
      }
    },
  );

  it('softmax-attention has room for the next power of two of them, at least 64 tokens', () => {
    const room = (length: number) => Math.max(64, 2 ** Math.ceil(Math.log2(length)));
    for (const plan of plans('softmax-attention')) {
      const model = plan.build(k);
      for (const length of lengths) {
        expect(plan.floatsKept(room(length))).toBe(model.stateBytes(length) / 4);
        expect(plan.floatsKept(length)).toBe(counted(plan, length));
      }
      model.dispose();
    }
  });

  it('a window needs no more than itself, and has room for two, or 64 tokens', () => {
    const plan = copyModelPlan({ mixer: 'softmax-attention', length: 70, vocabSize: 26, window: 40 });
    const all = copyModelPlan({ mixer: 'softmax-attention', length: 70, vocabSize: 26 });
    const model = plan.build(k);
    for (const length of lengths) {
      expect(plan.floatsKept(length)).toBe(all.floatsKept(Math.min(40, length)));
      expect(plan.floatsKept(length)).toBe(counted(plan, length));
    }
    expect(model.stateBytes(142) / 4).toBe(all.floatsKept(128));
    model.dispose();
  });
});

it('compiles programs without a single block', () => {
  for (const mixer of mixers) {
    const p = new Program({ vocabSize: 7, length: 3 });
    const plan = compile(p, { mixer, output: p.token((id) => 6 - id) });
    const model = plan.build(k);
    const logits = model.forward([0, 5, 2]);
    for (const [t, id] of [6, 1, 4].entries()) {
      const row = logits.data.subarray(7 * t, 7 * t + 7);
      expect(row.indexOf(Math.max(...row))).toBe(id);
    }
    expect(model.parameterCount).toBe(plan.parameters);
    logits.dispose();
    model.dispose();
  }
});

it('shares one head of keys and values among look-ups that store the same', () => {
  const p = new Program({ vocabSize: 5, length: 9 });
  const stored = { key: p.positionCode(4, (t) => t), values: [p.token((id) => id)], codes: [0] };
  for (const distance of [1, 2])
    p.lookUp({ name: 'a', ...stored, query: p.positionCode(4, (t) => Math.max(0, t - distance)) });
  const plan = compile(p, { mixer: 'softmax-attention', output: p.one });
  expect(plan.config.mixer).toEqual([
    { type: 'softmax-attention', nHeads: 2, nKvHeads: 1, headDim: 4, valueDim: 1 },
  ]);
  expect(plan.floatsKept(9)).toBe(9 * 5);
});

it('prefers the id whose bits the output has the signs of', () => {
  const p = new Program({ vocabSize: 3000, length: 4 });
  const bits = p.tokenCode(12, (id) => (id * 7) % 3000).map((bit, i) => bit.times(1 + i / 4));
  const model = compile(p, { mixer: 'mamba', output: bits }).build(k);
  const tokens = [0, 1, 1234, 2999];
  const logits = model.forward(tokens);
  tokens.forEach((token, t) => {
    const row = logits.data.subarray(3000 * t, 3000 * (t + 1));
    expect(row.indexOf(Math.max(...row))).toBe((token * 7) % 3000);
  });
  logits.dispose();
  model.dispose();
});

it('erases a register and holds the others', () => {
  const p = new Program({ vocabSize: 8, length: 40 });
  const latest = lookUpNumber(p, 'mamba', {
    name: 'latest place of the pair',
    key: p.tokenCode(2, (id) => id >> 1),
    query: p.tokenCode(2, (id) => id >> 1),
    value: { position: (t) => t },
    codes: [0, 1, 2, 3],
  });
  const plan = compile(p, { mixer: 'mamba', output: latest });
  const model = plan.build(k);
  const tokens = Array.from({ length: 40 }, (_, t) => (t * t + 3) % 8);
  const rows = p.evaluate(tokens);
  let last = new Float32Array();
  model.forward(tokens, { observe: (_, value) => (last = value.toArray() as Float32Array<ArrayBuffer>) });
  const [channel] = latest.terms.keys();
  tokens.forEach((_, t) => expect(last[t * plan.config.dModel + channel]).toBe(rows[t][channel]));
  model.dispose();
});

describe('compile', () => {
  const p = new Program({ vocabSize: 5, length: 3 });
  const output = p.token((id) => id);

  it('refuses options that do not fit', () => {
    expect(() => compile(p, { mixer: 'rwkv' as 'mamba', output })).toThrow(
      "compile: mixer must be one of softmax-attention, linear-attention, mamba, mamba2, mamba3, got 'rwkv'",
    );
    expect(() => compile(p, { mixer: 'toString' as 'mamba', output })).toThrow('compile: mixer must be');
    expect(() => compile(p, { mixer: 'mamba', output, window: 3 })).toThrow(
      'compile: window must be absent for mamba, got 3',
    );
    expect(() => compile(p, { mixer: 'softmax-attention', output, window: 0 })).toThrow(
      'compile: window must be a whole number from 1 up, got 0',
    );
    expect(() => compile(p, { mixer: 'softmax-attention', output, beta: NaN })).toThrow(
      'compile: beta must be a finite number above 0, got NaN',
    );
    expect(() => compile(p, { mixer: 'mamba', output: [output] })).toThrow(
      'compile: output must be at least 3 bits for 5 tokens, got 1',
    );
    const large = new Program({ vocabSize: 2049, length: 3 });
    expect(() => compile(large, { mixer: 'mamba', output: large.one })).toThrow(
      'compile: output must be bits where the vocabulary has more than 2048 tokens, got a number for 2049',
    );
  });

  it('refuses numbers as values of Mamba-2', () => {
    const bit = [p.one];
    p.lookUp({ name: 'a number', key: bit, query: bit, values: [output], codes: [1] });
    expect(() => compile(p, { mixer: 'mamba2', output })).toThrow(
      'compile: values of a number must be +1 or -1 for mamba2, got numbers from 0 to 4',
    );
  });
});
