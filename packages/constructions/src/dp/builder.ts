/** The program of a schedule: look-ups of arguments, then steps. */
import { UnsupportedError } from '@freelunch/kernels';
import type { Arithmetic, DpTask, Transition } from '@freelunch/tasks';
import { arithmeticOf } from '../program/arithmetic.js';
import { compile } from '../program/compile.js';
import { atLeast, equals, gate, matching, tableOf } from '../program/integers.js';
import type { LookUpMixer } from '../program/look-ups.js';
import { bitOf, codeBits, Expr, Program } from '../program/program.js';
import { assignRegisters, type Use } from '../program/registers.js';
import type { DpModelOptions, DpPlan } from './plan.js';
import type { Argument, Shape, Step, Target } from './schedule.js';

/** One use of an argument: which token of a shape reads which. */
interface Read {
  shape: number;
  at: number;
  target: number;
  step: Step;
}

/** Puts the program of a schedule together. */
export class Builder<Problem, State extends string | number> {
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
    const on: Arithmetic<Expr> = arithmeticOf(p, (token) => task.vocabulary.id(token) - offset);
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
        idOf(p, task, transition.step(on, args, kind), offset, this.problem, task.dp.states(this.problem)[0]),
      ),
    );
    if (has('copy')) results.push(gate(p, due('copy'), args[0].plus(offset)));
    if (has('answer')) {
      results.push(gate(p, due('answer'), idOf(p, task, transition.answer!(on, args), offset, this.problem)));
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
