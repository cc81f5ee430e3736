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
import {
  type CheckResult,
  cutAtEnd,
  firstWrongStep,
  judgeContinuation,
  type StepVerdict,
  summary,
} from '../check.js';
import { filled } from '../lists.js';
import { fixedFields, validateDp } from './validate.js';
import { refuse, show, TaskError } from '../errors.js';
import { checkChoice, checkSize, drawSize, type Size, sizeBounds, takeOptions } from '../options.js';
import { type Random, random } from '@freelunch/random';
import { type Locality, type Sample, Task, type Written } from '../task.js';
import { Vocabulary } from '../vocabulary.js';

/** A token as a definition names it: its text, or a number for the token that reads like it. */
export type Token = string | number;

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

const LOCALITY_DRAWS = 8;
const VALIDATION_SIZES = 3;
const VALIDATION_DRAWS = 8; // of each size
const LONG = 5000; // a size from which on fewer are tried

/** A task that was made from a definition of its parts. */
export class DpTask<Problem, Value = number, State extends Token = number> extends Task<Problem> {
  readonly dp: DpDefinition<Problem, Value, State>;
  readonly form: DpOptions['form'];
  readonly inputs: DpOptions['inputs'];
  readonly #machine: Machine<Problem, Value, State>;

  /** @internal */
  constructor(
    machine: Machine<Problem, Value, State>,
    definition: ConstructorParameters<typeof Task<Problem>>[0],
    part?: Task['part'],
  ) {
    super(definition, part);
    this.#machine = machine;
    this.dp = machine.dp;
    this.form = machine.form;
    this.inputs = machine.inputs;
  }

  /** All values and the answer. @throws TaskError if the definition does not hold for this problem */
  solve(problem: Problem): DpSolution<Value, State> {
    return this.#machine.solve(problem);
  }

  /** The text of a problem, and where in it each value stands. */
  layout(problem: Problem): DpText<Value, State> {
    return this.#machine.compose(problem);
  }

  /** What depends on what. */
  structure(problem: Problem): DpStructure<State> {
    return this.#machine.structure(problem);
  }

  /** How far back this problem makes a model look. */
  localityOf(problem: Problem): Locality {
    return this.#machine.localityOf(problem);
  }

  /** Runs the definition on this problem and watches what its step uses. @throws TaskError that names what is wrong */
  validate(problem: Problem): void {
    this.#machine.validate(problem, problem);
  }

