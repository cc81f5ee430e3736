import { createTape } from '@freelunch/autograd';
import type { Kernels, Tensor } from '@freelunch/kernels';
import type { ModelState } from '@freelunch/models';
import { describe, expect, it } from 'vitest';
import { type GoldenCase, permute, readGolden } from '../golden/golden.ts';
import { guarded } from '../kernels.ts';
import { expectForward, expectGolden, loadGolden } from './checkpoint.ts';

const cases = await readGolden('model');

const inputIds = (k: Kernels, golden: GoldenCase): Tensor => {
  const { shape, data } = golden.tensors['in.input_ids'];
  return k.tensor(Int32Array.from(data), shape);
};

/** Compares each state that the case has with ours, in the layout of the golden file. */
function expectStates(golden: GoldenCase, state: ModelState): void {
  const names = Object.keys(golden.tensors).filter((name) => /^out\.\w+_(state|cache)\./.test(name));
  expect(names.length).toBe(2 * state.layers.length);
  for (const name of names) {
    const [, kind, layer] = name.split('.');
    const { tensors, held } = state.layers[Number(layer)];
    const { shape, data } = golden.tensors[name];
    if (kind === 'ssm_state') expectGolden(golden, name, tensors.scan.data);
    else if (kind === 'conv_state') {
      // Theirs keeps as many columns as the convolution is wide, ours one less: no later step looks at the oldest.
      const { shape: ours, data: kept } = permute(
        { shape: tensors.conv.shape, data: tensors.conv.data },
        [0, 2, 1],
      );
      const [, , width] = shape;
      expect(ours).toEqual([shape[0], shape[1], width - 1]);
      const whole = data.slice();
      for (let i = 0; i < whole.length; i++)
        if (i % width > 0) whole[i] = kept[Math.floor(i / width) * (width - 1) + (i % width) - 1];
      expectGolden(golden, name, whole);
    } else {
      const cache = tensors[kind[0]];
      const [batch, capacity, nKvHeads, headDim] = cache.shape;
      expect([batch, held, nKvHeads, headDim]).toEqual(shape);
      const row = shape[1] * nKvHeads * headDim;
      const rows = Array.from({ length: batch }, (_, b) => {
        const from = b * capacity * nKvHeads * headDim;
        return Array.from(cache.data.subarray(from, from + row));
      });
      expectGolden(golden, name, rows.flat());
    }
  }
}

describe.each(guarded)('%s', (_variant, k) => {
  describe.each(cases.map((golden) => [golden.name, golden] as const))('%s', (_name, golden) => {
    it('gives the logits, the loss and every residual stream', async () => {
      using model = await loadGolden(k, golden);
      k.scope(() => expectForward(golden, model, inputIds(k, golden)));
      k.checkGuards();
    });

    it.each([false, true])(
      'gives the gradient of every parameter (recomputing blocks: %s)',
      async (checkpoint) => {
        using model = await loadGolden(k, golden);
        const parameters = model.parameters();
        const wanted = Object.keys(golden.tensors).filter((name) => name.startsWith('grad.'));
        expect([...parameters.keys()].map((name) => `grad.${name}`).sort()).toEqual(wanted.sort());
        k.scope(() => {
          const tape = createTape(k, parameters.values());
          const gradients = tape.backward(model.loss(inputIds(k, golden), { tape, checkpoint }));
          for (const [name, tensor] of parameters)
            expectGolden(golden, `grad.${name}`, gradients.get(tensor)?.data);
        });
        k.checkGuards();
      },
    );

    it('leaves the state of its tokens, taken at once or one by one', async () => {
      using model = await loadGolden(k, golden);
      const { shape, data } = golden.tensors['in.input_ids'];
      const [batch, seqLen] = shape;
      using whole = model.initialState(batch);
      expectGolden(golden, 'out.logits', model.forward(inputIds(k, golden), { state: whole }).data);
      expectStates(golden, whole);

      using stepped = model.initialState(batch);
      const logits: number[][][] = Array.from({ length: batch }, () => []);
      for (let t = 0; t < seqLen; t++) {
        const tokens = Array.from({ length: batch }, (_, b) => data[b * seqLen + t]);
        using row = model.step(tokens, stepped);
        const vocabSize = row.size / batch;
        for (let b = 0; b < batch; b++)
          logits[b].push(Array.from(row.data.subarray(b * vocabSize, (b + 1) * vocabSize)));
      }
      expectGolden(golden, 'out.logits', logits.flat(2));
      expectStates(golden, stepped);
      k.checkGuards();
    });

    it('goes on from a prompt with the same twenty tokens', async () => {
      using model = await loadGolden(k, golden);
      using state = model.initialState(1);
      const prompt = Array.from(golden.tensors['in.prompt_ids'].data);
      const ids: number[] = [];
      const chosenBy: number[] = [];
      let logits = model.forward(prompt, { state, lastOnly: true }).toArray();
      for (let i = 0; i < 20; i++) {
        chosenBy.push(...logits);
        ids.push(logits.indexOf(Math.max(...logits)));
        using row = model.step(ids[i], state);
        logits = row.toArray();
      }
      expect(ids).toEqual(Array.from(golden.tensors['out.greedy_ids'].data));
      expectGolden(golden, 'out.greedy_logits', chosenBy);
      k.checkGuards();
    });
  });
});
