import type { Kernels, Tensor } from '@freelunch/kernels';
import { relativeError } from '../compare.ts';
import { give, type GoldenCase, type GoldenRunner, take } from './golden.ts';

type SsdArgs = Parameters<Kernels['ssd']>[0];

/** Golden names of the tensors that have a gradient, and ours. */
const names = {
  x: 'x',
  dt: 'dt',
  A: 'A',
  B: 'B',
  C: 'C',
  D: 'D',
  z: 'z',
  dt_bias: 'dtBias',
  initial_state: 'initialState',
} as const;

const gradients = {
  x: 'dx',
  dt: 'ddt',
  A: 'dA',
  B: 'dB',
  C: 'dC',
  D: 'dD',
  z: 'dz',
  dt_bias: 'dDtBias',
  initial_state: 'dInitialState',
} as const;

/** Infinity is not JSON: an upper limit that is absent, null or a text stands for it. */
function limits(golden: GoldenCase): { dtLimit?: [number, number] } {
  const given = golden.config.dt_limit as unknown as [number, number | string | null] | undefined | null;
  return given ? { dtLimit: [given[0], typeof given[1] === 'number' ? given[1] : Infinity] } : {};
}

function inputs(k: Kernels, golden: GoldenCase): SsdArgs {
  const args: Record<string, unknown> = { dtSoftplus: golden.config.dt_softplus, ...limits(golden) };
  for (const [theirs, ours] of Object.entries(names)) args[ours] = give(k, golden, `in.${theirs}`);
  return args as unknown as SsdArgs;
}

/** Steps [begin, end) of a tensor [batch, seqLen, ...]. */
function steps(k: Kernels, tensor: Tensor, begin: number, end: number): Tensor<'float32'> {
  const [batch, seqLen, ...rest] = tensor.shape;
  const width = rest.reduce((a, b) => a * b, 1);
  const data = new Float32Array(batch * (end - begin) * width);
  for (let b = 0; b < batch; b++) {
    data.set(
      tensor.data.subarray((b * seqLen + begin) * width, (b * seqLen + end) * width),
      b * (end - begin) * width,
    );
  }
  return k.tensor(data, [batch, end - begin, ...rest]);
}

/** All results of the case with chunks of a given size (undefined: as the function chooses). */
function compute(
  k: Kernels,
  golden: GoldenCase,
  chunkSize: number | undefined,
): Record<string, ArrayLike<number>> {
  const args = { ...inputs(k, golden), chunkSize };
  const { y, lastState } = k.ssd(args);
  const results: Record<string, ArrayLike<number>> = {
    'out.out': take(y),
    'out.final_state': take(lastState),
  };
  if (golden.tensors['out.mid_state'] !== undefined) {
    const part = (begin: number, end: number): SsdArgs => ({
      ...args,
      x: steps(k, args.x, begin, end),
      dt: steps(k, args.dt, begin, end),
      B: steps(k, args.B, begin, end),
      C: steps(k, args.C, begin, end),
      z: args.z && steps(k, args.z, begin, end),
    });
    const { split, length } = golden.config;
    const first = k.ssd(part(0, split));
    const second = k.ssd({ ...part(split, length), initialState: first.lastState });
    results['out.mid_state'] = take(first.lastState);
    results['out.final_state'] = take(second.lastState);
    // Batches lie one after the other, so only one batch is a concatenation.
    if (args.x.shape[0] === 1) results['out.out'] = [...first.y.data, ...second.y.data];
  }
  const dy = give(k, golden, 'up.out');
  const dLastState = give(k, golden, 'up.final_state');
  if (dy === undefined && dLastState === undefined) return results;
  const got = k.ssdBackward({ ...args, dy, dLastState });
  for (const [theirs, ours] of Object.entries(gradients)) {
    const gradient = got[ours];
    if (gradient !== undefined) results[`grad.${theirs}`] = take(gradient);
  }
  return results;
}

/** The results that are farthest from the golden values among several ways to compute them. */
function worst(
  golden: GoldenCase,
  ways: Record<string, ArrayLike<number>>[],
): Record<string, ArrayLike<number>> {
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

export const ssdRunners: Record<string, GoldenRunner> = {
  // As chosen, step by step, and in chunks that do not divide the length.
  ssd: (k, golden) =>
    worst(
      golden,
      [undefined, 1, 7, 64].map((chunkSize) => compute(k, golden, chunkSize)),
    ),

  ssd_step(k, golden) {
    const { initialState: _, ...args } = inputs(k, golden);
    const state = give(k, golden, 'in.state')!;
    const y = k.ssdStep({ ...args, state });
    return { 'out.out': take(y), 'out.state': take(state) };
  },
};
