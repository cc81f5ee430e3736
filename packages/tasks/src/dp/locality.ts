/** How far back the text of a problem makes a model look. */
import { random } from '@freelunch/random';
import { filled } from '../lists.js';
import { drawSize } from '../options.js';
import type { Locality } from '../sample.js';
import type { DpPlaces, Token } from './definition.js';
import type { Notation } from './notation.js';
import { structureOf } from './solve.js';
import { compose, placesOf } from './text.js';

const LOCALITY_DRAWS = 8;

/** For each token, the position of the earliest token that it needs, -1 if none. */
export function sourcesOf<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  problem: Problem,
): number[] {
  const { fromValues, fromInputs } = needsOf(notation, problem, compose(notation, problem));
  return fromValues.map((value, t) =>
    value < 0 || fromInputs[t] < 0 ? Math.max(value, fromInputs[t]) : Math.min(value, fromInputs[t]),
  );
}

/** How far back one problem makes a model look. */
export function localityOf<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  problem: Problem,
): Locality {
  const { dp, form, inputs } = notation;
  const places = placesOf(notation, problem);
  const { inlineStart, start, end, answerStart } = places;
  if (form === 'direct') return { mState: 0, mToken: 0, inputReach: answerStart };
  const { fromValues, fromInputs } = needsOf(notation, problem, places);
  const { mState } = structureOf(dp, problem);
  const mToken = farthest(fromValues, start, end);
  const inputReach = farthest(fromInputs, start, end);
  if (inputs === 'prompt') return { mState, mToken, inputReach };
  return { mState, mToken, inputReach, inlineReach: farthest(fromInputs, inlineStart, start) };
}

/** How far back problems of a size make a model look; of drawn sizes if absent. */
export function localityAt<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  size: number | undefined,
): Locality {
  const { dp } = notation;
  if (size !== undefined && dp.example) return localityOf(notation, dp.example(size));
  const rng = random(0).split('locality');
  const all = Array.from({ length: LOCALITY_DRAWS }, () =>
    localityOf(notation, dp.random(rng, size ?? drawSize(dp.size, rng))),
  );
  return all.reduce((most, each) => {
    for (const name of Object.keys(each) as (keyof Locality)[]) {
      most[name] = Math.max(most[name] ?? 0, each[name] ?? 0);
    }
    return most;
  });
}

/** For each token, the earliest token that it needs: of earlier values, and of the input. -1: none. */
function needsOf<Problem, Value, State extends Token>(
  notation: Notation<Problem, Value, State>,
  problem: Problem,
  places: DpPlaces<State>,
): { fromValues: number[]; fromInputs: number[] } {
  const { dp, form, inputs } = notation;
  const { states, promptLength, inlineStart, start, end, answerStart, answerEnd } = places;
  const fromValues = filled(answerEnd + 1, -1);
  const fromInputs = filled(answerEnd + 1, -1);
  const aligned = dp.aligned ?? false;
  if (form === 'direct') {
    for (let t = answerStart; t < answerEnd; t++) fromInputs[t] = 0;
    return { fromValues, fromInputs };
  }
  const order = new Map(states.map((state, k) => [state, k]));
  const nearest = Array.from({ length: promptLength - 1 }, (_, i) => i); // where an input was written last
  states.forEach((state, k) => {
    if (inputs === 'inline') {
      notation.inlineReads(problem, state).forEach((at, j) => {
        fromInputs[inlineStart[k] + j] = at;
        nearest[at] = inlineStart[k] + j;
      });
    }
    const deps = dp.deps(problem, state).map((dep) => order.get(dep)!);
    const reads = (dp.reads?.(problem, state) ?? []).map((at) => nearest[at]);
    const earliest = Math.min(...reads);
    for (let t = start[k]; t < end[k]; t++) {
      const skip = aligned ? t - start[k] : 0;
      const depStarts = deps.map((dep) => Math.min(start[dep] + skip, end[dep] - 1));
      if (deps.length > 0) fromValues[t] = Math.min(...depStarts);
      if (reads.length > 0) fromInputs[t] = aligned ? reads[Math.min(skip, reads.length - 1)] : earliest;
    }
  });
  if (notation.answerMark >= 0) {
    const chosen = dp.answerStates?.(problem).map((state) => start[order.get(state)!]) ?? start;
    for (let t = answerStart; t < answerEnd; t++) fromValues[t] = Math.min(...chosen);
  }
  return { fromValues, fromInputs };
}

/** The largest distance from a token in one of the spans to its source. */
function farthest(sources: readonly number[], from: readonly number[], to: readonly number[]): number {
  let most = 0;
  from.forEach((first, k) => {
    for (let t = first; t < to[k]; t++) if (sources[t] >= 0) most = Math.max(most, t - sources[t]);
  });
  return most;
}
