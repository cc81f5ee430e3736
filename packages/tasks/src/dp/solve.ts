/** What the values of a problem are, and which of them need which. */
import { show, TaskError } from '../errors.js';
import type { DpDefinition, DpSolution, DpStructure, Token } from './definition.js';

/** All values in their order, and the answer. @throws TaskError if the definition does not hold for this problem */
export function solve<Problem, Value, State extends Token>(
  dp: DpDefinition<Problem, Value, State>,
  problem: Problem,
): DpSolution<Value, State> {
  const states = dp.states(problem);
  const input = dp.input(problem);
  const places = new Map<State, number>();
  const values: Value[] = [];
  for (let k = 0; k < states.length; k++) {
    const state = states[k];
    const needed = dp.deps(problem, state);
    const depValues: Value[] = [];
    for (const dep of needed) {
      const place = places.get(dep);
      if (place === undefined)
        throw new TaskError(`${dp.name}: state ${show(state)} needs ${show(dep)}, which is not before it`);
      depValues.push(values[place]);
    }
    values.push(
      inRange(dp, state, dp.step(problem, state, depValues, readInputs(dp, input, problem, state))),
    );
    places.set(state, k);
  }
  const chosen = dp.answerStates?.(problem);
  const answer = dp.aggregate(problem, chosen ? chosen.map((state) => values[places.get(state)!]) : values);
  return { states, values, answer };
}

/** What depends on what. */
export function structureOf<Problem, Value, State extends Token>(
  dp: DpDefinition<Problem, Value, State>,
  problem: Problem,
): DpStructure<State> {
  const states = dp.states(problem);
  const places = new Map(states.map((state, k) => [state, k]));
  const deps = states.map((state) => dp.deps(problem, state).map((dep) => places.get(dep)!));
  const reads = states.map((state) => dp.reads?.(problem, state) ?? []);
  let mState = 0;
  deps.forEach((needed, k) => needed.forEach((dep) => (mState = Math.max(mState, k - dep))));
  return { states, deps, reads, maxDeps: longest(deps), maxReads: longest(reads), mState };
}

/** The inputs that a state reads. */
export function readInputs<Problem, Value, State extends Token>(
  dp: DpDefinition<Problem, Value, State>,
  input: Token[],
  problem: Problem,
  state: State,
): Token[] {
  const reads = dp.reads?.(problem, state);
  const read: Token[] = [];
  if (reads) for (const at of reads) read.push(input[at]);
  return read;
}

/** @throws TaskError if the definition has a range and the value is outside it */
export function inRange<Problem, Value, State extends Token>(
  dp: DpDefinition<Problem, Value, State>,
  state: State,
  value: Value,
): Value {
  const { range } = dp;
  if (range && !(Number.isInteger(value) && (value as number) >= range[0] && (value as number) <= range[1])) {
    throw new TaskError(
      `${dp.name}: step at state ${show(state)} must give a whole number from ${range[0]} to ${range[1]}, got ${show(value)}`,
    );
  }
  return value;
}

function longest(lists: readonly unknown[][]): number {
  return lists.reduce((most, list) => Math.max(most, list.length), 0);
}
