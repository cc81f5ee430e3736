/**
 * Checkpoints as Hugging Face has them: a folder with config.json and model.safetensors, or shards of it with
 * model.safetensors.index.json. Weights go from the file into WASM memory piece by piece and are never held twice.
 */
import { ArgumentError, FormatError, type Kernels } from '@freelunch/kernels';
import type { ByteSource } from './byte-source.js';
import { resolveConfig, type ResolvedConfig } from '../config.js';
import { type Folder, type FolderSource, nodeModule, openFolder, readJson } from './folder.js';
import { readConfig, writeConfig } from '../hugging-face.js';
import { formatJson, isObject, shown } from './json.js';
import { describeModel, LanguageModel } from '../language-model.js';
import { namesOf } from './names.js';
import type { FloatTensor, ParameterSpec } from '../mixers/parameters.js';
import {
  type ByteProgress,
  equalsTensor,
  readSafetensorsHeader,
  readTensor,
  type SaveOptions,
  saveSafetensors,
  writeWhole,
} from './safetensors.js';
import { dtypeBytes, type Entry, type Header } from './safetensors-format.js';

const MAXIMUM_CONFIG_BYTES = 4_000_000;
const MAXIMUM_INDEX_BYTES = 100_000_000;
/** Problems of each kind that an error lists; there can be as many as a hostile file likes. */
const LISTED = 1000;

export interface LoadPretrainedOptions {
  /** Told after each piece, over all files of weights. */
  onProgress?: (progress: ByteProgress) => void;
  /** Stops the loading; all that was allocated is freed. */
  signal?: AbortSignal;
}

/** One file of weights. */
interface Shard {
  file: string;
  header: Header;
  bytes: number;
  /** Open, and read up to the end of its header; absent if it must be opened again. */
  source?: ByteSource;
}

async function openWeights(folder: Folder, file: string): Promise<ByteSource> {
  const source = await folder.open(file);
  if (source === undefined) throw new FormatError(`${folder.name}: must hold ${file}, got no such file`);
  return source;
}

/** Reads a file's header. @param keepOpen leaves the file open, read so far */
async function readShard(file: string, source: ByteSource, keepOpen: boolean): Promise<Shard> {
  let header: Header | undefined;
  try {
    header = await readSafetensorsHeader(source);
  } finally {
    if (!keepOpen || header === undefined) await source.close();
  }
  return { file, header, bytes: source.size, source: keepOpen ? source : undefined };
}

/** The headers of all files of weights. Shards are closed again: a browser opens only a few connections at once. */
async function readHeaders(folder: Folder, signal?: AbortSignal): Promise<Shard[]> {
  const whole = await folder.open('model.safetensors');
  if (whole !== undefined) return [await readShard('model.safetensors', whole, true)];
  const name = 'model.safetensors.index.json';
  const index = await readJson(folder, name, MAXIMUM_INDEX_BYTES);
  if (index === undefined)
    throw new FormatError(`${folder.name}: must hold model.safetensors or ${name}, got neither`);
  const map = isObject(index) ? index.weight_map : undefined;
  if (!isObject(map)) throw new FormatError(`${name}: weight_map must be an object, got ${shown(map)}`);
  const promised = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(map)) {
    // A plain name: the index must not lead out of its folder.
    if (typeof file !== 'string' || !/^[\w-][\w.-]*\.safetensors$/.test(file))
      throw new FormatError(`${name}: ${shown(tensor)} must lie in a .safetensors file, got ${shown(file)}`);
    const tensors = promised.get(file);
    if (tensors === undefined) promised.set(file, [tensor]);
    else tensors.push(tensor);
  }
  const shards: Shard[] = [];
  for (const [file, tensors] of promised) {
    signal?.throwIfAborted();
    const shard = await readShard(file, await openWeights(folder, file), false);
    const absent = tensors.find((tensor) => !shard.header.entries.has(tensor));
    if (absent !== undefined)
      throw new FormatError(`${file}: must hold ${shown(absent)} as ${name} says, got no such tensor`);
    shards.push(shard);
  }
  return shards;
}

/** What becomes of the tensors of a checkpoint: by their names in the files, the parameter each goes to. */
interface Plan {
  targets: Map<string, string>;
  /** In the order of reading, a second copy of the tied embedding: must equal what was loaded. */
  copy?: string;
}

const shapeText = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

function list(title: string, items: readonly string[]): string {
  if (items.length === 0) return '';
  const more = items.length > LISTED ? [`and ${items.length - LISTED} more`] : [];
  return `\n  ${title}:\n    ${[...items.slice(0, LISTED), ...more].join('\n    ')}`;
}

