/**
 * JSON lines: the manifest, then one sample a line.
 *
 *     {"manifest":{"format":"json-lines","task":"copy","version":1,"options":{..},"seed":0,"start":0,"count":2}}
 *     {"problem":{"string":[3,1]},"tokens":[26,3,1,27,3,1,28],"lossMask":[0,0,0,0,1,1,1],"promptLength":4,"answer":[3,1]}
 */
import { sampleRandom } from '../batches.js';
import { show, TaskError } from '../errors.js';
import {
  checkManifest,
  type ExportOptions,
  type Manifest,
  manifestOf,
  partsOf,
  type Source,
  type TaskFactory,
  taskOf,
} from './manifest.js';
import type { Task } from '../task.js';
import type { Sample } from '../sample.js';

/** The file, line by line; memory stays flat however many samples. */
export function writeJsonLines(task: Task, options: ExportOptions): Generator<string> {
  const manifest = manifestOf(task, 'json-lines', 'writeJsonLines', options);
  return lines(task, manifest);
}

function* lines(task: Task, manifest: Manifest): Generator<string> {
  yield `${JSON.stringify({ manifest })}\n`;
  const { seed, start, count } = manifest;
  for (let i = 0; i < count; i++) yield `${line(task.sample(sampleRandom(seed, start + i)))}\n`;
}

/** The same file again, from its manifest. */
export function rewriteJsonLines(manifest: Manifest, own?: Record<string, TaskFactory>): Generator<string> {
  return lines(taskOf(manifest, own), manifest);
}

function line({ problem, tokens, lossMask, targets, prompt, answer, steps }: Sample): string {
  const mask = lossMask.map(Number);
  return JSON.stringify({
    problem,
    tokens,
    lossMask: mask,
    targets,
    promptLength: prompt.length,
    answer,
    steps,
  });
}

export interface JsonLines {
  manifest: Manifest;
  /** In the order of the file; reads on as it is asked. */
  samples: AsyncGenerator<Sample>;
}

/** @throws TaskError if the file is not one that `writeJsonLines` writes, with the line that is wrong */
export async function readJsonLines(source: Source | string | Uint8Array): Promise<JsonLines> {
  const all = splitLines(source);
  const first = await all.next();
  const head = parse(first.done ? '' : first.value, 1) as { manifest?: unknown };
  checkManifest('readJsonLines: line 1', head.manifest);
  const { manifest } = head;
  if (manifest.format !== 'json-lines') {
    throw new TaskError(`readJsonLines: line 1: format must be 'json-lines', got ${show(manifest.format)}`);
  }
  return { manifest, samples: readSamples(all, manifest.count) };
}

async function* readSamples(all: AsyncGenerator<string>, count: number): AsyncGenerator<Sample> {
  let read = 0;
  for await (const text of all) {
    yield toSample(parse(text, read + 2), read + 2);
    read++;
  }
  if (read !== count) {
    throw new TaskError(
      `readJsonLines: the file must hold the ${count} samples of its manifest, got ${read}`,
    );
  }
}

async function* splitLines(source: Source | string | Uint8Array): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  for await (const part of partsOf(source)) {
    rest += typeof part === 'string' ? part : decode(decoder, part);
    const whole = rest.split('\n');
    rest = whole.pop()!;
    yield* whole;
  }
  rest += decode(decoder);
  if (rest !== '') yield rest;
}

function decode(decoder: TextDecoder, bytes?: Uint8Array): string {
  try {
    return bytes ? decoder.decode(bytes, { stream: true }) : decoder.decode();
  } catch {
    throw new TaskError('readJsonLines: the file must be UTF-8, got other bytes');
  }
}

function parse(text: string, number: number): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null) {
    throw new TaskError(`readJsonLines: line ${number} must be a JSON object, got ${show(text)}`);
  }
  return value;
}

function toSample(value: object, number: number): Sample {
  const { problem, tokens, lossMask, targets, promptLength, answer, steps } = value as Record<
    string,
    unknown
  >;
  const wrong = (field: string, wanted: string, got: unknown): never => {
    throw new TaskError(`readJsonLines: line ${number}: ${field} must be ${wanted}, got ${show(got)}`);
  };
  if (!isIds(tokens)) return wrong('tokens', 'whole numbers', tokens);
  if (!isIds(lossMask) || lossMask.length !== tokens.length || lossMask.some((bit) => bit > 1)) {
    return wrong('lossMask', `${tokens.length} times 0 or 1`, lossMask);
  }
  if (targets !== undefined && !(isIds(targets) && targets.length === tokens.length)) {
    return wrong('targets', `${tokens.length} whole numbers`, targets);
  }
  const inside = (length: unknown): length is number =>
    Number.isInteger(length) && (length as number) >= 0 && (length as number) <= tokens.length;
  if (!inside(promptLength)) return wrong('promptLength', `at most ${tokens.length}`, promptLength);
  if (!isIds(answer)) return wrong('answer', 'whole numbers', answer);
  if (steps !== undefined && !(Array.isArray(steps) && steps.every(isIds))) {
    return wrong('steps', 'lists of whole numbers', steps);
  }
  if (problem === undefined) return wrong('problem', 'given', problem);
  const sample: Sample = {
    tokens,
    lossMask: lossMask.map((bit) => bit === 1),
    prompt: tokens.slice(0, promptLength),
    answer,
    problem,
  };
  if (targets !== undefined) sample.targets = targets as number[];
  if (steps !== undefined) sample.steps = steps as number[][];
  return sample;
}

function isIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((id) => Number.isInteger(id) && id >= 0);
}
