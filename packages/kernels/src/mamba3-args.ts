/** The arguments of Mamba-3's functions, and their checks. */
import type { Check } from './check.js';
import { pointers } from './pointers.js';
import type { Tensor } from './tensor.js';

/** What sequence, gradient and step have in common. */
interface Mamba3Options {
  x: Tensor;
  dt: Tensor;
  A: Tensor;
  trap: Tensor;
  B: Tensor;
  C: Tensor;
  angles: Tensor;
  BBias?: Tensor;
  CBias?: Tensor;
  D?: Tensor;
  mimoX?: Tensor;
  dtBias?: Tensor;
  dtSoftplus?: boolean;
  aFloor?: number;
  /** Which two channels of the state turn together: `'interleaved'` (default) `2 i` and `2 i + 1`, `'half'` `i` and `i + dState / 2`. */
  convention?: 'interleaved' | 'half';
}

export interface Mamba3Args extends Mamba3Options {
  initialAngle?: Tensor;
  initialState?: Tensor;
  initialB?: Tensor;
  initialX?: Tensor;
  chunkSize?: number;
}

export interface Mamba3BackwardArgs extends Mamba3Args {
  dy?: Tensor;
  dLastAngle?: Tensor;
  dLastState?: Tensor;
  dLastB?: Tensor;
  dLastX?: Tensor;
}

export interface Mamba3StepArgs extends Mamba3Options {
  angle: Tensor;
  state: Tensor;
  lastB: Tensor;
  lastX: Tensor;
}

export interface Mamba3Result {
  y: Tensor<'float32'>;
  lastAngle: Tensor<'float32'>;
  lastState: Tensor<'float32'>;
  lastB: Tensor<'float32'>;
  lastX: Tensor<'float32'>;
}

export interface Mamba3Gradients {
  dx: Tensor<'float32'>;
  ddt: Tensor<'float32'>;
  dA: Tensor<'float32'>;
  dtrap: Tensor<'float32'>;
  dB: Tensor<'float32'>;
  dC: Tensor<'float32'>;
  dangles: Tensor<'float32'>;
  dBBias?: Tensor<'float32'>;
  dCBias?: Tensor<'float32'>;
  dD?: Tensor<'float32'>;
  dMimoX?: Tensor<'float32'>;
  dDtBias?: Tensor<'float32'>;
  dInitialAngle?: Tensor<'float32'>;
  dInitialState?: Tensor<'float32'>;
  dInitialB?: Tensor<'float32'>;
  dInitialX?: Tensor<'float32'>;
}

export const TOKENS = ['batch', 'seqLen'];
const conventions = ['interleaved', 'half'] as const;

/** What goes from one sequence to the next. */
export const STATES = {
  angle: ['batch', 'nHeads', 'nAngles'],
  state: ['batch', 'nHeads', 'headDim', 'dState'],
  B: ['batch', 'nRanks', 'nHeads', 'dState'],
  x: ['batch', 'nHeads', 'headDim'],
};

/** Checks what decides how steps act on each other. @returns addresses and options as the kernels take them */
export function checkRecurrence(
  check: Check,
  args: Omit<Mamba3Options, 'x' | 'D' | 'mimoX'>,
  tokens: string[],
) {
  const { dt, A, trap, B, C, angles, BBias, CBias, dtBias } = args;
  const { dtSoftplus = false, aFloor, convention = 'interleaved' } = args;
  check.float32('dt', dt, [...tokens, 'nHeads']);
  check.float32('A', A, [...tokens, 'nHeads']);
  check.float32('trap', trap, [...tokens, 'nHeads']);
  check.float32('B', B, [...tokens, 'nRanks', 'nGroups', 'dState']);
  check.float32('C', C, [...tokens, 'nRanks', 'nGroups', 'dState']);
  check.float32('angles', angles, [...tokens, 'angleHeads', 'nAngles']);
  const { nHeads, nGroups, dState, nAngles, angleHeads } = check.sizes;
  if (nHeads % nGroups !== 0) {
    check.shape('B', `[..., nGroups, dState] with nGroups a divisor of nHeads = ${nHeads}`, B);
  }
  if (angleHeads !== 1 && angleHeads !== nHeads) {
    check.shape('angles', `[..., nHeads = ${nHeads}, nAngles] or [..., 1, nAngles]`, angles);
  }
  check.oneOf('convention', convention, conventions);
  if (convention === 'half' && dState % 2 !== 0) {
    check.shape('B', "[..., dState] with an even dState where convention is 'half'", B);
  }
  if (2 * nAngles > dState) {
    check.shape('angles', `[..., nAngles] with nAngles up to dState / 2 = ${dState / 2}`, angles);
  }
  if (aFloor !== undefined) check.number('aFloor', aFloor, 0);
  return {
    pointers: [
      ...pointers(dt, A, trap, B, C, angles),
      check.optional('BBias', BBias, ['nHeads', 'nRanks', 'dState']),
      check.optional('CBias', CBias, ['nHeads', 'nRanks', 'dState']),
    ] as const,
    dtBias: check.optional('dtBias', dtBias, ['nHeads']),
    options: [Number(convention === 'half'), Number(dtSoftplus), aFloor ?? -1] as const,
  };
}

/** Checks what sequence, gradient and step share. @returns the arguments of the kernels in their order */
export function checkOptions(check: Check, args: Mamba3Options, tokens: string[]) {
  const { x, D, mimoX } = args;
  check.float32('x', x, [...tokens, 'nHeads', 'headDim']);
  const { pointers, dtBias, options } = checkRecurrence(check, args, tokens);
  const { nHeads, headDim, nRanks, nGroups, dState, nAngles, angleHeads } = check.sizes;
  if (mimoX === undefined && nRanks > 1) check.argument('mimoX', 'given where nRanks is above 1', mimoX);
  const skip = check.optional('D', D, ['nHeads']);
  const mix = check.optional('mimoX', mimoX, ['nHeads', 'nRanks', 'headDim']);
  return {
    tensors: [x.pointer, ...pointers, skip, mix, dtBias] as const,
    sizes: [nHeads, headDim, nRanks, nGroups, dState, nAngles, angleHeads] as const,
    options,
  };
}

/** Checks what comes from an earlier sequence. @returns addresses */
export function checkInitial(check: Check, args: Mamba3Args): readonly number[] {
  const { initialAngle, initialState, initialB, initialX } = args;
  return [
    check.optional('initialAngle', initialAngle, STATES.angle),
    check.optional('initialState', initialState, STATES.state),
    check.optional('initialB', initialB, STATES.B),
    check.optional('initialX', initialX, STATES.x),
  ];
}
