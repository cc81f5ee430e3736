/**
 * Times small models, fits a machine to them, predicts the times and crossovers of other models, and times these as well.
 */
import {
  type Cost,
  cost,
  crossing,
  fitExponent,
  fitMachines,
  kernelGrain,
  type Machine,
  type ModelConfig,
  predict,
} from '@freelunch/complexity';
import type { Kernels } from '@freelunch/kernels';
import { createModel, type LanguageModel, type ModelConfig as RealConfig } from '@freelunch/models';
import type { Calibration, Pair } from './models.js';
import type { NamedConfig } from '../files/model-config.js';

export type MeasuredMode = 'prefill' | 'decode';
export const measuredModes: readonly MeasuredMode[] = ['prefill', 'decode'];

/** Times of a model that no machine was fitted to. */
export interface Curve {
  name: string;
  mode: MeasuredMode;
  /** Powers by which times of the longer half of the lengths grow. */
  exponent: number;
  predictedExponent: number;
  /** Seconds of a prompt of `length` tokens, or of a step after as many. */
  points: { length: number; seconds: number; predicted: number }[];
}

export interface MeasuredCrossover {
  first: string;
  second: string;
  mode: MeasuredMode;
  /** Which was cheaper at the greatest length. */
  cheaper: string;
  predictedCheaper: string;
  /** From where on it was; absent where one was the cheaper one at all lengths. */
  measured?: number;
  predicted?: number;
  /** predicted / measured - 1 */
  off?: number;
  /** How far apart the measured times are at the predicted length: what a choice by it would cost at most. */
  gap?: number;
}

/** How fast the machine is at one class of ops, in billions a second and in microseconds; absent: takes no time. */
export interface Rates {
  class: string;
  gflops?: number;
  gigabytes?: number;
  gexps?: number;
  callMicroseconds?: number;
}

export interface MeasureReport {
  lengths: number[];
  passes: number;
  /** Threads that computed. */
  threads: number;
  calibration: {
    models: string[];
    lengths: number[];
    /** How far the fit is off its own samples: median, and the worst. */
    median: number;
    worst: number;
    rates: Rates[];
  };
  curves: Curve[];
  crossovers: MeasuredCrossover[];
}

export interface MeasureOptions {
  models: readonly NamedConfig[];
  pairs: readonly Pair[];
  lengths: readonly number[];
  /** What the machine is fitted to. */
  calibration: Calibration;
  passes: number;
  signal: AbortSignal;
  onProgress: (progress: { done: number; label: string }) => void;
}

const STEPS = 16;
/** Short prompts are repeated for so long. */
const LEAST_MS = 4;
/** A time stands when the best two of a model, a length and a mode are so near to each other. */
const AGREEMENT = 1.03;

/**
 * The machine is fitted to the calibration models alone; their times and those of the others are taken in turn, so that
 * a slow spell hits all. Measured crossovers are interpolated between lengths.
 *
 * @throws the signal's reason if it is aborted
 */
