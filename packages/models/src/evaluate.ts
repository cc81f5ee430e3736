/** How well a model predicts a text. */
import { ArgumentError, checkOptions, ShapeError, show } from '@freelunch/errors';
import { checkFunction, checkSignal } from './check.js';
import { LanguageModel } from './language-model.js';
import { createPacer } from './pacer.js';
import type { ModelState } from './state.js';
import { checkRange } from './token-rows.js';

export interface EvaluateOptions {
  /**
   * Most tokens that the model reads before it starts anew, from 2 up. If absent: as many as there are learned positions;
   * else the whole text, or 2,048 where the state grows with it.
   */
  contextLength?: number;
  /**
   * Tokens from the start of one context to that of the next, from 1 to contextLength - 1; half of contextLength if absent.
   * After the first context, each token is predicted from at least contextLength - stride tokens before it.
   */
  stride?: number;
  /** Told after each piece: how many tokens were predicted, of how many. */
  onProgress?: (progress: { done: number; total: number }) => void;
  signal?: AbortSignal;
}

export interface Evaluation {
  /** Tokens that were predicted: all but the first. */
  predicted: number;
  /** Mean of -ln p of those tokens: nats per token. */
  crossEntropy: number;
  /** e to the power of `crossEntropy`. */
  perplexity: number;
}

const optionNames = ['contextLength', 'stride', 'onProgress', 'signal'];
const GROWING_CONTEXT = 2048;
/** Logits of a piece, in floats: 16 MiB. */
const PIECE_LOGITS = 2 ** 22;
const MOST_PIECE_TOKENS = 512;

/** Tokens of a text that are read from one state, and those of them that are predicted: start < from < stop. */
interface Context {
  start: number;
  from: number;
  stop: number;
}

/**
 * Perplexity of a text: every token but the first is predicted once, from the tokens before it. Memory does not grow
 * with the text, except with the context of softmax attention. Texts are token ids; `loadTokenizer` makes them.
 *
 *   const { perplexity } = await evaluate(model, tokenizer.encode(text));
 *
 * @param tokens ids from 0 to vocabSize - 1, at least 2
 * @throws ArgumentError, ShapeError; the signal's reason once it is aborted
 * @see https://huggingface.co/docs/transformers/perplexity (contexts that overlap)
 */
export async function evaluate(
  model: LanguageModel,
  tokens: readonly number[] | Int32Array,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  checkOptions('evaluate', options, optionNames);
  if (!(model instanceof LanguageModel))
    throw new ArgumentError(`evaluate: model must be a LanguageModel, got ${show(model)}`);
  const { k, config } = model;
  const { signal, onProgress } = options;
  checkSignal('evaluate', signal);
  checkFunction('evaluate', 'onProgress', onProgress);
  const ids = takeIds(model, tokens);
  const contexts = contextsOf(ids.length, contextLength(model, options), options.stride);
  signal?.throwIfAborted();

  const pieceTokens = Math.max(1, Math.min(MOST_PIECE_TOKENS, Math.floor(PIECE_LOGITS / config.vocabSize)));
  const total = ids.length - 1;
  const pace = createPacer();
  let done = 0;
  let sum = 0;
  for (const { start, from, stop } of contexts) {
    const state = model.initialState();
    try {
      // The token at i is predicted by the logits of the token before.
      for (let at = start; at < from - 1; at = Math.min(at + pieceTokens, from - 1)) {
        readPiece(model, ids.subarray(at, Math.min(at + pieceTokens, from - 1)), state);
        await pace();
        signal?.throwIfAborted();
      }
      for (let at = from; at < stop; at += pieceTokens) {
        const end = Math.min(at + pieceTokens, stop);
        sum += k.scope(() => {
          const logits = model.forward(ids.subarray(at - 1, end - 1), { state });
          const targets = k.tensor(ids.subarray(at, end), [1, end - at]);
          return k.crossEntropy({ logits, targets, reduction: 'none' }).loss.data.reduce(add, 0);
        });
        done += end - at;
        onProgress?.({ done, total });
        await pace();
        signal?.throwIfAborted();
      }
    } finally {
      state.dispose();
    }
  }
  const crossEntropy = sum / total;
  return { predicted: total, crossEntropy, perplexity: Math.exp(crossEntropy) };
}

const add = (a: number, b: number) => a + b;

/** Reads tokens for what they leave in the state. */
function readPiece(model: LanguageModel, ids: Int32Array, state: ModelState): void {
  model.forward(ids, { state, lastOnly: true }).dispose();
}

function takeIds({ k, config }: LanguageModel, tokens: readonly number[] | Int32Array): Int32Array {
  if (!Array.isArray(tokens) && !(tokens instanceof Int32Array))
    throw new ArgumentError(`evaluate: tokens must be a list of ids, got ${show(tokens)}`);
  if (tokens.length < 2)
    throw new ShapeError(
      `evaluate: tokens must be at least 2, one to be predicted from another, got ${tokens.length}`,
    );
  const ids = Int32Array.from(tokens as ArrayLike<number>);
  const wrong = ids.findIndex((id, i) => id !== tokens[i]);
  if (wrong >= 0)
    throw new ArgumentError(`evaluate: tokens[${wrong}] must be a whole number, got ${show(tokens[wrong])}`);
  k.scope(() => checkRange('evaluate', 'tokens', k.tensor(ids, [1, ids.length]), config.vocabSize));
  return ids;
}

function contextLength(model: LanguageModel, { contextLength: given }: EvaluateOptions): number {
  const { position } = model.config;
  const most = position.type === 'learned' ? position.maxLength : Infinity;
  if (given === undefined) {
    const grows = model.stateBytes(2 ** 31) > model.stateBytes(2 ** 30);
    return grows ? Math.min(most, GROWING_CONTEXT) : most;
  }
  const whole = Number.isSafeInteger(given) || given === Infinity;
  if (!whole || given < 2 || given > most) {
    const range = most === Infinity ? '2 up' : `2 to ${most}, as there are positions`;
    throw new ArgumentError(
      `evaluate: contextLength must be a whole number from ${range}, got ${show(given)}`,
    );
  }
  return given;
}

/** Contexts that together predict every token but the first once. @throws ArgumentError */
function contextsOf(length: number, context: number, stride?: number): Context[] {
  const step = stride ?? Math.max(1, Math.floor(context / 2));
  if (stride !== undefined && !(Number.isSafeInteger(stride) && stride >= 1 && stride < context))
    throw new ArgumentError(
      `evaluate: stride must be a whole number from 1 to contextLength - 1 = ${context - 1}, got ${show(stride)}`,
    );
  const contexts: Context[] = [];
  let from = 1;
  for (let start = 0; from < length; start += step) {
    const stop = Math.min(length, start + context);
    contexts.push({ start, from, stop });
    from = stop;
  }
  return contexts;
}
