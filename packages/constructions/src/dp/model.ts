/**
 * Dynamic programming with chain of thought, by weights that are written down (docs/results.md, D1 to D3).
 *
 *   look-ups   what a step needs stands in known tokens: each argument is copied by a head. The position table says at
 *              each token which codes to read: the schedule
 *   step       ReLU blocks compute the value from the arguments, and pick what is due: a value, a repeated input, a mark
 *   head       the nearest id
 *
 * Where texts of a size come in several shapes, a few look-ups of the prompt's marks tell which one it is, and a table
 * of (shape, position) takes the place of the position table.
 *
 * Mamba keeps a value in a register from where it is written to where it was read for the last time, then uses the
 * register again: as many as there are values in use at once, O(m) where the problem is m-local, O(T) in general.
 */
import { ArgumentError, type Kernels, UnsupportedError } from '@freelunch/kernels';
import type { LanguageModel } from '@freelunch/models';
import type { DpTask, Task } from '@freelunch/tasks';
import { answerOf } from './answer.js';
import { compile, type LookUpMixer, type Plan } from '../program/compile.js';
import { type Argument, instancesOf, scheduleOf, type Shape, type Step, type Target } from './schedule.js';
import { tableTransition } from './table.js';
import { type Transition, transitionOf } from './transition.js';
import { atLeast, equals, gate, matching, tableOf } from '../program/integers.js';
import { assignRegisters, type Use } from '../program/registers.js';
import { bitOf, codeBits, Expr, Program } from '../program/program.js';

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

/** One use of an argument: which token of a shape reads which. */
interface Read {
  shape: number;
  at: number;
  target: number;
  step: Step;
}

/**
 * What {@link dpModel} will build.
 *
 * @throws UnsupportedError naming the look-up that does not fit, or what of the task cannot be written down
 * @throws ArgumentError if an option is out of range
 */
export function dpModelPlan<Problem, State extends string | number>(
  task: DpTask<Problem, number, State>,
  options: DpModelOptions<Problem, State>,
): DpPlan {
  const { mixer: asked, size, problem, anyway = false } = options;
  const mixer = asked === 'sliding-window' ? 'softmax-attention' : asked;
  checkOptions(asked, options);
  if (task.form !== 'cot')
    throw new UnsupportedError(`dpModel: ${task.name}: form must be 'cot', got '${task.form}'`);
  if (task.dp.multiToken)
    throw new UnsupportedError(`dpModel: ${task.name}: values must be of one token, got several`);
  const problems = problem === undefined ? instancesOf(task, size) : [problem];
  const offset = numberOffset(task);
  const found =
    options.transition ?? transitionOf(task, size, offset) ?? tableTransition(task, size, problems, offset);
  const transition = found.answer === undefined ? { ...found, ...answerOf(task, problems[0]) } : found;
  const shapes = scheduleOf(task, transition, problems);
  const builder = new Builder(
    task,
    transition,
    shapes,
    { ...options, mixer, anyway },
    asked === 'sliding-window',
    offset,
    problems[0],
  );
  return builder.plan();
}

/**
 * A model whose greedy decoding writes the whole chain of thought and the answer of a dynamic program, for every
 * instance of the size: values must be whole numbers of one token.
 *
 *     const model = dpModel(k, lis({ length: 12 }), { mixer: 'mamba', size: 12 });
 *
 * @throws UnsupportedError naming the look-up that does not fit a given window, number of registers or of keys
 * @throws ArgumentError if an option is out of range
 * @see docs/results.md, D1 to D3; Feng et al. 2023, https://arxiv.org/abs/2305.15408
 */
export function dpModel<Problem, State extends string | number>(
  k: Kernels,
  task: DpTask<Problem, number, State>,
  options: DpModelOptions<Problem, State>,
): LanguageModel {
  return dpModelPlan(task, options).build(k);
}

