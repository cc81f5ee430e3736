/**
 * Text from a language model: the prompt at once, then one step per token, each drawn from the logits of the step before.
 *
 *   weight[i] = e^((logits[i] - max) / temperature)
 *
 * Weights come from the kernels and are added up in a fixed order, so the `simd` variant draws the same tokens in
 * every runtime.
 */
import {
  ArgumentError,
  checkOptions as checkNames,
  FreelunchError,
  ShapeError,
  show,
} from '@freelunch/errors';
import type { Kernels } from '@freelunch/kernels';
import { type Random, random } from '@freelunch/random';
import { checkSignal } from './check.js';
import type { FloatTensor } from './mixers/parameters.js';
import { createPacer } from './pacer.js';
import type { Decoder } from './state.js';

export interface GenerateOptions {
  /** Most tokens to generate; if absent 256, or as many as learned positions leave room for. */
  maxTokens?: number;
  /** 0 takes the likeliest token; the default, or 1 where `topK` or `topP` is given. */
  temperature?: number;
  /** Draw from this many likeliest tokens only. */
  topK?: number;
  /** Draw from the fewest likeliest tokens that together have at least this probability, above 0 and up to 1. */
  topP?: number;
  /** A sequence ends with the first of them, which is given out too. */
  stopTokens?: readonly number[];
  /** Of what is drawn; 0 if absent. */
  seed?: number;
  signal?: AbortSignal;
}

type Row = readonly number[] | Int32Array;

const optionNames = ['maxTokens', 'temperature', 'topK', 'topP', 'stopTokens', 'seed', 'signal'];

const DEFAULT_MAX_TOKENS = 256;
/** Prompts are read in pieces of this length, so that a long one can be aborted. */
const PREFILL_TOKENS = 1024;

function refuse(name: string, wanted: string, got: unknown): never {
  throw new ArgumentError(`generate: ${name} must be ${wanted}, got ${show(got)}`);
}

function checkIds(name: string, ids: Row, vocabSize: number): void {
  if (!Array.isArray(ids) && !(ids instanceof Int32Array)) refuse(name, 'a list of tokens', ids);
  Array.from(ids as ArrayLike<number>).forEach((id, i) => {
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize)
      refuse(`${name}[${i}]`, `a token from 0 to ${vocabSize - 1}`, id);
  });
}

function checkOptions(
  options: GenerateOptions,
  vocabSize: number,
): Required<Omit<GenerateOptions, 'signal'>> {
  checkNames('generate', options, optionNames);
  const { signal } = options;
  checkSignal('generate', signal);
  const { maxTokens = DEFAULT_MAX_TOKENS, topK = vocabSize, topP = 1, stopTokens = [], seed = 0 } = options;
  const draws = options.topK !== undefined || options.topP !== undefined;
  const { temperature = draws ? 1 : 0 } = options;
  const whole = (name: string, value: number, least: number) => {
    if (!Number.isSafeInteger(value) || value < least) refuse(name, `a whole number from ${least} up`, value);
  };
  whole('maxTokens', maxTokens, 0);
  whole('topK', topK, 1);
  whole('seed', seed, 0);
  if (!(typeof temperature === 'number' && temperature >= 0 && temperature < Infinity))
    refuse('temperature', 'a finite number from 0 up', temperature);
  if (!(typeof topP === 'number' && topP > 0 && topP <= 1)) refuse('topP', 'a number above 0, up to 1', topP);
  checkIds('stopTokens', stopTokens, vocabSize);
  return { maxTokens, temperature, topK, topP, stopTokens, seed };
}

function checkPrompt(prompt: readonly Row[], vocabSize: number): void {
  const [first] = prompt;
  if (first?.length === 0) throw new ShapeError('generate: prompt must be one token or more, got none');
  prompt.forEach((row, b) => {
    checkIds(prompt.length === 1 ? 'prompt' : `prompt[${b}]`, row, vocabSize);
    if (row.length !== first.length) {
      throw new ShapeError(
        `generate: prompt must be rows of one length, got ${first.length} and ${row.length}`,
      );
    }
  });
}

/**
 * Tokens that go on after each row of a prompt, one of each row at a time; undefined for a row that has ended.
 *
 * @throws ArgumentError, ShapeError before anything is computed; the signal's reason once it is aborted
 */
