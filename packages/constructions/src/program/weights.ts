/** Weights as rows of matrices, made of expressions. */
import { bitOf, type Expr } from './program.js';

/** Where sigmoid rounds to 1 and to 0, and e^-x to 0: a power of two, so that nothing is rounded. */
export const OPEN = 128;

/** Adds an expression to a row: its channels, and its bias at the channel that is always 1. */
export const linearRow = (row: Float32Array, expr: Expr, one: number, factor = 1): void => {
  for (const [channel, weight] of expr.terms) row[channel] += factor * weight;
  row[one] += factor * expr.bias;
};

/** Adds to a row what is 1 where the bits are those of the code and at most -1 elsewhere. */
export function matchRow(
  row: Float32Array,
  bits: readonly Expr[],
  code: number,
  one: number,
  factor = 1,
): void {
  bits.forEach((bit, i) => linearRow(row, bit, one, factor * bitOf(code, i)));
  row[one] -= factor * (bits.length - 1);
}

/** A matrix by rows. */
export class Matrix {
  readonly data: Float32Array;

  constructor(
    readonly rows: number,
    readonly columns: number,
  ) {
    this.data = new Float32Array(rows * columns);
  }

  row(index: number): Float32Array {
    return this.data.subarray(index * this.columns, (index + 1) * this.columns);
  }
}

export type Weights = Map<string, Float32Array>;

/** One half of a block, its mixer or its MLP: what it takes, and its weights. */
export interface Half {
  parameters: number;
  floatsKept(length: number): number;
  write(weights: Weights, prefix: string): void;
}

export interface Sizes {
  dModel: number;
  /** The channel that is always 1. */
  one: number;
}
