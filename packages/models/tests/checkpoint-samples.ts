/** Small models of each published architecture, and what tests of their checkpoints do with them. */
import { configJson, type ModelConfig, parseJson } from '@freelunch/config';
import { loadKernels, type Tensor } from '@freelunch/kernels';
import { expect } from 'vitest';
import { loadPretrained } from '../src/checkpoints/checkpoint.js';
import { encodeSafetensors } from '../src/checkpoints/safetensors.js';
import type { LanguageModel } from '../src/language-model.js';

export const k = await loadKernels({ variant: 'simd' });

export const mamba = {
  vocabSize: 11,
  dModel: 6,
  nLayers: 2,
  mixer: { type: 'mamba', dState: 3 },
} satisfies ModelConfig;
export const mamba2: ModelConfig = {
  ...mamba,
  mixer: { type: 'mamba2', dState: 3, headDim: 4, nGroups: 3, normGroups: 1 },
};
export const gpt2: ModelConfig = {
  ...mamba,
  mixer: { type: 'softmax-attention', nHeads: 3 },
  mlp: 'gelu',
  norm: 'layer',
  position: { type: 'learned', maxLength: 9 },
};
export const llama: ModelConfig = {
  ...mamba,
  dModel: 8,
  mixer: { type: 'softmax-attention', nHeads: 4, nKvHeads: 2 },
  mlp: 'swiglu',
  position: 'rope',
  tieEmbeddings: false,
};

export const file = (name: string, content: string | Uint8Array): File =>
  new File([content as string | Uint8Array<ArrayBuffer>], name);
export const filesOf = (config: object | string, tensors: ReadonlyMap<string, Tensor>): File[] => [
  file('config.json', typeof config === 'string' ? config : JSON.stringify(config)),
  file('model.safetensors', encodeSafetensors(tensors)),
];
export const jsonOf = (model: LanguageModel) =>
  parseJson(configJson(model.config), 'config.json') as Record<string, unknown>;

export function expectSame(got: LanguageModel, want: LanguageModel): void {
  expect([...got.parameters().keys()]).toEqual([...want.parameters().keys()]);
  for (const [name, tensor] of want.parameters())
    expect(got.parameters().get(name)!.toArray()).toEqual(tensor.toArray());
  const tokens = [
    [1, 2, 3, 4, 5],
    [5, 0, 10, 10, 1],
  ];
  k.scope(() => expect(got.forward(tokens).toArray()).toEqual(want.forward(tokens).toArray()));
}

/** Fails unless it throws such an error and frees all that was allocated. @returns its message */
export async function failure(
  source: Parameters<typeof loadPretrained>[1],
  kind: new (m: string) => Error,
): Promise<string> {
  const { usedBytes } = k.memory;
  const error = await loadPretrained(k, source).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(kind);
  expect(k.memory.usedBytes).toBe(usedBytes);
  return (error as Error).message;
}

export const placed = (source: File, path: string) =>
  Object.defineProperty(source, 'webkitRelativePath', { value: path });

export const renamed = (model: LanguageModel, change: (name: string) => string) =>
  new Map([...model.parameters()].map(([name, tensor]) => [change(name), tensor as Tensor]));
