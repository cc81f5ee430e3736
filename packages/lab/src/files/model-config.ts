/** Configs of models: built in, or from JSON files. */
import { basename } from 'node:path';
import {
  fromHuggingFace,
  type ModelConfig,
  parseJson,
  publishedModels,
  readConfig as readConfigJson,
} from '@freelunch/config';
import { FileError, FreelunchError } from '@freelunch/errors';
import { InputError, unknownName } from '../errors.js';
import { readBytes } from './read.js';

const small = { vocabSize: 256, dModel: 128, nLayers: 2 } as const;
/** Makes layers of attention have about as many parameters as those of Mamba. */
const mlp = { type: 'gelu', dHidden: 192 } as const;
const heads = { type: 'softmax-attention', nHeads: 4 } as const;

/** Made up, so small that they run in a moment. */
export const smallModels: Readonly<Record<string, ModelConfig>> = {
  'mamba-small': { ...small, mixer: { type: 'mamba' } },
  'mamba2-small': { ...small, mixer: { type: 'mamba2', dState: 32, headDim: 32 } },
  'linear-small': { ...small, mixer: { type: 'linear-attention', nHeads: 4 }, mlp },
  'softmax-small': { ...small, mixer: heads, mlp },
  'softmax-bare': { ...small, mixer: heads },
  'window-small': { ...small, mixer: { ...heads, window: 128 }, mlp },
  'delta-small': { ...small, mixer: { type: 'delta-rule', nHeads: 4 }, mlp },
  'hybrid-small': { ...small, mixer: [{ type: 'mamba' }, heads] },
  'llama-small': {
    vocabSize: 32000,
    dModel: 768,
    nLayers: 12,
    mixer: { type: 'softmax-attention', nHeads: 12, nKvHeads: 4 },
    mlp: { type: 'swiglu', dHidden: 2048 },
    position: 'rope',
    tieEmbeddings: false,
  },
};

/** Of all built-in configs. */
export const builtInNames: readonly string[] = [...Object.keys(publishedModels), ...Object.keys(smallModels)];

/** The built-in config of a name, undefined if there is none. */
export function builtIn(name: string): ModelConfig | undefined {
  if (Object.hasOwn(smallModels, name)) return smallModels[name];
  return Object.hasOwn(publishedModels, name) ? fromHuggingFace(publishedModels[name].config) : undefined;
}

const LARGEST_BYTES = 2 ** 20;

export interface NamedConfig {
  name: string;
  config: ModelConfig;
}

/** How repositories of Hugging Face are asked for: HF_ENDPOINT and HF_TOKEN mean what they do elsewhere. */
export const hubOptions = (): { endpoint?: string; token?: string } => ({
  endpoint: process.env.HF_ENDPOINT || undefined,
  token: process.env.HF_TOKEN || undefined,
});

/** The config.json of `hf:owner/name` or `hf:owner/name@revision`. */
async function download(source: string, signal: AbortSignal): Promise<Uint8Array> {
  if (!/^hf:[^/@]+\/[^/@]+/.test(source))
    throw new InputError(
      `a repository is named as in hf:OWNER/NAME or hf:OWNER/NAME@REVISION, got ${source}`,
    );
  const { urlSource } = await import('@freelunch/models');
  const file = await urlSource(`${source}/config.json`, { signal, ...hubOptions() });
  if (file === undefined)
    throw new InputError(
      `${source} has no config.json that may be read; for a gated or private repository, set HF_TOKEN`,
    );
  try {
    const { size } = file;
    if (size !== undefined && size <= LARGEST_BYTES) return (await file.read(0, size)).slice();
    const bytes = size === undefined ? await file.read(0, LARGEST_BYTES + 1) : undefined;
    if (bytes !== undefined && bytes.length <= LARGEST_BYTES) return bytes.slice();
    throw new InputError(`${file.name} has more than ${LARGEST_BYTES} bytes`);
  } finally {
    await file.close();
  }
}

/**
 * A built-in config by its name, one from a file, of @freelunch/models or a config.json of the Hugging Face hub, or that of
 * `hf:owner/name`.
 *
 * @throws InputError if it is none of these; FileError if a server cannot be read; the signal's reason
 */
export async function readConfig(source: string, signal: AbortSignal): Promise<NamedConfig> {
  const known = builtIn(source);
  if (known !== undefined) return { name: source, config: known };
  if (source === '') throw new InputError('the name of a config is empty');
  const isRemote = source.startsWith('hf:');
  if (!isRemote && !/[./\\]/.test(source))
    throw new InputError(
      `${unknownName('model', source, builtInNames).message}; a file is named with its ending or its folder, as in ./config.json`,
    );
  try {
    const bytes = await (isRemote ? download(source, signal) : readBytes(source, LARGEST_BYTES));
    const text = new TextDecoder().decode(bytes);
    return { name: basename(source), config: readConfigJson(parseJson(text, source), source).config };
  } catch (cause) {
    if (!(cause instanceof FreelunchError) || cause instanceof InputError || cause instanceof FileError)
      throw cause;
    throw new InputError(cause.message.split('\n')[0], { cause });
  }
}
