import { UnsupportedError } from '@freelunch/kernels';
import type { DpTask, Transition } from '@freelunch/tasks';
import { random } from '@freelunch/random';

const TRIES = 200;

/**
 * How the answer follows from the states' values, where it is the value of one state or a map of it, the value of the
 * last, the greatest or the least: `aggregate` is tried on random values.
 *
 * @throws UnsupportedError if it is none of these
 */
export function answerOf<Problem, State extends string | number>(
  task: DpTask<Problem, number, State>,
  problem: Problem,
): Required<Pick<Transition<Problem, State>, 'answerArgs' | 'answer'>> {
  const { dp } = task;
  const [least, greatest] = dp.range ?? [0, 1];
  const statesOf = (one: Problem) => dp.answerStates?.(one) ?? dp.states(one);
  const { length: count } = statesOf(problem);
  const rng = random(0).split('answerOf');
  const is = (wanted: (values: number[]) => number) =>
    Array.from({ length: TRIES }, () =>
      Array.from({ length: count }, () => least + rng.integer(greatest - least + 1)),
    ).every((values) => dp.aggregate(problem, values) === wanted(values));
  const all = (one: Problem) => statesOf(one).map((state) => ({ state }));
  if (is((values) => values[count - 1])) {
    return { answerArgs: (one) => all(one).slice(-1), answer: (_, [last]) => last };
  }
  if (count === 1) {
    return {
      answerArgs: all,
      answer: (on, [value]) => on.table(value, least, greatest, (x) => dp.aggregate(problem, [x])),
    };
  }
  for (const [wanted, combine] of [
    [Math.max, 'maximum'],
    [Math.min, 'minimum'],
  ] as const) {
    if (is((values) => values.reduce((a, b) => wanted(a, b))))
      return { answerArgs: all, answer: (on, args) => on[combine](args.slice(0, count)) };
  }
  throw new UnsupportedError(
    `dpModel: ${task.name}: aggregate must give the value of one state, the last, the greatest or the least, got something else of ${count} states; give a transition with an answer`,
  );
}