function checkOptions(
  asked: string,
  options: Pick<DpModelOptions, 'size' | 'window' | 'registers' | 'keys'>,
): void {
  const kinds = ['softmax-attention', 'sliding-window', 'linear-attention', 'mamba'];
  if (!kinds.includes(asked))
    throw new ArgumentError(`dpModel: mixer must be one of ${kinds.join(', ')}, got '${asked}'`);
  for (const [name, fits] of [
    ['size', true],
    ['window', asked === 'softmax-attention' || asked === 'sliding-window'],
    ['registers', asked === 'mamba'],
    ['keys', asked === 'linear-attention'],
  ] as const) {
    const value = options[name];
    if (value === undefined && name !== 'size') continue;
    if (!fits) throw new ArgumentError(`dpModel: ${name} must be absent for ${asked}, got ${value}`);
    if (!Number.isSafeInteger(value) || (value as number) < 1)
      throw new ArgumentError(`dpModel: ${name} must be a whole number from 1 up, got ${value}`);
  }
}

/** Number n is token n + offset: what lets values be computed with. */
function numberOffset({ name, vocabulary }: Pick<Task, 'name' | 'vocabulary'>): number {
  const { tokens } = vocabulary;
  const offset = tokens.indexOf('0') >= 0 ? tokens.indexOf('0') : tokens.indexOf('1') - 1;
  tokens.forEach((text, id) => {
    if (/^\d+$/.test(text) && Number(text) + offset !== id)
      throw new UnsupportedError(
        `dpModel: ${name}: tokens of numbers must follow each other, got ${text} as token ${id} and 0 as ${offset}`,
      );
  });
  return offset;
}

/** Puts the program of a schedule together. */
class Builder<Problem, State extends string | number> {
  readonly #p: Program;
  readonly #vocabSize: number;
  readonly #textLength: number;
  readonly #heads: number;
  readonly #id: Expr;
  readonly #bits: number;
  readonly #position: readonly Expr[];
  /** One unit for each shape and token from the end of its prompt on; absent if there is but one shape. */
  readonly #units: Expr[][] | undefined;
  reach = 0;
  slots = 1;

  constructor(
    readonly task: DpTask<Problem, number, State>,
    readonly transition: Transition<Problem, State>,
    readonly shapes: readonly Shape[],
    readonly options: DpModelOptions<Problem, State> & { mixer: LookUpMixer; anyway: boolean },
    readonly sliding: boolean,
    readonly offset: number,
    readonly problem: Problem,
  ) {
    this.#vocabSize = task.vocabulary.size;
    this.#textLength = Math.max(...shapes.map(({ length }) => length));
    this.#heads = Math.max(...shapes.flatMap(({ steps }) => steps.map(({ args }) => args.length)));
    this.#p = new Program({ vocabSize: this.#vocabSize, length: this.#textLength });
    this.#id = this.#p.token((id) => id);
    this.#bits = codeBits(this.#textLength);
    this.#position = this.#needsPosition ? this.#p.positionCode(this.#bits, (t) => t) : [];
    this.#units = shapes.length > 1 ? this.#tellShapes() : undefined;
  }

