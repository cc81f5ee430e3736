import type { Kernels, Tensor } from '@freelunch/kernels';
import { type LanguageModel, loadPretrained } from '@freelunch/models';
import { expect } from 'vitest';
import { relativeError } from '../compare.ts';
import type { GoldenCase } from '../golden/golden.ts';

/** The checkpoint of a golden case, as a user would choose its files in a browser. */
export function checkpointFiles(golden: GoldenCase): File[] {
  const { config, weights } = golden.checkpoint!;
  return [new File([config], 'config.json'), new File([weights], 'model.safetensors')];
}

export const loadGolden = (k: Kernels, golden: GoldenCase): Promise<LanguageModel> =>
  loadPretrained(k, checkpointFiles(golden));

/** Fails unless `got` is within the tolerance of the golden tensor `name`, where it is more than noise. */
export function expectGolden(golden: GoldenCase, name: string, got: ArrayLike<number> | undefined): void {
  expect(got, `${name} is missing`).toBeDefined();
  const [from, to] = golden.skipRanges?.[name] ?? [0, 0];
  const compared = (data: ArrayLike<number>) => Array.from(data).filter((_, i) => i < from || i >= to);
  const error = relativeError(compared(got!), compared(golden.tensors[name].data));
  expect(error, `error of ${name}`).toBeLessThanOrEqual(golden.tolerance[name]);
}

/** Fails unless the logits and the loss of these tokens are golden, and every residual stream on the way. */
export function expectForward(golden: GoldenCase, model: LanguageModel, ids: Tensor): void {
  const seen: Record<string, Float32Array> = {};
  model.k.scope(() => {
    const logits = model.forward(ids, { observe: (name, x) => (seen[`out.${name}`] = x.toArray()) });
    expectGolden(golden, 'out.logits', logits.data);
    expectGolden(golden, 'out.loss', model.loss(ids).data);
  });
  const streams = Object.keys(golden.tensors).filter((name) => /^out\.(hidden\.\d+|final_norm)$/.test(name));
  expect(Object.keys(seen).sort()).toEqual(streams.sort());
  for (const name of streams) expectGolden(golden, name, seen[name]);
}
