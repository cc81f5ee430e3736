/** Small models of published hybrids and their relatives, against values computed in float64. */
import { adamW, createTape } from '@freelunch/autograd';
import { cost } from '@freelunch/complexity';
import { configJson, fromHuggingFace, parseJson, resolveConfig } from '@freelunch/config';
import { type Kernels, loadKernels, type Tensor } from '@freelunch/kernels';
import {
  encodePretrained,
  type LanguageModel,
  loadPretrained,
  loadSafetensors,
  type ModelState,
} from '@freelunch/models';
import { describe, expect, it } from 'vitest';
import { type GoldenCase, readGolden } from '../golden/golden.ts';
import { expectForward, expectGolden, loadGolden } from '../golden-models/checkpoint.ts';
import { guarded } from '../kernels.ts';
import { cases } from './cases.ts';
import { expectStates } from './states.ts';

const all = await Promise.all(
  Object.entries(cases).map(async ([name, options]) => {
    const [golden] = await readGolden(name, 'golden-family');
    return { golden, ...options };
  }),
);
const named = all.map((one) => [one.golden.name, one] as const);

const idsOf = (k: Kernels, { tensors }: GoldenCase, name = 'in.input_ids'): Tensor =>
  k.tensor(Int32Array.from(tensors[name].data), tensors[name].shape);

/** Logits `[batch, seqLen, vocabSize]` of tokens that are taken one by one. */
function stepThrough(
  model: LanguageModel,
  { tensors }: GoldenCase,
  name: string,
  state: ModelState,
): number[] {
  const { shape, data } = tensors[name];
  const [batch, seqLen] = shape;
  const rows: number[][] = Array.from({ length: batch }, () => []);
  for (let t = 0; t < seqLen; t++) {
    const tokens = Array.from({ length: batch }, (_, b) => data[b * seqLen + t]);
    using logits = model.step(tokens, state);
    const size = logits.size / batch;
    for (let b = 0; b < batch; b++) rows[b].push(...logits.data.subarray(b * size, (b + 1) * size));
  }
  return rows.flat();
}

/** The tensors of the files that a model is saved as. */
async function tensorsOf(k: Kernels, model: LanguageModel): Promise<Map<string, Tensor>> {
  const { bytes } = encodePretrained(model).find(({ name }) => name === 'model.safetensors')!;
  return (await loadSafetensors(k, bytes)).tensors;
}