  plan(): DpPlan {
    const { mixer, window } = this.options;
    const p = this.#p;
    const heads = Array.from({ length: this.#heads }, (_, head) => this.#readsOf(head));
    const all = [...heads.flat(), ...heads.flatMap((_, head) => this.#choicesOf(head))];
    const needed = 1 + all.reduce((most, { at, target }) => Math.max(most, at - target), 0);
    this.reach = needed - 1;
    const seen = window ?? (this.sliding ? needed : undefined);
    if (seen !== undefined) this.#checkWindow(all, seen);
    const args = heads.map((reads, head) => this.#argument(head, reads));
    const results = this.#results(args);
    const due = this.#scheduled((step) => (step?.writes === 'token' ? step.value : 0));
    const output = results.reduce((sum, result) => sum.plus(result), due);
    if (mixer === 'softmax-attention') this.slots = Math.min(seen ?? Infinity, this.#textLength);
    const plan = compile(p, { mixer, output, ...(seen !== undefined && { window: seen }) });
    return {
      ...plan,
      shapes: this.shapes.length,
      lookUps: this.#heads,
      reach: this.reach,
      slots: this.slots,
      textLength: this.#textLength,
    };
  }

  /** Registers are named by the schedule; all else finds tokens by their position. */
  get #byRegister(): boolean {
    return this.options.mixer === 'mamba' && this.shapes.length === 1;
  }

  get #needsPosition(): boolean {
    return (
      !this.#byRegister ||
      this.shapes.some(({ steps }) => steps.some(({ args }) => args.some((arg) => 'by' in arg)))
    );
  }

  /** Looks up the marks of the prompt, which tell the shape, and makes a unit for each of its tokens. */
  #tellShapes(): Expr[][] {
    const p = this.#p;
    const longest = Math.max(...this.shapes.map(({ promptLength }) => promptLength));
    const marks = distinguishing(this.shapes, this.task.name);
    const inPrompt = p.position((t) => Number(t < longest));
    const at = p.position((t) => t);
    let place = Expr.of(0);
    for (const mark of marks) {
      const isMark = p.relu(
        p
          .token((id) => Number(id === mark))
          .plus(inPrompt)
          .minus(1),
      );
      const [found] = p.lookUp({
        name: `the place of '${this.task.vocabulary.text(mark)}'`,
        key: [isMark.times(2).minus(1)],
        query: [Expr.of(1)],
        values: [at],
        codes: [1],
      });
      place = place.times(longest).plus(found);
    }
    return this.shapes.map((shape) => {
      const code = marks.reduce((sum, mark) => sum * longest + shape.marks.get(mark)!, 0);
      const isShape = atLeast(p, equals(p, place, code), 1);
      return Array.from({ length: shape.length - shape.promptLength }, (_, i) =>
        matching(this.#position, shape.promptLength - 1 + i, [isShape]),
      );
    });
  }

  /** A number that the schedule says at each token. */
  #scheduled(of: (step: Step | undefined, t: number, shape: number) => number): Expr {
    const p = this.#p;
    if (this.#units === undefined) {
      const [{ promptLength, steps }] = this.shapes;
      return p.position((t) => of(steps[t - promptLength + 1], t, 0));
    }
    const parts = this.#units.flatMap((units, shape) =>
      units.map((unit, i) => {
        const { promptLength, steps } = this.shapes[shape];
        return { weight: of(steps[i], promptLength - 1 + i, shape), of: unit };
      }),
    );
    const values = parts.map(({ weight }) => weight);
    return p.node(parts, [Math.min(0, ...values), Math.max(0, ...values)]);
  }

  /** All tokens that a head ever reads. */
  #readsOf(head: number): Read[] {
    return this.shapes.flatMap(({ promptLength, steps }, shape) =>
      steps.flatMap((step, i) => {
        const arg = step.args[head];
        const at = promptLength - 1 + i;
        return targetsOf(arg).flatMap((target) =>
          'token' in target ? [{ shape, at, target: target.token, step }] : [],
        );
      }),
    );
  }

  /** The tokens that say which one a head reads. */
  #choicesOf(head: number): Read[] {
    return this.shapes.flatMap(({ promptLength, steps }, shape) =>
      steps.flatMap((step, i) => {
        const arg = step.args[head];
        return arg !== undefined && 'by' in arg
          ? [{ shape, at: promptLength - 1 + i, target: arg.by, step }]
          : [];
      }),
    );
  }

  #checkWindow(reads: readonly Read[], window: number): void {
    if (this.options.anyway) return;
    for (const { at, target, step } of reads) {
      if (at - target >= window)
        throw new UnsupportedError(
          `dpModel: ${this.task.name}: ${step.name} looks ${at - target} tokens back, to token ${target}; ` +
            `window must be ${this.reach + 1} or more, got ${window}`,
        );
    }
    if (this.#units !== undefined)
      throw new UnsupportedError(
        `dpModel: ${this.task.name}: a window does not see the marks that tell texts of size ${this.options.size} apart; give a problem, whose shape is then the only one`,
      );
  }

