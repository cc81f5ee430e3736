/**
 * What GGUF files say of a model: their hyperparameters by the names of llama.cpp, and which tensors there are.
 *
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import { FormatError, show, UnsupportedError } from '@freelunch/errors';
import type { ModelConfig } from '../types.js';
import type { GgufArchitecture } from './architecture.js';
import { gpt2 } from './gpt2.js';
import { llama, qwen2 } from './llama.js';
import { mamba } from './mamba.js';
import { mamba2 } from './mamba2.js';

const architectures: readonly GgufArchitecture[] = [mamba, mamba2, gpt2, llama, qwen2];

/**
 * The config of the model in a GGUF file.
 *
 * @param metadata the header's values by name
 * @param tensors  the header's tensors by name, their shapes rows first
 * @param where    the file, which messages name
 * @throws FormatError naming what is not as it should be, UnsupportedError naming what configs here cannot say
 */
export function readGgufConfig(
  metadata: ReadonlyMap<string, unknown>,
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  where: string,
): { architecture: string; config: ModelConfig } {
  const name = metadata.get('general.architecture');
  const found = architectures.find((one) => one.name === name);
  if (found === undefined)
    throw new UnsupportedError(
      `${where}: general.architecture must be one of ${architectures.map((one) => one.name).join(', ')} to be supported, got ${show(name)}`,
    );
  const shape = tensors.get('token_embd.weight')?.shape;
  if (shape?.length !== 2)
    throw new FormatError(
      `${where}: token_embd.weight must be there, [vocabSize, dModel], got ${shape === undefined ? 'none' : `[${shape.join(', ')}]`}`,
    );
  const prefix = `${found.name}.`;
  const fields = [...metadata]
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, value]) => [key.slice(prefix.length), value]);
  const config = found.read(Object.fromEntries(fields), `${where}: ${found.name}`, {
    vocabSize: shape[0],
    tieEmbeddings: !tensors.has('output.weight'),
    has: (tensor) => tensors.has(tensor),
    shapeOf: (tensor) => tensors.get(tensor)?.shape,
  });
  return { architecture: found.name, config };
}
