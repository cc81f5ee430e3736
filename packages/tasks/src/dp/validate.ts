import type { DpDefinition, Token } from './definition.js';
import { show, TaskError } from '../errors.js';
import type { Vocabulary } from '../vocabulary.js';

const MOST_WATCHED = 20000; // values and inputs
const WATCHED_END = 20;

/**
 * Runs a definition on a problem with watched arguments.
 *
 * @param constants fields of the problem that a step may use
 * @param other a second problem, solved in between, so that what a step keeps from one call to the next shows
 * @throws TaskError that names what is wrong
 */
export function validateDp<Problem, Value, State extends Token>(
  dp: DpDefinition<Problem, Value, State>,
  vocabulary: Vocabulary,
  constants: readonly string[],
  problem: Problem,
  other: Problem,
): void {
  const wrong = (message: string): never => {
    throw new TaskError(`defineDp: ${dp.name}: ${message}`);
  };

  if (typeof problem !== 'object' || problem === null)
    wrong(`random must give an object, got ${show(problem)}`);
  const odd = findOdd(problem, '');
  if (odd !== undefined)
    wrong(`random must give plain data, which JSON can hold, got something else in problem${odd}`);
  const input = dp.input(problem);
  for (const token of input) {
    if (!vocabulary.has(token)) wrong(`input must be written with the symbols, got ${show(token)}`);
  }
  const states = dp.states(problem);
  if (states.length === 0) wrong('states must hold at least one state, got none');
  const places = new Map<State, number>();
  states.forEach((state, k) => {
    if (typeof state !== 'number' && typeof state !== 'string')
      wrong(`states must be numbers or texts, got ${show(state)}`);
    if (places.has(state)) wrong(`states must differ, got ${show(state)} twice`);
    places.set(state, k);
  });

  const deps = states.map((state) => dp.deps(problem, state));
  deps.forEach((needed, k) => {
    for (const dep of needed) {
      const place = places.get(dep);
      if (place === undefined) wrong(`deps of state ${show(states[k])} must be states, got ${show(dep)}`);
      else if (place >= k) {
        const cycle = findCycle(states, deps, places);
        const why = cycle ? `; they go in a circle: ${cycle.map(show).join(' -> ')}` : '';
        wrong(`deps of state ${show(states[k])} must come before it in states, got ${show(dep)}${why}`);
      }
    }
  });
  const reads = states.map((state) => dp.reads?.(problem, state) ?? []);
  const inlined = states.map((state) => dp.inlineReads?.(problem, state) ?? []);
  for (const lists of [reads, inlined]) {
    lists.forEach((list, k) => {
      for (const at of list) {
        if (!Number.isInteger(at) || at < 0 || at >= input.length) {
          wrong(
            `reads of state ${show(states[k])} must be places of its ${input.length} inputs, got ${show(at)}`,
          );
        }
      }
    });
  }
  for (const state of dp.answerStates?.(problem) ?? []) {
    if (!places.has(state)) wrong(`answerStates must be states, got ${show(state)}`);
  }

  // Watching is slow: of a long problem, its ends and some states between are watched.
  const uses = states.reduce((sum, _, k) => sum + 1 + deps[k].length + reads[k].length, 0);
  const stride = Math.ceil(uses / MOST_WATCHED);
  const isWatched = (k: number) => k % stride === 0 || k < WATCHED_END || k >= states.length - WATCHED_END;

  const values: Value[] = [];
  const run = (k: number): Value => {
    const at = `step at state ${show(states[k])}`;
    const declared = deps[k].map((dep) => values[places.get(dep)!]);
    const inputs = reads[k].map((place) => input[place]);
    const watchedProblem = watchProblem(problem, constants, (path) =>
      wrong(
        `${at} must use what deps, reads and constants declare, got problem${path}, which is not declared`,
      ),
    );
    const watchedValues = watchList(declared, (index) =>
      wrong(`${at} has ${declared.length} deps, but uses values[${index}]`),
    );
    const watchedInputs = watchList(inputs, (index) =>
      wrong(`${at} has ${inputs.length} reads, but uses inputs[${index}]`),
    );
    let value: Value;
    try {
      value = isWatched(k)
        ? dp.step(watchedProblem, states[k], watchedValues, watchedInputs)
        : dp.step(problem, states[k], declared, inputs);
    } catch (error) {
      if (error instanceof TaskError) throw error;
      return wrong(`${at} must give a value, got an error: ${String(error)}`);
    }
    if (value === undefined || (typeof value === 'number' && Number.isNaN(value)))
      wrong(`${at} must give a value, got ${show(value)}`);
    return value;
  };
  const written = (value: Value, state: State | undefined): string => {
    const tokens = dp.encode ? dp.encode(value, state, problem) : (value as Token);
    const list = Array.isArray(tokens) ? tokens : [tokens];
    for (const token of list) {
      if (!vocabulary.has(token)) {
        const what = state === undefined ? 'the answer' : `the value of state ${show(state)}`;
        wrong(`${what} must be written with the symbols, got ${show(token)}`);
      }
    }
    if (state !== undefined && !dp.multiToken && list.length !== 1)
      wrong(`a value must be one token unless multiToken, got ${show(list)}`);
    return list.join(' ');
  };

  states.forEach((state, k) => {
    const value = run(k);
    const { range } = dp;
    if (
      range &&
      !(Number.isInteger(value) && (value as number) >= range[0] && (value as number) <= range[1])
    ) {
      wrong(
        `step at state ${show(state)} must give a whole number from ${range[0]} to ${range[1]}, got ${show(value)}`,
      );
    }
    values.push(value);
    const text = written(value, state);
    if (dp.decode) {
      const back = dp.decode(text.split(' '), state, problem);
      if (back === undefined || written(back, state) !== text)
        wrong(`decode must give back what encode wrote at state ${show(state)}, '${text}'`);
    }
  });

  dp.states(other); // a definition that remembers the last problem is now wrong about this one
  dp.input(other);
  for (let k = states.length - 1; k >= 0; k--) {
    if (!isWatched(k)) continue;
    const [first, again] = [written(values[k], states[k]), written(run(k), states[k])];
    if (first !== again) {
      wrong(
        `step at state ${show(states[k])} must depend on values and inputs alone, got ${first} and then ${again} from the same`,
      );
    }
  }
  const chosen = dp.answerStates?.(problem).map((state) => values[places.get(state)!]) ?? values;
  const answer = dp.aggregate(problem, chosen);
  if (dp.layout?.answer !== null) written(answer, undefined);
}

