/**
 * All that a training run needs to go on to the same bits, in one safetensors file: the weights under their names,
 * the optimiser's tensors as `optimizer.m.<name>`, and as metadata the model's config, the step and where the
 * batches stand, with a digest of all of it. One file is written whole or not at all, so a run that is killed leaves no
 * half of a checkpoint; a disk that gives back other bits than it took is noticed.
 */
import type { Optimizer } from '@freelunch/autograd';
import { ArgumentError, FormatError, FreelunchError, show } from '@freelunch/errors';
import type { Tensor } from '@freelunch/kernels';
import type { LanguageModel } from '../language-model.js';
import { createPacer } from '../pacer.js';
import { bytesSource, type ByteSource, fileSource } from './byte-source.js';
import { endOfString, isObject } from '@freelunch/config';
import {
  encodeSafetensors,
  loadSafetensors,
  readSafetensorsHeader,
  safetensorsChunks,
} from './safetensors.js';
import type { Header } from './safetensors-format.js';
import { type Hash, sha256 } from './sha256.js';

const FORMAT = 'freelunch-training-2';
const OPTIMIZER = 'optimizer.';
const PIECE_BYTES = 2 ** 22;
/** Levels of lists and objects in metadata: more than any config or stream has, less than would exhaust the stack. */
const DEEPEST = 200;

/** Where a run stands, beside its tensors. */
export interface Progress {
  /** Steps done. */
  step: number;
  /** Batches read. */
  batches: number;
  /** Most batches that a step has had. */
  accumulate: number;
  /** Where the stream of batches stands, if it says so. */
  stream: unknown;
  optimizer: 'adamw' | 'sgd';
}

/** The config as it is compared and stored; the seed of the first weights does not matter any more. */
function configText(model: LanguageModel): string {
  const { seed: _seed, ...config } = model.config;
  return JSON.stringify(config);
}

/** Whether JSON is nested no deeper than what reads it can follow. */
function isShallow(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '"') i = endOfString(text, i) - 1;
    else if ((character === '[' || character === '{') && ++depth > DEEPEST) return false;
    else if (character === ']' || character === '}') depth--;
  }
  return true;
}

function progressText(progress: Progress): string {
  try {
    const text = JSON.stringify(progress);
    if (isShallow(text)) return text;
  } catch {
    // A number without end of digits, a circle: told below.
  }
  throw new ArgumentError(
    `train: the state of batches must be plain data for JSON, at most ${DEEPEST - 1} levels deep, got ${show(progress.stream)}`,
  );
}

type Metadata = Readonly<Record<string, string>>;

/** Begins a digest with all that a header says, except the digest. */
function hashHeader(
  { config, training }: Metadata,
  tensors: Iterable<{ name: string; dtype: string; shape: readonly number[] }>,
): Hash {
  const listed = Array.from(tensors, ({ name, dtype, shape }) => [name, dtype, shape]);
  const hash = sha256();
  hash.update(new TextEncoder().encode(JSON.stringify([FORMAT, config, training, listed])));
  return hash;
}

function contents(model: LanguageModel, optimizer: Optimizer, progress: Progress) {
  const tensors = new Map<string, Tensor>(model.parameters());
  for (const [name, tensor] of optimizer.state.tensors) tensors.set(OPTIMIZER + name, tensor);
  const metadata = { format: FORMAT, config: JSON.stringify(model.config), training: progressText(progress) };
  const listed = Array.from(tensors, ([name, { shape }]) => ({ name, dtype: 'F32', shape }));
  const hash = hashHeader(metadata, listed);
  const chunks = safetensorsChunks(tensors);
  chunks.next(); // the header
  for (const piece of chunks) hash.update(piece);
  return { tensors, metadata: { ...metadata, digest: hash.hex() } };
}

/** The bytes of a checkpoint. @throws ArgumentError if the state of the batches cannot be written */
export function encodeCheckpoint(model: LanguageModel, optimizer: Optimizer, progress: Progress): Uint8Array {
  const { tensors, metadata } = contents(model, optimizer, progress);
  return encodeSafetensors(tensors, { metadata });
}

/** The same piece by piece. */
export function checkpointChunks(model: LanguageModel, optimizer: Optimizer, progress: Progress) {
  const { tensors, metadata } = contents(model, optimizer, progress);
  return safetensorsChunks(tensors, { metadata });
}

/** Reads all of a checkpoint once and compares it with its digest. @throws FormatError */
async function checkDigest(source: ByteSource, header: Header, signal?: AbortSignal): Promise<void> {
  const { entries, metadata, dataOffset, fileBytes } = header;
  if (metadata.format !== FORMAT)
    throw new FormatError(
      `${source.name}: metadata.format must be '${FORMAT}', got ${show(metadata.format)}`,
    );
  const hash = hashHeader(metadata, entries.values());
  const pace = createPacer();
  for (let offset = dataOffset; offset < fileBytes; offset += PIECE_BYTES) {
    await pace();
    signal?.throwIfAborted();
    hash.update(await source.read(offset, Math.min(PIECE_BYTES, fileBytes - offset)));
  }
  const digest = hash.hex();
  if (metadata.digest !== digest)
    throw new FormatError(
      `${source.name}: the data must have digest ${show(metadata.digest)}, got '${digest}': it has changed since it was written`,
    );
}

