/**
 * All that a training run needs to go on to the same bits, in one safetensors file: the weights under their names,
 * the optimiser's tensors as `optimizer.m.<name>`, and as metadata the model's config, the step and where the
 * batches stand. One file is written whole or not at all, so a run that is killed leaves no half of a checkpoint.
 */
import type { Optimizer } from '@freelunch/autograd';
import { ArgumentError, FormatError, type Tensor } from '@freelunch/kernels';
import { bytesSource, type ByteSource, fileSource } from './byte-source.js';
import type { LanguageModel } from '../language-model.js';
import { encodeSafetensors, loadSafetensors, saveSafetensors } from './safetensors.js';

const FORMAT = 'freelunch-training';
const OPTIMIZER = 'optimizer.';

/** Where a run stands, beside its tensors. */
export interface Progress {
  /** Steps done. */
  step: number;
  /** Batches read. */
  batches: number;
  /** Where the stream of batches stands, if it says so. */
  stream: unknown;
  optimizer: 'adamw' | 'sgd';
}

/** The config as it is compared and stored; the seed of the first weights does not matter any more. */
function configText(model: LanguageModel): string {
  const { seed: _seed, ...config } = model.config;
  return JSON.stringify(config);
}

function contents(model: LanguageModel, optimizer: Optimizer, progress: Progress) {
  const tensors = new Map<string, Tensor>(model.parameters());
  for (const [name, tensor] of optimizer.state.tensors) tensors.set(OPTIMIZER + name, tensor);
  const metadata = {
    format: FORMAT,
    config: JSON.stringify(model.config),
    training: JSON.stringify(progress),
  };
  return { tensors, metadata };
}

/** The bytes of a checkpoint. */
export function encodeCheckpoint(model: LanguageModel, optimizer: Optimizer, progress: Progress): Uint8Array {
  const { tensors, metadata } = contents(model, optimizer, progress);
  return encodeSafetensors(tensors, { metadata });
}

function parse(text: string | undefined, name: string, where: string): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    throw new FormatError(`${where}: metadata.${name} must be JSON, got '${text}'`);
  }
}

/**
 * Puts a model and its optimiser where a checkpoint stands: both, or neither if it does not fit.
 *
 * @throws FormatError if the file is none of a training run, ArgumentError if it is one of another model or optimiser
 */
async function restore(
  source: ByteSource,
  model: LanguageModel,
  optimizer: Optimizer,
  kind: Progress['optimizer'],
): Promise<Progress> {
  const where = source.name;
  const { tensors, metadata } = await loadSafetensors(model.k, source);
  try {
    if (metadata.format !== FORMAT)
      throw new FormatError(`${where}: metadata.format must be '${FORMAT}', got '${metadata.format}'`);
    const { seed: _seed, ...config } = parse(metadata.config, 'config', where) as Record<string, unknown>;
    if (JSON.stringify(config) !== configText(model)) {
      throw new ArgumentError(
        `train: resume must be a checkpoint of a model with config ${configText(model)}, got ${JSON.stringify(config)}`,
      );
    }
    const progress = parse(metadata.training, 'training', where) as Progress;
    if (progress.optimizer !== kind)
      throw new ArgumentError(
        `train: optimizer must be '${progress.optimizer}' as in ${where}, got '${kind}'`,
      );
    const weights = model.parameters();
    for (const [name, { size }] of weights) {
      const got = tensors.get(name)?.size;
      if (got !== size)
        throw new FormatError(`${where}: ${name} must have ${size} elements, got ${got ?? 'none'}`);
    }
    const state = new Map<string, Tensor>();
    for (const [name, tensor] of tensors)
      if (name.startsWith(OPTIMIZER)) state.set(name.slice(OPTIMIZER.length), tensor);
    optimizer.load({ step: progress.step, tensors: state });
    for (const [name, tensor] of weights) tensor.set(tensors.get(name)!.data);
    return progress;
  } finally {
    for (const tensor of tensors.values()) tensor.dispose();
  }
}

export async function restoreCheckpoint(
  from: string | Uint8Array,
  model: LanguageModel,
  optimizer: Optimizer,
  kind: Progress['optimizer'],
): Promise<Progress> {
  const source = typeof from === 'string' ? await fileSource(from) : bytesSource(from, 'resume');
  try {
    return await restore(source, model, optimizer, kind);
  } finally {
    await source.close();
  }
}

const NAME = /^step-(\d+)\.safetensors$/;
const PARTIAL = /^step-\d+\.safetensors\..*partial$/;

/** The checkpoints of one run: a folder with a file a checkpoint, the newest `keep` of them. */
export class CheckpointFolder {
  readonly #folder: string;
  readonly #keep: number;

  constructor(folder: string, keep: number) {
    this.#folder = folder;
    this.#keep = keep;
  }

  /** Steps that have a file, in order; none if there is no folder. */
  async steps(): Promise<number[]> {
    const names = await this.#names();
    const steps = names.map((name) => Number(NAME.exec(name)?.[1] ?? NaN)).filter(Number.isSafeInteger);
    return steps.sort((a, b) => a - b);
  }

  path(step: number): string {
    return `${this.#folder}/step-${String(step).padStart(8, '0')}.safetensors`;
  }

  /** Writes one, then removes what is older than the newest `keep`, and what a killed run left unfinished. */
  async save(model: LanguageModel, optimizer: Optimizer, progress: Progress): Promise<void> {
    const { mkdir, rm } = await files();
    await mkdir(this.#folder, { recursive: true });
    const { tensors, metadata } = contents(model, optimizer, progress);
    await saveSafetensors(this.path(progress.step), tensors, { metadata });
    for (const step of (await this.steps()).slice(0, -this.#keep)) await rm(this.path(step), { force: true });
    for (const name of await this.#names())
      if (PARTIAL.test(name)) await rm(`${this.#folder}/${name}`, { force: true });
  }

  async #names(): Promise<string[]> {
    const { readdir } = await files();
    try {
      return await readdir(this.#folder);
    } catch (error) {
      if ((error as { code?: string }).code === 'ENOENT') return [];
      throw error;
    }
  }
}

/** The file system, named at run time: bundlers for browsers must not follow it. */
async function files(): Promise<typeof import('node:fs/promises')> {
  const module = 'node:fs/promises';
  return (await import(
    /* @vite-ignore */ /* webpackIgnore: true */ module
  )) as typeof import('node:fs/promises');
}