  /** One argument of the steps: a head, and numbers where the schedule knows them. */
  #argument(head: number, reads: readonly Read[]): Expr {
    const { offset } = this;
    const p = this.#p;
    const argOf = (step: Step | undefined): Argument | undefined => step?.args[head];
    const target = (step: Step | undefined): Target | undefined => {
      const arg = argOf(step);
      return arg === undefined || 'by' in arg ? undefined : arg;
    };
    const choice = this.#choice(head);
    let known = this.#scheduled((step) => {
      const arg = target(step);
      return arg !== undefined && 'number' in arg ? arg.number : 0;
    });
    known = known.plus(choice((one) => ('number' in one ? one.number : 0)));
    if (reads.length === 0) return known;

    let reading = this.#scheduled((step) => Number(target(step) !== undefined && 'token' in target(step)!));
    reading = reading.plus(choice((one) => Number('token' in one)));
    const { key, codes, bits, codeAt } = this.#codes(head, reads);
    const query = Array.from({ length: bits }, (_, bit) => {
      const set = (code: number) => Number(bitOf(code, bit) === 1);
      const fixed = this.#scheduled((step, t) => {
        if (argOf(step) !== undefined && 'by' in argOf(step)!) return 0;
        const one = target(step);
        return set(one !== undefined && 'token' in one ? codeAt(one.token, t) : codeAt(-1, t));
      });
      return fixed
        .plus(choice((one, t) => set('token' in one ? codeAt(one.token, t) : codeAt(-1, t))))
        .times(2)
        .minus(1);
    });
    const [found] = p.lookUp({
      name: `argument ${head}`,
      key,
      query,
      values: [this.#id],
      codes,
    });
    const value = found.minus(offset);
    const always = this.shapes.every(({ steps }) =>
      steps.every(
        ({ args, writes }) => writes === 'token' || args[head] === undefined || 'token' in args[head],
      ),
    );
    return always ? value : known.plus(gate(p, reading, value));
  }

  /** Numbers that a token of the text chooses, at the steps whose argument it chooses; 0 elsewhere. */
  #choice(head: number): (of: (target: Target, t: number) => number) => Expr {
    const p = this.#p;
    const [{ promptLength, steps }] = this.shapes;
    const chosen = steps.flatMap((step, i) => {
      const arg = step.args[head];
      return arg !== undefined && 'by' in arg ? [{ step, t: promptLength - 1 + i, arg }] : [];
    });
    if (chosen.length === 0) return () => Expr.of(0);
    if (this.shapes.length > 1)
      throw new UnsupportedError(
        `dpModel: ${this.task.name}: arguments that an input chooses must come with texts of one shape, got ${this.shapes.length}`,
      );
    const ids = [...new Set(chosen.flatMap(({ arg }) => [...arg.cases.keys()]))].sort((a, b) => a - b);
    const reads = this.#choicesOf(head);
    const { key, codes, bits, codeAt } = this.#codes(head, reads);
    const by = new Map(chosen.map(({ t, arg }) => [t, arg.by]));
    const [token] = p.lookUp({
      name: `what chooses argument ${head}`,
      key,
      query: p.positionCode(bits, (t) => codeAt(by.get(t) ?? -1, t)),
      values: [this.#id],
      codes,
    });
    const tests = new Map(ids.map((id) => [id, atLeast(p, equals(p, token, id), 1)]));
    const units = chosen.flatMap(({ t, arg }) =>
      [...arg.cases].map(([id, target]) => ({
        t,
        target,
        of: matching(this.#position, t, [tests.get(id)!]),
      })),
    );
    return (of) => {
      const parts = units.map(({ t, target, of: unit }) => ({ weight: of(target, t), of: unit }));
      const values = parts.map(({ weight }) => weight);
      return p.node(parts, [Math.min(0, ...values), Math.max(0, ...values)]);
    };
  }

  /** The codes under which a head finds tokens. `codeAt(-1, t)`: of a token that nothing depends on. */
  #codes(
    head: number,
    reads: readonly Read[],
  ): { key: Expr[]; codes: number[]; bits: number; codeAt: (token: number, t: number) => number } {
    const { registers, keys, mixer, anyway } = this.options;
    const p = this.#p;
    if (this.#byRegister) {
      const uses = reads.map(({ at, target }): Use => ({ written: target, read: at }));
      const assigned = assignRegisters(uses, registers);
      if (assigned.count > (registers ?? Infinity) && !anyway) {
        const { written, read } = assigned.overflow!;
        const { step } = reads.find(({ at, target }) => at === read && target === written)!;
        throw new UnsupportedError(
          `dpModel: ${this.task.name}: ${step.name} looks ${read - written} tokens back, to token ${written}, and ` +
            `argument ${head} has ${assigned.count} values in use at once; registers must be ${assigned.count} or more, got ${registers}`,
        );
      }
      const count = Math.min(assigned.count, registers ?? Infinity);
      this.slots = Math.max(this.slots, count);
      const bits = codeBits(count + 1); // code 0: none
      return {
        key: p.positionCode(bits, (t) => assigned.register(t) + 1),
        codes: Array.from({ length: count }, (_, i) => i + 1),
        bits,
        codeAt: (token) => (token < 0 ? 0 : assigned.register(token) + 1),
      };
    }
    let codes = [...new Set(reads.map(({ target }) => target))].sort((a, b) => a - b);
    const most = mixer === 'linear-attention' ? keys : mixer === 'mamba' ? registers : undefined;
    if (most !== undefined && codes.length > most) {
      if (!anyway) {
        const { at, target, step } = reads.find((read) => read.target === codes[most])!;
        throw new UnsupportedError(
          `dpModel: ${this.task.name}: ${step.name} looks ${at - target} tokens back, to token ${target}, and argument ` +
            `${head} has ${codes.length} tokens to keep; ${mixer === 'mamba' ? 'registers' : 'keys'} must be ${codes.length} or more, got ${most}`,
        );
      }
      codes = codes.slice(0, most);
    }
    if (mixer !== 'softmax-attention') this.slots = Math.max(this.slots, codes.length);
    return {
      key: [...this.#position],
      codes,
      bits: this.#bits,
      codeAt: (token, t) => (token < 0 ? t : token),
    };
  }

  /** The ids of what is computed, each 0 where it is not due. */
  #results(args: readonly Expr[]): Expr[] {
    const p = this.#p;
    const { offset, transition, task } = this;
    const due = (writes: Step['writes'], kind?: number) =>
      this.#scheduled((step) =>
        Number(step?.writes === writes && (kind === undefined || step.value === kind)),
      );
    const has = (writes: Step['writes']) =>
      this.shapes.some(({ steps }) => steps.some((step) => step.writes === writes));
    const kinds = new Set(
      this.shapes.flatMap(({ steps }) =>
        steps.flatMap(({ writes, value }) => (writes === 'state' ? [value] : [])),
      ),
    );
    const results = [...kinds].map((kind) =>
      gate(
        p,
        due('state', kind),
        idOf(p, task, transition.step(p, args, kind), offset, this.problem, task.dp.states(this.problem)[0]),
      ),
    );
    if (has('copy')) results.push(gate(p, due('copy'), args[0].plus(offset)));
    if (has('answer')) {
      results.push(gate(p, due('answer'), idOf(p, task, transition.answer!(p, args), offset, this.problem)));
    }
    return results;
  }
}