/** Fits the tensors of the files to the parameters. @throws FormatError that lists all that does not fit */
function makePlan(
  config: ResolvedConfig,
  specs: readonly ParameterSpec[],
  entries: readonly Entry[],
  rename: (name: string) => string | undefined,
  where: string,
): Plan {
  const { embedding, head } = namesOf(config);
  const wanted = new Map(specs.map((spec) => [spec.name, spec]));
  const found = new Map<string, string>();
  const targets = new Map<string, string>();
  const unexpected: string[] = [];
  const wrong: string[] = [];
  let copy: string | undefined;
  for (const { name, shape, dtype } of entries) {
    const renamed = rename(name);
    if (renamed === undefined) continue;
    // Files of tied models hold the embedding, the head, or both.
    const parameter = config.tieEmbeddings && renamed === head ? embedding : renamed;
    const spec = wanted.get(parameter);
    if (spec === undefined) {
      unexpected.push(`${shown(name)} ${shapeText(shape)}`);
      continue;
    }
    const before = found.get(parameter);
    if (before === undefined) {
      found.set(parameter, name);
      targets.set(name, parameter);
    } else if (parameter === embedding && rename(before) !== renamed) copy = name;
    else wrong.push(`${parameter} must be there once, got ${shown(before)} and ${shown(name)}`);
    if (spec.shape.length !== shape.length || spec.shape.some((extent, i) => extent !== shape[i]))
      wrong.push(`${shown(name)} must be ${shapeText(spec.shape)}, got ${shapeText(shape)}`);
    if (!['F32', 'F16', 'BF16', 'F64'].includes(dtype))
      wrong.push(`${shown(name)} must be F32, F16, BF16 or F64, got ${dtype}`);
  }
  const missing = specs
    .filter(({ name }) => !found.has(name))
    .map(({ name, shape }) => `${name} ${shapeText(shape)}`);
  const problems = list('missing', missing) + list('unexpected', unexpected) + list('not fitting', wrong);
  if (problems !== '') throw new FormatError(`${where}: weights must fit config.json, got${problems}`);
  return { targets, copy };
}

/** Reads every tensor that the plan names, file by file, each from front to end. */
async function readWeights(
  folder: Folder,
  shards: readonly Shard[],
  { targets, copy }: Plan,
  parameters: ReadonlyMap<string, FloatTensor>,
  embedding: FloatTensor,
  { signal, onProgress }: LoadPretrainedOptions,
): Promise<void> {
  const totalBytes = shards.reduce((total, { bytes }) => total + bytes, 0);
  let before = 0;
  for (const { file, header, bytes, source } of shards) {
    const opened = source ?? (await openWeights(folder, file));
    try {
      if (opened.size !== bytes)
        throw new FormatError(
          `${opened.name}: file must stay as it is, got ${opened.size} bytes after ${bytes}`,
        );
      const options = {
        signal,
        onProgress: ({ doneBytes }: ByteProgress) =>
          onProgress?.({ doneBytes: before + doneBytes, totalBytes }),
      };
      for (const entry of header.entries.values()) {
        const parameter = targets.get(entry.name);
        if (parameter !== undefined) await readTensor(opened, entry, parameters.get(parameter)!, options);
        else if (entry.name === copy && !(await equalsTensor(opened, entry, embedding, options))) {
          throw new FormatError(
            `${opened.name}: head and embedding must be equal where config.json ties them, got others in ${shown(copy)}`,
          );
        }
      }
    } finally {
      await opened.close();
    }
    before += bytes;
  }
  onProgress?.({ doneBytes: totalBytes, totalBytes });
}

function checkLayers(nLayers: unknown, shards: readonly Shard[], where: string): void {
  const tensors = shards.reduce((total, { header }) => total + header.entries.size, 0);
  if (typeof nLayers === 'number' && nLayers > tensors)
    throw new FormatError(
      `${where}: weights must hold ${nLayers} layers as config.json says, got ${tensors} tensors`,
    );
}

function resolve(where: string, config: Parameters<typeof resolveConfig>[0]): ResolvedConfig {
  try {
    return resolveConfig(config);
  } catch (cause) {
    if (!(cause instanceof ArgumentError)) throw cause;
    throw new FormatError(`${where}: ${cause.message.replace('createModel: ', '')}`, { cause });
  }
}

/**
 * Loads a published checkpoint: Mamba, Mamba-2, GPT-2, Llama and Mistral in Hugging Face's form, Mamba and Mamba-2 as
 * state-spaces publishes them, and all that `savePretrained` writes. F16, BF16 and F64 become float32.
 *
 *   const model = await loadPretrained(k, './mamba-130m-hf');
 *   const model = await loadPretrained(k, 'https://huggingface.co/state-spaces/mamba-130m-hf/resolve/main');
 *   const model = await loadPretrained(k, input.files);
 *
 * @param source a directory (Node, Deno, Bun), a URL that the files are under, or the files
 * @throws FormatError if a file is not what it should be; where names or shapes do not fit, it lists all that do not
 * @throws UnsupportedError naming the field of config.json that asks for what models here do not have
 * @throws OutOfMemoryError before anything of the weights is read
 */
