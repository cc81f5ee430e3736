import { TaskError } from './errors.js';
import type { Sample } from './sample.js';

/**
 * `free-running`: the model wrote on from the prompt by itself. `teacher-forced`: it predicted each token from the right
 * ones before it, which is easier, since one slip does not spoil what follows.
 */
export type CheckMode = 'free-running' | 'teacher-forced';

export interface StepVerdict {
  /** It is what the problem makes it. */
  right: boolean;
  /** It follows from the steps as they were given, right or wrong. */
  consistent: boolean;
}

export interface CheckResult {
  mode: CheckMode;
  /** Everything scored is right: steps, answer, and the end if one was written. */
  correct: boolean;
  /** The final answer is right, whatever came before it. */
  answerCorrect: boolean;
  /** Share of the tokens that are right. */
  tokenAccuracy: number;
  /** Index in what was judged of the first token that is wrong, missing or too much; null if there is none. */
  firstWrong: number | null;
  /** Token by token: of the output (`free-running`) or of the scored tokens (`teacher-forced`). */
  right: boolean[];
  /** With a chain of thought: step by step. */
  steps?: StepVerdict[];
  /** Index of the first step that is not right; null if all are. */
  firstWrongStep?: number | null;
}

/** Everything up to and with the end token. */
export function cutAtEnd(output: readonly number[], end: number | undefined): readonly number[] {
  const at = end === undefined ? -1 : output.indexOf(end);
  return at < 0 ? output : output.slice(0, at + 1);
}

/** Compares a continuation with the only right one. */
export function judgeContinuation(
  expected: readonly number[],
  output: readonly number[],
  end: number | undefined,
): CheckResult {
  const given = cutAtEnd(output, end);
  const mayStop = expected[expected.length - 1] === end && given[given.length - 1] !== end;
  const due = mayStop ? expected.length - 1 : expected.length;
  const right = given.map((token, i) => i < due && token === expected[i]);
  const result = summary('free-running', right, Math.max(due, given.length));
  return { ...result, answerCorrect: result.correct };
}

/** Compares predictions with what is due, place by place. */
export function judgePredictions(
  where: string,
  sample: Sample,
  output: ArrayLike<number>,
  alignment: 'next' | 'same',
  spans: [number, number][] | undefined,
): CheckResult {
  const { tokens, lossMask, targets } = sample;
  const scored: number[] = [];
  for (let i = 0; i < tokens.length; i++) if (lossMask[i]) scored.push(i);
  const inputLength = alignment === 'same' ? tokens.length : tokens.length - 1;
  if (output.length !== scored.length && output.length !== inputLength) {
    throw new TaskError(
      `${where}: output must be ${scored.length} predictions, one for each scored token, or ${inputLength}, one for each input, got ${output.length}`,
    );
  }
  const everywhere = output.length === inputLength;
  const shift = alignment === 'same' ? 0 : 1;
  const rightAt = new Map<number, boolean>();
  scored.forEach((position, k) => {
    rightAt.set(position, output[everywhere ? position - shift : k] === (targets ?? tokens)[position]);
  });
  const right = [...rightAt.values()];
  const result = summary('teacher-forced', right, scored.length);
  if (!spans || !sample.steps) return { ...result, answerCorrect: result.correct };
  const allRight = (start: number, end: number) => {
    for (let i = start; i < end; i++) if (rightAt.get(i) === false) return false;
    return true;
  };
  const steps = spans.map(([start, end]) => {
    const good = allRight(start, end);
    return { right: good, consistent: good }; // the steps before were given right
  });
  const { answer } = sample;
  let answerStart = tokens.length - answer.length; // or before the end token
  while (answerStart > 0 && answer.some((token, i) => token !== tokens[answerStart + i])) answerStart--;
  const answerCorrect = allRight(answerStart, answerStart + answer.length);
  return { ...result, answerCorrect, steps, firstWrongStep: firstWrongStep(steps) };
}

/** @param due how many tokens there should be, or are, whichever is more */
export function summary(mode: CheckMode, right: boolean[], due: number): Omit<CheckResult, 'answerCorrect'> {
  const wrong = right.indexOf(false);
  const firstWrong = wrong >= 0 ? wrong : right.length < due ? right.length : null;
  let count = 0;
  for (const each of right) if (each) count++;
  return {
    mode,
    correct: firstWrong === null,
    tokenAccuracy: due === 0 ? 1 : count / due,
    firstWrong,
    right,
  };
}

export function firstWrongStep(steps: readonly StepVerdict[]): number | null {
  const at = steps.findIndex((step) => !step.right);
  return at < 0 ? null : at;
}
