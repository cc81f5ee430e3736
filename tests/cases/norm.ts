import { type Case, fill, normal, type Size } from './case.ts';

/** A single element is normed to 1 but for eps: a small one would leave gradients of nothing but rounding. */
const epsOf = ({ dim }: Size) => (dim === 1 ? 0.5 : 1e-5);
const shape = ({ rows, dim }: Size) => [Number(rows), Number(dim)];
const plain: Size[] = [
  { rows: 1, dim: 1 },
  { rows: 2, dim: 3 },
  { rows: 5, dim: 24 },
  { rows: 67, dim: 13 }, // past two blocks of rows
  { rows: 3, dim: 131 },
  { rows: 600, dim: 5 }, // three runs of rows, whose gradients of the weight are added up
];
const wide: Size[] = [{ rows: 2, dim: 1027 }];
const gated: Size[] = [
  { rows: 1, dim: 1, groups: 1 },
  { rows: 35, dim: 6, groups: 2 },
  { rows: 3, dim: 66, groups: 3 },
  { rows: 530, dim: 4, groups: 2 },
];

/** rmsNorm, layerNorm: with all that is optional, or with nothing. */
function norm(
  op: 'rmsNorm' | 'layerNorm',
  given: 'weight' | 'weight, bias' | 'nothing',
  sizes = plain,
): Case {
  const names = given === 'nothing' ? [] : given.split(', ');
  return {
    op,
    title: `${op} with ${given}`,
    sizes,
    inputs: (size, rng) => ({
      x: normal(rng, shape(size)),
      ...Object.fromEntries(names.map((name) => [name, normal(rng, [Number(size.dim)])])),
      eps: given === 'nothing' ? 0.1 : epsOf(size),
    }),
    tolerance: 1e-6,
    backward: { tolerance: 2e-6, inputs: ['x', ...names], outputs: ['y'] },
  };
}

/** Rows of mean 1000 and deviation 1: the mean must go before the squares. */
const offset: Case = {
  ...norm('layerNorm', 'weight, bias', [{ rows: 3, dim: 64 }, ...wide]),
  title: 'layerNorm far from zero',
  inputs: (size, rng) => ({ x: fill(shape(size), () => 1000 + rng.normal()) }),
  tolerance: 2e-6,
  backward: { tolerance: 1e-5, inputs: ['x'], outputs: ['y'] },
};

const gatedNorm = (normBeforeGate: boolean, weighted: boolean): Case => ({
  op: 'gatedRmsNorm',
  title: `gatedRmsNorm, ${normBeforeGate ? 'norm' : 'gate'} first, ${weighted ? 'with' : 'without'} weight`,
  sizes: gated,
  inputs: (size, rng) => ({
    x: normal(rng, shape(size)),
    z: normal(rng, shape(size), 2),
    ...(weighted ? { weight: normal(rng, [Number(size.dim)]) } : {}),
    eps: epsOf(size),
    groups: Number(size.groups),
    normBeforeGate,
  }),
  tolerance: 1e-6,
  backward: { tolerance: 3e-6, inputs: ['x', 'z', 'weight'], outputs: ['y'] },
});

export const normCases: Case[] = [
  norm('rmsNorm', 'weight', [...plain, ...wide]),
  norm('rmsNorm', 'nothing'),
  norm('layerNorm', 'weight, bias', [...plain, ...wide]),
  norm('layerNorm', 'weight'),
  norm('layerNorm', 'nothing'),
  offset,
  gatedNorm(false, true),
  gatedNorm(false, false),
  gatedNorm(true, true),
  gatedNorm(true, false),
];
