/**
 * Checkpoints as Hugging Face has them: a folder with config.json and model.safetensors, or shards of it with
 * model.safetensors.index.json. Weights go from the file into WASM memory piece by piece and are never held twice.
 */
import {
  checkComputable,
  isObject,
  readConfig,
  type ResolvedConfig,
  type StoredBlocks,
} from '@freelunch/config';
import { checkOptions, FormatError, show } from '@freelunch/errors';
import type { Kernels, WeightDType } from '@freelunch/kernels';
import { layouts } from './architectures/index.js';
import type { ByteSource } from './byte-source.js';
import { type Folder, readJson } from './folder.js';
import { loadGguf } from './gguf/load.js';
import { resolveFile } from './resolve.js';
import { architectureOf } from '../architecture.js';
import { checkFunction, checkKernels } from '../check.js';
import { LanguageModel } from '../language-model.js';
import { type FileTensor, fileTensors, isWhole, type Layout, nameOf } from './layout.js';
import { Missing } from './placeholder.js';
import type { ParameterSpec } from '../mixers/parameters.js';
import { checkDTypeOptions, type DTypeOptions, dtypeToLoad } from './dtype-options.js';
import { LoadedWeight, misfitOf, readPacked } from './weights.js';
import { type ByteProgress, checkEnd, readSafetensorsHeader } from './safetensors.js';
import { type Entry, type Header } from './safetensors-format.js';
import { type ModelSource, openSource } from './source.js';
import { sourceOptionNames, type SourceOptions } from './source-options.js';

export const MAXIMUM_CONFIG_BYTES = 4_000_000;
const MAXIMUM_INDEX_BYTES = 100_000_000;
/** Problems of each kind that an error lists; there can be as many as a hostile file likes. */
const LISTED = 1000;

export interface LoadPretrainedOptions extends SourceOptions, DTypeOptions {
  /** Told after each piece, over all files of weights. */
  onProgress?: (progress: ByteProgress) => void;
}

/** One file of weights. */
export interface Shard {
  file: string;
  header: Header;
  /** Open, and read up to the end of its header; absent if it must be opened again. */
  source?: ByteSource;
}

async function openWeights(folder: Folder, file: string): Promise<ByteSource> {
  const source = await folder.open(file);
  if (source instanceof Missing)
    throw new FormatError(`${folder.name}: must hold ${file}, got ${source.reason}`);
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
  return { file, header, source: keepOpen ? source : undefined };
}

/** The headers of all files of weights. Shards are closed again: a browser opens only a few connections at once. */
export async function readHeaders(folder: Folder, signal?: AbortSignal): Promise<Shard[] | Missing> {
  const whole = await folder.open('model.safetensors');
  if (!(whole instanceof Missing)) return [await readShard('model.safetensors', whole, true)];
  const name = 'model.safetensors.index.json';
  const index = await readJson(folder, name, MAXIMUM_INDEX_BYTES);
  if (index instanceof Missing) {
    const reasons = [...new Set([whole.reason, index.reason])].join(', ');
    return new Missing(`${folder.name}: must hold model.safetensors or ${name}, got neither (${reasons})`);
  }
  const map = isObject(index) ? index.weight_map : undefined;
  if (!isObject(map)) throw new FormatError(`${name}: weight_map must be an object, got ${show(map)}`);
  const promised = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(map)) {
    // A plain name: the index must not lead out of its folder.
    if (typeof file !== 'string' || !/^[\w-][\w.-]*\.safetensors$/.test(file))
      throw new FormatError(`${name}: ${show(tensor)} must lie in a .safetensors file, got ${show(file)}`);
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
      throw new FormatError(`${file}: must hold ${show(absent)} as ${name} says, got no such tensor`);
    shards.push(shard);
  }
  return shards;
}

