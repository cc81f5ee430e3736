/** Text from a language model: the prompt at once, then one step per token, each drawn from the logits of the step before. */
import { ArgumentError, checkOptions as checkNames, ShapeError, show } from '@freelunch/errors';
import { random } from '@freelunch/random';
import { checkFunction, checkSignal } from './check.js';
import type { FloatTensor } from './mixers/parameters.js';
import { createPacer } from './pacer.js';
import { draw, Written } from './sampling.js';
import type { Decoder, ModelState } from './state.js';

export interface GenerateOptions {
  /** Most tokens to generate; if absent 256, or as many as learned positions leave room for. */
  maxTokens?: number;
  /** 0 takes the likeliest token; the default, or 1 where `topK`, `topP` or `minP` is given. */
  temperature?: number;
  /** Draw from this many likeliest tokens only. */
  topK?: number;
  /** Draw from the fewest likeliest tokens that together have at least this probability, above 0 and up to 1. */
  topP?: number;
  /** Draw from tokens that are at least this likely next to the likeliest: from 0, the default, to 1. */
  minP?: number;
  /**
   * Divides the positive logits of tokens that stand in the prompt or the text, and multiplies the negative ones: above
   * 0; 1, the default, changes nothing.
   * @see Keskar et al. 2019, https://arxiv.org/abs/1909.05858
   */
  repetitionPenalty?: number;
  /** Taken from the logits of tokens that were generated before; 0 if absent. */
  presencePenalty?: number;
  /** Taken from the logit of a token for each time that it was generated before; 0 if absent. */
  frequencyPenalty?: number;
  /**
   * Changes logits in place, after the penalties: to forbid a token, set its logit to `-Infinity`.
   * @param logits  of one sequence, `[vocabSize]`
   * @param tokens  its prompt and what follows it so far
   * @param row     which sequence of the prompt it is
   */
  processLogits?: (logits: Float32Array, tokens: readonly number[], row: number) => void;
  /** A sequence ends with the first of them, which is given out too. */
  stopTokens?: readonly number[];
  /** Of what is drawn; 0 if absent. */
  seed?: number;
  signal?: AbortSignal;
}

type Row = readonly number[] | Int32Array;

/** The names of all options. */
export const generateOptionNames: readonly string[] = Object.keys({
  maxTokens: true,
  temperature: true,
  topK: true,
  topP: true,
  minP: true,
  repetitionPenalty: true,
  presencePenalty: true,
  frequencyPenalty: true,
  processLogits: true,
  stopTokens: true,
  seed: true,
  signal: true,
} satisfies Record<keyof GenerateOptions, true>);

type Checked = Required<Omit<GenerateOptions, 'signal' | 'processLogits'>> &
  Pick<GenerateOptions, 'processLogits'>;

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

function checkOptions(options: GenerateOptions, vocabSize: number): Checked {
  checkNames('generate', options, generateOptionNames);
  const { signal, processLogits } = options;
  checkSignal('generate', signal);
  checkFunction('generate', 'processLogits', processLogits);
  const { maxTokens = DEFAULT_MAX_TOKENS, topK = vocabSize, topP = 1, stopTokens = [], seed = 0 } = options;
  const { minP = 0, repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 } = options;
  const draws = options.topK !== undefined || options.topP !== undefined || options.minP !== undefined;
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
  if (!(typeof minP === 'number' && minP >= 0 && minP <= 1)) refuse('minP', 'a number from 0 to 1', minP);
  const finite = (name: string, value: unknown) => {
    if (!Number.isFinite(value)) refuse(name, 'a finite number', value);
  };
  finite('repetitionPenalty', repetitionPenalty);
  if (repetitionPenalty <= 0) refuse('repetitionPenalty', 'above 0', repetitionPenalty);
  finite('presencePenalty', presencePenalty);
  finite('frequencyPenalty', frequencyPenalty);
  checkIds('stopTokens', stopTokens, vocabSize);
  return {
    maxTokens,
    temperature,
    topK,
    topP,
    minP,
    repetitionPenalty,
    presencePenalty,
    frequencyPenalty,
    processLogits,
    stopTokens,
    seed,
  };
}

function checkPrompt(prompt: readonly Row[], vocabSize: number): void {
  prompt.forEach((row, b) => {
    const name = prompt.length === 1 ? 'prompt' : `prompt[${b}]`;
    checkIds(name, row, vocabSize);
    if (row.length === 0) throw new ShapeError(`generate: ${name} must be one token or more, got none`);
  });
}

/**
 * Tokens that go on after each row of a prompt, one of each row at a time; undefined for a row that has ended. Rows may
 * have different lengths: those of one length are computed together, the others apart, so that no padding is needed.
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
    const length = Math.max(...prompt.map((row) => row.length));
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

/** Rows of one length go through the model together, from one state. */
interface Group {
  rows: number[];
  state: ModelState;
  logits?: FloatTensor;
}

async function* run(
  model: Decoder,
  prompt: readonly Row[],
  options: Checked,
  signal?: AbortSignal,
): AsyncGenerator<(number | undefined)[], void, undefined> {
  const { k, config } = model;
  const { maxTokens, stopTokens, seed, processLogits } = options;
  // One stream per row: what a row draws does not depend on the other rows.
  const streams = prompt.map((_, b) => random(seed).split('generate').split(b));
  const written = prompt.map((row) => new Written(row));
  const ended = prompt.map(() => false);
  const pace = createPacer();
  signal?.throwIfAborted();
  const groups: Group[] = [];
  try {
    for (const length of new Set(prompt.map((row) => row.length))) {
      const rows = [...prompt.keys()].filter((b) => prompt[b].length === length);
      const group: Group = { rows, state: model.initialState(rows.length) };
      groups.push(group);
      for (let start = 0; start < length; start += PREFILL_TOKENS) {
        const piece = rows.map((b) => Array.from(prompt[b].slice(start, start + PREFILL_TOKENS)));
        group.logits?.dispose();
        group.logits = model.forward(piece, { state: group.state, lastOnly: true });
        await pace();
        signal?.throwIfAborted();
      }
    }
    const drawn: number[] = prompt.map(() => 0);
    for (let count = 0; count < maxTokens; count++) {
      for (const { rows, logits } of groups) {
        const values = logits!.toArray(); // a copy: the memory may grow while tokens are drawn
        rows.forEach((b, i) => {
          if (ended[b]) return;
          const row = values.subarray(i * config.vocabSize, (i + 1) * config.vocabSize);
          written[b].penalise(row, options);
          processLogits?.(row, written[b].tokens, b);
          drawn[b] = draw(k, row, options, streams[b]);
          written[b].push(drawn[b]);
        });
      }
      yield drawn.map((token, b) => (ended[b] ? undefined : token));
      drawn.forEach((token, b) => (ended[b] ||= stopTokens.includes(token)));
      if (ended.every(Boolean) || count + 1 === maxTokens) return;
      await pace();
      signal?.throwIfAborted();
      for (const group of groups) {
        if (group.rows.every((b) => ended[b])) continue;
        group.logits!.dispose();
        group.logits = model.step(
          group.rows.map((b) => drawn[b]),
          group.state,
        );
      }
    }
  } finally {
    for (const { state, logits } of groups) {
      logits?.dispose();
      state.dispose();
    }
  }
}
