/** Models written to a directory, as `loadPretrained` reads them. */
import { configJson, formatJson, type StoredDType } from '@freelunch/config';
import { ArgumentError, checkOptions, show } from '@freelunch/errors';
import { type Kernels, QuantizedTensor } from '@freelunch/kernels';
import { internalsOf, readRows } from '@freelunch/kernels/internals';
import { fileError, nodeModules } from '../files/node.js';
import { makeFolder, type StagedFile, stageFile, syncFolder } from '../files/write.js';
import { LanguageModel } from '../language-model.js';
import type { ParameterSpec, Weight } from '../mixers/parameters.js';
import { type SaveOptions, storedChunks, storedTensor, type StoredTensor } from './safetensors.js';
import { storedBytes } from './safetensors-format.js';
import { shapeInFile } from './weights.js';

export interface SavePretrainedOptions extends Pick<SaveOptions, 'dtype'> {
  /** Splits the weights into files of at most this size; a tensor that alone is larger gets its own. One file if absent. */
  maxShardBytes?: number;
}

const fiveDigits = (n: number): string => String(n).padStart(5, '0');

/** Tensors in groups of at most `most` bytes each, as many as one makes if it alone is larger. */
function groupsOf(tensors: readonly StoredTensor[], most: number): StoredTensor[][] {
  const groups: StoredTensor[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const added = storedBytes(tensor);
    if (bytes > 0 && bytes + added > most) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(tensor);
    bytes += added;
  }
  return groups;
}

const PIECE_BYTES = 2 ** 22;
const fileDTypes = { float16: 'F16', bfloat16: 'BF16', int8: 'U8', int4: 'U8' } as const;

/** A quantised matrix as it lies in a file: half floats as others have them, blocks as bytes. */
function storedMatrix(k: Kernels, spec: ParameterSpec, matrix: QuantizedTensor): StoredTensor {
  const [rows] = matrix.shape;
  const dtype = fileDTypes[matrix.dtype];
  const across = spec.matrix === 'in-out' && dtype !== 'U8';
  const most = Math.max(1, Math.floor(PIECE_BYTES / (matrix.bytes / rows)));
  function* pieces() {
    for (let first = 0; first < rows; first += most)
      yield readRows(internalsOf(k), matrix, first, Math.min(most, rows - first));
  }
  return {
    name: spec.name,
    dtype,
    shape: shapeInFile(spec, matrix.dtype),
    chunks: across ? () => [acrossHalves(matrix)] : pieces,
  };
}

/** Half floats of `[out, in]` as `[in, out]`. */
function acrossHalves(matrix: QuantizedTensor): Uint8Array<ArrayBuffer> {
  const [rows, columns] = matrix.shape;
  const from = new Uint16Array(matrix.toBytes().buffer);
  const to = new Uint16Array(from.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j];
  return new Uint8Array(to.buffer);
}

function storedWeight(
  k: Kernels,
  spec: ParameterSpec,
  weight: Weight,
  dtype: NonNullable<SaveOptions['dtype']>,
): StoredTensor {
  return weight instanceof QuantizedTensor
    ? storedMatrix(k, spec, weight)
    : storedTensor(spec.name, weight, dtype);
}

const configDTypes = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const;

/** What config.json says of the weights beside it: the dtype of the matrices, if these are quantised. */
function dtypeOfFile(model: LanguageModel, dtype: NonNullable<SaveOptions['dtype']>): StoredDType {
  const found = [...model.weights().values()].filter((weight) => weight instanceof QuantizedTensor);
  const blocks = [...new Set(found.map((weight) => weight.dtype))].filter((one) => fileDTypes[one] === 'U8');
  if (blocks.length > 1) return 'mixed';
  return blocks.at(0) ?? found.at(0)?.dtype ?? configDTypes[dtype];
}

/**
 * Writes a model into a directory (Node, Deno, Bun) as `loadPretrained` reads it, and as Hugging Face's Transformers
 * does where they have the architecture. Each file is complete and on the disk, or not there.
 *
 * F32 loads back bit for bit, and so do quantised weights, which stay what they are: `float16` and `bfloat16` as F16 and
 * BF16, blocks as U8 `[out, in / 32, 34]` for `int8` and `[out, in / 32, 18]` for `int4`, each block as llama.cpp lays out
 * Q8_0 and Q4_0. config.json then has a `quantization_config` with `quant_method: 'freelunch'` and the dtype,
 * `mixed` for some of each, as a model from a GGUF file may have them.
 *
 * @param directory made if it is not there; other files in it stay
 * @throws ArgumentError for bad options, FileError
 */
export async function savePretrained(
  directory: string,
  model: LanguageModel,
  options: SavePretrainedOptions = {},
): Promise<void> {
  checkOptions('savePretrained', options, ['dtype', 'maxShardBytes']);
  const { dtype = 'F32', maxShardBytes = Infinity } = options;
  if (typeof directory !== 'string' || directory === '')
    throw new ArgumentError(`savePretrained: directory must be a path, got ${show(directory)}`);
  if (!(model instanceof LanguageModel))
    throw new ArgumentError(`savePretrained: model must be a LanguageModel, got ${show(model)}`);
  if (!['F32', 'F16', 'BF16'].includes(dtype))
    throw new ArgumentError(`savePretrained: dtype must be 'F32', 'F16' or 'BF16', got ${show(dtype)}`);
  if (!(typeof maxShardBytes === 'number' && maxShardBytes >= 1))
    throw new ArgumentError(
      `savePretrained: maxShardBytes must be a number from 1 up, got ${show(maxShardBytes)}`,
    );
  const { fs, path: paths } = await nodeModules();
  const at = (file: string) => paths.join(directory, file);
  await makeFolder(directory);

  const weights = model.weights();
  const stored = model.specs.map((spec) => storedWeight(model.k, spec, weights.get(spec.name)!, dtype));
  const groups = groupsOf(stored, maxShardBytes);
  const files =
    groups.length === 1
      ? ['model.safetensors']
      : groups.map((_, i) => `model-${fiveDigits(i + 1)}-of-${fiveDigits(groups.length)}.safetensors`);
  const index = 'model.safetensors.index.json';
  // All are on the disk before the first takes the place of what was saved here before.
  const staged: StagedFile[] = [];
  try {
    for (const [i, group] of groups.entries()) {
      staged.push(await stageFile(at(files[i]), storedChunks(group, { format: 'pt' })));
    }
    if (groups.length > 1) {
      const map = groups.flatMap((group, i) => group.map(({ name }) => [name, files[i]]));
      const size = stored.reduce((total, tensor) => total + storedBytes(tensor), 0);
      const content = { metadata: { total_size: size }, weight_map: Object.fromEntries(map) };
      staged.push(await stageFile(at(index), formatJson(content)));
    }
    staged.push(await stageFile(at('config.json'), configJson(model.config, dtypeOfFile(model, dtype))));
    for (const file of staged) await file.commit();
  } finally {
    for (const file of staged) await file.discard();
  }
  // Weights of what was saved here before: a reader would take them for this model's.
  const stale = (file: string) =>
    !files.includes(file) &&
    (/^model(-\d{5}-of-\d{5})?\.safetensors$/.test(file) || (file === index && groups.length === 1));
  try {
    const there = await fs.readdir(directory);
    for (const file of there.filter(stale)) await fs.rm(at(file));
  } catch (cause) {
    throw fileError(cause, directory, 'cannot be cleared of the weights before');
  }
  await syncFolder(directory);
}
