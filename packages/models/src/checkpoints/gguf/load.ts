/** Models from GGUF files, as llama.cpp and its tools write them. */
import { checkComputable, readGgufConfig, type ResolvedConfig, ropeScalingOf } from '@freelunch/config';
import { FormatError, show, UnsupportedError } from '@freelunch/errors';
import type { Kernels } from '@freelunch/kernels';
import { architectureOf } from '../../architecture.js';
import { LanguageModel } from '../../language-model.js';
import type { Weight } from '../../mixers/parameters.js';
import type { DTypeOptions } from '../dtype-options.js';
import type { ByteSource } from '../byte-source.js';
import { resolveFile } from '../resolve.js';
import type { ByteProgress } from '../safetensors.js';
import { ROPE_FACTORS } from './architectures/llama.js';
import { type GgufHeader, type GgufTensor, readGgufHeader } from './header.js';
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
  const factors = architecture === 'llama' ? header.tensors.get(ROPE_FACTORS) : undefined;
  return { config, specs, factors, targets: planOf(config, architecture, specs, header, where) };
}

async function readFactors(
  source: ByteSource,
  { name, type, offset, bytes }: GgufTensor,
): Promise<Float32Array> {
  if (type.name !== 'F32')
    throw new UnsupportedError(
      `${source.name}: ${name} must be of type F32 to be supported, got ${type.name}`,
    );
  const got = await source.read(offset, bytes);
  if (got.length < bytes)
    throw new FormatError(`${source.name}: ${show(name)} must be in the file, which ends before`);
  const view = new DataView(got.buffer, got.byteOffset, bytes);
  return Float32Array.from({ length: bytes / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** A config whose rotary frequencies are divided by factors. @throws FormatError, UnsupportedError */
function scaledBy(config: ResolvedConfig, factors: Float32Array, where: string): ResolvedConfig {
  const { position, mixers } = config;
  const [mixer] = mixers;
  if (position.type !== 'rope' || mixer.type !== 'softmax-attention') return config;
  const { base, rotaryDim = mixer.headDim } = position;
  if (factors.length !== rotaryDim / 2)
    throw new FormatError(`${where}: ${ROPE_FACTORS} must be [${rotaryDim / 2}], got [${factors.length}]`);
  const scaling = ropeScalingOf(factors, base);
  if (scaling === null || (scaling !== undefined && position.scaling !== undefined))
    throw new UnsupportedError(
      `${where}: ${ROPE_FACTORS} must be those of the llama3 rule, with no other scaling beside it, to be supported`,
    );
  return { ...config, position: { ...position, scaling: scaling ?? position.scaling } };
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
    const { config, specs, factors, targets } = planGguf(header, source.name);
    const loaded = new Map<string, GgufWeight>();
    for (const spec of specs) {
      const { tensor } = targets.get(spec.name)!;
      const one = new GgufWeight(k, spec, dtypeOfGguf(spec, tensor.type, options));
      weights.set(spec.name, one.weight);
      loaded.set(tensor.name, one);
    }
    const totalBytes = source.size ?? header.leastBytes;
    const onBytes = (doneBytes: number) => onProgress?.({ doneBytes, totalBytes });
    const reads = [...targets.values()].map(({ tensor, arrangement }) => ({
      offset: tensor.offset,
      read: () => loaded.get(tensor.name)!.read(data, tensor, arrangement, { signal, onBytes }),
    }));
    let scaled = config;
    if (factors !== undefined)
      reads.push({
        offset: factors.offset,
        read: async () => void (scaled = scaledBy(config, await readFactors(data, factors), source.name)),
      });
    for (const { read } of reads.toSorted((a, b) => a.offset - b.offset)) await read();
    onBytes(totalBytes);
    return new LanguageModel(k, scaled, weights);
  } catch (error) {
    for (const tensor of weights.values()) tensor.dispose();
    throw error;
  }
}