/** What becomes of the tensors of a checkpoint. */
interface Plan {
  /** By their names in the files. */
  targets: Map<string, FileTensor>;
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
  wanted: readonly FileTensor[],
  entries: readonly Entry[],
  quantized: StoredBlocks | undefined,
  where: string,
): Plan {
  const layout = layouts[config.naming];
  const embedding = nameOf(layout, 'embedding.weight');
  const head = nameOf(layout, 'head.weight');
  const byName = new Map(wanted.map((tensor) => [tensor.name, tensor]));
  const found = new Map<string, { name: string; renamed: string }>();
  const targets = new Map<string, FileTensor>();
  const unexpected: string[] = [];
  const wrong: string[] = [];
  let copy: string | undefined;
  for (const entry of entries) {
    const { name, shape } = entry;
    const renamed = layout.read === undefined ? name : layout.read(name);
    if (renamed === undefined) continue;
    // Files of tied models hold the embedding, the head, or both.
    const target = config.tieEmbeddings && renamed === head ? embedding : renamed;
    const tensor = byName.get(target);
    if (tensor === undefined) {
      unexpected.push(`${show(name)} ${shapeText(shape)}`);
      continue;
    }
    const before = found.get(target);
    if (before === undefined) {
      found.set(target, { name, renamed });
      targets.set(name, tensor);
    } else if (target === embedding && before.renamed !== renamed) copy = name;
    else wrong.push(`${target} must be there once, got ${show(before.name)} and ${show(name)}`);
    const misfit = misfitOf(tensor, entry, quantized);
    if (misfit !== undefined) wrong.push(misfit);
  }
  const missing = wanted
    .filter(({ name }) => !found.has(name))
    .map(({ name, shape }) => `${name} ${shapeText(shape)}`);
  const problems = list('missing', missing) + list('unexpected', unexpected) + list('not fitting', wrong);
  if (problems !== '') throw new FormatError(`${where}: weights must fit config.json, got${problems}`);
  return { targets, copy };
}

/** Room for the parameters of the tensors, in the dtypes that options and files say. */
function makeRoom(
  k: Kernels,
  { targets }: Plan,
  entries: readonly Entry[],
  options: DTypeOptions,
  specs: readonly ParameterSpec[],
  weights: Map<string, LoadedWeight>,
): void {
  const dtypes = new Map<ParameterSpec, WeightDType | undefined>();
  for (const entry of entries)
    for (const { spec } of targets.get(entry.name)?.pieces ?? []) {
      const { shape } = isWhole(targets.get(entry.name)!) ? entry : spec;
      dtypes.set(spec, dtypeToLoad(spec, { ...entry, shape: [...shape] }, options));
    }
  for (const spec of specs) weights.set(spec.name, new LoadedWeight(k, spec, dtypes.get(spec)));
}

