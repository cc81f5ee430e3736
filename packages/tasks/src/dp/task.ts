import type { Locality } from '../sample.js';
import { Task } from '../task.js';
import type { DpDefinition, DpOptions, DpSolution, DpStructure, DpText, Token } from './definition.js';
import { localityOf } from './locality.js';
import type { Notation } from './notation.js';
import { solve, structureOf } from './solve.js';
import { compose } from './text.js';

/** A task that was made from a definition of its parts. */
export class DpTask<Problem, Value = number, State extends Token = number> extends Task<Problem> {
  readonly dp: DpDefinition<Problem, Value, State>;
  readonly form: DpOptions['form'];
  readonly inputs: DpOptions['inputs'];
  readonly #notation: Notation<Problem, Value, State>;
  readonly #validate: (problem: Problem) => void;

  /** @internal */
  constructor(
    notation: Notation<Problem, Value, State>,
    validate: (problem: Problem) => void,
    definition: ConstructorParameters<typeof Task<Problem>>[0],
    part?: Task['part'],
  ) {
    super(definition, part);
    this.#notation = notation;
    this.#validate = validate;
    this.dp = notation.dp;
    this.form = notation.form;
    this.inputs = notation.inputs;
  }

  /** All values and the answer. @throws TaskError if the definition does not hold for this problem */
  solve(problem: Problem): DpSolution<Value, State> {
    return solve(this.dp, problem);
  }

  /** The text of a problem, and where in it each value stands. */
  layout(problem: Problem): DpText<Value, State> {
    return compose(this.#notation, problem);
  }

  /** What depends on what. */
  structure(problem: Problem): DpStructure<State> {
    return structureOf(this.dp, problem);
  }

  /** How far back this problem makes a model look. */
  localityOf(problem: Problem): Locality {
    return localityOf(this.#notation, problem);
  }

  /** Runs the definition on this problem and watches what its step uses. @throws TaskError that names what is wrong */
  validate(problem: Problem): void {
    this.#validate(problem);
  }

  override split(options?: { test?: number; seed?: number }): {
    train: DpTask<Problem, Value, State>;
    test: DpTask<Problem, Value, State>;
  } {
    const { train, test } = super.split(options);
    return {
      train: new DpTask(this.#notation, this.#validate, this.definition, train.part),
      test: new DpTask(this.#notation, this.#validate, this.definition, test.part),
    };
  }
}