  override split(options?: { test?: number; seed?: number }): {
    train: DpTask<Problem, Value, State>;
    test: DpTask<Problem, Value, State>;
  } {
    const { train, test } = super.split(options);
    return {
      train: new DpTask(this.#machine, this.definition, train.part),
      test: new DpTask(this.#machine, this.definition, test.part),
    };
  }
}

/**
 * The task of a DP problem.
 *
 * @throws TaskError if the definition is wrong: an order in which a state comes before one that it needs (a cycle is
 *   named), an unknown state, a value out of range or without tokens, a step that uses what it did not declare. It is
 *   tried on random instances; a value out of range is found on any instance later as well.
 */
export function defineDp<Problem, Value = number, State extends Token = number>(
  definition: DpDefinition<Problem, Value, State>,
  given?: Partial<DpOptions>,
): DpTask<Problem, Value, State> {
  const where = definition.name ? `defineDp: ${definition.name}` : 'defineDp';
  const options = takeOptions<DpOptions>(where, given, { form: 'cot', inputs: 'prompt' });
  checkChoice(where, 'form', options.form, ['cot', 'direct']);
  checkChoice(where, 'inputs', options.inputs, ['prompt', 'inline']);
  if (typeof definition.name !== 'string' || definition.name === '')
    refuse(where, 'name', 'a text', definition.name);
  for (const part of ['random', 'input', 'states', 'deps', 'step', 'aggregate'] as const) {
    if (typeof definition[part] !== 'function') refuse(where, part, 'a function', definition[part]);
  }
  checkSize(where, 'size', definition.size, 1);
  if (definition.multiToken && options.inputs === 'inline') {
    refuse(where, 'inputs', "'prompt': its steps read the input but once", options.inputs);
  }
  const machine = new Machine(definition, options);
  const draws = random(0).split('defineDp');
  const isLong = sizeBounds(definition.size)[1] > LONG;
  const bySize = Array.from({ length: isLong ? 1 : VALIDATION_SIZES }, () => {
    const size = drawSize(definition.size, draws);
    return Array.from({ length: isLong ? 2 : VALIDATION_DRAWS }, () => definition.random(draws, size));
  });
  machine.constants = [...(definition.constants ?? []), ...fixedFields(bySize)];
  for (const [problem, other] of bySize) machine.validate(problem, other);
  return new DpTask(machine, {
    name: definition.name,
    version: definition.version ?? 1,
    options: definition.options ?? options,
    summary: definition.summary ?? 'the values of all states, then the answer',
    vocabulary: machine.vocabulary,
    draw: (rng, size) => definition.random(rng, size ?? drawSize(definition.size, rng)),
    write: (problem) => machine.write(problem),
    key: definition.key,
    sources: (problem) => machine.sources(problem),
    spans: options.form === 'cot' ? (problem) => machine.spans(problem) : undefined,
    judge: (sample, output) => machine.judge(sample, output),
    locality: (size) => machine.locality(size),
  });
}

/** What a definition does: solves, writes, measures, judges. */
class Machine<Problem, Value, State extends Token> {
  readonly dp: DpDefinition<Problem, Value, State>;
  readonly form: DpOptions['form'];
  readonly inputs: DpOptions['inputs'];
  readonly vocabulary: Vocabulary;
  /** Fields of the problem that a step may use. */
  constants: readonly string[] = [];
  readonly #query: number;
  /** -1: the last step is the answer. */
  readonly #answerMark: number;
  readonly #end: number;

  constructor(dp: DpDefinition<Problem, Value, State>, options: DpOptions) {
    this.dp = dp;
    this.form = options.form;
    this.inputs = options.inputs;
    const { symbols, vocabulary, layout } = dp;
    if ((symbols === undefined) === (vocabulary === undefined)) {
      refuse(`defineDp: ${dp.name}`, 'symbols', 'given, or vocabulary, not both', symbols);
    }
    const tokens = vocabulary ?? ['<pad>', '<sep>', '<eos>', ...symbols!.map(String)];
    this.vocabulary = new Vocabulary(tokens, { pad: '<pad>', end: '<eos>' });
    this.#end = this.vocabulary.end!;
    this.#query = this.vocabulary.id(layout?.query ?? '<sep>');
    this.#answerMark = layout?.answer === null ? -1 : this.vocabulary.id(layout?.answer ?? '<sep>');
  }

  validate(problem: Problem, other: Problem): void {
    validateDp(this.dp, this.vocabulary, this.constants, problem, other);
  }

  solve(problem: Problem): DpSolution<Value, State> {
    const { dp } = this;
    const states = dp.states(problem);
    const input = dp.input(problem);
    const places = new Map<State, number>();
    const values: Value[] = [];
    for (let k = 0; k < states.length; k++) {
      const state = states[k];
      const needed = dp.deps(problem, state);
      const depValues: Value[] = [];
      for (const dep of needed) {
        const place = places.get(dep);
        if (place === undefined)
          throw this.#error(`state ${show(state)} needs ${show(dep)}, which is not before it`);
        depValues.push(values[place]);
      }
      values.push(
        this.#inRange(state, dp.step(problem, state, depValues, this.#read(input, problem, state))),
      );
      places.set(state, k);
    }
    const chosen = dp.answerStates?.(problem);
    const answer = dp.aggregate(problem, chosen ? chosen.map((state) => values[places.get(state)!]) : values);
    return { states, values, answer };
  }

  structure(problem: Problem): DpStructure<State> {
    const states = this.dp.states(problem);
    const places = new Map(states.map((state, k) => [state, k]));
    const deps = states.map((state) => this.dp.deps(problem, state).map((dep) => places.get(dep)!));
    const reads = states.map((state) => this.dp.reads?.(problem, state) ?? []);
    let mState = 0;
    deps.forEach((needed, k) => needed.forEach((dep) => (mState = Math.max(mState, k - dep))));
    return { states, deps, reads, maxDeps: longest(deps), maxReads: longest(reads), mState };
  }

  compose(problem: Problem): DpText<Value, State> {
    const { dp, vocabulary } = this;
    const input = dp.input(problem);
    const tokens: number[] = [];
    for (const token of input) tokens.push(vocabulary.id(token));
    tokens.push(this.#query);
    const promptLength = tokens.length;
    const solution = this.solve(problem);
    const { states, values, answer } = solution;
    const [inlineStart, start, end]: number[][] = [[], [], []];
    let answerStart = promptLength;
    if (this.form === 'cot') {
      for (let k = 0; k < states.length; k++) {
        const state = states[k];
        inlineStart.push(tokens.length);
        if (this.inputs === 'inline')
          for (const at of this.#inlineReads(problem, state)) tokens.push(tokens[at]);
        start.push(tokens.length);
        this.#push(tokens, values[k], state, problem);
        end.push(tokens.length);
        const separator = dp.layout?.separator?.(problem, state, k, states.length);
        if (separator !== undefined) tokens.push(vocabulary.id(separator));
      }
      answerStart = start.length > 0 ? start[start.length - 1] : promptLength;
    }
    if (this.form === 'direct' || this.#answerMark >= 0) {
      if (this.form === 'cot') tokens.push(this.#answerMark);
      answerStart = tokens.length;
      this.#push(tokens, answer, this.#answerMark < 0 ? states[states.length - 1] : undefined, problem);
    }
    const answerEnd = tokens.length;
    tokens.push(this.#end);
    return { ...solution, tokens, promptLength, inlineStart, start, end, answerStart, answerEnd };
  }

  write(problem: Problem): Written {
    const composed = this.compose(problem);
    const { tokens, promptLength, inlineStart, end, answerStart, answerEnd } = composed;
    const scoreEnd = this.form === 'cot' || (this.dp.layout?.scoreEnd ?? true);
    const lossMask: boolean[] = [];
    for (let i = 0; i < tokens.length; i++) {
      lossMask.push(i >= promptLength && (i < answerEnd || scoreEnd));
    }
    const written: Written = {
      tokens,
      lossMask,
      prompt: tokens.slice(0, promptLength),
      answer: tokens.slice(answerStart, answerEnd),
    };
    if (this.form === 'cot') written.steps = inlineStart.map((at, k) => tokens.slice(at, end[k]));
    return written;
  }

  spans(problem: Problem): [number, number][] {
    const { inlineStart, end } = this.compose(problem);
    return inlineStart.map((at, k) => [at, end[k]]);
  }

  /** Where the parts stand. Values of one token need no solving, so this is for sizes beyond the vocabulary too. */
  #places(problem: Problem): DpPlaces<State> {
    const { dp } = this;
    if (dp.multiToken) return this.compose(problem);
    const states = dp.states(problem);
    const promptLength = dp.input(problem).length + 1;
    const [inlineStart, start, end]: number[][] = [[], [], []];
    let at = promptLength;
    if (this.form === 'cot') {
      states.forEach((state, k) => {
        inlineStart.push(at);
        if (this.inputs === 'inline') at += this.#inlineReads(problem, state).length;
        start.push(at++);
        end.push(at);
        if (dp.layout?.separator?.(problem, state, k, states.length) !== undefined) at++;
      });
      at++; // the mark
    }
    return { states, promptLength, inlineStart, start, end, answerStart: at, answerEnd: at + 1 };
  }

  /** For each token, the earliest token that it needs: of earlier values, and of the input. -1: none. */
  #needs(problem: Problem, places: DpPlaces<State>): { fromValues: number[]; fromInputs: number[] } {
    const { states, promptLength, inlineStart, start, end, answerStart, answerEnd } = places;
    const fromValues = filled(answerEnd + 1, -1);
    const fromInputs = filled(answerEnd + 1, -1);
    const aligned = this.dp.aligned ?? false;
    if (this.form === 'direct') {
      for (let t = answerStart; t < answerEnd; t++) fromInputs[t] = 0;
      return { fromValues, fromInputs };
    }
    const order = new Map(states.map((state, k) => [state, k]));
    const nearest = Array.from({ length: promptLength - 1 }, (_, i) => i); // where an input was written last
    states.forEach((state, k) => {
      if (this.inputs === 'inline') {
        this.#inlineReads(problem, state).forEach((at, j) => {
          fromInputs[inlineStart[k] + j] = at;
          nearest[at] = inlineStart[k] + j;
        });
      }
      const deps = this.dp.deps(problem, state).map((dep) => order.get(dep)!);
      const reads = (this.dp.reads?.(problem, state) ?? []).map((at) => nearest[at]);
      const earliest = Math.min(...reads);
      for (let t = start[k]; t < end[k]; t++) {
        const skip = aligned ? t - start[k] : 0;
        const depStarts = deps.map((dep) => Math.min(start[dep] + skip, end[dep] - 1));
        if (deps.length > 0) fromValues[t] = Math.min(...depStarts);
        if (reads.length > 0) fromInputs[t] = aligned ? reads[Math.min(skip, reads.length - 1)] : earliest;
      }
    });
    if (this.#answerMark >= 0) {
      const chosen = this.dp.answerStates?.(problem).map((state) => start[order.get(state)!]) ?? start;
      for (let t = answerStart; t < answerEnd; t++) fromValues[t] = Math.min(...chosen);
    }
    return { fromValues, fromInputs };
  }

  sources(problem: Problem): number[] {
    const { fromValues, fromInputs } = this.#needs(problem, this.compose(problem));
    return fromValues.map((value, t) =>
      value < 0 || fromInputs[t] < 0 ? Math.max(value, fromInputs[t]) : Math.min(value, fromInputs[t]),
    );
  }

  localityOf(problem: Problem): Locality {
    const places = this.#places(problem);
    const { inlineStart, start, end, answerStart } = places;
    if (this.form === 'direct') return { mState: 0, mToken: 0, inputReach: answerStart };
    const { fromValues, fromInputs } = this.#needs(problem, places);
    const { mState } = this.structure(problem);
    const mToken = farthest(fromValues, start, end);
    const inputReach = farthest(fromInputs, start, end);
    if (this.inputs === 'prompt') return { mState, mToken, inputReach };
    return { mState, mToken, inputReach, inlineReach: farthest(fromInputs, inlineStart, start) };
  }

  locality(size: number | undefined): Locality {
    const { dp } = this;
    if (size !== undefined && dp.example) return this.localityOf(dp.example(size));
    const rng = random(0).split('locality');
    const all = Array.from({ length: LOCALITY_DRAWS }, () =>
      this.localityOf(dp.random(rng, size ?? drawSize(dp.size, rng))),
    );
    return all.reduce((most, each) => {
      for (const name of Object.keys(each) as (keyof Locality)[]) {
        most[name] = Math.max(most[name] ?? 0, each[name] ?? 0);
      }
      return most;
    });
  }

  judge(sample: Sample<Problem>, output: readonly number[]): CheckResult {
    const expected = sample.tokens.slice(sample.prompt.length);
    if (this.form === 'direct') return judgeContinuation(expected, output, this.#end);
    const given = cutAtEnd(output, this.#end);
    const body = given[given.length - 1] === this.#end ? given.slice(0, -1) : given;
    const solution = this.solve(sample.problem);
    const { steps, accepted, shaped, at } = this.#judgeSteps(sample, body, solution);
    const answerCorrect = this.#isAnswer(body, solution, sample.problem);
    const verdicts = { answerCorrect, steps, firstWrongStep: firstWrongStep(steps) };
    if (!this.dp.accepts) return { ...judgeContinuation(expected, output, this.#end), ...verdicts };

    // Several chains may be right, so tokens are right by the step that they are in.
    const sound = shaped && verdicts.firstWrongStep === null;
    let due = at;
    if (this.#answerMark >= 0) {
      const marked = sound && answerCorrect && body[at] === this.#answerMark;
      due += 1 + this.#ids(solution.answer, undefined, sample.problem).length;
      for (let i = at; i < body.length; i++) accepted[i] = marked && i < due;
    }
    const right = given.map((_, i) => (i < body.length ? accepted[i] && i < due : sound));
    // What is missing counts as wrong; a sound chain may be shorter than the one that was drawn.
    const length = Math.max(sound ? due : expected.length - 1, body.length);
    const result = summary('free-running', right, length + given.length - body.length);
    return { ...result, ...verdicts, correct: result.correct && sound && answerCorrect };
  }

  /**
   * Goes through what was written, step by step.
   *
   * @returns also, token by token, whether all is right so far; whether separators stand where they should; where the
   *   steps end
   */
  #judgeSteps(
    sample: Sample<Problem>,
    body: readonly number[],
    { states, values }: DpSolution<Value, State>,
  ): { steps: StepVerdict[]; accepted: boolean[]; shaped: boolean; at: number } {
    const { dp, vocabulary } = this;
    const { problem } = sample;
    const input = dp.input(problem);
    const places = new Map(states.map((state, k) => [state, k]));
    const written: (Value | undefined)[] = [];
    const steps: StepVerdict[] = [];
    const accepted = body.map(() => false);
    let shaped = true;
    let at = 0;
    let soFar = true;
    for (let k = 0; k < states.length; k++) {
      const state = states[k];
      const first = at;
      let repeated = true;
      if (this.inputs === 'inline') {
        for (const read of this.#inlineReads(problem, state)) {
          repeated = sample.tokens[read] === body[at++] && repeated;
        }
      }
      const separator = dp.layout?.separator?.(problem, state, k, states.length);
      const separatorId = separator === undefined ? -1 : vocabulary.id(separator);
      let valueEnd = at + 1;
      if (dp.multiToken) {
        valueEnd = separatorId < 0 ? -1 : body.indexOf(separatorId, at);
        if (valueEnd < 0) valueEnd = Math.max(at, body.length);
      }
      const ids = body.slice(at, valueEnd);
      const value = this.#decode(ids, state, problem, values[k]);
      written.push(value);
      const depValues = dp.deps(problem, state).map((dep) => {
        const place = places.get(dep)!;
        return written[place] ?? values[place]; // what is no value cannot be followed
      });
      const inputs = this.#read(input, problem, state);
      const consistent =
        repeated && value !== undefined && this.#follows(problem, state, value, ids, depValues, inputs);
      if (dp.accepts) soFar &&= consistent;
      else soFar = repeated && sameTokens(ids, this.#ids(values[k], state, problem));
      steps.push({ right: soFar, consistent });
      at = valueEnd;
      if (separatorId >= 0) shaped = body[at++] === separatorId && shaped;
      accepted.fill(soFar && shaped, first, Math.min(at, body.length));
    }
    return { steps, accepted, shaped, at };
  }

  /** Whether what stands after the last mark is the answer. */
  #isAnswer(
    body: readonly number[],
    { states, answer }: DpSolution<Value, State>,
    problem: Problem,
  ): boolean {
    const isLastStep = this.#answerMark < 0;
    const mark = body.lastIndexOf(isLastStep ? this.#lastSeparator(problem, states) : this.#answerMark);
    if (mark < 0 && !(isLastStep && states.length === 1)) return false;
    const last = isLastStep ? states[states.length - 1] : undefined;
    return sameTokens(body.slice(mark + 1), this.#ids(answer, last, problem));
  }

  /** What stands between the last two steps. */
  #lastSeparator(problem: Problem, states: State[]): number {
    const k = states.length - 2;
    const separator = k < 0 ? undefined : this.dp.layout?.separator?.(problem, states[k], k, states.length);
    return separator === undefined ? -1 : this.vocabulary.id(separator);
  }

  /** Whether a value follows from others, which may be wrong: a step that they make fail has no value. */
  #follows(
    problem: Problem,
    state: State,
    value: Value,
    ids: readonly number[],
    values: Value[],
    inputs: Token[],
  ): boolean {
    try {
      if (this.dp.accepts) return this.dp.accepts(problem, state, value, values, inputs);
      const due = this.#inRange(state, this.dp.step(problem, state, values, inputs));
      return sameTokens(ids, this.#ids(due, state, problem));
    } catch {
      return false;
    }
  }

  /** The value that a model's tokens stand for; undefined if none, whatever they are. `like`: the right one. */
  #decode(ids: readonly number[], state: State, problem: Problem, like: Value): Value | undefined {
    const texts: string[] = [];
    for (const id of ids) {
      const text = this.vocabulary.tokens[id];
      if (text === undefined) return undefined;
      texts.push(text);
    }
    try {
      if (this.dp.decode) return this.dp.decode(texts, state, problem);
    } catch {
      return undefined;
    }
    if (texts.length !== 1) return undefined;
    const value = /^-?\d+$/.test(texts[0]) ? Number(texts[0]) : texts[0];
    return typeof value === typeof like ? (value as Value) : undefined;
  }

  #inlineReads(problem: Problem, state: State): number[] {
    return (this.dp.inlineReads ?? this.dp.reads)?.call(this.dp, problem, state) ?? [];
  }

  #read(input: Token[], problem: Problem, state: State): Token[] {
    const reads = this.dp.reads?.(problem, state);
    const read: Token[] = [];
    if (reads) for (const at of reads) read.push(input[at]);
    return read;
  }

  #ids(value: Value, state: State | undefined, problem: Problem): number[] {
    const ids: number[] = [];
    this.#push(ids, value, state, problem);
    return ids;
  }

  #push(ids: number[], value: Value, state: State | undefined, problem: Problem): void {
    const tokens = this.dp.encode ? this.dp.encode(value, state, problem) : (value as Token);
    if (typeof tokens === 'object') for (const token of tokens) ids.push(this.#id(token, state));
    else ids.push(this.#id(tokens, state));
  }

  #id(token: Token, state: State | undefined): number {
    if (!this.vocabulary.has(token)) {
      const what = state === undefined ? 'the answer' : `state ${show(state)}`;
      throw this.#error(`${what} is written with ${show(token)}, which is no token`);
    }
    return this.vocabulary.id(token);
  }

  #inRange(state: State, value: Value): Value {
    const { range } = this.dp;
    if (
      range &&
      !(Number.isInteger(value) && (value as number) >= range[0] && (value as number) <= range[1])
    ) {
      throw this.#error(
        `step at state ${show(state)} must give a whole number from ${range[0]} to ${range[1]}, got ${show(value)}`,
      );
    }
    return value;
  }

  #error(message: string): TaskError {
    return new TaskError(`${this.dp.name}: ${message}`);
  }
}

function sameTokens(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}

function longest(lists: readonly unknown[][]): number {
  return lists.reduce((most, list) => Math.max(most, list.length), 0);
}

/** The largest distance from a token in one of the spans to its source. */
function farthest(sources: readonly number[], from: readonly number[], to: readonly number[]): number {
  let most = 0;
  from.forEach((first, k) => {
    for (let t = first; t < to[k]; t++) if (sources[t] >= 0) most = Math.max(most, t - sources[t]);
  });
  return most;
}