export async function loadPretrained(
  k: Kernels,
  source: FolderSource,
  options: LoadPretrainedOptions = {},
): Promise<LanguageModel> {
  const { signal } = options;
  signal?.throwIfAborted();
  const folder = openFolder('loadPretrained', source, signal);
  const json = await readJson(folder, 'config.json', MAXIMUM_CONFIG_BYTES);
  if (json === undefined) throw new FormatError(`${folder.name}: must hold config.json, got no such file`);
  const published = readConfig(json, 'config.json');
  const shards = await readHeaders(folder, signal);
  const parameters = new Map<string, FloatTensor>();
  try {
    checkLayers(published.config.nLayers, shards, folder.name);
    const config = resolve('config.json', published.config);
    const { specs } = describeModel(config);
    const entries = shards.flatMap(({ header }) => [...header.entries.values()]);
    const plan = makePlan(config, specs, entries, published.rename, folder.name);
    for (const { name, shape } of specs) parameters.set(name, k.empty(shape));
    const embedding = parameters.get(namesOf(config).embedding)!;
    await readWeights(folder, shards, plan, parameters, embedding, options);
    return new LanguageModel(k, config, parameters);
  } catch (error) {
    for (const tensor of parameters.values()) tensor.dispose();
    throw error;
  } finally {
    for (const shard of shards) await shard.source?.close();
  }
}

export interface SavePretrainedOptions extends Pick<SaveOptions, 'dtype'> {
  /** Splits the weights into files of at most so many bytes, but for a tensor that alone is larger. One file if absent. */
  maxShardBytes?: number;
}

/** The text of a model's config.json: in Hugging Face's form where it says all of the model, else in our own. */
export const configJson = (config: ResolvedConfig): string => formatJson(writeConfig(config));

const fiveDigits = (n: number): string => String(n).padStart(5, '0');

/** Parameters in groups of at most `most` bytes each, as many as one makes if it alone is larger. */
function groupsOf(
  parameters: ReadonlyMap<string, FloatTensor>,
  elementBytes: number,
  most: number,
): Map<string, FloatTensor>[] {
  const groups = [new Map<string, FloatTensor>()];
  let bytes = 0;
  for (const [name, tensor] of parameters) {
    const added = tensor.size * elementBytes;
    if (bytes > 0 && bytes + added > most) {
      groups.push(new Map());
      bytes = 0;
    }
    groups.at(-1)!.set(name, tensor);
    bytes += added;
  }
  return groups;
}

/**
 * Writes a model into a directory (Node, Deno, Bun) as `loadPretrained` reads it, and as Hugging Face's Transformers
 * does where they have the architecture. F32 loads back bit for bit. Each file is written whole or not at all.
 *
 * @param directory made if it is not there; other files in it stay
 * @throws ArgumentError for bad options; what the file system throws
 */
export async function savePretrained(
  directory: string,
  model: LanguageModel,
  options: SavePretrainedOptions = {},
): Promise<void> {
  const { dtype = 'F32', maxShardBytes = Infinity } = options;
  if (!['F32', 'F16', 'BF16'].includes(dtype))
    throw new ArgumentError(`savePretrained: dtype must be 'F32', 'F16' or 'BF16', got '${String(dtype)}'`);
  if (!(maxShardBytes >= 1))
    throw new ArgumentError(`savePretrained: maxShardBytes must be a number from 1 up, got ${maxShardBytes}`);
  const { mkdir, readdir, rm } = (await import(
    /* @vite-ignore */ nodeModule('fs/promises')
  )) as typeof import('node:fs/promises');
  const { join } = (await import(/* @vite-ignore */ nodeModule('path'))) as typeof import('node:path');
  await mkdir(directory, { recursive: true });
  const before = await readdir(directory);

  const groups = groupsOf(model.parameters(), dtypeBytes[dtype], maxShardBytes);
  const files =
    groups.length === 1
      ? ['model.safetensors']
      : groups.map((_, i) => `model-${fiveDigits(i + 1)}-of-${fiveDigits(groups.length)}.safetensors`);
  for (const [i, group] of groups.entries())
    await saveSafetensors(join(directory, files[i]), group, { dtype, metadata: { format: 'pt' } });
  const index = 'model.safetensors.index.json';
  if (groups.length > 1) {
    const weights = groups.flatMap((group, i) => [...group.keys()].map((name) => [name, files[i]]));
    const size = model.parameterCount * dtypeBytes[dtype];
    const content = { metadata: { total_size: size }, weight_map: Object.fromEntries(weights) };
    await writeWhole(join(directory, index), [formatJson(content)]);
  }
  await writeWhole(join(directory, 'config.json'), [configJson(model.config)]);
  // Weights of what was saved here before: a reader would take them for this model's.
  const stale = (file: string) =>
    !files.includes(file) &&
    (/^model(-\d{5}-of-\d{5})?\.safetensors$/.test(file) || (file === index && groups.length === 1));
  for (const file of before.filter(stale)) await rm(join(directory, file));
}
