/** Samples: problems in tokens, and how far back they make a model look. */
import type { Random } from '@freelunch/random';
import type { Vocabulary } from './vocabulary.js';

/** A problem written out in tokens. */
export interface Written {
  /** The whole text, answers included where they stand in it. */
  tokens: number[];
  /** Which tokens are scored: those to predict from the ones before (`next`), or the outputs at them (`same`). */
  lossMask: boolean[];
  /** Only where alignment is `same`: what is due at each token. */
  targets?: number[];
  /** What is given before the answer begins: the first tokens. */
  prompt: number[];
  /** The answer, without steps and without the end token. */
  answer: number[];
  /** The chain of thought: the tokens of each step, without separators. */
  steps?: number[][];
}

/** One example of a task. Plain data: it survives JSON. */
export interface Sample<Problem = unknown> extends Written {
  /** What the rest follows from. */
  problem: Problem;
}

/** How far back a task makes a model look. */
export interface Locality {
  /** Distance from a step to the earliest step that it needs, in steps; 0 if no step needs another. */
  mState: number;
  /** The same in tokens of the text. */
  mToken: number;
  /** Distance in tokens from a scored token back to the earliest input that it needs. */
  inputReach: number;
  /** The same for inputs that a step repeats before its value (`inputs: 'inline'`): only they look so far. */
  inlineReach?: number;
}

/** What draws samples: the part of a task that batches and `describe` need. */
export interface Sampler<Problem = unknown> {
  readonly name: string;
  readonly vocabulary: Vocabulary;
  readonly alignment: 'next' | 'same';
  sample(rng: Random, size?: number): Sample<Problem>;
}

/** Parts of a text that is given first and answered after: for `write` of a task whose alignment is `next`. */
export function continuation(prompt: number[], answer: number[], end?: number): Written {
  const tokens = [...prompt, ...answer];
  if (end !== undefined) tokens.push(end);
  const lossMask = tokens.map((_, i) => i >= prompt.length);
  return { tokens, lossMask, prompt, answer };
}

/** Answers due at places of a text: for `write` of a task whose alignment is `same`. */
export function labelled(tokens: readonly number[], labels: readonly (readonly [number, number])[]): Written {
  const targets = tokens.map(() => 0);
  const lossMask = tokens.map(() => false);
  for (const [position, value] of labels) {
    targets[position] = value;
    lossMask[position] = true;
  }
  return {
    tokens: tokens.slice(),
    lossMask,
    targets,
    prompt: tokens.slice(),
    answer: labels.map(([, value]) => value),
  };
}
