/** The text of a problem and the places of its parts. */
import type { Written } from '../sample.js';
import type { DpPlaces, DpText, Token } from './definition.js';
import type { Notation } from './notation.js';
import { solve } from './solve.js';

/** The text of a problem, and where in it each value stands. */
export function compose<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  problem: Problem,
): DpText<Value, State> {
  const { dp, vocabulary, form, inputs, answerMark } = notation;
  const input = dp.input(problem);
  const tokens: number[] = [];
  for (const token of input) tokens.push(vocabulary.id(token));
  tokens.push(notation.query);
  const promptLength = tokens.length;
  const solution = solve(dp, problem);
  const { states, values, answer } = solution;
  const [inlineStart, start, end]: number[][] = [[], [], []];
  let answerStart = promptLength;
  if (form === 'cot') {
    for (let k = 0; k < states.length; k++) {
      const state = states[k];
      inlineStart.push(tokens.length);
      if (inputs === 'inline') for (const at of notation.inlineReads(problem, state)) tokens.push(tokens[at]);
      start.push(tokens.length);
      notation.push(tokens, values[k], state, problem);
      end.push(tokens.length);
      const separator = dp.layout?.separator?.(problem, state, k, states.length);
      if (separator !== undefined) tokens.push(vocabulary.id(separator));
    }
    answerStart = start.length > 0 ? start[start.length - 1] : promptLength;
  }
  if (form === 'direct' || answerMark >= 0) {
    if (form === 'cot') tokens.push(answerMark);
    answerStart = tokens.length;
    notation.push(tokens, answer, answerMark < 0 ? states[states.length - 1] : undefined, problem);
  }
  const answerEnd = tokens.length;
  tokens.push(notation.end);
  return { ...solution, tokens, promptLength, inlineStart, start, end, answerStart, answerEnd };
}

/** The text as a sample has it. */
export function writeText<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  problem: Problem,
): Written {
  const composed = compose(notation, problem);
  const { dp, form } = notation;
  const { tokens, promptLength, inlineStart, end, answerStart, answerEnd } = composed;
  const scoreEnd = form === 'cot' || (dp.layout?.scoreEnd ?? true);
  const lossMask: boolean[] = [];
  for (let i = 0; i < tokens.length; i++) {
    lossMask.push(i >= promptLength && (i < answerEnd || scoreEnd));
  }
  const written: Written = {
    tokens,
    lossMask,
    prompt: tokens.slice(0, promptLength),
    answer: tokens.slice(answerStart, answerEnd),
  };
  if (form === 'cot') written.steps = inlineStart.map((at, k) => tokens.slice(at, end[k]));
  return written;
}

/** Of each step, where it begins and ends. */
export function stepSpans<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  problem: Problem,
): [number, number][] {
  const { inlineStart, end } = compose(notation, problem);
  return inlineStart.map((at, k) => [at, end[k]]);
}

/** Where the parts stand. Values of one token need no solving, so this is for sizes beyond the vocabulary too. */
export function placesOf<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  problem: Problem,
): DpPlaces<State> {
  const { dp, form, inputs } = notation;
  if (dp.multiToken) return compose(notation, problem);
  const states = dp.states(problem);
  const promptLength = dp.input(problem).length + 1;
  const [inlineStart, start, end]: number[][] = [[], [], []];
  let at = promptLength;
  if (form === 'cot') {
    states.forEach((state, k) => {
      inlineStart.push(at);
      if (inputs === 'inline') at += notation.inlineReads(problem, state).length;
      start.push(at++);
      end.push(at);
      if (dp.layout?.separator?.(problem, state, k, states.length) !== undefined) at++;
    });
    at++; // the mark
  }
  return { states, promptLength, inlineStart, start, end, answerStart: at, answerEnd: at + 1 };
}
