/** Models from GGUF files, as llama.cpp and its tools write them. */
import { checkComputable, readGgufConfig } from '@freelunch/config';
import { FormatError, show, UnsupportedError } from '@freelunch/errors';
import type { Kernels } from '@freelunch/kernels';
import { architectureOf } from '../../architecture.js';
import { LanguageModel } from '../../language-model.js';
import type { FloatTensor } from '../../mixers/parameters.js';
import type { ByteSource } from '../byte-source.js';
import { resolveFile } from '../resolve.js';
import type { ByteProgress } from '../safetensors.js';
import { type GgufHeader, readGgufHeader } from './header.js';
import { planOf } from './plan.js';
import { readGgufTensor } from './read-tensor.js';

export interface LoadGgufOptions {
  onProgress?: (progress: ByteProgress) => void;
  signal?: AbortSignal;
}

/** @throws FormatError, UnsupportedError */
function describe({ metadata, tensors }: GgufHeader, where: string) {
  const parts = metadata.get('split.count');
  if (parts !== undefined && parts !== 0 && parts !== 1)
    throw new UnsupportedError(
      `${where}: split.count must be 1 to be supported, got ${show(parts)}; llama-gguf-split --merge joins the files`,
    );
  const { architecture, config } = readGgufConfig(metadata, tensors, where);
  if (config.nLayers > tensors.size)
    throw new FormatError(
      `${where}: weights must hold ${config.nLayers} layers as block_count says, got ${tensors.size} tensors`,
    );
  const resolved = resolveFile(where, config);
  checkComputable(resolved, where);
  return { architecture, config: resolved };
}

/**
 * Loads the model in a GGUF file. The source stays open.
 *
 * @throws FormatError, UnsupportedError, OutOfMemoryError as `loadPretrained` does
 */
export async function loadGguf(
  k: Kernels,
  source: ByteSource,
  { signal, onProgress }: LoadGgufOptions = {},
): Promise<LanguageModel> {
  const parameters = new Map<string, FloatTensor>();
  try {
    const { header, data } = await readGgufHeader(source);
    const { architecture, config } = describe(header, source.name);
    const { specs } = architectureOf(config);
    const targets = planOf(config, architecture, specs, header, source.name);
    for (const { name, shape } of specs) parameters.set(name, k.empty(shape));
    const totalBytes = source.size ?? header.leastBytes;
    const onBytes = (doneBytes: number) => onProgress?.({ doneBytes, totalBytes });
    for (const tensor of header.tensors.values()) {
      const target = targets.get(tensor.name);
      if (target === undefined) continue;
      const parameter = parameters.get(target.parameter)!;
      await readGgufTensor(data, tensor, parameter, target.arrangement, { signal, onBytes });
    }
    onBytes(totalBytes);
    return new LanguageModel(k, config, parameters);
  } catch (error) {
    for (const tensor of parameters.values()) tensor.dispose();
    throw error;
  }
}
