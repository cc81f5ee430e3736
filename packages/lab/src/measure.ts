/** Times real models over lengths, and holds predicted times and crossovers against them. */
import {
  cost,
  crossing,
  fitExponent,
  fitMachine,
  type Machine,
  type ModelConfig,
  predict,
} from '@freelunch/complexity';
import type { Kernels } from '@freelunch/kernels';
import { createModel, type LanguageModel, type ModelConfig as RealConfig } from '@freelunch/models';

export type MeasuredMode = 'prefill' | 'decode';

export interface Curve {
  name: string;
  mode: MeasuredMode;
  /** Power by which the times of the longer half of the lengths grow. */
  exponent: number;
  machine: Machine;
  points: { length: number; seconds: number; predicted: number; fitted: boolean }[];
}

export interface MeasuredCrossover {
  first: string;
  second: string;
  mode: MeasuredMode;
  /** Which was cheaper at the greatest length. */
  cheaper: string;
  /** Absent: one was the cheaper one at all lengths. */
  measured?: number;
  predicted?: number;
  /** predicted / measured - 1 */
  off?: number;
}

export interface MeasureReport {
  lengths: number[];
  passes: number;
  curves: Curve[];
  crossovers: MeasuredCrossover[];
}

export interface MeasureOptions {
  models: readonly { name: string; config: ModelConfig }[];
  lengths: readonly number[];
  passes: number;
  signal: AbortSignal;
  onProgress: (progress: { done: number; label: string }) => void;
}

const STEPS = 16;
const modes: readonly MeasuredMode[] = ['prefill', 'decode'];

/**
 * The best time of several passes. Machines are fitted to every other length, the shortest and on; the lengths between
 * are only predicted, and measured crossovers are interpolated between all lengths.
 *
 * @throws the signal's reason if it is aborted
 */
export async function measure(k: Kernels, options: MeasureOptions): Promise<MeasureReport> {
  const { models, passes, signal, onProgress } = options;
  const lengths = [...options.lengths].sort((a, b) => a - b);
  const real = models.map(({ config }) => createModel(k, config as RealConfig));
  const best = models.map(() => modes.map(() => lengths.map(() => Infinity)));
  try {
    for (let pass = 0; pass < passes; pass++) {
      for (const [l, length] of lengths.entries()) {
        for (const [i, model] of real.entries()) {
          const done = (pass + (l * models.length + i) / (lengths.length * models.length)) / passes;
          onProgress({ done, label: `${models[i].name}, ${length} tokens` });
          await new Promise(setImmediate); // lets an interrupt in
          signal.throwIfAborted();
          timeOnce(model, length).forEach((seconds, mode) => {
            best[i][mode][l] = Math.min(best[i][mode][l], seconds);
          });
        }
      }
    }
  } finally {
    for (const model of real) model.dispose();
  }

  const curves = models.flatMap(({ name, config }, i) =>
    modes.map((mode, at) => fittedCurve(name, config, mode, lengths, best[i][at])),
  );
  const crossovers = modes.flatMap((mode) => {
    const own = curves.filter((entry) => entry.mode === mode);
    return own
      .slice(1)
      .map((other, i) => compareTimes(own[0], other, models[0].config, models[i + 1].config));
  });
  return { lengths, passes, curves, crossovers };
}

/** Seconds of a prompt, and of a step after it. */
function timeOnce(model: LanguageModel, length: number): [number, number] {
  const prompt = Int32Array.from({ length }, (_, i) => (i * 31) % model.config.vocabSize);
  const state = model.initialState();
  try {
    const start = performance.now();
    model.forward(prompt, { state, lastOnly: true }).dispose();
    const prefill = performance.now() - start;
    let step = Infinity;
    for (let i = 0; i < STEPS; i++) {
      const before = performance.now();
      model.step(1, state).dispose();
      step = Math.min(step, performance.now() - before);
    }
    return [prefill / 1000, step / 1000];
  } finally {
    state.dispose();
  }
}

const costOf = (config: ModelConfig, mode: MeasuredMode, promptLength: number) =>
  cost(config, { mode, promptLength });

function fittedCurve(
  name: string,
  config: ModelConfig,
  mode: MeasuredMode,
  lengths: readonly number[],
  seconds: readonly number[],
): Curve {
  const samples = lengths.map((length, i) => ({ tree: costOf(config, mode, length), seconds: seconds[i] }));
  const machine = fitMachine(samples.filter((_, i) => i % 2 === 0));
  const half = lengths.length >> 1;
  return {
    name,
    mode,
    machine,
    exponent: fitExponent(lengths.slice(half), seconds.slice(half)).exponent,
    points: samples.map(({ tree }, i) => ({
      length: lengths[i],
      seconds: seconds[i],
      predicted: predict(tree, machine),
      fitted: i % 2 === 0,
    })),
  };
}

/** Between measured lengths times are taken to lie on straight lines. */
function interpolated({ points }: Curve): (length: number) => number {
  return (length) => {
    const right = Math.max(
      1,
      points.findIndex((point) => point.length >= length),
    );
    const [a, b] = [points[right - 1], points[right]];
    return a.seconds + ((b.seconds - a.seconds) * (length - a.length)) / (b.length - a.length);
  };
}

function compareTimes(a: Curve, b: Curve, first: ModelConfig, second: ModelConfig): MeasuredCrossover {
  const { mode, points } = a;
  const range = { from: points[0].length, to: points.at(-1)!.length };
  const measured = crossing(interpolated(a), interpolated(b), range);
  const time = (config: ModelConfig, machine: Machine) => (length: number) =>
    predict(costOf(config, mode, length), machine);
  const predicted = crossing(time(first, a.machine), time(second, b.machine), range);
  return {
    first: a.name,
    second: b.name,
    mode,
    cheaper: measured.cheaper === 'second' ? b.name : a.name,
    measured: measured.at,
    predicted: predicted.at,
    ...(measured.at !== undefined && predicted.at !== undefined && { off: predicted.at / measured.at - 1 }),
  };
}
