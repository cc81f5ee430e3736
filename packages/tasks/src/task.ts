import { BatchStream, type BatchOptions } from './batches.js';
import { type CheckMode, type CheckResult, judgeContinuation, judgePredictions } from './check.js';
import { describe } from './describe.js';
import { refuse, TaskError } from './errors.js';
import { Metrics } from './metrics.js';
import { checkChoice, checkInteger, checkNumber, takeOptions } from './options.js';
import { random, type Random } from '@freelunch/random';
import type { Locality, Sample, Written } from './sample.js';
import type { Vocabulary } from './vocabulary.js';

/**
 * What makes a task. `next`: the text is predicted token by token. `same`: the answers are due at marked places of the
 * text, without standing in it.
 */
export interface TaskDefinition<Problem> {
  name: string;
  /** Raised when the same options and seed begin to give other samples. */
  version: number;
  /** All options with their values, plain data: with them the factory makes the same task again. */
  options: object;
  /** One line for `describe`. */
  summary: string;
  vocabulary: Vocabulary;
  alignment?: 'next' | 'same';
  draw(rng: Random, size?: number): Problem;
  write(problem: Problem): Written;
  /** Names the problem for `split`: equal exactly for equal problems, however they are written. JSON if absent. */
  key?(problem: Problem): string;
  /** For each token, the position of the earliest token that it needs, -1 if none. */
  sources?(problem: Problem): number[];
  /** For each step, its [start, end) in the tokens. */
  spans?(problem: Problem): [number, number][];
  /** Judges a continuation where comparing tokens does not do. */
  judge?(sample: Sample<Problem>, output: readonly number[]): CheckResult;
  locality?(size: number | undefined): Locality;
}

const MIN_SHARE = 0.0001; // of a part; a problem of it is found by drawing
const TRIES_PER_SHARE = 50; // that many expected hits: a miss has chance e^-50
const LOCALITY_DRAWS = 32;

/** Which side of a split a task draws from. */
interface Part {
  side: 'train' | 'test';
  test: number;
  seed: number;
}

/** The one interface of all tasks. */
export class Task<Problem = unknown> {
  readonly definition: TaskDefinition<Problem>;
  readonly #part: Part | undefined;

  /** @param part set by `split` */
  constructor(definition: TaskDefinition<Problem>, part?: Part) {
    this.definition = definition;
    this.#part = part;
  }

  get name(): string {
    return this.definition.name;
  }

  get version(): number {
    return this.definition.version;
  }

  get options(): object {
    return this.definition.options;
  }

  get vocabulary(): Vocabulary {
    return this.definition.vocabulary;
  }

  get alignment(): 'next' | 'same' {
    return this.definition.alignment ?? 'next';
  }

  /** The side of a split this task draws from, if any. */
  get part(): Part | undefined {
    return this.#part;
  }

  /**
   * One example.
   *
   * @param size instead of the one that the options draw
   * @throws TaskError if a split leaves no problem to draw
   */
  sample(rng: Random, size?: number): Sample<Problem> {
    return this.encode(this.draw(rng, size));
  }

  /** A problem, not yet written out. */
  draw(rng: Random, size?: number): Problem {
    const { definition } = this;
    if (size !== undefined) checkInteger(definition.name, 'size', size, 1);
    if (typeof rng?.integer !== 'function') refuse(definition.name, 'rng', 'what random(seed) gives', rng);
    const part = this.#part;
    if (part === undefined) return definition.draw(rng, size);
    const tries = triesFor(part.side, part.test);
    for (let i = 0; i < tries; i++) {
      const problem = definition.draw(rng, size);
      if (this.sideOf(problem, part.test, part.seed) === part.side) return problem;
    }
    throw new TaskError(`${definition.name}: no problem of the ${part.side} part in ${tries} draws`);
  }

  /** The example that a problem gives. @throws TaskError if that is not written with the vocabulary */
  encode(problem: Problem): Sample<Problem> {
    const sample = this.definition.write(problem) as Sample<Problem>;
    const { size } = this.vocabulary;
    for (const id of sample.tokens) {
      if (!(Number.isInteger(id) && id >= 0 && id < size)) {
        refuse(this.name, 'problem', `one that is written with the ${size} tokens`, id);
      }
    }
    sample.problem = problem;
    return sample;
  }

  /** An endless, resumable stream of batches. */
  batches(options: BatchOptions): BatchStream<Problem> {
    return new BatchStream(this, options);
  }

