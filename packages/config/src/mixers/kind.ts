/** What kinds of mixers share: how their options are read. */
import { limits } from '../limits.js';
import type { Part } from '../part.js';

/** What mixers take from the rest of the model. */
export interface Surroundings {
  dModel: number;
  /** Epsilon of the norms. */
  eps: number;
  /** Whether parameters are named as in GPT-2, whose projections have biases. */
  gpt2: boolean;
}

/** One kind of mixer: the options that it has, and what they become. */
export interface Kind<Config, Resolved> {
  readonly options: readonly (keyof Config & string)[];
  resolve(p: Part, around: Surroundings, where: string, name: string): Resolved;
}

/** dInner, by itself or as a multiple of dModel. */
export function innerWidth(p: Part, dModel: number): number {
  const given = p.whole('dInner', undefined);
  if (given !== undefined && p.get('expand') === undefined) return given;
  const multiple = dModel * p.whole('expand', 2, 1, Math.floor(limits.size / dModel));
  if (given !== undefined && given !== multiple)
    p.fail('dInner', `expand dModel = ${multiple}, or expand absent`);
  return multiple;
}

/** nHeads and headDim. */
export function headsOf(p: Part, dModel: number): { nHeads: number; headDim: number } {
  const nHeads = p.needed('nHeads', limits.nHeads);
  const headDim = p.whole('headDim', undefined, 1, Math.floor(limits.size / nHeads));
  if (headDim === undefined && dModel % nHeads !== 0)
    p.fail('nHeads', `a divisor of dModel = ${dModel}, or headDim given`);
  return { nHeads, headDim: headDim ?? dModel / nHeads };
}

export const valueDimOf = (p: Part, nHeads: number, headDim: number): number =>
  p.whole('valueDim', headDim, 1, Math.floor(limits.size / nHeads));