function parse(text: string | undefined, name: string, where: string): Record<string, unknown> {
  const title = `${where}: metadata.${name}`;
  if (text !== undefined && !isShallow(text))
    throw new FormatError(`${title} must be at most ${DEEPEST} levels deep, got ${show(text)}`);
  let value: unknown;
  try {
    value = JSON.parse(text ?? '');
  } catch (cause) {
    throw new FormatError(`${title} must be JSON, got ${show(text)}`, { cause });
  }
  if (!isObject(value)) throw new FormatError(`${title} must be an object, got ${show(value)}`);
  return value;
}

function parseProgress(text: string | undefined, where: string): Progress {
  const { step, batches, accumulate, stream, optimizer } = parse(text, 'training', where);
  const whole = (name: string, value: unknown, least: number): number => {
    if (!Number.isSafeInteger(value) || (value as number) < least)
      throw new FormatError(
        `${where}: metadata.training.${name} must be a whole number from ${least} up, got ${show(value)}`,
      );
    return value as number;
  };
  const steps = whole('step', step, 1);
  const most = whole('accumulate', accumulate, 1);
  const read = whole('batches', batches, steps);
  if (read > steps * most)
    throw new FormatError(
      `${where}: metadata.training.batches must be at most ${steps * most} after ${steps} steps of ${most}, got ${read}`,
    );
  if (optimizer !== 'adamw' && optimizer !== 'sgd')
    throw new FormatError(
      `${where}: metadata.training.optimizer must be 'adamw' or 'sgd', got ${show(optimizer)}`,
    );
  return { step: steps, batches: read, accumulate: most, stream, optimizer };
}

export interface RestoreOptions {
  /** What the run to go on with uses. */
  kind: Progress['optimizer'];
  signal?: AbortSignal;
}

/**
 * Puts a model and its optimiser where a checkpoint stands: both, or neither if it does not fit.
 *
 * @throws FormatError if the file is none of a training run, or not as it was written; ArgumentError if it is one of
 *   another model or optimiser
 */
async function restore(
  source: ByteSource,
  model: LanguageModel,
  optimizer: Optimizer,
  { kind, signal }: RestoreOptions,
): Promise<Progress> {
  const where = source.name;
  const header = await readSafetensorsHeader(source);
  await checkDigest(source, header, signal);
  const { metadata, entries } = header;
  const { seed: _seed, ...config } = parse(metadata.config, 'config', where);
  if (JSON.stringify(config) !== configText(model)) {
    throw new ArgumentError(
      `train: resume must be a checkpoint of a model with config ${configText(model)}, got ${JSON.stringify(config)}`,
    );
  }
  const progress = parseProgress(metadata.training, where);
  if (progress.optimizer !== kind)
    throw new ArgumentError(`train: optimizer must be '${progress.optimizer}' as in ${where}, got '${kind}'`);
  const weights = model.parameters();
  const wanted = new Map([
    ...[...weights].map(([name, { size }]) => [name, size] as const),
    ...[...optimizer.state.tensors].map(([name, { size }]) => [OPTIMIZER + name, size] as const),
  ]);
  for (const [name, size] of wanted) {
    const entry = entries.get(name);
    const got = entry?.shape.reduce((product, extent) => product * extent, 1);
    if (entry?.dtype !== 'F32' || got !== size)
      throw new FormatError(
        `${where}: ${name} must have ${size} elements of F32, got ${got === undefined ? 'none' : `${got} of ${entry!.dtype}`}`,
      );
  }
  const select = ({ name }: { name: string }) => wanted.has(name);
  const { tensors } = await loadSafetensors(model.k, source, { signal, select });
  try {
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

/** @throws FormatError, FileError, ArgumentError; the signal's reason once it is aborted */
export async function restoreCheckpoint(
  from: string | Uint8Array,
  model: LanguageModel,
  optimizer: Optimizer,
  options: RestoreOptions,
): Promise<Progress> {
  const source = typeof from === 'string' ? await fileSource(from) : bytesSource(from, 'resume');
  try {
    return await restore(source, model, optimizer, options);
  } finally {
    await source.close();
  }
}

/** Whether it is the file that is to blame: its bytes are not what was written, or the disk does not give them. */
export const isBroken = (error: unknown): error is FreelunchError =>
  error instanceof FormatError || (error as { code?: unknown } | null)?.code === 'EIO';