export async function measure(k: Kernels, options: MeasureOptions): Promise<MeasureReport> {
  const { models, pairs, calibration, passes } = options;
  const lengths = [...options.lengths].sort((a, b) => a - b);
  const runs = await timeAll(
    k,
    [
      ...calibration.models.map((model) => ({ ...model, lengths: calibration.lengths })),
      ...models.map((model) => ({ ...model, lengths })),
    ],
    options,
  );
  const samples = runs.slice(0, calibration.models.length).flatMap(({ config, seconds }) =>
    measuredModes.flatMap((mode, m) =>
      calibration.lengths.map((length, i) => ({
        mode,
        tree: executed(config, mode, length),
        seconds: seconds[i][m],
      })),
    ),
  );
  const machines = fitMachines(samples, (op, { mode }) => classOf(op, mode));
  const timeOf = (tree: Cost, mode: MeasuredMode) =>
    predict(tree, (op) => machines[classOf(op, mode)] ?? machines[`other, ${mode}`]);
  const errors = samples.map(({ tree, mode, seconds }) => Math.abs(timeOf(tree, mode) / seconds - 1));

  const predicted = models.map(({ config }) =>
    measuredModes.map((mode) => remembered((length) => timeOf(executed(config, mode, length), mode))),
  );
  const half = lengths.length >> 1;
  const exponent = (times: readonly number[]) => fitExponent(lengths.slice(half), times.slice(half)).exponent;
  const curves = models.map(({ name }, i) =>
    measuredModes.map((mode, m): Curve => {
      const points = lengths.map((length, l) => ({
        length,
        seconds: runs[calibration.models.length + i].seconds[l][m],
        predicted: predicted[i][m](length),
      }));
      return {
        name,
        mode,
        exponent: exponent(points.map(({ seconds }) => seconds)),
        predictedExponent: exponent(points.map((point) => point.predicted)),
        points,
      };
    }),
  );
  const range = { from: lengths[0], to: lengths.at(-1)! };
  const crossovers = measuredModes.flatMap((mode, m) =>
    pairs.map(([a, b]): MeasuredCrossover => {
      const times = [interpolated(curves[a][m]), interpolated(curves[b][m])];
      const real = crossing(times[0], times[1], range);
      const expected = crossing(predicted[a][m], predicted[b][m], range);
      const nameOf = (side: string) => models[side === 'second' ? b : a].name;
      return {
        first: models[a].name,
        second: models[b].name,
        mode,
        cheaper: nameOf(real.cheaper),
        predictedCheaper: nameOf(expected.cheaper),
        ...(real.at !== undefined && { measured: real.at }),
        ...(expected.at !== undefined && {
          predicted: expected.at,
          gap: Math.abs(Math.log(times[0](expected.at) / times[1](expected.at))),
        }),
        ...(real.at !== undefined && expected.at !== undefined && { off: expected.at / real.at - 1 }),
      };
    }),
  );
  return {
    lengths,
    passes,
    threads: k.threads,
    calibration: {
      models: calibration.models.map(({ name }) => name),
      lengths: calibration.lengths,
      median: median(errors),
      worst: Math.max(...errors),
      rates: Object.entries(machines).map(([name, machine]) => ratesOf(name, machine)),
    },
    curves: curves.flat(),
    crossovers,
  };
}

/** What `off` is among crossovers that were both measured and predicted, and what is to be said of the rest. */
export function summary(crossovers: readonly MeasuredCrossover[]): {
  both: number;
  within: number;
  median: number;
  worst: number;
  /** Neither measured nor predicted, and the same one cheaper. */
  neither: number;
  /** Only one of the two, or neither but another one cheaper. */
  missed: number;
} {
  const both = crossovers.flatMap(({ off }) => (off === undefined ? [] : [Math.abs(off)]));
  const neither = crossovers.filter(
    ({ measured, predicted, cheaper, predictedCheaper }) =>
      measured === undefined && predicted === undefined && cheaper === predictedCheaper,
  ).length;
  return {
    both: both.length,
    within: both.filter((off) => off <= 0.25).length,
    median: median(both),
    worst: Math.max(0, ...both),
    neither,
    missed: crossovers.length - both.length - neither,
  };
}

/** The middle one, of an even number the greater of the two; 0 of none. */
export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

const executed = (config: ModelConfig, mode: MeasuredMode, promptLength: number): Cost =>
  cost(config, { mode, promptLength, grain: kernelGrain });

const mixers = new Set(['softmax_attention', 'scan', 'ssd', 'linear_attention', 'delta_rule']);

/** Ops that run at about one speed: products of many rows or of one, each mixer, activations, and what passes through. */
function classOf({ name }: Cost, mode: MeasuredMode): string {
  if (name === 'lm_head') return 'products, decode'; // one row also after a prompt
  const kind = mixers.has(name)
    ? name
    : /_proj$|^fc\d|^c_/.test(name)
      ? 'products'
      : /gelu|silu/.test(name)
        ? 'activations'
        : 'other';
  return `${kind}, ${mode}`;
}

