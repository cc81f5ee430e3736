import type { CheckResult } from './check.js';
import type { Sample } from './sample.js';

/** How many were right out of how many. */
export interface Tally {
  right: number;
  total: number;
}

/**
 * Counts what checks found. Sequences and tokens, overall and by length; tokens by their position in the answer and by
 * how far back lies what they need; steps by their number.
 */
export class Metrics {
  readonly sequences: Tally = { right: 0, total: 0 };
  readonly answers: Tally = { right: 0, total: 0 };
  readonly tokens: Tally = { right: 0, total: 0 };
  /** Sequences by the number of tokens in the sample. */
  readonly byLength = new Map<number, Tally>();
  /** Tokens by their place among the scored ones, 0 first. */
  readonly byPosition = new Map<number, Tally>();
  /** Tokens by the distance to the earliest token that they need. */
  readonly byDistance = new Map<number, Tally>();
  readonly byStep = new Map<number, Tally>();
  readonly #distances: (sample: Sample) => number[];

  constructor(distances: (sample: Sample) => number[]) {
    this.#distances = distances;
  }

  /** @param result what `check` said of `sample`; the modes are to be counted apart */
  add(sample: Sample, result: CheckResult): void {
    count(this.sequences, result.correct);
    count(this.answers, result.answerCorrect);
    count(tally(this.byLength, sample.tokens.length), result.correct);
    const distances = this.#distances(sample);
    const judged = result.mode === 'teacher-forced' ? scoredPositions(sample) : continuationPositions(sample);
    judged.forEach((position, k) => {
      const right = result.right[k] ?? false; // not written: wrong
      count(this.tokens, right);
      count(tally(this.byPosition, k), right);
      count(tally(this.byDistance, distances[position]), right);
    });
    result.steps?.forEach((step, k) => count(tally(this.byStep, k), step.right));
  }

  /** Share of the sequences that are right as a whole. */
  get exactMatch(): number {
    return this.sequences.right / this.sequences.total;
  }

  get tokenAccuracy(): number {
    return this.tokens.right / this.tokens.total;
  }
}

function scoredPositions(sample: Sample): number[] {
  return sample.lossMask.flatMap((scored, i) => (scored ? [i] : []));
}

function continuationPositions(sample: Sample): number[] {
  return scoredPositions(sample).filter((i) => i >= sample.prompt.length);
}

function count(into: Tally, right: boolean): void {
  into.total++;
  if (right) into.right++;
}

function tally(map: Map<number, Tally>, key: number): Tally {
  let found = map.get(key);
  if (!found) map.set(key, (found = { right: 0, total: 0 }));
  return found;
}
