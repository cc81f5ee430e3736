import { random } from '@freelunch/random';
import { refuse } from '../errors.js';
import { checkChoice, checkSize, drawSize, sizeBounds, takeOptions } from '../options.js';
import type { DpDefinition, DpOptions, Token } from './definition.js';
import { judge } from './judge.js';
import { localityAt, sourcesOf } from './locality.js';
import { Notation } from './notation.js';
import { DpTask } from './task.js';
import { stepSpans, writeText } from './text.js';
import { fixedFields, validateDp } from './validate.js';

const VALIDATION_SIZES = 3;
const VALIDATION_DRAWS = 8; // of each size
const LONG = 5000; // a size from which on fewer are tried

/**
 * The task of a DP problem.
 *
 * TypeScript infers the types from the definition, top to bottom, so put `random` (the problem) before `states` (their
 * names, numbers or strings) and both before the rest. If values are not numbers, annotate them once:
 * `step: (problem, state, values: string[], inputs) => ...`. Given as `defineDp<Problem>`, states and values are numbers.
 *
 * @throws TaskError if the definition is wrong: an order in which a state comes before one that it needs (a cycle is
 *   named), an unknown state, a value out of range or without tokens, a step that uses what it did not declare. It is
 *   tried on random instances; a value out of range is found on any instance later as well.
 */
export function defineDp<Problem, Value = number, State extends Token = number>(
  definition: DpDefinition<Problem, Value, State>,
  given?: Partial<DpOptions>,
): DpTask<Problem, Value, State> {
  const where = definition.name ? `defineDp: ${definition.name}` : 'defineDp';
  const options = takeOptions<DpOptions>(where, given, { form: 'cot', inputs: 'prompt' });
  checkChoice(where, 'form', options.form, ['cot', 'direct']);
  checkChoice(where, 'inputs', options.inputs, ['prompt', 'inline']);
  if (typeof definition.name !== 'string' || definition.name === '')
    refuse(where, 'name', 'a text', definition.name);
  for (const part of ['random', 'input', 'states', 'deps', 'step', 'aggregate'] as const) {
    if (typeof definition[part] !== 'function') refuse(where, part, 'a function', definition[part]);
  }
  checkSize(where, 'size', definition.size, 1);
  if (definition.multiToken && options.inputs === 'inline') {
    refuse(where, 'inputs', "'prompt': its steps read the input but once", options.inputs);
  }
  const notation = new Notation(definition, options);
  const { vocabulary } = notation;
  const draws = random(0).split('defineDp');
  const isLong = sizeBounds(definition.size)[1] > LONG;
  const bySize = Array.from({ length: isLong ? 1 : VALIDATION_SIZES }, () => {
    const size = drawSize(definition.size, draws);
    return Array.from({ length: isLong ? 2 : VALIDATION_DRAWS }, () => definition.random(draws, size));
  });
  const constants = [...(definition.constants ?? []), ...fixedFields(bySize)]; // fields that a step may use
  const validate = (problem: Problem, other = problem) =>
    validateDp(definition, vocabulary, constants, problem, other);
  for (const [problem, other] of bySize) validate(problem, other);
  return new DpTask(notation, validate, {
    name: definition.name,
    version: definition.version ?? 1,
    options: definition.options ?? options,
    summary: definition.summary ?? 'the values of all states, then the answer',
    vocabulary,
    draw: (rng, size) => definition.random(rng, size ?? drawSize(definition.size, rng)),
    write: (problem) => writeText(notation, problem),
    key: definition.key,
    sources: (problem) => sourcesOf(notation, problem),
    spans: options.form === 'cot' ? (problem) => stepSpans(notation, problem) : undefined,
    judge: (sample, output) => judge(notation, sample, output),
    locality: (size) => localityAt(notation, size),
  });
}
