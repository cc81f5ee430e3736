/** What a checkpoint says about itself: its config, and the headers of its files of weights. No weights are read. */
import { checkComputable, isObject, type ModelConfig, readConfig, readGgufConfig } from '@freelunch/config';
import { checkOptions, FormatError, UnsupportedError } from '@freelunch/errors';
import { checkFlag } from '../check.js';
import type { ByteSource } from './byte-source.js';
import { MAXIMUM_CONFIG_BYTES, planLoading } from './checkpoint.js';
import { readHeaders } from './shards.js';
import { type Folder, readJson } from './folder.js';
import { readGgufHeader } from './gguf/header.js';
import { planGguf } from './gguf/load.js';
import { Missing } from './placeholder.js';
import { resolveFile } from './resolve.js';
import { type ModelSource, openSource } from './source.js';
import { sourceOptionNames, type SourceOptions } from './source-options.js';

export interface InspectOptions extends SourceOptions {
  /** Whether the headers of files of weights are read; true if absent. That of a GGUF file always is. */
  weights?: boolean;
}

/** A tensor as its file has it. */
export interface TensorInfo {
  name: string;
  shape: readonly number[];
  /** By the file's own name: `F32`, `BF16`, `Q8_0` ... */
  dtype: string;
  bytes: number;
  file: string;
}

export interface PretrainedInfo {
  format: 'safetensors' | 'gguf';
  /** As the file names it: the `model_type` of config.json or the `general.architecture` of a GGUF file. */
  architecture: string;
  config: ModelConfig;
  /** File by file, in the order in which they lie; empty if there are none or `weights` is false. */
  tensors: readonly TensorInfo[];
  /** Of all files of weights, headers included. */
  fileBytes: number;
  /** What keeps `loadPretrained` from loading it, as far as config and headers tell. */
  obstacle?: string;
  /** Whether there is one for `loadTokenizer` to read. */
  hasTokenizer: boolean;
  /** Tokens that end a text. */
  endTokens: readonly number[];
}

/** One id or several, of those in the vocabulary. */
function idsIn(value: unknown, vocabSize: number): number[] {
  const ids = Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value as number[]) : [value];
  return ids.filter(
    (id): id is number => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize,
  );
}

/** @returns why a checkpoint does not load, undefined if it does */
function obstacleOf(plan: () => unknown): string | undefined {
  try {
    plan();
    return undefined;
  } catch (error) {
    if (!(error instanceof UnsupportedError || error instanceof FormatError)) throw error;
    return error.message;
  }
}

async function inspectGguf(file: ByteSource): Promise<PretrainedInfo> {
  const { header } = await readGgufHeader(file);
  const { metadata, tensors } = header;
  const { name } = file;
  const { architecture, config } = readGgufConfig(metadata, tensors, name);
  const ends = ['eos', 'eot'].map((end) => metadata.get(`tokenizer.ggml.${end}_token_id`));
  return {
    format: 'gguf',
    architecture,
    config,
    tensors: Array.from(tensors.values(), (tensor) => ({
      name: tensor.name,
      shape: tensor.shape,
      dtype: tensor.type.name,
      bytes: tensor.bytes,
      file: name,
    })),
    fileBytes: file.size ?? header.leastBytes,
    obstacle: obstacleOf(() => planGguf(header, name)),
    hasTokenizer: metadata.has('tokenizer.ggml.tokens'),
    endTokens: [...new Set(ends.flatMap((end) => idsIn(end, config.vocabSize)))],
  };
}

/** Whether a file is there: it is opened, and no more. */
async function has(folder: Folder, file: string): Promise<boolean> {
  const source = await folder.open(file);
  if (source instanceof Missing) return false;
  await source.close();
  return true;
}

/** Of generation_config.json; where that says nothing, of config.json. */
async function endTokensOf(folder: Folder, json: unknown, vocabSize: number): Promise<number[]> {
  const own = await readJson(folder, 'generation_config.json', MAXIMUM_CONFIG_BYTES);
  const { text_config: inner } = isObject(json) ? json : {};
  for (const place of [own, json, inner])
    if (isObject(place) && place.eos_token_id !== undefined && place.eos_token_id !== null)
      return idsIn(place.eos_token_id, vocabSize);
  return [];
}

async function inspectFolder(folder: Folder, options: InspectOptions): Promise<PretrainedInfo> {
  const { weights = true, signal } = options;
  const json = await readJson(folder, 'config.json', MAXIMUM_CONFIG_BYTES);
  if (json instanceof Missing)
    throw new FormatError(`${folder.name}: must hold config.json, got ${json.reason}`);
  const published = readConfig(json, 'config.json');
  const { architecture, config } = published;
  const resolved = resolveFile('config.json', config);
  const shards = weights ? await readHeaders(folder, signal) : [];
  const found = shards instanceof Missing ? [] : shards;
  for (const { source } of found) await source?.close();
  return {
    format: 'safetensors',
    architecture,
    config,
    tensors: found.flatMap(({ file, header }) =>
      Array.from(header.entries.values(), ({ name, shape, dtype, bytes }) => ({
        name,
        shape,
        dtype,
        bytes,
        file,
      })),
    ),
    fileBytes: found.reduce((total, { header }) => total + header.fileBytes, 0),
    obstacle: obstacleOf(() => {
      checkComputable(resolved, 'config.json');
      if (shards instanceof Missing) throw new FormatError(shards.reason);
      if (weights) planLoading(published, shards, folder.name);
    }),
    hasTokenizer: await has(folder, 'tokenizer.json'),
    endTokens: await endTokensOf(folder, json, config.vocabSize),
  };
}

/**
 * What a checkpoint holds, from config.json and the headers of its files alone: no weights are read, of files on servers
 * neither. It also tells of models that only their config can be read of.
 *
 *   const { architecture, config, tensors } = await inspectPretrained('hf:state-spaces/mamba-130m-hf');
 *
 * @param source   as `loadPretrained` takes it
 * @throws FormatError if a file is not what it should be; UnsupportedError naming a model or a field that configs here
 *   cannot express; FileError
 */
export async function inspectPretrained(
  source: ModelSource,
  options: InspectOptions = {},
): Promise<PretrainedInfo> {
  checkOptions('inspectPretrained', options, ['weights', ...sourceOptionNames]);
  const { weights = true } = options;
  checkFlag('inspectPretrained', 'weights', weights);
  const opened = await openSource('inspectPretrained', source, options);
  if (opened.file === undefined) return inspectFolder(opened.folder, options);
  try {
    return await inspectGguf(opened.file);
  } finally {
    await opened.close();
  }
}
