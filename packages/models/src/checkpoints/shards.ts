/** The files of weights in a folder: model.safetensors, or shards of it with model.safetensors.index.json. */
import { isObject } from '@freelunch/config';
import { FormatError, show } from '@freelunch/errors';
import type { ByteSource } from './byte-source.js';
import { type Folder, readJson } from './folder.js';
import { Missing } from './placeholder.js';
import { readSafetensorsHeader } from './safetensors.js';
import type { Header } from './safetensors-format.js';

const MAXIMUM_INDEX_BYTES = 100_000_000;

/** One file of weights. */
export interface Shard {
  file: string;
  header: Header;
  /** Open, and read up to the end of its header; absent if it must be opened again. */
  source?: ByteSource;
}

export async function openWeights(folder: Folder, file: string): Promise<ByteSource> {
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

/** What files of PyTorch become safetensors by, in one line: they hold programs, which are not run here. */
const conversions: Readonly<Record<string, string>> = {
  'pytorch_model.bin':
    'python -c "import torch, safetensors.torch as s; s.save_file({n: t.clone().contiguous() for n, t in ' +
    "torch.load('pytorch_model.bin', 'cpu', weights_only=True).items()}, 'model.safetensors')\"",
  'pytorch_model.bin.index.json':
    "python -c \"import transformers as t; t.AutoModelForCausalLM.from_pretrained('.').save_pretrained('.')\"",
};

/** Weights that PyTorch has pickled, and how to convert them; undefined if there are none. */
async function pickledWeights(folder: Folder): Promise<string | undefined> {
  for (const [file, conversion] of Object.entries(conversions)) {
    const source = await folder.open(file);
    if (source instanceof Missing) continue;
    await source.close();
    return `${file}; convert it there: ${conversion}`;
  }
  return undefined;
}

/** The headers of all files of weights. Shards are closed again: a browser opens only a few connections at once. */
export async function readHeaders(folder: Folder, signal?: AbortSignal): Promise<Shard[] | Missing> {
  const whole = await folder.open('model.safetensors');
  if (!(whole instanceof Missing)) return [await readShard('model.safetensors', whole, true)];
  const name = 'model.safetensors.index.json';
  const index = await readJson(folder, name, MAXIMUM_INDEX_BYTES);
  if (index instanceof Missing) {
    const pickled = await pickledWeights(folder);
    const reasons = [...new Set([whole.reason, index.reason])].join(', ');
    return new Missing(
      `${folder.name}: must hold model.safetensors or ${name}, got ${pickled ?? `neither (${reasons})`}`,
    );
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