  /**
   * Two tasks that never draw the same problem: each problem belongs to one side by its own hash, whatever the seed, the
   * form, the layout or the order of steps.
   *
   * @param options.test share of the problems in the test part, 0.0001 to 0.9999
   * @param options.seed another seed parts them otherwise
   * @throws TaskError if one part seems to be empty
   */
  split(options: { test?: number; seed?: number } = {}): { train: Task<Problem>; test: Task<Problem> } {
    const where = `${this.name}: split`;
    const { test, seed } = takeOptions(where, options, { test: 0.1, seed: 0 });
    checkNumber(where, 'test', test, MIN_SHARE, 1 - MIN_SHARE);
    checkInteger(where, 'seed', seed, 0, 2 ** 32 - 1);
    if (this.#part) throw new TaskError(`${where}: this task is a part already`);
    const part = (side: 'train' | 'test') => {
      const task = new Task(this.definition, { side, test, seed });
      task.draw(random(seed).split('split')); // a part with nothing in it is found now
      return task;
    };
    return { train: part('train'), test: part('test') };
  }

  /** On which side of a split a problem falls. */
  sideOf(problem: Problem, test: number, seed: number): 'train' | 'test' {
    const key = this.definition.key?.(problem) ?? JSON.stringify(problem);
    return hash(`${seed} ${this.name} ${key}`) < test * 2 ** 32 ? 'test' : 'train';
  }

  /**
   * Judges what a model gave.
   *
   * - `free-running` (the rule where the text is predicted): `output` is what was generated after `sample.prompt`. It
   *   may stop before the end token; what follows the end token is not read.
   * - `teacher-forced` (the rule where alignment is `same`): `output` holds a prediction for each scored token, in their
   *   order, or one for each position of the model's input.
   */
  check(sample: Sample<Problem>, output: ArrayLike<number>, options: { mode?: CheckMode } = {}): CheckResult {
    const where = `${this.name}: check`;
    const usual: CheckMode = this.alignment === 'same' ? 'teacher-forced' : 'free-running';
    const { mode } = takeOptions(where, options, { mode: usual });
    checkChoice(where, 'mode', mode, ['free-running', 'teacher-forced']);
    if (output === null || typeof output !== 'object' || typeof output.length !== 'number') {
      refuse(where, 'output', 'a list of token ids', output);
    }
    if (mode === 'teacher-forced') {
      return judgePredictions(where, sample, output, this.alignment, this.definition.spans?.(sample.problem));
    }
    if (this.alignment === 'same') {
      refuse(where, 'mode', "'teacher-forced': the answers do not stand in the text", mode);
    }
    const given = Array.from(output);
    return (
      this.definition.judge?.(sample, given) ??
      judgeContinuation(sample.tokens.slice(sample.prompt.length), given, this.vocabulary.end)
    );
  }

  /**
   * Whether a sample is what its problem gives, token by token.
   *
   * @returns the first place that differs, or null
   */
  verify(sample: Sample<Problem>): { field: string; index: number } | null {
    const right = this.definition.write(sample.problem);
    const fields = ['tokens', 'lossMask', 'targets', 'prompt', 'answer', 'steps'] as const;
    for (const field of fields) {
      const wanted = (right[field] ?? []).flat();
      const got = (sample[field] ?? []).flat();
      for (let index = 0; index < Math.max(wanted.length, got.length); index++) {
        if (wanted[index] !== got[index]) return { field, index };
      }
    }
    return null;
  }

  /** The positions of the scored tokens. */
  scored(sample: Sample<Problem>): number[] {
    const positions: number[] = [];
    for (let i = 0; i < sample.lossMask.length; i++) if (sample.lossMask[i]) positions.push(i);
    return positions;
  }

  /** For each token, how far back lies the earliest token that it needs; 0 if it needs none. */
  distances(sample: Sample<Problem>): number[] {
    const sources = this.definition.sources?.(sample.problem);
    return sample.tokens.map((_, i) => (sources && sources[i] >= 0 ? i - sources[i] : 0));
  }

  /** Counts of right and wrong by position, distance, length and step. */
  metrics(): Metrics {
    return new Metrics((sample) => this.distances(sample as Sample<Problem>));
  }

  /** A worked example, with what is scored below the tokens. */
  describe(sample?: Sample<Problem>): string {
    return describe(this, this.definition.summary, sample);
  }

  /**
   * How far back this task makes a model look, at a size (by default: a drawn one).
   *
   * Measured on the dependencies of samples of that size: the largest that occurs.
   */
  locality(size?: number): Locality {
    if (size !== undefined) checkInteger(`${this.name}: locality`, 'size', size, 1);
    if (this.definition.locality) return this.definition.locality(size);
    let inputReach = 0;
    const rng = random(0).split('locality');
    for (let i = 0; i < LOCALITY_DRAWS; i++) {
      const sample = this.encode(this.definition.draw(rng, size));
      const distances = this.distances(sample);
      for (const t of this.scored(sample)) inputReach = Math.max(inputReach, distances[t]);
    }
    return { mState: 0, mToken: 0, inputReach };
  }
}

function triesFor(side: 'train' | 'test', test: number): number {
  return Math.ceil(TRIES_PER_SHARE / (side === 'test' ? test : 1 - test));
}

/** 32 bits of a text: FNV-1a over its UTF-16 units, then mixed until each bit depends on all. */
export function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193);
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