function ratesOf(name: string, { flops, bytes, transcendentals, perOp }: Machine): Rates {
  const rate = (value: number) => (Number.isFinite(value) ? value / 1e9 : undefined);
  return {
    class: name,
    gflops: rate(flops),
    gigabytes: rate(bytes),
    gexps: rate(transcendentals!),
    callMicroseconds: perOp! > 0 ? perOp! * 1e6 : undefined,
  };
}

interface Run {
  config: ModelConfig;
  /** Of a prompt and of a step, length by length. */
  seconds: number[][];
}

/** Lets an interrupt in. @throws the signal's reason if it is aborted */
async function turn(signal: AbortSignal): Promise<void> {
  await new Promise(setImmediate);
  signal.throwIfAborted();
}

async function timeAll(
  k: Kernels,
  jobs: readonly (NamedConfig & { lengths: readonly number[] })[],
  { passes, signal, onProgress }: MeasureOptions,
): Promise<Run[]> {
  const real: LanguageModel[] = [];
  // The best times of each mode, the very best first.
  const best = jobs.map(({ lengths }) => lengths.map(() => measuredModes.map(() => [Infinity, Infinity])));
  const lengths = [...new Set(jobs.flatMap((job) => job.lengths))].sort((a, b) => a - b);
  const cells = lengths.flatMap((length) =>
    jobs.flatMap((job, i) => {
      const at = job.lengths.indexOf(length);
      return at === -1 ? [] : [{ length, job: i, at }];
    }),
  );
  try {
    for (const { config } of jobs) {
      await turn(signal);
      real.push(createModel(k, config as RealConfig));
    }
    for (let pass = 0; pass < 2 * passes; pass++) {
      // Half of the passes are for times that another program has disturbed.
      const left =
        pass < passes
          ? cells
          : cells.filter(({ job, at }) => best[job][at].some(([a, b]) => b > a * AGREEMENT));
      for (const [c, { length, job, at }] of left.entries()) {
        const done = Math.min(0.99, (pass + c / left.length) / (passes + 1));
        onProgress({ done, label: `${jobs[job].name}, ${length} tokens` });
        await turn(signal);
        timeOnce(real[job], length).forEach((seconds, m) => {
          best[job][at][m] = [...best[job][at][m], seconds].sort((a, b) => a - b).slice(0, 2);
        });
      }
    }
  } finally {
    for (const model of real) model.dispose();
  }
  return jobs.map(({ config }, i) => ({ config, seconds: best[i].map((of) => of.map(([least]) => least)) }));
}

/** Seconds of a prompt (of the processor), and of a step after it (of the clock), code and weights being warm. */
function timeOnce(model: LanguageModel, length: number): number[] {
  const prompt = Int32Array.from({ length }, (_, i) => (i * 31) % model.config.vocabSize);
  const run = (tokens: Int32Array): [number, number] => {
    const state = model.initialState();
    try {
      const start = performance.now();
      const before = process.cpuUsage();
      model.forward(tokens, { state, lastOnly: true }).dispose();
      const { user, system } = process.cpuUsage(before);
      // What other programs took in between is no time of the model; helpers of this one may add some.
      const prefill = Math.min(performance.now() - start, (user + system) / 1000);
      let step = Infinity;
      for (let i = 0; i < STEPS; i++) {
        const stepStart = performance.now();
        model.step(1, state).dispose();
        step = Math.min(step, performance.now() - stepStart);
      }
      return [prefill / 1000, step / 1000];
    } finally {
      state.dispose();
    }
  };
  run(prompt.subarray(0, 32));
  let best = run(prompt);
  const end = performance.now() + LEAST_MS;
  while (performance.now() < end) {
    const next = run(prompt);
    best = [Math.min(best[0], next[0]), Math.min(best[1], next[1])];
  }
  return best;
}

function remembered(f: (x: number) => number): (x: number) => number {
  const values = new Map<number, number>();
  return (x) => {
    let value = values.get(x);
    if (value === undefined) values.set(x, (value = f(x)));
    return value;
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
