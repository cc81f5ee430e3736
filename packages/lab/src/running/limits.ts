/** What the numbers of configurations may be: what lies beyond is refused before anything is allocated. */
import { InputError } from '../errors.js';

interface Limit {
  least: number;
  greatest: number;
  whole: boolean;
}

const whole = (least: number, greatest: number): Limit => ({ least, greatest, whole: true });
const real = (least: number, greatest: number): Limit => ({ least, greatest, whole: false });

/** By the name of a field, which means the same in every experiment. */
export const limits: Readonly<Record<string, Limit>> = {
  // COPY
  lengths: whole(1, 2 ** 24),
  ratios: real(0, 16),
  dValue: whole(1, 256),
  tokensRead: whole(1, 2 ** 30),
  betas: real(0, 1e4),
  symbols: whole(1, 1e9),
  rates: real(0, 1e4),
  deltas: real(0, 1e4),
  errors: real(0, 1),
  distance: whole(1, 2 ** 24),
  keeps: real(0, 1),
  scoreDistances: whole(1, 2 ** 24),
  constantSlots: whole(1, 2 ** 16),
  longestTimed: whole(0, 2 ** 20),
  states: whole(1, 2 ** 16),
  textLength: whole(1, 2 ** 24),
  draws: whole(1, 1e5),
  passes: whole(1, 1000),
  // Programs
  instances: whole(1, 1e7),
  halfInstances: whole(0, 1e7),
  m: whole(1, 1024),
  T: whole(1, 2 ** 20),
  longestLinear: whole(0, 2 ** 20),
  longest: whole(0, 1e9),
  p: whole(2, 1000),
  sizes: whole(1, 1000),
  // Learning
  pairs: whole(1, 4096),
  seqLen: whole(1, 2 ** 16),
  dModels: whole(1, 4096),
  trainLength: whole(1, 2 ** 14),
  testLengths: whole(1, 2 ** 14),
  dModel: whole(1, 4096),
  nLayers: whole(1, 64),
  nHeads: whole(1, 256),
  expand: whole(1, 16),
  mlp: whole(0, 2 ** 14),
  dConv: whole(0, 64),
  embeddingStd: real(0, 100),
  batchSize: whole(1, 2 ** 14),
  steps: whole(1, 1e8),
  searchSteps: whole(1, 1e8),
  learningRates: real(0, 100),
  warmupSteps: whole(0, 1e8),
  weightDecay: real(0, 100),
  seeds: whole(1, 1000),
  evaluations: whole(1, 1e5),
  testSamples: whole(1, 1e6),
  // All
  vocabSize: whole(1, 2 ** 16),
  seed: whole(0, Number.MAX_SAFE_INTEGER),
};

/** Of one list of a configuration. */
export const LONGEST_LIST = 1000;
/** Of the lengths of all lists multiplied, which bounds the pieces of an experiment before they are listed. */
const MOST_COMBINATIONS = 100_000;
/** Points of a sweep. */
export const MOST_POINTS = 10_000;
/** Pieces of a run, or of all points of a sweep. */
export const MOST_PIECES = 100_000;

/** Fields that no experiment here has: somebody's own. */
const anything = real(-Number.MAX_VALUE, Number.MAX_VALUE);

/** @param path  of the field, such as `training.seeds` or `lengths[0]` @throws InputError */
export function checkLimit(experiment: string, path: string, value: number): void {
  const name = path
    .split('.')
    .at(-1)!
    .replace(/\[\d+\]$/, '');
  const { least, greatest, whole } = Object.hasOwn(limits, name) ? limits[name] : anything;
  if (value >= least && value <= greatest && (!whole || Number.isSafeInteger(value))) return;
  throw new InputError(
    `${experiment}: ${path} must be a ${whole ? 'whole ' : ''}number from ${least} to ${greatest}, got ${value}`,
  );
}

/** @throws InputError if the lists of a configuration ask for more pieces than anybody waits for */
export function checkCombinations(experiment: string, config: Readonly<Record<string, unknown>>): void {
  const lists: [string, number][] = [];
  const collect = (fields: Readonly<Record<string, unknown>>, path: string) => {
    for (const [name, value] of Object.entries(fields))
      if (Array.isArray(value)) lists.push([`${path}${name}`, value.length]);
      else if (typeof value === 'object' && value !== null)
        collect(value as Record<string, unknown>, `${path}${name}.`);
  };
  collect(config, '');
  for (const [name, length] of lists)
    if (length > LONGEST_LIST)
      throw new InputError(
        `${experiment}: ${name} must have at most ${LONGEST_LIST} elements, got ${length}`,
      );
  const product = lists.reduce((total, [, length]) => total * length, 1);
  if (product > MOST_COMBINATIONS) {
    const sizes = lists.map(([name, length]) => `${name} ${length}`).join(', ');
    throw new InputError(
      `${experiment}: the lengths of all lists multiplied must be at most ${MOST_COMBINATIONS}, got ${product} (${sizes})`,
    );
  }
}
