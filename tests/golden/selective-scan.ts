import type { Tensor } from '@freelunch/kernels';
import { give, type GoldenCase, type GoldenRunner, take } from './golden.ts';

/** [B, D, L] to [batch, seqLen, dInner], and back. */
const TIME_INWARDS = [0, 2, 1];
/** [B, G, N, L] to [batch, seqLen, nGroups, dState], and back. */
const GROUPS = [0, 3, 1, 2];
const GROUPS_BACK = [0, 2, 3, 1];

type Floats = Tensor<'float32'>;

/** B or C of a golden scan: constant, one for all channels, or grouped. */
const axesOf = (golden: GoldenCase, name: string): number[] | undefined =>
  [undefined, TIME_INWARDS, GROUPS][golden.tensors[name].shape.length - 2];
const axesBackOf = (golden: GoldenCase, name: string): number[] | undefined =>
  [undefined, TIME_INWARDS, GROUPS_BACK][golden.tensors[name].shape.length - 2];

const selectiveScan: GoldenRunner = (k, golden) => {
  const args = {
    u: give(k, golden, 'in.u', TIME_INWARDS)!,
    delta: give(k, golden, 'in.delta', TIME_INWARDS)!,
    A: give(k, golden, 'in.A')!,
    B: give(k, golden, 'in.B', axesOf(golden, 'in.B'))!,
    C: give(k, golden, 'in.C', axesOf(golden, 'in.C'))!,
    D: give(k, golden, 'in.D'),
    z: give(k, golden, 'in.z', TIME_INWARDS),
    deltaBias: give(k, golden, 'in.delta_bias'),
    deltaSoftplus: golden.config.delta_softplus as boolean,
    initialState: give(k, golden, 'in.initial_state'),
  };
  const results: Record<string, ArrayLike<number>> = {};
  const { y, lastState } = k.selectiveScan(args);
  results['out.out'] = take(y, TIME_INWARDS);
  results['out.last_state'] = take(lastState);

  if (golden.config.split !== undefined) {
    // In two parts: the second starts from the state in which the first ended, and ends where the whole does.
    const split = Number(golden.config.split);
    const cut = (x: Floats | undefined, from: number, to: number): Floats | undefined => {
      if (x === undefined || x.shape.length === 2) return x;
      const [batch, seqLen, ...rest] = x.shape;
      const row = rest.reduce((a, b) => a * b, 1);
      const parts = Array.from({ length: batch }, (_, b) => [
        ...x.data.subarray((b * seqLen + from) * row, (b * seqLen + to) * row),
      ]);
      return k.tensor(parts.flat(), [batch, to - from, ...rest]);
    };
    const part = (from: number, to: number) => ({
      ...args,
      u: cut(args.u, from, to)!,
      delta: cut(args.delta, from, to)!,
      B: cut(args.B, from, to)!,
      C: cut(args.C, from, to)!,
      z: cut(args.z, from, to),
    });
    const seqLen = args.u.shape[1];
    const first = k.selectiveScan(part(0, split));
    const second = k.selectiveScan({ ...part(split, seqLen), initialState: first.lastState });
    results['out.mid_state'] = take(first.lastState);
    results['out.last_state'] = take(second.lastState);
    const [batch, , dInner] = args.u.shape;
    const joined: number[] = [];
    for (let b = 0; b < batch; b++) {
      joined.push(...first.y.data.subarray(b * split * dInner, (b + 1) * split * dInner));
      const length = (seqLen - split) * dInner;
      joined.push(...second.y.data.subarray(b * length, (b + 1) * length));
    }
    results['out.out'] = take(k.tensor(joined, [batch, seqLen, dInner]), TIME_INWARDS);
  }

  if (golden.tensors['up.out'] === undefined && golden.tensors['up.last_state'] === undefined) return results;
  const gradients = k.selectiveScanBackward({
    ...args,
    dy: give(k, golden, 'up.out', TIME_INWARDS),
    dLastState: give(k, golden, 'up.last_state'),
  });
  results['grad.u'] = take(gradients.du, TIME_INWARDS);
  results['grad.delta'] = take(gradients.ddelta, TIME_INWARDS);
  results['grad.A'] = take(gradients.dA);
  results['grad.B'] = take(gradients.dB, axesBackOf(golden, 'in.B'));
  results['grad.C'] = take(gradients.dC, axesBackOf(golden, 'in.C'));
  if (gradients.dD) results['grad.D'] = take(gradients.dD);
  if (gradients.dz) results['grad.z'] = take(gradients.dz, TIME_INWARDS);
  if (gradients.dDeltaBias) results['grad.delta_bias'] = take(gradients.dDeltaBias);
  if (gradients.dInitialState) results['grad.initial_state'] = take(gradients.dInitialState);
  return results;
};

/** A run of steps. With heads, a head's channels are neighbours among dInner = H P: groups of heads are groups of channels. */
const selectiveStateUpdate: GoldenRunner = (k, golden) => {
  const many = golden.config.steps !== undefined;
  const steps = many ? Number(golden.config.steps) : 1;
  const heads = golden.config.nheads != null;
  const state = give(k, golden, 'in.state')!;
  const batch = state.shape[0];
  const dState = state.shape[state.shape.length - 1];
  const dInner = state.size / batch / dState;

  const atStep = (name: string, t: number, shape: number[]): Floats | undefined => {
    const tensor = golden.tensors[name];
    if (tensor === undefined) return undefined;
    const size = shape.reduce((a, b) => a * b, 1);
    return k.tensor(
      Float32Array.from(tensor.data.subarray(many ? t * size : 0, (many ? t : 0) * size + size)),
      shape,
    );
  };
  const channels = (name: string) => give(k, golden, name)?.reshape([dInner]);
  const rows = (name: string, t: number) => {
    const { shape } = golden.tensors[name];
    return atStep(
      name,
      t,
      heads || shape.length > (many ? 3 : 2) ? shape.slice(many ? 1 : 0) : shape.slice(-2),
    )!;
  };

  const held = state.reshape([batch, dInner, dState]);
  const A = give(k, golden, 'in.A')!.reshape([dInner, dState]);
  const outputs: number[] = [];
  for (let t = 0; t < steps; t++) {
    const y = k.selectiveScanStep({
      state: held,
      u: atStep('in.x', t, [batch, dInner])!,
      delta: atStep('in.dt', t, [batch, dInner])!,
      A,
      B: rows('in.B', t),
      C: rows('in.C', t),
      D: channels('in.D'),
      z: atStep('in.z', t, [batch, dInner]),
      deltaBias: channels('in.dt_bias'),
      deltaSoftplus: golden.config.dt_softplus as boolean,
    });
    outputs.push(...y.data);
  }
  return { 'out.out': outputs, 'out.state': take(held) };
};

export const selectiveScanRunners: Record<string, GoldenRunner> = {
  selective_scan: selectiveScan,
  selective_state_update: selectiveStateUpdate,
};
