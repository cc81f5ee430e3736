/**
 * Dynamic programming with chain of thought, by models with hand-set weights (docs/results.md, D1 to D3).
 *
 *   look-ups   what a step needs stands in known tokens: each argument is copied by a head. The position table says at
 *              each token which codes to read: the schedule
 *   step       ReLU blocks compute the value from the arguments, and pick what is due: a value, a repeated input, a mark
 *   head       the nearest id
 *
 * Where texts of a size come in several shapes, a few look-ups of the prompt's marks tell which one it is, and a table
 * of (shape, position) takes the place of the position table.
 *
 * Mamba keeps a value in a register from where it is written to where it was read for the last time, then uses the
 * register again: as many as there are values in use at once, O(m) where the problem is m-local, O(T) in general.
 */
import { checkOptions } from '@freelunch/errors';
import { ArgumentError, type Kernels, UnsupportedError } from '@freelunch/kernels';
import type { LanguageModel } from '@freelunch/models';
import type { DpTask, Task } from '@freelunch/tasks';
import { answerOf } from './answer.js';
import { Builder } from './builder.js';
import type { DpModelOptions, DpPlan } from './plan.js';
import { instancesOf, scheduleOf } from './schedule.js';
import { tableTransition } from './table.js';

/**
 * What {@link dpModel} will build.
 *
 * @throws UnsupportedError naming the look-up that does not fit, or the part of the task that weights cannot express
 * @throws ArgumentError if an option is out of range
 */
export function dpModelPlan<Problem, State extends string | number>(
  task: DpTask<Problem, number, State>,
  options: DpModelOptions<Problem, State>,
): DpPlan {
  checkOptions('dpModel', options, [
    'mixer',
    'size',
    'problem',
    'window',
    'registers',
    'keys',
    'anyway',
    'transition',
  ]);
  const { mixer: asked, size, problem, anyway = false } = options;
  const mixer = asked === 'sliding-window' ? 'softmax-attention' : asked;
  checkSizes(asked, options);
  if (task.form !== 'cot')
    throw new UnsupportedError(`dpModel: ${task.name}: form must be 'cot', got '${task.form}'`);
  if (task.dp.multiToken)
    throw new UnsupportedError(`dpModel: ${task.name}: values must be of one token, got several`);
  const problems = problem === undefined ? instancesOf(task, size) : [problem];
  const offset = numberOffset(task);
  const found =
    options.transition ?? task.dp.transition?.(size) ?? tableTransition(task, size, problems, offset);
  const transition = found.answer === undefined ? { ...found, ...answerOf(task, problems[0]) } : found;
  const shapes = scheduleOf(task, transition, problems);
  const builder = new Builder(
    task,
    transition,
    shapes,
    { ...options, mixer, anyway },
    asked === 'sliding-window',
    offset,
    problems[0],
  );
  return builder.plan();
}

/**
 * A model whose greedy decoding writes the whole chain of thought and the answer of a dynamic program, for every
 * instance of the size: values must be whole numbers of one token.
 *
 *     const model = dpModel(k, lis({ length: 12 }), { mixer: 'mamba', size: 12 });
 *
 * @throws UnsupportedError naming the look-up that does not fit a given window, number of registers or of keys
 * @throws ArgumentError if an option is out of range
 * @see docs/results.md, D1 to D3; Feng et al. 2023, https://arxiv.org/abs/2305.15408
 */
export function dpModel<Problem, State extends string | number>(
  k: Kernels,
  task: DpTask<Problem, number, State>,
  options: DpModelOptions<Problem, State>,
): LanguageModel {
  return dpModelPlan(task, options).build(k);
}

function checkSizes(
  asked: string,
  options: Pick<DpModelOptions, 'size' | 'window' | 'registers' | 'keys'>,
): void {
  const kinds = ['softmax-attention', 'sliding-window', 'linear-attention', 'mamba'];
  if (!kinds.includes(asked))
    throw new ArgumentError(`dpModel: mixer must be one of ${kinds.join(', ')}, got '${asked}'`);
  for (const [name, fits] of [
    ['size', true],
    ['window', asked === 'softmax-attention' || asked === 'sliding-window'],
    ['registers', asked === 'mamba'],
    ['keys', asked === 'linear-attention'],
  ] as const) {
    const value = options[name];
    if (value === undefined && name !== 'size') continue;
    if (!fits) throw new ArgumentError(`dpModel: ${name} must be absent for ${asked}, got ${value}`);
    if (!Number.isSafeInteger(value) || (value as number) < 1)
      throw new ArgumentError(`dpModel: ${name} must be a whole number from 1 up, got ${value}`);
  }
}

/** Number n is token n + offset: what lets values be computed with. */
function numberOffset({ name, vocabulary }: Pick<Task, 'name' | 'vocabulary'>): number {
  const { tokens } = vocabulary;
  const offset = tokens.indexOf('0') >= 0 ? tokens.indexOf('0') : tokens.indexOf('1') - 1;
  tokens.forEach((text, id) => {
    if (/^\d+$/.test(text) && Number(text) + offset !== id)
      throw new UnsupportedError(
        `dpModel: ${name}: tokens of numbers must follow each other, got ${text} as token ${id} and 0 as ${offset}`,
      );
  });
  return offset;
}