/** Reads every tensor that the plan names, file by file, each from front to end. */
async function readWeights(
  folder: Folder,
  shards: readonly Shard[],
  { targets, copy }: Plan,
  weights: ReadonlyMap<string, LoadedWeight>,
  embedding: LoadedWeight,
  { signal, onProgress }: LoadPretrainedOptions,
): Promise<void> {
  const totalBytes = shards.reduce((total, { header }) => total + header.fileBytes, 0);
  let before = 0;
  for (const { file, header, source } of shards) {
    const { fileBytes } = header;
    const opened = source ?? (await openWeights(folder, file));
    try {
      if (opened.size !== undefined && opened.size !== fileBytes)
        throw new FormatError(
          `${opened.name}: file must stay as it is, got ${opened.size} bytes after ${fileBytes}`,
        );
      const options = {
        signal,
        onProgress: ({ doneBytes }: ByteProgress) =>
          onProgress?.({ doneBytes: before + doneBytes, totalBytes }),
      };
      for (const entry of header.entries.values()) {
        const tensor = targets.get(entry.name);
        if (tensor !== undefined && isWhole(tensor))
          await weights.get(tensor.pieces[0].spec.name)!.read(opened, entry, options);
        else if (tensor !== undefined) await readPacked(tensor, weights, opened, entry, options);
        else if (entry.name === copy && !(await embedding.equals(opened, entry, options))) {
          throw new FormatError(
            `${opened.name}: head and embedding must be equal where config.json ties them, got others in ${show(copy)}`,
          );
        }
      }
      await checkEnd(opened, header);
    } finally {
      await opened.close();
    }
    before += fileBytes;
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

/**
 * How a checkpoint loads: nothing is allocated yet.
 *
 * @param published  of its config.json
 * @throws FormatError if weights and config do not fit, UnsupportedError for what models cannot compute
 */
export function planLoading(
  published: ReturnType<typeof readConfig>,
  shards: readonly Shard[],
  where: string,
): {
  config: ResolvedConfig;
  specs: readonly ParameterSpec[];
  layout: Layout;
  entries: readonly Entry[];
  plan: Plan;
} {
  checkLayers(published.config.nLayers, shards, where);
  const config = resolveFile('config.json', published.config);
  checkComputable(config, 'config.json');
  const { specs } = architectureOf(config);
  const entries = shards.flatMap(({ header }) => [...header.entries.values()]);
  const { quantized, architecture } = published;
  const layout = layouts[config.naming];
  const packs = architecture !== 'freelunch' && quantized === undefined;
  const tensors = fileTensors(layout, config, specs, packs);
  const plan = makePlan(config, tensors, entries, quantized, where);
  return { config, specs, layout, entries, plan };
}

/**
 * Loads a published checkpoint: Mamba, Mamba-2, GPT-2, Llama and Mistral in Hugging Face's form, Mamba and Mamba-2 as
 * state-spaces publishes them, and all that `savePretrained` writes; or a GGUF file of these architectures. Weights become
 * float32, unless `dtype` says otherwise; those that were saved quantised stay so.
 *
 *   const model = await loadPretrained(k, './mamba-130m-hf');
 *   const model = await loadPretrained(k, 'hf:state-spaces/mamba-130m-hf');
 *   const model = await loadPretrained(k, 'https://example.org/models/mamba-130m-hf');
 *   const model = await loadPretrained(k, input.files);
 *   const model = await loadPretrained(k, './mamba-130m-q8_0.gguf');
 *
 * @param source a directory (Node, Deno, Bun), a URL that the files are under, `hf:owner/name`, `hf:owner/name@revision`,
 *   or the files; or a GGUF file: a path, URL or name in a repository that ends in .gguf, a Blob, or a source of bytes
 * @throws FormatError if a file is not what it should be; where names or shapes do not fit, it lists all that do not
 * @throws UnsupportedError naming the field of config.json, or of the GGUF file, that asks for what models here do not have
 * @throws FileError if a server refuses, falls silent, changes a file while it is read, or breaks off too often
 * @throws OutOfMemoryError before anything of the weights is read
 */
export async function loadPretrained(
  k: Kernels,
  source: ModelSource,
  options: LoadPretrainedOptions = {},
): Promise<LanguageModel> {
  checkOptions('loadPretrained', options, ['onProgress', 'dtype', 'except', ...sourceOptionNames]);
  checkKernels('loadPretrained', k);
  checkDTypeOptions('loadPretrained', options);
  const { signal, onProgress } = options;
  checkFunction('loadPretrained', 'onProgress', onProgress);
  const opened = await openSource('loadPretrained', source, options);
  if (opened.file !== undefined) {
    try {
      return await loadGguf(k, opened.file, options);
    } finally {
      await opened.close();
    }
  }
  const { folder } = opened;
  const json = await readJson(folder, 'config.json', MAXIMUM_CONFIG_BYTES);
  if (json instanceof Missing)
    throw new FormatError(`${folder.name}: must hold config.json, got ${json.reason}`);
  const published = readConfig(json, 'config.json');
  const shards = await readHeaders(folder, signal);
  if (shards instanceof Missing) throw new FormatError(shards.reason);
  const weights = new Map<string, LoadedWeight>();
  try {
    const { config, specs, layout, entries, plan } = planLoading(published, shards, folder.name);
    makeRoom(k, plan, entries, options, specs, weights);
    const embedding = weights.get(nameOf(layout, 'embedding.weight'))!;
    await readWeights(folder, shards, plan, weights, embedding, options);
    return new LanguageModel(k, config, new Map([...weights].map(([name, { weight }]) => [name, weight])));
  } catch (error) {
    for (const { weight } of weights.values()) weight.dispose();
    throw error;
  } finally {
    for (const shard of shards) await shard.source?.close();
  }
}
