/** Reads and writes config.json: Hugging Face's (Transformers 4 and 5), state-spaces', and our own. */
import { ArgumentError, FormatError, FreelunchError, show, UnsupportedError } from '@freelunch/errors';
import type { Architecture } from './architectures/architecture.js';
import { freelunch, writeFreelunch } from './architectures/freelunch.js';
import { published, writers } from './architectures/index.js';
import { formatJson, isObject, type Json, parseJson, plain } from './json.js';
import { resolveConfig } from './resolve.js';
import type { ModelConfig, ResolvedConfig } from './types.js';

/** A `config.json` as the Hugging Face hub has it. */
export type HuggingFaceConfig = Readonly<Record<string, unknown>>;

const all: readonly Architecture[] = [...published, freelunch];

/** By `model_type`, or else by the class, or else by fields that only state-spaces or we have. */
function architectureOf(json: Json, where: string): Architecture {
  const classes = json.architectures ?? [];
  if (!Array.isArray(classes))
    throw new FormatError(`${where}: architectures must be a list, got ${show(classes)}`);
  const byClass = all.find((one) => one.classes.includes(classes[0] as string));
  const type = json.model_type ?? undefined;
  const byFields =
    'vocabSize' in json ? 'freelunch' : 'd_model' in json && 'n_layer' in json ? 'mamba_ssm' : undefined;
  const found = all.find((one) => one.type === (type ?? byClass?.type ?? byFields));
  if (found === undefined)
    throw new UnsupportedError(
      `${where}: model_type must be one of ${all.map((one) => one.type).join(', ')}, got ${show(type)}`,
    );
  if (byClass !== undefined && byClass !== found)
    throw new FormatError(
      `${where}: architectures must be those of model_type ${found.type}, got ${show(classes)}`,
    );
  return found;
}

/** How the weights of linear layers and embeddings are kept in a file that has them in blocks: `mixed` is some of each. */
export type StoredBlocks = 'int8' | 'int4' | 'mixed';

/** How the weights of linear layers and embeddings are kept in a file. */
export type StoredDType = 'float32' | 'float16' | 'bfloat16' | StoredBlocks;

/** What `quantization_config` must say for us to read it: other methods lay out their weights in other ways. */
const QUANT_METHOD = 'freelunch';
const blockDTypes: readonly StoredBlocks[] = ['int8', 'int4', 'mixed'];

/** @returns the dtype of quantised weights, undefined if there are none */
function quantizedDType(said: unknown, where: string): StoredBlocks | undefined {
  if (said === undefined || said === null) return undefined;
  const { quant_method: method, dtype } = isObject(said) ? said : {};
  if (method !== QUANT_METHOD)
    throw new UnsupportedError(
      `${where}: quantization_config must be absent or have quant_method '${QUANT_METHOD}' to be supported, got ${show(said)}`,
    );
  const found = blockDTypes.find((name) => name === dtype);
  if (found === undefined)
    throw new FormatError(
      `${where}: quantization_config.dtype must be one of ${blockDTypes.join(', ')}, got ${show(dtype)}`,
    );
  return found;
}

/**
 * What a config.json describes. `resolveConfig` checks the config that it becomes.
 *
 * @param where the function, or the file, that messages name
 * @returns the architecture's `model_type` (`mamba_ssm` for files of state-spaces, which have none), the config, and the
 *   dtype of weights that are quantised in blocks
 * @throws FormatError naming the field that is not what it should be or contradicts another, UnsupportedError naming
 *   the one that asks for what configs here cannot say, or is not known
 */
export function readConfig(
  json: unknown,
  where: string,
): { architecture: string; config: ModelConfig; quantized?: StoredBlocks } {
  const copy = plain(json);
  if (!isObject(copy)) throw new FormatError(`${where}: file must hold an object, got ${show(json)}`);
  const { quantization_config: quantization, ...fields } = copy;
  const quantized = quantizedDType(quantization, where);
  const architecture = architectureOf(fields, where);
  const config = architecture.read(fields, where);
  return { architecture: architecture.type, config, ...(quantized && { quantized }) };
}

/**
 * What config.json says of a model: in Hugging Face's form where that says all of it, so that others can load the
 * checkpoint too, else in our own.
 *
 * @param dtype  of the weights beside it; `int8`, `int4` and `mixed` become a `quantization_config`, by which others see that they
 *   cannot read them
 * @throws ArgumentError
 */
export function writeConfig(config: ResolvedConfig, dtype: StoredDType = 'float32'): Json {
  if (!isObject(config) || !Array.isArray(config.mixers) || !Array.isArray(config.mlps))
    throw new ArgumentError(`writeConfig: config must be what resolveConfig gives, got ${show(config)}`);
  const file = fileOf(config);
  const blocks = blockDTypes.some((name) => name === dtype);
  if (blocks) return { ...file, quantization_config: { quant_method: QUANT_METHOD, dtype } };
  return 'torch_dtype' in file ? { ...file, torch_dtype: dtype } : file;
}

/** What a model computes: all of its config but how it started, and in which pieces kernels compute. */
function computation(config: ResolvedConfig): string {
  const started = { ...config, seed: undefined, embeddingStd: undefined };
  return JSON.stringify(started, (name, value: unknown) => (name === 'chunkSize' ? undefined : value));
}

/** Whether a file describes this very model: what a form has no place for would be lost. */
function saysAll(file: Json, config: ResolvedConfig): boolean {
  try {
    const again = resolveConfig(readConfig(file, 'writeConfig').config, 'writeConfig');
    return computation(again) === computation(config);
  } catch (error) {
    if (error instanceof FreelunchError) return false;
    throw error;
  }
}

/** In the first form that has a place for all of it. */
function fileOf(config: ResolvedConfig): Json {
  for (const write of writers) {
    const file = write(config);
    if (file !== undefined && saysAll(file, config)) return file;
  }
  return writeFreelunch(config);
}

/** The text of a model's config.json. @param dtype  of its weights in the files beside it */
export const configJson = (config: ResolvedConfig, dtype?: StoredDType): string =>
  formatJson(writeConfig(config, dtype));

/**
 * The config of a published model.
 *
 * @param json the parsed `config.json`, or its text; `Infinity`, which JSON does not know, is allowed there
 * @throws FormatError, UnsupportedError naming the field
 */
export const fromHuggingFace = (json: HuggingFaceConfig | string): ModelConfig =>
  readConfig(typeof json === 'string' ? parseJson(json, 'fromHuggingFace') : json, 'fromHuggingFace').config;
