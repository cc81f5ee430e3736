/** The arithmetic that a task's step asks for, in ReLU layers. */
import type { Arithmetic, Token } from '@freelunch/tasks';
import { atLeast, equals, fold, gate, maximum, minimum, modulo, tableOf, tableOfMany } from './integers.js';
import { Expr, type Program } from './program.js';

/** @param numberOf the number that stands for a token */
export const arithmeticOf = (p: Program, numberOf: (token: Token) => number): Arithmetic<Expr> => ({
  number: (value) => Expr.of(value),
  token: numberOf,
  atLeast: (x, least) => atLeast(p, x, least),
  equals: (x, value) => equals(p, x, value),
  gate: (condition, x) => gate(p, condition, x),
  maximum: (values) => fold(values, (a, b) => maximum(p, a, b)),
  minimum: (values) => fold(values, (a, b) => minimum(p, a, b)),
  modulo: (x, modulus, greatest) => modulo(p, x, modulus, greatest),
  table: (x, first, last, f) => tableOf(p, x, first, last, f),
  tableOfMany: (xs, entries) => tableOfMany(p, xs, entries),
});
