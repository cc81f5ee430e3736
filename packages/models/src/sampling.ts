/**
 * How the next token is drawn from logits. In this order: penalties for what the text has already, the caller's own
 * function, temperature, then which tokens are out.
 *
 *   weight[i] = e^((logits[i] - max) / temperature)
 *
 * Weights come from the kernels and are added up in a fixed order, so the `simd` variant draws the same tokens in
 * every runtime.
 */
import { FreelunchError } from '@freelunch/errors';
import type { Kernels } from '@freelunch/kernels';
import type { Random } from '@freelunch/random';

/** A text as far as it has been written: how often each token stands in it. */
export class Written {
  readonly #prompt = new Set<number>();
  readonly #generated = new Map<number, number>();
  /** All tokens, those of the prompt among them. */
  readonly tokens: number[];

  constructor(prompt: Iterable<number>) {
    this.tokens = [...prompt];
    for (const token of this.tokens) this.#prompt.add(token);
  }

  push(token: number): void {
    this.tokens.push(token);
    this.#generated.set(token, (this.#generated.get(token) ?? 0) + 1);
  }

  /** Makes tokens that stand in the text less likely, in place. */
  penalise(logits: Float32Array, { repetitionPenalty, presencePenalty, frequencyPenalty }: Penalties): void {
    if (repetitionPenalty !== 1) {
      const divide = (token: number) => {
        logits[token] =
          logits[token] > 0 ? logits[token] / repetitionPenalty : logits[token] * repetitionPenalty;
      };
      for (const token of this.#prompt) divide(token);
      for (const token of this.#generated.keys()) if (!this.#prompt.has(token)) divide(token);
    }
    if (presencePenalty === 0 && frequencyPenalty === 0) return;
    for (const [token, count] of this.#generated) logits[token] -= presencePenalty + frequencyPenalty * count;
  }
}

export interface Penalties {
  repetitionPenalty: number;
  presencePenalty: number;
  frequencyPenalty: number;
}

export interface Drawing {
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
}

/** One token by its logits, which are lost. @throws FreelunchError if a logit is NaN, or none is finite */
export function draw(
  k: Kernels,
  logits: Float32Array,
  { temperature, topK, topP, minP }: Drawing,
  rng: Random,
): number {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    if (Number.isNaN(logits[i])) throw new FreelunchError(`generate: the logit of token ${i} is NaN`);
    if (logits[i] > logits[best]) best = i;
  }
  if (logits[best] === -Infinity)
    throw new FreelunchError('generate: there must be a token whose logit is not -Infinity');
  if (temperature === 0) return best;
  const top = logits[best];
  if (!Number.isFinite(top)) throw new FreelunchError(`generate: the logit of token ${best} is ${top}`);
  for (let i = 0; i < logits.length; i++) logits[i] = (logits[i] - top) / temperature;
  const weights = k.scope(() => k.exp({ x: k.tensor(logits) }).toArray());
  const { least, ties } = likeliest(weights, topK, topP);

  // Weights below `least` are out, and of those equal to it all but the first `ties`. The likeliest has weight 1.
  let left = ties;
  let total = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] < minP || weights[i] < least || (weights[i] === least && left-- <= 0)) weights[i] = 0;
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
