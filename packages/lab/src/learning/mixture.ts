import type { Sampler, Task } from '@freelunch/tasks';

/**
 * Draws each sample from any of the tasks, all alike.
 *
 * @param tasks at least one, all with the vocabulary and the alignment of the first
 */
export function mixtureOf(tasks: readonly Task[]): Sampler {
  const [first] = tasks;
  if (tasks.length === 1) return first;
  return {
    name: tasks.map(({ name }) => name).join(' + '),
    vocabulary: first.vocabulary,
    alignment: first.alignment,
    sample: (rng) => tasks[rng.integer(tasks.length)].sample(rng),
  };
}
