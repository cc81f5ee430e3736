/**
 * The word problem of a group: running products. S5 and A5 are the hard, non-solvable cases; cyclic groups commute.
 *
 *     tokens  3 1 2 <sep> 3 2 1 <sep> 1 <eos>      (S3, elements by number)
 *     scored  . . .   .   * * *   *   *   *
 *
 * Elements of S_n are the permutations of 0..n-1 in lexicographic order, the identity 0; A_n has the even ones in the
 * same order. The product of a and g is a, then g: x goes to a[g[x]].
 *
 * @see Liu et al. 2022, https://arxiv.org/abs/2210.10749; Merrill et al. 2024, https://arxiv.org/abs/2404.08819
 */
import type { DpOptions } from '../dp/definition.js';
import type { DpTask } from '../dp/task.js';
import { refuse } from '../errors.js';
import { upTo } from '../lists.js';
import { checkInteger, checkSize, type Size, takeOptions } from '../options.js';
import { foldTask, type PrefixProblem } from './prefix.js';

export interface WordProblemOptions extends DpOptions {
  /** `S2` to `S6`, `A3` to `A6`, or `Z2`, `Z3`, .. */
  group: string;
  length: Size;
}

const MAX_CYCLIC = 2 ** 16;

/** Running products of uniform elements. @throws TaskError if an option is out of range, or there is no such group */
export function wordProblem(given?: Partial<WordProblemOptions>): DpTask<PrefixProblem> {
  return groupTask('wordProblem', 'word-problem', 'running products', given, 'S5');
}

/** The word problem of Z_2: whether the ones so far are odd in number. */
export function parity(given?: Partial<Omit<WordProblemOptions, 'group'>>): DpTask<PrefixProblem> {
  return groupTask('parity', 'parity', 'running parity', given, 'Z2', ['group']);
}

/** The word problem of Z_p: running sums. */
export function modularSum(
  given?: Partial<Omit<WordProblemOptions, 'group'>> & { p?: number },
): DpTask<PrefixProblem> {
  const { p = 7, ...rest } = given ?? {};
  checkInteger('modularSum', 'p', p, 2, MAX_CYCLIC);
  return groupTask('modularSum', 'modular-sum', 'running sums', rest, `Z${p}`, ['group', 'p']);
}

/** @param fixed `['group']`: the group is not an option; `['group', 'p']`: its order is the option `p` */
function groupTask(
  where: string,
  name: string,
  summary: string,
  given: Partial<WordProblemOptions> | undefined,
  defaultGroup: string,
  fixed: readonly string[] = [],
): DpTask<PrefixProblem> {
  const common: Omit<WordProblemOptions, 'group'> = { length: [10, 20], form: 'cot', inputs: 'prompt' };
  // Where the group is fixed it is no option: it is not named among those there are.
  const hidden = fixed.includes('p') ? { p: 0 } : {};
  const options: WordProblemOptions =
    fixed.length === 0
      ? takeOptions<WordProblemOptions>(where, given, { group: defaultGroup, ...common })
      : {
          group: defaultGroup,
          ...takeOptions<typeof common & { p?: number }>(where, given, { ...hidden, ...common }),
        };
  checkSize(where, 'length', options.length, 1, 2 ** 24);
  const { order, multiply } = groupOf(where, options.group);
  const task = foldTask(name, summary, { ...options, p: order }, { step: multiply });
  const { group, form, inputs, length } = options;
  const rest = { length, form, inputs };
  const named = fixed.includes('p') ? { ...rest, p: order } : fixed.length > 0 ? rest : { group, ...rest };
  task.definition.options = named;
  return task;
}

export interface Group {
  order: number;
  multiply(a: number, g: number): number;
}

/** @throws TaskError unless the name is one of the offered groups */
export function groupOf(where: string, name: string): Group {
  const found = /^([SAZ])([1-9]\d*)$/.exec(typeof name === 'string' ? name : '');
  const n = Number(found?.[2]);
  const family = found?.[1];
  const offered =
    (family === 'Z' && n >= 2 && n <= MAX_CYCLIC) ||
    (family === 'S' && n >= 2 && n <= 6) ||
    (family === 'A' && n >= 3 && n <= 6);
  if (!offered) refuse(where, 'group', 'S2 to S6, A3 to A6 or Z2 to Z65536', name);
  if (family === 'Z') return { order: n, multiply: (a, g) => (a + g) % n };
  const elements = permutations(n).filter((element) => family === 'S' || isEven(element));
  const numbers = new Map(elements.map((element, i) => [element.join(), i]));
  const { length: order } = elements;
  const table = new Uint16Array(order * order);
  elements.forEach((a, i) =>
    elements.forEach((g, j) => {
      table[i * order + j] = numbers.get(g.map((x) => a[x]).join())!;
    }),
  );
  return { order, multiply: (a, g) => table[a * order + g] };
}

/** In lexicographic order. */
function permutations(n: number): number[][] {
  let partial: number[][] = [[]];
  for (let i = 0; i < n; i++) {
    partial = partial.flatMap((head) => upTo(n).flatMap((x) => (head.includes(x) ? [] : [head.concat(x)])));
  }
  return partial;
}

function isEven(permutation: readonly number[]): boolean {
  let inversions = 0;
  for (let i = 0; i < permutation.length; i++) {
    for (let j = 0; j < i; j++) if (permutation[j] > permutation[i]) inversions++;
  }
  return inversions % 2 === 0;
}
