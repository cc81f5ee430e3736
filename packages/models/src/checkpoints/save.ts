/** Models written to a directory, as `loadPretrained` reads them. */
import { formatJson } from '@freelunch/config';
import { ArgumentError, checkOptions, show } from '@freelunch/errors';
import { fileError, nodeModules } from '../files/node.js';
import { makeFolder, type StagedFile, stageFile, syncFolder } from '../files/write.js';
import { LanguageModel } from '../language-model.js';
import { type SaveOptions, storedChunks, type StoredTensor } from './safetensors.js';
import { storedBytes } from './safetensors-format.js';
import { storedModel } from './stored-model.js';

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

  const { config, tensors } = storedModel(model, dtype);
  const groups = groupsOf(tensors, maxShardBytes);
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
      const size = tensors.reduce((total, tensor) => total + storedBytes(tensor), 0);
      const content = { metadata: { total_size: size }, weight_map: Object.fromEntries(map) };
      staged.push(await stageFile(at(index), formatJson(content)));
    }
    staged.push(await stageFile(at('config.json'), config));
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
