import type { LookUpMixer } from '../program/look-ups.js';
import type { Plan } from '../program/compile.js';
import type { Transition } from '@freelunch/tasks';

export interface DpModelOptions<Problem = unknown, State = string | number> {
  mixer: LookUpMixer | 'sliding-window';
  /** Size of the instances that it solves, as in `task.sample(rng, size)`. */
  size: number;
  /** Build for texts of the same shape as this problem's instead of for all of the size. */
  problem?: Problem;
  /** Softmax attention: tokens that a query sees, itself included; with 'sliding-window' as many as needed if absent. */
  window?: number;
  /** Mamba: registers of a head at most; as many as needed if absent. */
  registers?: number;
  /** Linear attention: keys of a head at most; as many as needed if absent. */
  keys?: number;
  /** Builds a model that is too small for some look-ups instead of refusing: to watch it fail. */
  anyway?: boolean;
  /** What a step computes, for tasks of your own whose table would be too large. */
  transition?: Transition<Problem, State>;
}

/** What a model will be, and how far it looks. */
export interface DpPlan extends Plan {
  /** Shapes of text that it tells apart. */
  shapes: number;
  /** Heads that look up arguments. */
  lookUps: number;
  /** The farthest look-up, in tokens. */
  reach: number;
  /** Slots of the largest head: registers, keys, or tokens in sight. */
  slots: number;
  /** Tokens of the longest text. */
  textLength: number;
}
