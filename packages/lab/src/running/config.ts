/** Configurations of experiments: plain JSON of the same shape as the presets. */
import { show } from '@freelunch/errors';
import { InputError } from '../errors.js';
import { isObject } from '../files/shape.js';
import type { Row } from '../experiments/experiment.js';
import { checkCombinations, checkLimit, LONGEST_LIST } from './limits.js';
import type { AnyExperiment } from './registry.js';

type Configured = Pick<AnyExperiment, 'name' | 'presets'>;

/**
 * A whole configuration: the fields given, the rest from a preset, in the preset's order.
 *
 * @param fields  what came from a file or the command line
 * @throws InputError that names the field if there is none of this name, if it is of another type than the preset's, or if
 *   it is beyond its limits
 */
export function completeConfig(experiment: Configured, preset: string, fields: unknown): Row {
  const from = presetOf(experiment, preset);
  if (!isObject(fields))
    throw new InputError(`the configuration of ${experiment.name} must be an object, got ${show(fields)}`);
  const config = checkedObject(experiment.name, '', from, fields, true);
  checkCombinations(experiment.name, config);
  return config;
}

/** @throws InputError if there is no such preset */
export function presetOf({ name, presets }: Configured, preset: string): Row {
  if (preset !== 'quick' && preset !== 'full')
    throw new InputError(`the preset of ${name} must be quick or full, got ${show(preset)}`);
  return presets[preset];
}

/**
 * `field=value` as it comes from the command line: numbers, truth values and text by the preset's type, lists with commas or
 * as JSON, a field of a field as `outer.inner`.
 *
 * @throws InputError if it is not of this form, or if there is no such field
 */
export function setField(experiment: Configured, fields: Row, assignment: string): void {
  const at = assignment.indexOf('=');
  if (at < 1) throw new InputError(`--set must be field=value, got ${show(assignment)}`);
  const path = assignment.slice(0, at).split('.');
  let model: unknown = experiment.presets.quick;
  let target = fields;
  path.forEach((name, i) => {
    if (!isObject(model) || !Object.hasOwn(model, name)) throw unknownField(experiment.name, path, model);
    model = model[name];
    if (i + 1 < path.length) {
      if (!isObject(target[name])) target[name] = {};
      target = target[name] as Row;
    } else target[name] = parsed(assignment.slice(at + 1), model);
  });
}

function parsed(text: string, model: unknown): unknown {
  if (typeof model === 'string') return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Not JSON: a list with commas, or words, which the check tells from numbers.
  }
  if (!Array.isArray(model)) return text;
  return text.split(',').map((part) => parsed(part, typeof model[0] === 'string' ? '' : model[0]));
}

function checkedObject(experiment: string, path: string, model: Row, fields: Row, complete: boolean): Row {
  for (const name of Object.keys(fields))
    if (!Object.hasOwn(model, name)) throw unknownField(experiment, [...path.split('.'), name], model);
  const result: Row = {};
  for (const [name, value] of Object.entries(model)) {
    const inner = path === '' ? name : `${path}.${name}`;
    if (Object.hasOwn(fields, name)) result[name] = checked(experiment, inner, value, fields[name]);
    else if (complete) result[name] = structuredClone(value);
    else throw new InputError(`${experiment}: ${inner} is missing`);
  }
  return result;
}

function checked(experiment: string, path: string, model: unknown, value: unknown): unknown {
  const refuse = (wanted: string) =>
    new InputError(`${experiment}: ${path} must be ${wanted}, got ${show(value)}`);
  if (Array.isArray(model)) {
    // A list of one may be written as its element.
    const list = Array.isArray(value) || isObject(value) ? value : [value];
    if (!Array.isArray(list)) throw refuse('a list');
    if (list.length === 0) throw refuse('a list of at least one element');
    if (list.length > LONGEST_LIST) throw refuse(`a list of at most ${LONGEST_LIST} elements`);
    return list.map((element, i) =>
      model.length === 0 ? element : checked(experiment, `${path}[${i}]`, model[0], element),
    );
  }
  if (isObject(model)) {
    if (!isObject(value)) throw refuse('an object');
    return checkedObject(experiment, path, model, value, !path.endsWith(']'));
  }
  if (typeof model === 'number' ? !Number.isFinite(value) : typeof value !== typeof model)
    throw refuse(
      typeof model === 'boolean' ? 'true or false' : typeof model === 'number' ? 'a number' : 'text',
    );
  if (typeof value === 'number') checkLimit(experiment, path, value);
  return value;
}

function unknownField(experiment: string, path: readonly string[], model: unknown): InputError {
  const name = path.filter((part) => part !== '').join('.');
  const there = isObject(model) ? `; there are: ${Object.keys(model).join(', ')}` : '';
  return new InputError(`${experiment} has no field ${show(name)}${there}`);
}

/** The fields in which two configurations differ. */
export function differingFields(a: Row, b: Row): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter(
    (name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]),
  );
}

/** The shortest command that runs this configuration. */
export function runCommandOf(experiment: Configured, config: Row): string {
  const byPreset = (['quick', 'full'] as const).map((preset) => {
    const from = experiment.presets[preset];
    const sets = differingFields(from, config).map(
      (name) => ` --set ${quoted(`${name}=${setValue(config[name])}`)}`,
    );
    return { preset, sets };
  });
  const { preset, sets } = byPreset[1].sets.length < byPreset[0].sets.length ? byPreset[1] : byPreset[0];
  return `freelunch run ${experiment.name} --preset ${preset}${sets.join('')}`;
}

const setValue = (value: unknown) =>
  typeof value === 'string'
    ? value
    : Array.isArray(value) && value.every((element) => typeof element === 'number')
      ? value.join(',')
      : JSON.stringify(value);

/** For a shell, where it needs to be. */
export const quoted = (text: string) =>
  /^[\w.,=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
