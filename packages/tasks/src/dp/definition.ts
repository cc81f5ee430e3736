/**
 * Dynamic programming with chain of thought. A problem is given by its parts: states in an order, what each state
 * needs of earlier states and of the input, a step, an aggregation. The task follows: the values are written out in
 * order, then the answer.
 *
 *     tokens  5 3 8 <sep> 5 8 16 <sep> 16 <eos>       (prefix sums)
 *     scored  . . .   .   *  *  *  *    *   *
 *
 * @see Feng et al. 2023, Towards revealing the mystery behind chain of thought, https://arxiv.org/abs/2305.15408
 */
import type { Random } from '@freelunch/random';
import type { Size } from '../options.js';
import type { Token, Transition } from './transition.js';

export type { Token } from './transition.js';

export interface DpDefinition<Problem, Value = number, State extends Token = number> {
  name: string;
  version?: number;
  summary?: string;
  /** Whatever the definition was made with; goes into manifests. */
  options?: object;
  /** What inputs and values are written with; `<pad>`, `<sep>` and `<eos>` come before them. */
  symbols?: readonly Token[];
  /** Instead of `symbols`: all tokens in the order of their ids, `<pad>`, `<eos>` and the marks of `layout` among them. */
  vocabulary?: readonly string[];
  /** Sizes that instances are drawn at. */
  size: Size;
  /** A random instance: plain data. Draw from `rng` alone. */
  random(rng: Random, size: number): Problem;
  /** The instance of a size that looks farthest back, for `locality`; by default some random ones. */
  example?(size: number): Problem;
  /**
   * Instances of a size with texts of every shape that there can be, two or more of each with other contents; where
   * absent, all texts of a size have the same shape, or random instances show what shapes there are.
   */
  shapes?(size: number): Problem[];
  /** The problem as the prompt shows it. */
  input(problem: Problem): Token[];
  /** Names of the states, in the order in which their values are written. */
  states(problem: Problem): State[];
  /** The earlier states that a state needs. */
  deps(problem: Problem, state: State): State[];
  /** The places of `input` that a state needs; none if absent. */
  reads?(problem: Problem, state: State): number[];
  /**
   * The value of a state, from the values of its `deps` and the inputs at its `reads`, in their order, and nothing
   * else: of `problem`, only lengths of lists, fields that are the same in all instances of a size, and those named in
   * `constants` may be used.
   */
  step(problem: Problem, state: State, values: Value[], inputs: Token[]): Value;
  /** The step as arithmetic, for problems of a size: what models with hand-set weights compute it by. */
  transition?(size: number): Transition<Problem, State>;
  /** Fields of the problem that say how the steps are chosen. */
  constants?: readonly string[];
  /** The states whose values make the answer; all if absent. */
  answerStates?(problem: Problem): State[];
  aggregate(problem: Problem, values: Value[]): Value;
  /** Smallest and largest value, if values are whole numbers. */
  range?: readonly [number, number];
  /** A value in tokens; the value itself if absent. `state` is undefined for the answer. */
  encode?(value: Value, state: State | undefined, problem: Problem): Token | Token[];
  /** The value that tokens stand for, undefined if none; the number or text that they read if absent. */
  decode?(tokens: string[], state: State, problem: Problem): Value | undefined;
  /** Values may be of several tokens; `layout.separator` must then follow each but the last. */
  multiToken?: boolean;
  /** Token j of a value needs only tokens from the j-th on of what it depends on: distances are measured so. */
  aligned?: boolean;
  /** Whether a value is a right one, where there are several. By default only that of `step` is. */
  accepts?(problem: Problem, state: State, value: Value, values: Value[], inputs: Token[]): boolean;
  /** With `inputs: 'inline'`: the inputs that are repeated before a value; `reads` if absent. */
  inlineReads?(problem: Problem, state: State): number[];
  /** Equal for problems that ask the same, whatever the order of steps; JSON if absent. */
  key?(problem: Problem): string;
  layout?: DpLayout<Problem, State>;
}

export interface DpLayout<Problem, State> {
  /** Between prompt and steps, or answer; `<sep>` if absent. */
  query?: string;
  /** Between steps and answer; `<sep>` if absent, null if the last step is the answer. */
  answer?: string | null;
  /** What follows a step, if anything. `index` counts from 0. */
  separator?(problem: Problem, state: State, index: number, count: number): string | undefined;
  /** Score the end token in the direct form; true if absent. */
  scoreEnd?: boolean;
}

export interface DpOptions {
  /** `cot`: the values, then the answer. `direct`: the answer alone. */
  form: 'cot' | 'direct';
  /** `inline`: each step repeats the inputs that it reads before its value, so that it finds them near. */
  inputs: 'prompt' | 'inline';
}

export interface DpSolution<Value, State> {
  states: State[];
  values: Value[];
  answer: Value;
}

export interface DpStructure<State> {
  states: State[];
  /** For each state, the places in `states` of those that it needs. */
  deps: number[][];
  /** For each state, the places of the input that it reads. */
  reads: number[][];
  /** Most dependencies, most reads of a state. */
  maxDeps: number;
  maxReads: number;
  /** Distance to the farthest dependency, in states. */
  mState: number;
}

/** The text with the places of its parts: who builds a model that writes it needs to know where to look. */
export interface DpText<Value, State> extends DpSolution<Value, State>, DpPlaces<State> {
  tokens: number[];
}

/** Where in a text its parts stand. */
export interface DpPlaces<State> {
  states: State[];
  promptLength: number;
  /** For each state: where its inlined inputs begin, where its value begins, where it ends. */
  inlineStart: number[];
  start: number[];
  end: number[];
  answerStart: number;
  answerEnd: number;
}