const targetsOf = (arg: Argument | undefined): readonly Target[] =>
  arg === undefined ? [] : 'by' in arg ? [...arg.cases.values()] : [arg];

/** Marks whose places are enough to tell shapes apart. */
function distinguishing(shapes: readonly Shape[], name: string): number[] {
  const all = [...shapes[0].marks.keys()];
  const apart = (marks: readonly number[]) =>
    new Set(shapes.map((shape) => marks.map((mark) => shape.marks.get(mark)).join())).size;
  const chosen: number[] = [];
  while (apart(chosen) < shapes.length) {
    const best = all
      .filter((mark) => !chosen.includes(mark))
      .map((mark) => ({ mark, apart: apart([...chosen, mark]) }))
      .sort((a, b) => b.apart - a.apart)[0];
    if (best === undefined || best.apart <= apart(chosen))
      throw new UnsupportedError(
        `dpModel: ${name}: texts of a size must be told apart by the places of tokens that stand in each prompt once, got ${shapes.length} shapes and ${all.length} such tokens`,
      );
    chosen.push(best.mark);
  }
  return chosen;
}

/** A value as the token that it is written with. */
function idOf<Problem, State extends string | number>(
  p: Program,
  { dp, vocabulary }: DpTask<Problem, number, State>,
  value: Expr,
  offset: number,
  problem: Problem,
  state?: State,
): Expr {
  if (dp.encode === undefined) return value.plus(offset);
  const [least, greatest] = dp.range ?? p.range(value).map(Math.round);
  return tableOf(p, value, least, greatest, (number) => {
    const token = dp.encode!(number, state, problem);
    return vocabulary.id(Array.isArray(token) ? token[0] : (token as string));
  });
}
