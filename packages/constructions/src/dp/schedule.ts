/**
 * What a model has to do at each token of a chain of thought: which tokens it looks at, and what it writes next. A
 * function of the place in the text alone, for each shape that a text can have.
 */
import { UnsupportedError } from '@freelunch/kernels';
import type { Arg, DpTask, FixedArg, Transition } from '@freelunch/tasks';
import { random } from '@freelunch/random';

/** A number that is known, or a token of the text that holds one. */
export type Target = { number: number } | { token: number };

/** The same, or which one of several, as the token at a place says. */
export type Argument = Target | { by: number; cases: ReadonlyMap<number, Target> };

/** What is written after a token, and from what. */
export interface Step {
  /** `token`: always this one. `copy`: argument 0. `state`, `answer`: what is computed from the arguments. */
  writes: 'token' | 'copy' | 'state' | 'answer';
  /** The token, for `token`; the way of computing, for `state`. */
  value: number;
  args: readonly Argument[];
  /** Names it in errors. */
  name: string;
}

/** One shape of text. */
export interface Shape {
  promptLength: number;
  length: number;
  /** Where in the prompt each token stands that stands in every prompt just once. */
  marks: ReadonlyMap<number, number>;
  /** What is written after token `promptLength - 1 + i`. */
  steps: readonly Step[];
}

const DRAWS = 64; // instances looked at
const TOKENS = 200_000; // about as many in all, where they are long

/**
 * Looks at random instances of a size, or at one problem.
 *
 * @throws UnsupportedError if texts of one shape differ in what a step needs
 */
export function scheduleOf<Problem, State extends string | number>(
  task: DpTask<Problem, number, State>,
  transition: Transition<Problem, State>,
  problems: readonly Problem[],
): Shape[] {
  const found = new Map<string, { shape: Shape; signature: string }>();
  const prompts: number[][] = [];
  const texts = problems.map((problem) => {
    const layout = task.layout(problem);
    prompts.push(layout.tokens.slice(0, layout.promptLength));
    return layout;
  });
  const marks = uniqueTokens(prompts);
  problems.forEach((problem, i) => {
    const shape = shapeOf(task, transition, problem, texts[i], marks);
    const key = `${shape.promptLength} ${[...shape.marks].join(' ')}`;
    const signature = signatureOf(shape);
    const before = found.get(key);
    if (before === undefined) found.set(key, { shape, signature });
    else if (before.signature !== signature) {
      const at = shape.steps.findIndex(
        (step, t) => stepSignature(step) !== stepSignature(before.shape.steps[t] ?? step),
      );
      throw new UnsupportedError(
        `dpModel: ${task.name}: what a step needs must depend on the place in the text alone, but ` +
          `${shape.steps[Math.max(0, at)].name} needs other tokens in another instance; give a transition that says by which input`,
      );
    }
  });
  return [...found.values()].map(({ shape }) => shape);
}

/** Instances that show what texts of a size look like. */
export function instancesOf<Problem, State extends string | number>(
  task: DpTask<Problem, number, State>,
  size: number,
): Problem[] {
  if (task.dp.shapes !== undefined) return task.dp.shapes(size);
  const rng = random(0).split('dpModel');
  const first = task.draw(rng, size);
  const draws = Math.max(4, Math.min(DRAWS, Math.floor(TOKENS / task.layout(first).tokens.length)));
  return [first, ...Array.from({ length: draws - 1 }, () => task.draw(rng, size))];
}

/** Tokens that stand in every prompt just once. */
function uniqueTokens(prompts: readonly number[][]): number[] {
  const counts = prompts.map((prompt) => {
    const count = new Map<number, number>();
    for (const id of prompt) count.set(id, (count.get(id) ?? 0) + 1);
    return count;
  });
  return [...counts[0].keys()]
    .filter((id) => counts.every((count) => count.get(id) === 1))
    .sort((a, b) => a - b);
}

const argSignature = (arg: Argument): string =>
  'by' in arg
    ? `by${arg.by}:${[...arg.cases].map(([id, target]) => `${id}=${argSignature(target)}`).join(';')}`
    : 'number' in arg
      ? `n${arg.number}`
      : `t${arg.token}`;

const stepSignature = ({ writes, value, args }: Step): string =>
  `${writes} ${value} ${args.map(argSignature).join()}`;

const signatureOf = ({ steps }: Shape): string => steps.map(stepSignature).join('\n');

function shapeOf<Problem, State extends string | number>(
  task: DpTask<Problem, number, State>,
  transition: Transition<Problem, State>,
  problem: Problem,
  text: ReturnType<DpTask<Problem, number, State>['layout']>,
  marks: readonly number[],
): Shape {
  const { dp } = task;
  const { states, tokens, promptLength, inlineStart, start, answerStart } = text;
  const places = new Map(states.map((state, i) => [state, start[i]]));
  const nearest = Array.from({ length: promptLength - 1 }, (_, place) => place); // where an input was written last
  const fixed = (arg: FixedArg<State>): Target => {
    if ('number' in arg) return arg;
    if ('input' in arg) return { token: nearest[arg.input] };
    return { token: places.get(arg.state)! };
  };
  const resolve = (arg: Arg<State>): Argument =>
    'by' in arg
      ? {
          by: nearest[arg.by],
          cases: new Map([...arg.cases].map(([token, one]) => [task.vocabulary.id(token), fixed(one)])),
        }
      : fixed(arg);

  const steps: Step[] = [];
  const write = (step: Step): void => void steps.push(step);
  const plain = (at: number): Step => ({
    writes: 'token',
    value: tokens[at],
    args: [],
    name: `the token '${task.vocabulary.text(tokens[at])}'`,
  });
  states.forEach((state, i) => {
    while (promptLength + steps.length < inlineStart[i]) write(plain(promptLength + steps.length));
    if (inlineStart[i] < start[i]) {
      (dp.inlineReads ?? dp.reads)!.call(dp, problem, state).forEach((place, j) => {
        write({
          writes: 'copy',
          value: 0,
          args: [{ token: nearest[place] }],
          name: `input ${place}, repeated for state ${String(state)}`,
        });
        nearest[place] = inlineStart[i] + j;
      });
    }
    write({
      writes: 'state',
      value: transition.kind?.(problem, state) ?? 0,
      args: transition.args(problem, state).map(resolve),
      name: `state ${String(state)}`,
    });
  });
  while (promptLength + steps.length < answerStart) write(plain(promptLength + steps.length));
  if (promptLength + steps.length === answerStart) {
    const args = transition.answerArgs!(problem).map(resolve);
    write({ writes: 'answer', value: 0, args, name: 'the answer' });
  }
  while (promptLength + steps.length < tokens.length) write(plain(promptLength + steps.length));
  return {
    promptLength,
    length: tokens.length,
    marks: new Map(marks.map((id) => [id, tokens.indexOf(id)])),
    steps,
  };
}
