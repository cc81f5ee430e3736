/** The dynamic programs of the experiments, by name and size: `lis:12`. */
import {
  arithmetic,
  cyk,
  defineDp,
  type DpTask,
  editDistance,
  knapsack,
  layeredPath,
  lcs,
  lis,
  matrixChain,
  prefixSum,
  recurrence,
  type Task,
  wordProblem,
} from '@freelunch/tasks';
import { show } from '@freelunch/errors';
import { InputError } from '../errors.js';

/** A program of a user's own: ways up a staircase where the steps marked 0 are broken, modulo 10. */
export function stairs(length: number): DpTask<{ whole: number[] }> {
  return defineDp<{ whole: number[] }>({
    name: 'stairs',
    symbols: Array.from({ length: 10 }, (_, digit) => digit),
    size: length,
    random: (rng, n) => ({ whole: Array.from({ length: n }, () => rng.integer(2)) }),
    input: ({ whole }) => whole,
    states: ({ whole }) => whole.map((_, i) => i),
    deps: (_, i) => [i - 1, i - 2].filter((k) => k >= 0),
    reads: (_, i) => [i],
    step: (_, i, [near = 0, far = 0], [whole]) => (whole === 0 ? 0 : ((i < 2 ? 1 : 0) + near + far) % 10),
    aggregate: (_, ways) => ways[ways.length - 1],
    range: [0, 9],
  });
}

/** Tasks with values of one token, which `dpModel` builds models for. */
const programs: Record<string, (size: number) => unknown> = {
  lis: (length) => lis({ length }),
  'lis-pairs': (length) => lis({ length, states: 'pairs' }),
  'edit-distance': (length) => editDistance({ length }),
  lcs: (length) => lcs({ length }),
  knapsack: (length) => knapsack({ length }),
  recurrence: (length) => recurrence({ length, m: 4 }),
  'recurrence-local': (length) => recurrence({ length, m: 4, driven: false }),
  'prefix-sum': (length) => prefixSum({ length }),
  'layered-path': (length) => layeredPath({ length }),
  'matrix-chain': (length) => matrixChain({ length }),
  cyk: (length) => cyk({ length }),
  'word-problem': (length) => wordProblem({ length, group: 'S3' }),
  stairs,
};

/** What an experiment can name. */
export const programNames = [...Object.keys(programs), 'arithmetic'];

export type ProgramTask =
  | { kind: 'dp'; task: DpTask<unknown, number, number>; size: number }
  | { kind: 'arithmetic'; task: Task<unknown> & ReturnType<typeof arithmetic>; size: number };

const LARGEST = 1000;

/** @throws InputError unless the text is a name of the list, a colon and a size */
export function programOf(text: string): ProgramTask {
  const [name, sizeText] = text.split(':');
  const size = /^\d+$/.test(sizeText ?? '') ? Number(sizeText) : NaN;
  if (!programNames.includes(name) || !(size >= 1 && size <= LARGEST))
    throw new InputError(
      `tasks must be a name, a colon and a size up to ${LARGEST}, as in lis:12, got ${show(text)}; names: ${programNames.join(', ')}`,
    );
  if (name === 'arithmetic') {
    const task = arithmetic({ length: size, order: 'canonical' });
    return { kind: 'arithmetic', task: task as never, size };
  }
  return { kind: 'dp', task: programs[name](size) as DpTask<unknown, number, number>, size };
}
