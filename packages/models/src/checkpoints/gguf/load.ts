/** Models from GGUF files, as llama.cpp and its tools write them. */
import { checkComputable, readGgufConfig } from '@freelunch/config';
import { FormatError, show, UnsupportedError } from '@freelunch/errors';
import type { Kernels } from '@freelunch/kernels';
import { architectureOf } from '../../architecture.js';
import { LanguageModel } from '../../language-model.js';
import type { Weight } from '../../mixers/parameters.js';
import type { DTypeOptions } from '../dtype-options.js';
import type { ByteSource } from '../byte-source.js';
import { resolveFile } from '../resolve.js';
import type { ByteProgress } from '../safetensors.js';
import { type GgufHeader, readGgufHeader } from './header.js';
import { planOf } from './plan.js';
import { dtypeOfGguf, GgufWeight } from './read-tensor.js';

export interface LoadGgufOptions extends DTypeOptions {
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

/** How the model in a file loads: nothing is allocated yet. @throws FormatError, UnsupportedError */
export function planGguf(header: GgufHeader, where: string) {
  const { architecture, config } = describe(header, where);
  const { specs } = architectureOf(config);
  return { config, specs, targets: planOf(config, architecture, specs, header, where) };
}

/**
 * Loads the model in a GGUF file. The source stays open.
 *
 * @throws FormatError, UnsupportedError, OutOfMemoryError as `loadPretrained` does
 */
export async function loadGguf(
  k: Kernels,
  source: ByteSource,
  options: LoadGgufOptions = {},
): Promise<LanguageModel> {
  const { signal, onProgress } = options;
  const weights = new Map<string, Weight>();
  try {
    const { header, data } = await readGgufHeader(source);
    const { config, specs, targets } = planGguf(header, source.name);
    const loaded = new Map<string, GgufWeight>();
    for (const spec of specs) {
      const { tensor } = targets.get(spec.name)!;
      const one = new GgufWeight(k, spec, dtypeOfGguf(spec, tensor.type, options));
      weights.set(spec.name, one.weight);
      loaded.set(tensor.name, one);
    }
    const totalBytes = source.size ?? header.leastBytes;
    const onBytes = (doneBytes: number) => onProgress?.({ doneBytes, totalBytes });
    const inOrder = [...targets.values()].toSorted((a, b) => a.tensor.offset - b.tensor.offset);
    for (const { tensor, arrangement } of inOrder)
      await loaded.get(tensor.name)!.read(data, tensor, arrangement, { signal, onBytes });
    onBytes(totalBytes);
    return new LanguageModel(k, config, weights);
  } catch (error) {
    for (const tensor of weights.values()) tensor.dispose();
    throw error;
  }
}