export function generateRows(
  model: Decoder,
  prompt: readonly Row[],
  options: GenerateOptions = {},
): AsyncGenerator<(number | undefined)[], void, undefined> {
  const { vocabSize, position } = model.config;
  const checked = checkOptions(options, vocabSize);
  checkPrompt(prompt, vocabSize);
  if (position.type === 'learned') {
    const { length } = prompt[0];
    const room = position.maxLength - length + 1; // the last token is not read again
    if (room < 1) refuse('prompt', `at most ${position.maxLength} tokens, as there are positions`, length);
    if (options.maxTokens === undefined) checked.maxTokens = Math.min(checked.maxTokens, room);
    else if (checked.maxTokens > room)
      refuse(
        'maxTokens',
        `at most ${room} after ${length} of ${position.maxLength} positions`,
        checked.maxTokens,
      );
  }
  return run(model, prompt, checked, options.signal);
}

/** Tokens that go on after a prompt. */
export async function* generateRow(
  rows: AsyncGenerator<(number | undefined)[], void, undefined>,
): AsyncGenerator<number, void, undefined> {
  for await (const [token] of rows) yield token!;
}

async function* run(
  model: Decoder,
  prompt: readonly Row[],
  options: Required<Omit<GenerateOptions, 'signal'>>,
  signal?: AbortSignal,
): AsyncGenerator<(number | undefined)[], void, undefined> {
  const { k, config } = model;
  const { maxTokens, stopTokens, seed } = options;
  // One stream per row: what a row draws does not depend on the other rows.
  const streams = prompt.map((_, b) => random(seed).split('generate').split(b));
  const ended = prompt.map(() => false);
  const pace = createPacer();
  signal?.throwIfAborted();
  const state = model.initialState(prompt.length);
  let logits: FloatTensor | undefined;
  try {
    const { length } = prompt[0];
    for (let start = 0; start < length; start += PREFILL_TOKENS) {
      const piece = prompt.map((row) => Array.from(row.slice(start, start + PREFILL_TOKENS)));
      logits?.dispose();
      logits = model.forward(piece, { state, lastOnly: true });
      await pace();
      signal?.throwIfAborted();
    }
    for (let count = 0; count < maxTokens; count++) {
      const values = logits!.data;
      const drawn = streams.map((rng, b) =>
        draw(k, values.slice(b * config.vocabSize, (b + 1) * config.vocabSize), options, rng),
      );
      yield drawn.map((token, b) => (ended[b] ? undefined : token));
      drawn.forEach((token, b) => (ended[b] ||= stopTokens.includes(token)));
      if (ended.every(Boolean) || count + 1 === maxTokens) return;
      await pace();
      signal?.throwIfAborted();
      logits!.dispose();
      logits = model.step(drawn, state);
    }
  } finally {
    logits?.dispose();
    state.dispose();
  }
}

/** One token by its logits, which are lost. */
function draw(
  k: Kernels,
  logits: Float32Array,
  { temperature, topK, topP }: { temperature: number; topK: number; topP: number },
  rng: Random,
): number {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    if (Number.isNaN(logits[i])) throw new FreelunchError(`generate: the logit of token ${i} is NaN`);
    if (logits[i] > logits[best]) best = i;
  }
  if (temperature === 0) return best;
  const top = logits[best];
  if (!Number.isFinite(top)) throw new FreelunchError(`generate: the logit of token ${best} is ${top}`);
  for (let i = 0; i < logits.length; i++) logits[i] = (logits[i] - top) / temperature;
  const weights = k.scope(() => k.exp({ x: k.tensor(logits) }).toArray());
  const { least, ties } = likeliest(weights, topK, topP);

  // Weights below `least` are out, and of those equal to it all but the first `ties`.
  let left = ties;
  let total = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] < least || (weights[i] === least && left-- <= 0)) weights[i] = 0;
    total += weights[i];
  }
  let rest = rng.float() * total;
  let token = best;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] === 0) continue;
    token = i; // the last one, should rounding leave a rest
    rest -= weights[i];
    if (rest < 0) break;
  }
  return token;
}

/** The smallest weight among the likeliest, and how many of this very weight belong to them. */
function likeliest(weights: Float32Array, topK: number, topP: number): { least: number; ties: number } {
  if (topK >= weights.length && topP === 1) return { least: 0, ties: weights.length };
  const ascending = weights.slice().sort();
  const last = ascending.length - 1;
  let count = Math.min(topK, weights.length);
  let total = 0;
  for (let i = 0; i < count; i++) total += ascending[last - i];
  let sum = 0;
  for (let i = 0; i < count; i++) {
    sum += ascending[last - i];
    if (sum >= topP * total) count = i + 1;
  }
  const least = ascending[last - count + 1];
  const above = last - ascending.lastIndexOf(least);
  return { least, ties: count - above };
}
