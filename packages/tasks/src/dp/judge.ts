/** What a model wrote, judged step by step. */
import {
  type CheckResult,
  cutAtEnd,
  firstWrongStep,
  judgeContinuation,
  type StepVerdict,
  summary,
} from '../check.js';
import type { Sample } from '../sample.js';
import type { DpSolution, Token } from './definition.js';
import type { Notation } from './notation.js';
import { inRange, readInputs, solve } from './solve.js';

/** Judges a continuation: tokens, steps and the answer. */
export function judge<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  sample: Sample<Problem>,
  output: readonly number[],
): CheckResult {
  const { dp, form, answerMark } = notation;
  const expected = sample.tokens.slice(sample.prompt.length);
  if (form === 'direct') return judgeContinuation(expected, output, notation.end);
  const given = cutAtEnd(output, notation.end);
  const body = given[given.length - 1] === notation.end ? given.slice(0, -1) : given;
  const solution = solve(dp, sample.problem);
  const { steps, accepted, shaped, at } = judgeSteps(notation, sample, body, solution);
  const answerCorrect = isAnswer(notation, body, solution, sample.problem);
  const verdicts = { answerCorrect, steps, firstWrongStep: firstWrongStep(steps) };
  if (!dp.accepts) return { ...judgeContinuation(expected, output, notation.end), ...verdicts };

  // Several chains may be right, so tokens are right by the step that they are in.
  const sound = shaped && verdicts.firstWrongStep === null;
  let due = at;
  if (answerMark >= 0) {
    const marked = sound && answerCorrect && body[at] === answerMark;
    due += 1 + notation.ids(solution.answer, undefined, sample.problem).length;
    for (let i = at; i < body.length; i++) accepted[i] = marked && i < due;
  }
  const right = given.map((_, i) => (i < body.length ? accepted[i] && i < due : sound));
  // What is missing counts as wrong; a sound chain may be shorter than the one that was drawn.
  const length = Math.max(sound ? due : expected.length - 1, body.length);
  const result = summary('free-running', right, length + given.length - body.length);
  return { ...result, ...verdicts, correct: result.correct && sound && answerCorrect };
}

/**
 * Goes through what was written, step by step.
 *
 * @returns also, token by token, whether all is right so far; whether separators stand where they should; where the
 *   steps end
 */
function judgeSteps<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  sample: Sample<Problem>,
  body: readonly number[],
  { states, values }: DpSolution<Value, State>,
): { steps: StepVerdict[]; accepted: boolean[]; shaped: boolean; at: number } {
  const { dp, vocabulary } = notation;
  const { problem } = sample;
  const input = dp.input(problem);
  const places = new Map(states.map((state, k) => [state, k]));
  const written: (Value | undefined)[] = [];
  const steps: StepVerdict[] = [];
  const accepted = body.map(() => false);
  let shaped = true;
  let at = 0;
  let soFar = true;
  for (let k = 0; k < states.length; k++) {
    const state = states[k];
    const first = at;
    let repeated = true;
    if (notation.inputs === 'inline') {
      for (const read of notation.inlineReads(problem, state)) {
        repeated = sample.tokens[read] === body[at++] && repeated;
      }
    }
    const separator = dp.layout?.separator?.(problem, state, k, states.length);
    const separatorId = separator === undefined ? -1 : vocabulary.id(separator);
    let valueEnd = at + 1;
    if (dp.multiToken) {
      valueEnd = separatorId < 0 ? -1 : body.indexOf(separatorId, at);
      if (valueEnd < 0) valueEnd = Math.max(at, body.length);
    }
    const ids = body.slice(at, valueEnd);
    const value = notation.decode(ids, state, problem, values[k]);
    written.push(value);
    const depValues = dp.deps(problem, state).map((dep) => {
      const place = places.get(dep)!;
      return written[place] ?? values[place]; // what is no value cannot be followed
    });
    const inputs = readInputs(dp, input, problem, state);
    const consistent =
      repeated && value !== undefined && follows(notation, problem, state, value, ids, depValues, inputs);
    if (dp.accepts) soFar &&= consistent;
    else soFar = repeated && sameTokens(ids, notation.ids(values[k], state, problem));
    steps.push({ right: soFar, consistent });
    at = valueEnd;
    if (separatorId >= 0) shaped = body[at++] === separatorId && shaped;
    accepted.fill(soFar && shaped, first, Math.min(at, body.length));
  }
  return { steps, accepted, shaped, at };
}

/** Whether what stands after the last mark is the answer. */
function isAnswer<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  body: readonly number[],
  { states, answer }: DpSolution<Value, State>,
  problem: Problem,
): boolean {
  const { answerMark } = notation;
  const isLastStep = answerMark < 0;
  const mark = body.lastIndexOf(isLastStep ? lastSeparator(notation, problem, states) : answerMark);
  if (mark < 0 && !(isLastStep && states.length === 1)) return false;
  const last = isLastStep ? states[states.length - 1] : undefined;
  return sameTokens(body.slice(mark + 1), notation.ids(answer, last, problem));
}

/** What stands between the last two steps. */
function lastSeparator<Problem, Value, State extends Token>(
  { dp, vocabulary }: Notation<Problem, Value, State>,
  problem: Problem,
  states: State[],
): number {
  const k = states.length - 2;
  const separator = k < 0 ? undefined : dp.layout?.separator?.(problem, states[k], k, states.length);
  return separator === undefined ? -1 : vocabulary.id(separator);
}

/** Whether a value follows from others, which may be wrong: a step that they make fail has no value. */
function follows<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  problem: Problem,
  state: State,
  value: Value,
  ids: readonly number[],
  values: Value[],
  inputs: Token[],
): boolean {
  const { dp } = notation;
  try {
    if (dp.accepts) return dp.accepts(problem, state, value, values, inputs);
    const due = inRange(dp, state, dp.step(problem, state, values, inputs));
    return sameTokens(ids, notation.ids(due, state, problem));
  } catch {
    return false;
  }
}

function sameTokens(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