/**
 * Fields that are the same in all instances of a size, for every size that was tried: they are parameters, not inputs.
 */
export function fixedFields(bySize: readonly (readonly unknown[])[]): string[] {
  const [[first]] = bySize;
  if (typeof first !== 'object' || first === null) return [];
  return Object.keys(first).filter((field) =>
    bySize.every((problems) =>
      problems.every((problem) => textOf(problem, field) === textOf(problems[0], field)),
    ),
  );
}

function textOf(problem: unknown, field: string): string {
  return JSON.stringify((problem as Record<string, unknown>)[field]);
}

/** The path of something that JSON does not hold, if there is any. */
function findOdd(value: unknown, path: string): string | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : path;
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return undefined;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const odd = findOdd(value[i], `${path}[${i}]`);
      if (odd !== undefined) return odd;
    }
    return undefined;
  }
  if (typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype) return path;
  for (const [name, inner] of Object.entries(value)) {
    const odd = findOdd(inner, `${path}.${name}`);
    if (odd !== undefined) return odd;
  }
  return undefined;
}

/** A way from a state back to itself, if there is one. */
function findCycle<State>(states: State[], deps: State[][], places: Map<State, number>): State[] | undefined {
  const done = new Set<number>();
  for (let root = 0; root < states.length; root++) {
    const path = [root]; // with the next dependency to try of each
    const next = [0];
    while (path.length > 0) {
      const k = path[path.length - 1];
      const dep = places.get(deps[k][next[next.length - 1]++]);
      if (next[next.length - 1] > deps[k].length || done.has(k)) {
        done.add(k);
        path.pop();
        next.pop();
      } else if (dep !== undefined) {
        const at = path.indexOf(dep);
        if (at >= 0) return [...path.slice(at), dep].map((i) => states[i]);
        path.push(dep);
        next.push(0);
      }
    }
  }
  return undefined;
}

function isIndex(property: string | symbol): property is string {
  return typeof property === 'string' && /^\d+$/.test(property);
}

/** The list, but what lies beyond its end is reported. */
function watchList<T>(list: T[], beyond: (index: string) => never): T[] {
  return new Proxy(list, {
    get(target, property, receiver) {
      if (isIndex(property) && Number(property) >= target.length) beyond(property);
      return Reflect.get(target, property, receiver) as unknown;
    },
  });
}

/** The problem, but only lengths of lists and constant fields can be seen. */
function watchProblem<T>(problem: T, constants: readonly string[], undeclared: (path: string) => never): T {
  const watch = (value: unknown, path: string): unknown => {
    if (typeof value !== 'object' || value === null) return undeclared(path);
    if (value instanceof Map || value instanceof Set) return undeclared(path);
    return new Proxy(value, {
      get(target, property, receiver) {
        const inner = Reflect.get(target, property, receiver) as unknown;
        if (typeof property === 'symbol' || typeof inner === 'function') return inner;
        const isList = Array.isArray(target) || ArrayBuffer.isView(target);
        if (isList && property === 'length') return inner;
        if (path === '' && constants.includes(property)) return inner;
        if (inner === undefined) return inner;
        return watch(inner, isList ? `${path}[${property}]` : `${path}.${property}`);
      },
    });
  };
  return watch(problem, '') as T;
}
