/**
 * Checkpoints as Hugging Face has them: a folder with config.json and model.safetensors, or shards of it with
 * model.safetensors.index.json. Weights go from the file into WASM memory piece by piece and are never held twice.
 */
import {
  checkComputable,
  type MixerConfig,
  type ModelConfig,
  readConfig,
  resolveConfig,
  type ResolvedConfig,
  type StoredBlocks,
} from '@freelunch/config';
import { ArgumentError, checkOptions, FormatError, show } from '@freelunch/errors';
import type { Kernels, WeightDType } from '@freelunch/kernels';
import { layouts } from './architectures/index.js';
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
import { type ByteProgress, checkEnd } from './safetensors.js';
import { type Entry } from './safetensors-format.js';
import { type ModelSource, openSource } from './source.js';
import { sourceOptionNames, type SourceOptions } from './source-options.js';
import { openWeights, readHeaders, type Shard } from './shards.js';

export const MAXIMUM_CONFIG_BYTES = 4_000_000;
/** Problems of each kind that an error lists; there can be as many as a hostile file likes. */
const LISTED = 1000;

export interface LoadPretrainedOptions extends SourceOptions, DTypeOptions {
  /**
   * Of Mamba-2 in a folder: the equal parts of its channels over each of which gated norms take a mean, if config.json implies
   * another number than the model was trained with; see `normGroups` of the mixer.
   */
  normGroups?: number;
  /** Told after each piece, over all files of weights. */
  onProgress?: (progress: ByteProgress) => void;
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

function checkNormGroups(normGroups: number | undefined): void {
  if (normGroups !== undefined && !(Number.isSafeInteger(normGroups) && normGroups >= 1))
    throw new ArgumentError(
      `loadPretrained: normGroups must be a whole number from 1 up, got ${show(normGroups)}`,
    );
}

/** The config with other groups in its gated norms. @throws ArgumentError if it has none, or they do not fit */
function regrouped(config: ModelConfig, normGroups: number | undefined): ModelConfig {
  if (normGroups === undefined) return config;
  let found = 0;
  const of = (mixer: MixerConfig): MixerConfig => {
    if (mixer.type !== 'mamba2') return mixer;
    found++;
    return { ...mixer, normGroups };
  };
  const { mixer } = config;
  const changed = { ...config, mixer: Array.isArray(mixer) ? mixer.map(of) : of(mixer as MixerConfig) };
  if (found === 0)
    throw new ArgumentError(
      `loadPretrained: normGroups must be absent where no layer is Mamba-2, got ${show(normGroups)}`,
    );
  resolveConfig(changed, 'loadPretrained');
  return changed;
}

/**
 * Loads a published checkpoint: an architecture of @freelunch/config in Hugging Face's form or as state-spaces publishes
 * it, and all that `savePretrained` writes; or a GGUF file. Weights become float32, unless `dtype` says otherwise; those that
 * were saved quantised stay so.
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
  checkOptions('loadPretrained', options, [
    'onProgress',
    'dtype',
    'except',
    'normGroups',
    ...sourceOptionNames,
  ]);
  checkKernels('loadPretrained', k);
  checkDTypeOptions('loadPretrained', options);
  const { signal, onProgress } = options;
  checkFunction('loadPretrained', 'onProgress', onProgress);
  checkNormGroups(options.normGroups);
  const opened = await openSource('loadPretrained', source, options);
  if (opened.file !== undefined) {
    try {
      if (options.normGroups !== undefined)
        throw new ArgumentError(
          'loadPretrained: normGroups must be absent for a GGUF file, whose norms are by group',
        );
      return await loadGguf(k, opened.file, options);
    } finally {
      await opened.close();
    }
  }
  const { folder } = opened;
  const json = await readJson(folder, 'config.json', MAXIMUM_CONFIG_BYTES);
  if (json instanceof Missing)
    throw new FormatError(`${folder.name}: must hold config.json, got ${json.reason}`);
  const { config: said, ...others } = readConfig(json, 'config.json');
  const published = { ...others, config: regrouped(said, options.normGroups) };
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
