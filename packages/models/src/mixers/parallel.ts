/**
 * Several mixers side by side on the same input, as Falcon-H1 has them (TII 2025, arXiv:2507.22448):
 *
 *   y = sum over branches of outMultiplier mixer(inMultiplier x)
 *
 * They share one state, in which each has names that the others do not have.
 */
import type { Kernels } from '@freelunch/kernels';
import type { Mixer, MixerState } from './mixer.js';
import { freeing, type Ops, scaled } from './ops.js';
import type { FloatTensor, Scope } from './parameters.js';

export interface ParallelBranch {
  /** Of its parameters, without a dot. */
  name: string;
  mixer: Mixer;
  inMultiplier: number;
  outMultiplier: number;
}

export function parallel(branches: readonly ParallelBranch[]): Mixer {
  const sum = (o: Ops, x: FloatTensor, mix: (mixer: Mixer, name: string, x: FloatTensor) => FloatTensor) =>
    branches
      .map(({ name, mixer, inMultiplier, outMultiplier }) =>
        freeing(o, () => scaled(o, mix(mixer, name, scaled(o, x, inMultiplier)), outMultiplier)),
      )
      .reduce((a, b) => o.add({ a, b }));
  const inside = (p: Scope, name: string) => p.inside(`${name}.`);

  return {
    declare(list, prefix) {
      for (const { name, mixer } of branches) mixer.declare(list, `${prefix}${name}.`);
    },

    forward: (o, p, x, state) => sum(o, x, (mixer, name, u) => mixer.forward(o, inside(p, name), u, state)),

    initialState(k: Kernels, batch: number): MixerState {
      const states = branches.map(({ mixer }) => mixer.initialState(k, batch));
      return Object.assign({}, ...states, {
        tensors: Object.assign({}, ...states.map(({ tensors }) => tensors)) as MixerState['tensors'],
      }) as MixerState;
    },

    makeRoom(k, state, added) {
      for (const { mixer } of branches) mixer.makeRoom?.(k, state, added);
    },

    step: (o, p, x, state, now) =>
      sum(o, x, (mixer, name, u) => mixer.step(o, inside(p, name), u, state, now)),

    stateBytes: (seqLen) => branches.reduce((bytes, { mixer }) => bytes + mixer.stateBytes(seqLen), 0),
  };
}