describe.each(guarded)('%s', (_variant, k) => {
  describe.each(named)('%s', (_name, { golden, skipped }) => {
    it('gives the logits, the loss and every residual stream', async () => {
      using model = await loadGolden(k, golden);
      k.scope(() => expectForward(golden, model, idsOf(k, golden)));
      k.checkGuards();
    });

    it.each([false, true])(
      'gives the gradient of every tensor of the file (recomputing blocks: %s)',
      async (checkpoint) => {
        using model = await loadGolden(k, golden);
        const parameters = model.parameters();
        k.scope(() => {
          const tape = createTape(k, parameters.values());
          const gradients = tape.backward(model.loss(idsOf(k, golden), { tape, checkpoint }));
          for (const tensor of parameters.values()) tensor.data.set(gradients.get(tensor)!.data);
        });
        // The gradients, in place of the parameters, as the file has these.
        const tensors = await tensorsOf(k, model);
        const wanted = Object.keys(golden.tensors).filter((name) => name.startsWith('grad.'));
        expect([...tensors.keys()].map((name) => `grad.${name}`).sort()).toEqual(wanted.sort());
        for (const [name, tensor] of tensors) {
          expectGolden(golden, `grad.${name}`, tensor.data as Float32Array);
          tensor.dispose();
        }
        k.checkGuards();
      },
    );

    it('leaves the state of its tokens, and goes on from there, taken at once or one by one', async () => {
      using model = await loadGolden(k, golden);
      const [batch] = golden.tensors['in.input_ids'].shape;
      using whole = model.initialState(batch);
      k.scope(() => {
        expectGolden(golden, 'out.logits', model.forward(idsOf(k, golden), { state: whole }).data);
        expectStates(golden, whole);
        const more = idsOf(k, golden, 'in.cont_ids');
        expectGolden(golden, 'out.cont_logits', model.forward(more, { state: whole }).data);
      });
      using stepped = model.initialState(batch);
      expectGolden(golden, 'out.logits', stepThrough(model, golden, 'in.input_ids', stepped));
      expectStates(golden, stepped);
      expectGolden(golden, 'out.cont_logits', stepThrough(model, golden, 'in.cont_ids', stepped));
      k.checkGuards();
    });

    it('goes on from a prompt with the same tokens', async () => {
      using model = await loadGolden(k, golden);
      using state = model.initialState(1);
      const ids: number[] = [];
      const chosenBy: number[] = [];
      const prompt = Array.from(golden.tensors['in.prompt_ids'].data);
      using last = model.forward(prompt, { state, lastOnly: true });
      let logits = last.toArray();
      const wanted = Array.from(golden.tensors['out.greedy_ids'].data);
      for (let i = 0; i < wanted.length; i++) {
        chosenBy.push(...logits);
        ids.push(logits.indexOf(Math.max(...logits)));
        using row = model.step(ids[i], state);
        logits = row.toArray();
      }
      expect(ids).toEqual(wanted);
      expectGolden(golden, 'out.greedy_logits', chosenBy);
      k.checkGuards();
    });

    it('is saved as it was, tensor by tensor, and loads again', async () => {
      using model = await loadGolden(k, golden);
      const files = encodePretrained(model).map(({ name, bytes }) => new File([bytes], name));
      using again = await loadPretrained(k, files);
      expect(again.config).toEqual({ ...model.config, seed: again.config.seed });
      k.scope(() => {
        const ids = idsOf(k, golden);
        expect(again.forward(ids).toArray()).toEqual(model.forward(ids).toArray());
      });
      const { config, weights } = golden.checkpoint!;
      const before = (await loadSafetensors(k, weights)).tensors;
      const after = await tensorsOf(k, model);
      const names = [...before.keys()].filter((name) => skipped?.test(name) !== true);
      expect([...after.keys()].sort()).toEqual(names.sort());
      for (const [name, tensor] of after) expect(tensor.toArray(), name).toEqual(before.get(name)!.toArray());
      for (const tensor of [...before.values(), ...after.values()]) tensor.dispose();
      const typeOf = (text: string) => (parseJson(text, 'config.json') as { model_type?: string }).model_type;
      expect(typeOf(configJson(model.config))).toBe(typeOf(config));
    });
  });
});

describe.each(named)('%s', (_name, { golden }) => {
  it('is the same by the config of either release of Transformers', () => {
    const { config, configOfRelease5 = config } = golden.checkpoint!;
    const model = resolveConfig(fromHuggingFace(config));
    expect(resolveConfig(fromHuggingFace(configOfRelease5))).toEqual(model);
    expect(resolveConfig(fromHuggingFace(configJson(model)))).toEqual(model);
  });

  it('has as many parameters as the formulas of costs count', async () => {
    const k = await loadKernels();
    using model = await loadGolden(k, golden);
    const { params } = cost(fromHuggingFace(golden.checkpoint!.config), { mode: 'decode', promptLength: 1 });
    expect(params).toBe(model.parameterCount);
  });

  it('learns a batch', async () => {
    const k = await loadKernels();
    using model = await loadGolden(k, golden);
    const optimizer = adamW(k, { parameters: model.parameters() }, { weightDecay: 0 });
    const losses: number[] = [];
    for (let step = 0; step < 30; step++)
      k.scope(() => {
        const tape = createTape(k, model.parameters().values());
        const loss = model.loss(idsOf(k, golden), { tape });
        losses.push(loss.data[0]);
        optimizer.update(tape.backward(loss), 3e-3);
      });
    expect(losses[29]).toBeLessThan(0.9 * losses[0]);
    optimizer.dispose();
  });
});
