import { ArgumentError, checkOptions, show } from '@freelunch/errors';

/** The learning rate of a step, counted from 1. */
export type Schedule = (step: number) => number;

function check(where: string, numbers: Record<string, number>, least: number): void {
  for (const [name, value] of Object.entries(numbers)) {
    if (typeof value !== 'number' || !(value >= least && value < Infinity))
      throw new ArgumentError(
        `${where}: ${name} must be a finite number from ${least} up, got ${show(value)}`,
      );
  }
}

/** The same rate at every step. */
export function constant(rate: number): Schedule {
  check('constant', { rate }, 0);
  return () => rate;
}

/** From `peak / warmupSteps` up in even steps to `peak`, then as `after` says; `peak` for good if it is absent. */
export function linearWarmup(peak: number, warmupSteps: number, after: Schedule = constant(peak)): Schedule {
  check('linearWarmup', { peak, warmupSteps }, 0);
  if (typeof after !== 'function')
    throw new ArgumentError(`linearWarmup: after must be a schedule, got ${show(after)}`);
  return (step) => (step < warmupSteps ? (peak * step) / warmupSteps : after(step));
}

/** Of {@link cosine}. */
export interface CosineOptions {
  peak: number;
  /** The step at which the rate reaches `floor`, and stays. */
  totalSteps: number;
  /** Steps of linear warm-up; 0 if absent. */
  warmupSteps?: number;
  /** 0 if absent. */
  floor?: number;
}

/**
 * Linear warm-up to `peak`, then half a cosine down to `floor`.
 *
 * @see Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983
 */
export function cosine(options: CosineOptions): Schedule {
  checkOptions('cosine', options ?? null, ['peak', 'totalSteps', 'warmupSteps', 'floor']);
  const { peak, totalSteps, warmupSteps = 0, floor = 0 } = options;
  check('cosine', { peak, warmupSteps, floor }, 0);
  if (typeof totalSteps !== 'number' || !(totalSteps > warmupSteps && totalSteps < Infinity))
    throw new ArgumentError(
      `cosine: totalSteps must be above warmupSteps = ${warmupSteps}, got ${show(totalSteps)}`,
    );
  return linearWarmup(peak, warmupSteps, (step) => {
    const share = Math.min((step - warmupSteps) / (totalSteps - warmupSteps), 1);
    return floor + ((peak - floor) * (1 + cosineOfPi(share))) / 2;
  });
}

/** cos(pi x) for x in [0, 1], by arithmetic alone: `Math.cos` differs between engines, and rates must not. */
export function cosineOfPi(x: number): number {
  if (x > 0.5) return -cosineOfPi(1 - x);
  const angle = Math.PI * x;
  const square = angle * angle;
  let sum = 0;
  for (let n = 22; n >= 2; n -= 2) sum = (1 + sum) * (-square / (n * (n - 1)));
  return 1 + sum;
}
