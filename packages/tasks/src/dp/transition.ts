/**
 * A step as arithmetic on whole numbers that a network's layers can do exactly: which numbers it needs, in a fixed
 * number and order, and what it makes of them. `step` of a definition computes the same from values and inputs.
 */

/** A token as a definition names it: its text, or a number for the token that reads like it. */
export type Token = string | number;

/** A number, or an expression that stands for one. */
export interface Quantity<Q> {
  plus(other: Q | number): Q;
  minus(other: Q | number): Q;
  times(factor: number): Q;
}

/** What a step may do with numbers. All of it is on whole numbers; conditions are 0 or 1. */
export interface Arithmetic<Q extends Quantity<Q>> {
  number(value: number): Q;
  /** The number that stands for a token among arguments, where the token is not a number itself. */
  token(token: Token): number;
  /** [x >= least] */
  atLeast(x: Q, least: number): Q;
  /** [x = value] */
  equals(x: Q, value: number): Q;
  /** x where the condition is 1, 0 where it is 0. */
  gate(condition: Q, x: Q): Q;
  /** The greatest of one or more. */
  maximum(values: readonly Q[]): Q;
  /** The least of one or more. */
  minimum(values: readonly Q[]): Q;
  /** x modulo `modulus`, for x from 0 to `greatest`. */
  modulo(x: Q, modulus: number, greatest: number): Q;
  /** f(x) for whole x from `first` to `last`. */
  table(x: Q, first: number, last: number, f: (x: number) => number): Q;
  /** The value of the entry whose arguments all agree, 0 if there is none. */
  tableOfMany(
    xs: readonly Q[],
    entries: readonly { readonly args: readonly number[]; readonly value: number }[],
  ): Q;
}

/** Something that a step needs: a number, the value of an earlier state, or the input at a place. */
export type FixedArg<State> = { number: number } | { state: State } | { input: number };

/** Also: which one, as the token of the input at a place says. Tokens that are not listed never stand there. */
export type Arg<State> = FixedArg<State> | { by: number; cases: ReadonlyMap<Token, FixedArg<State>> };

export interface Transition<Problem, State> {
  /** Equally many for every state; numbers depend on the state and on the sizes of the problem only. */
  args(problem: Problem, state: State): Arg<State>[];
  /** Which of several ways of computing the state takes; all 0 if absent. */
  kind?(problem: Problem, state: State): number;
  /** What the step computes: tokens of numbers come as numbers, others as numbers that differ from token to token. */
  step<Q extends Quantity<Q>>(on: Arithmetic<Q>, args: readonly Q[], kind: number): Q;
  /** What the answer needs, and what it is of them; if absent, they follow from the task's `aggregate`. */
  answerArgs?(problem: Problem): Arg<State>[];
  answer?<Q extends Quantity<Q>>(on: Arithmetic<Q>, args: readonly Q[]): Q;
}

/** Where a minimum must not find the least: above all sums of numbers that vocabularies here have. */
export const FAR = 2 ** 14;

export const number = (value: number): FixedArg<never> => ({ number: value });

export const sum = <Q extends Quantity<Q>>(on: Arithmetic<Q>, quantities: readonly Q[]): Q =>
  quantities.reduce((total, each) => total.plus(each), on.number(0));
