/** The transition of a task of which nothing is known but its `step`: a table of all that it can be given. */
import { UnsupportedError } from '@freelunch/kernels';
import type { Arg, DpTask, Token, Transition } from '@freelunch/tasks';
import { random } from '@freelunch/random';

/** Entries of a table, and of all tables together. */
const MOST_ENTRIES = 2 ** 16;
const MOST_STEPS = 2 ** 22;
const DRAWS = 500;

/**
 * Tries `step` on every combination of values in its range and of tokens that inputs had in random instances. States
 * with equal tables are of one kind.
 *
 * @param offset number n is token n + offset
 * @throws UnsupportedError if there are too many combinations
 */
export function tableTransition<Problem, State extends string | number>(
  task: DpTask<Problem, number, State>,
  size: number,
  problems: readonly Problem[],
  offset: number,
): Transition<Problem, State> {
  const { dp, vocabulary } = task;
  const refuse = (wanted: string, got: string | number): never => {
    throw new UnsupportedError(`dpModel: ${task.name}: ${wanted}, got ${got}; give a transition`);
  };
  if (dp.range === undefined) return refuse('values must be whole numbers of a given range', 'none');
  const [least, greatest] = dp.range;
  const values = Array.from({ length: greatest - least + 1 }, (_, i) => least + i);
  const rng = random(0).split('tableTransition');
  const seen = new Set<Token>();
  for (let draw = 0; draw < DRAWS; draw++)
    for (const token of dp.input(task.draw(rng, size))) seen.add(token);
  const inputs = [...seen].sort((a, b) => vocabulary.id(a) - vocabulary.id(b));

  /** What a look-up of a value gives: its token, as numbers are counted. */
  const written = (problem: Problem, state: State, value: number): number => {
    const token = dp.encode?.(value, state, problem) ?? value;
    return vocabulary.id(typeof token === 'object' ? token[0] : token) - offset;
  };

  const kinds = new Map<string, number>();
  const tables: { deps: number; entries: { args: number[]; value: number }[] }[] = [];
  const kindOf = new Map<string, number>();
  let tried = 0;
  const name = (problem: Problem, state: State) =>
    `${dp.states(problem).length} ${dp.input(problem).length} ${String(state)}`;
  const classify = (problem: Problem, state: State): number => {
    const deps = dp.deps(problem, state).length;
    const reads = dp.reads?.(problem, state).length ?? 0;
    const count = values.length ** deps * inputs.length ** reads;
    if (count > MOST_ENTRIES)
      refuse(
        `state ${String(state)} must have at most ${MOST_ENTRIES} combinations of values and inputs`,
        count,
      );
    tried += count;
    if (tried > MOST_STEPS) refuse(`all states must have at most ${MOST_STEPS} combinations`, 'more');
    const entries: { args: number[]; value: number }[] = [];
    for (let index = 0; index < count; index++) {
      let rest = index;
      const take = <T>(from: readonly T[]): T => {
        const item = from[rest % from.length];
        rest = Math.floor(rest / from.length);
        return item;
      };
      const depValues = Array.from({ length: deps }, () => take(values));
      const read = Array.from({ length: reads }, () => take(inputs));
      let value: number;
      try {
        value = dp.step(problem, state, depValues, read);
      } catch {
        continue; // what never comes together
      }
      if (!(Number.isInteger(value) && value >= least && value <= greatest)) continue;
      entries.push({
        args: [
          ...depValues.map((one) => written(problem, state, one)),
          ...read.map((token) => vocabulary.id(token) - offset),
        ],
        value,
      });
    }
    const key = JSON.stringify([deps, entries]);
    let kind = kinds.get(key);
    if (kind === undefined) {
      kinds.set(key, (kind = tables.length));
      tables.push({ deps, entries });
    }
    return kind;
  };
  const kindAt = (problem: Problem, state: State): number => {
    const key = name(problem, state);
    let kind = kindOf.get(key);
    if (kind === undefined) kindOf.set(key, (kind = classify(problem, state)));
    return kind;
  };
  for (const problem of problems) for (const state of dp.states(problem)) kindAt(problem, state);
  const most = (count: (problem: Problem, state: State) => number) =>
    Math.max(...problems.flatMap((problem) => dp.states(problem).map((state) => count(problem, state))));
  const depSlots = most((problem, state) => dp.deps(problem, state).length);
  const readSlots = most((problem, state) => dp.reads?.(problem, state).length ?? 0);
  const padded = (args: Arg<State>[], count: number): Arg<State>[] =>
    Array.from({ length: count }, (_, i) => args[i] ?? { number: 0 });
  return {
    args: (problem, state) => [
      ...padded(
        dp.deps(problem, state).map((dep) => ({ state: dep })),
        depSlots,
      ),
      ...padded(
        (dp.reads?.(problem, state) ?? []).map((input) => ({ input })),
        readSlots,
      ),
    ],
    kind: kindAt,
    step(on, args, kind) {
      const { deps, entries } = tables[kind];
      const reads = entries.length === 0 ? 0 : entries[0].args.length - deps;
      const used = [...args.slice(0, deps), ...args.slice(depSlots, depSlots + reads)];
      if (used.length !== 1) return on.tableOfMany(used, entries);
      const of = new Map(entries.map(({ args: [x], value }) => [x, value]));
      const xs = [...of.keys()].sort((a, b) => a - b);
      let last = of.get(xs[0])!;
      return on.table(used[0], xs[0], xs[xs.length - 1], (x) => (last = of.get(x) ?? last));
    },
  };
}
