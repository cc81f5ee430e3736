import type { Kernels, Tensor } from '@freelunch/kernels';
import { relativeError } from '../compare.ts';
import { give, type GoldenCase, type GoldenRunner } from './golden.ts';

type Mamba3Args = Parameters<Kernels['mamba3']>[0];
type Results = Record<string, ArrayLike<number>>;

/** Golden names of what goes from one sequence to the next, of our inputs and of our outputs. */
const states = [
  ['angle_state', 'initialAngle', 'lastAngle'],
  ['ssm_state', 'initialState', 'lastState'],
  ['k_state', 'initialB', 'lastB'],
  ['v_state', 'initialX', 'lastX'],
] as const;

/** Golden names of the other inputs, and ours. */
const names = {
  x: 'x',
  dt: 'dt',
  trap: 'trap',
  B: 'B',
  C: 'C',
  angles: 'angles',
  B_bias: 'BBias',
  C_bias: 'CBias',
  D: 'D',
  mimo_x: 'mimoX',
} as const;

const gradientOf = (name: string) =>
  /[A-Z]/.test(name.slice(1)) ? `d${name[0].toUpperCase()}${name.slice(1)}` : `d${name}`;

/** The axis of ranks, which the form with a single input and output does not have, and where it belongs. */
const rankAxes: Record<string, number> = { B: -2, C: -2, B_bias: 1, C_bias: 1, k_state: 1 };

/** An input; with its axis of ranks. */
function input(
  k: Kernels,
  golden: GoldenCase,
  kind: 'in' | 'up',
  name: string,
): Tensor<'float32'> | undefined {
  const tensor = give(k, golden, `${kind}.${name}`);
  if (tensor === undefined || golden.config.mimo_rank > 0 || !(name in rankAxes)) return tensor;
  const shape = [...tensor.shape];
  shape.splice(rankAxes[name] < 0 ? shape.length + rankAxes[name] : rankAxes[name], 0, 1);
  return k.tensor(tensor.data, shape);
}

/** Inputs of the state space, but for what goes on from an earlier sequence. The golden files have A dt in place of A. */
function inputs(k: Kernels, golden: GoldenCase): Mamba3Args {
  const args: Record<string, unknown> = {
    convention: golden.config.rotate === ('halves' as unknown) ? 'half' : 'interleaved',
  };
  for (const [theirs, ours] of Object.entries(names)) args[ours] = input(k, golden, 'in', theirs);
  const dt = golden.tensors['in.dt'];
  const rates = Float32Array.from(golden.tensors['in.adt'].data, (value, i) => value / dt.data[i]);
  args.A = k.tensor(rates, dt.shape);
  return args as unknown as Mamba3Args;
}

/** Norm, gate and sum over ranks, where the case has a gate. */
function gateOf(k: Kernels, golden: GoldenCase, x: Tensor<'float32'>) {
  const z = input(k, golden, 'in', 'z');
  if (z === undefined) return undefined;
  const weight = input(k, golden, 'in', 'norm_weight');
  const [mimoZ, mimoO] = ['mimo_z', 'mimo_o'].map((name) => input(k, golden, 'in', name));
  return { x, z, weight, mimoZ, mimoO };
}

/** Angles as the file has them, which are not reduced: whole turns are added to ours. */
function unwound(got: ArrayLike<number>, want: ArrayLike<number>): number[] {
  const turn = 2 * Math.PI;
  return Array.from(got, (angle, i) => angle + turn * Math.round((want[i] - angle) / turn));
}

function stateResults(golden: GoldenCase, results: Results, last: (name: string) => Tensor): void {
  for (const [theirs, , ours] of states) {
    const got = last(ours).toArray();
    const want = golden.tensors[`out.${theirs}`].data;
    results[`out.${theirs}`] = theirs === 'angle_state' ? unwound(got, want) : got;
  }
}

/** All results of a sequence with chunks of a given size (undefined: as the function chooses). */
function compute(k: Kernels, golden: GoldenCase, chunkSize: number | undefined): Results {
  const args: Mamba3Args = { ...inputs(k, golden), chunkSize };
  for (const [theirs, ours] of states) args[ours] = input(k, golden, 'in', theirs);
  const forward = k.mamba3(args);
  const gate = gateOf(k, golden, forward.y);
  const results: Results = { 'out.out': (gate ? k.mamba3Gate(gate) : forward.y).toArray() };
  stateResults(golden, results, (name) => forward[name as keyof typeof forward]);

  const up = input(k, golden, 'up', 'out');
  let dy = up && k.tensor(up.data, (gate?.z ?? forward.y).shape);
  if (gate && dy) {
    const back = k.mamba3GateBackward({ ...gate, dy });
    results['grad.z'] = back.dz.toArray();
    if (back.dweight) results['grad.norm_weight'] = back.dweight.toArray();
    if (back.dMimoZ) results['grad.mimo_z'] = back.dMimoZ.toArray();
    if (back.dMimoO) results['grad.mimo_o'] = back.dMimoO.toArray();
    dy = back.dx;
  }
  const upstream = Object.fromEntries(
    states.map(([theirs, , ours]) => [gradientOf(ours), input(k, golden, 'up', theirs)]),
  );
  const got = k.mamba3Backward({ ...args, dy, ...upstream }) as unknown as Record<string, Tensor | undefined>;
  for (const [theirs, ours] of [...Object.entries(names), ...states]) {
    const gradient = got[gradientOf(ours)];
    if (gradient !== undefined) results[`grad.${theirs}`] = gradient.toArray();
  }
  // A dt and dt are independent in the file.
  const dt = golden.tensors['in.dt'].data;
  const dA = got.dA!.data;
  const ddt = got.ddt!.data;
  const dAdt = Array.from(dA, (value, i) => value / dt[i]);
  results['grad.adt'] = dAdt;
  results['grad.dt'] = Array.from(ddt, (value, i) => value - dAdt[i] * args.A.data[i]);
  return results;
}

/** The results that are farthest from the golden values among several ways to compute them. */
function worst(golden: GoldenCase, ways: Results[]): Results {
  const results = { ...ways[0] };
  for (const way of ways.slice(1)) {
    for (const [name, got] of Object.entries(way)) {
      const want = golden.tensors[name]?.data;
      if (want !== undefined && relativeError(got, want) > relativeError(results[name], want))
        results[name] = got;
    }
  }
  return results;
}

// As chosen, step by step, and in chunks that do not divide the length.
const sequence: GoldenRunner = (k, golden) =>
  worst(
    golden,
    [undefined, 1, 7, 64].map((chunkSize) => compute(k, golden, chunkSize)),
  );

const step: GoldenRunner = (k, golden) => {
  const carried = {
    angle: input(k, golden, 'in', 'angle_state')!,
    state: input(k, golden, 'in', 'ssm_state')!,
    lastB: input(k, golden, 'in', 'k_state')!,
    lastX: input(k, golden, 'in', 'v_state')!,
  };
  const y = k.mamba3Step({ ...inputs(k, golden), ...carried });
  const gate = gateOf(k, golden, y);
  const results: Results = { 'out.out': (gate ? k.mamba3Gate(gate) : y).toArray() };
  const after: Record<string, Tensor> = {
    lastAngle: carried.angle,
    lastState: carried.state,
    lastB: carried.lastB,
    lastX: carried.lastX,
  };
  stateResults(golden, results, (name) => after[name]);
  return results;
};

export const mamba3Runners: Record<string, GoldenRunner> = {
  mamba3: sequence,
  mamba3_mimo: sequence,
  mamba3_step: step,
  mamba3_mimo_step: step,
};
