import type { ResolvedConfig } from '@freelunch/config';
import { FormatError, show } from '@freelunch/errors';
import type { ParameterSpec } from '../../mixers/parameters.js';
import { placesOf } from './architectures/index.js';
import type { Arrangement } from './architectures/place.js';
import type { GgufHeader, GgufTensor } from './header.js';
import { unpackable } from './unpack.js';

/** Problems that an error lists; there can be as many as a hostile file likes. */
const LISTED = 1000;

/** Where a parameter comes from. */
export interface Target {
  tensor: GgufTensor;
  arrangement?: Arrangement;
}

const product = (shape: readonly number[]): number => shape.reduce((size, extent) => size * extent, 1);
const text = (shape: readonly number[]): string => `[${shape.join(', ')}]`;
const without1 = (shape: readonly number[]): number[] => shape.filter((extent) => extent !== 1);

/** Files leave out axes of extent 1, or have more of them, and may divide a vector into rows. */
function fits(wanted: readonly number[], got: readonly number[]): boolean {
  const [a, b] = [without1(wanted), without1(got)];
  if (a.length <= 1) return product(wanted) === product(got);
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

/** For each parameter of a model the tensor of a file. @throws FormatError that lists all that does not fit */
export function planOf(
  config: ResolvedConfig,
  architecture: string,
  specs: readonly ParameterSpec[],
  { tensors }: GgufHeader,
  where: string,
): Map<string, Target> {
  const places = placesOf(architecture, config);
  const wanted = new Map(specs.map((spec) => [spec.name, spec]));
  const targets = new Map<string, Target>();
  const problems: string[] = [];
  for (const tensor of tensors.values()) {
    const { name, shape, type } = tensor;
    const place = places(name);
    if (place === 'ignored') continue;
    const spec = place && wanted.get(place.parameter);
    if (spec === undefined) {
      problems.push(`${show(name)} ${text(shape)} has no place in the model`);
      continue;
    }
    const expected = place?.arrangement?.kind === 'transposed' ? spec.shape.toReversed() : spec.shape;
    if (targets.has(spec.name)) problems.push(`${show(name)} is there twice under other names`);
    if (!fits(expected, shape)) problems.push(`${show(name)} must be ${text(expected)}, got ${text(shape)}`);
    if (!unpackable.includes(type.name))
      problems.push(`${show(name)} must be of type ${unpackable.join(', ')}, got ${type.name}`);
    targets.set(spec.name, { tensor, arrangement: place?.arrangement });
  }
  for (const { name, shape } of specs)
    if (!targets.has(name)) problems.push(`${name} ${text(shape)} is missing`);
  if (problems.length > 0) {
    const more = problems.length > LISTED ? [`and ${problems.length - LISTED} more`] : [];
    throw new FormatError(
      `${where}: weights must fit the header, got\n  ${[...problems.slice(0, LISTED), ...more].join('\n  ')}`,
    );
  }
  return targets;
}
