/** Trees of formulas: what parts of a model cost, and how they come together. */
import { Expression, product, sum, type Values } from './expression.js';
import type { Entry, Sizes } from './model/layer.js';
import { type ElementKind, elementKinds, type Elements, type Grain, type Op, total } from './ops/op.js';

export const figures = [
  'params',
  'macs',
  'flops',
  'transcendentals',
  'bytesRead',
  'bytesWritten',
  'stateBytes',
  'activationBytes',
  'weightBytes',
  'gradientBytes',
  'optimizerBytes',
] as const;
export type Figure = (typeof figures)[number];
export type Figures<T> = Record<Figure, T>;

/** Figures that add up over time; the others are sizes of what is there at the end. */
export const flows: ReadonlySet<Figure> = new Set([
  'macs',
  'flops',
  'transcendentals',
  'bytesRead',
  'bytesWritten',
] as const);

/** What a part of a model costs, and its parts. A formula at {@link Cost.values} is the number beside it. */
export interface Cost extends Figures<number> {
  name: string;
  formulas: Figures<Expression>;
  values: Values;
  children: Cost[];
}

/** How a cost is counted. */
export interface Context {
  grain: Grain;
  bytes: Record<ElementKind, number>;
  recompute: boolean;
  optimizer: boolean;
  training: boolean;
  sizes: Sizes;
}

export const zero = Expression.of(0);
const noFigures = (): Figures<Expression> =>
  Object.fromEntries(figures.map((figure) => [figure, zero])) as Figures<Expression>;

/** A {@link Cost} without numbers. */
export type Draft = { name: string; formulas: Figures<Expression>; children: Draft[] };

const bytesOf = (elements: Elements, bytes: Context['bytes']): Expression =>
  sum(...elementKinds.map((kind) => product(elements[kind] ?? 0, bytes[kind])));

/** Ops as one part without children. */
export function leaf(
  context: Context,
  name: string,
  ops: readonly Op[],
  sizes: Partial<Figures<Expression>> = {},
): Draft {
  const { macs, flops, transcendentals, read, written } = total(ops);
  return {
    name,
    children: [],
    formulas: {
      ...noFigures(),
      macs,
      flops,
      transcendentals,
      bytesRead: bytesOf(read, context.bytes),
      bytesWritten: bytesOf(written, context.bytes),
      ...sizes,
    },
  };
}

/** One op: forward, backward and, where its block is recomputed, forward again. */
export function opDraft(context: Context, entry: Entry, again: boolean): Draft {
  const { name, params, matrix, forward, backward, outputs, state } = entry;
  const { bytes } = context;
  const inMatrix = matrix?.size ?? zero;
  return leaf(context, name, [forward, ...(again ? [forward] : []), ...backward], {
    params,
    stateBytes: product(context.training ? 0 : state, context.bytes.state), // training keeps activations instead
    activationBytes: product(outputs, context.bytes.activations),
    weightBytes: sum(
      product(params.minus(inMatrix), bytes.weights),
      product(inMatrix, bytes[matrix?.kind ?? 'matrices']),
    ),
    gradientBytes: product(context.training ? params : 0, context.bytes.gradients),
    optimizerBytes: product(
      context.training && context.optimizer ? product(2, params) : 0,
      context.bytes.moments,
    ),
  });
}

/** A part of others. @param times for equal children: how often each counts */
export function together(
  name: string,
  children: Draft[],
  parts: readonly { draft: Draft; times: Expression }[],
): Draft {
  const formulas = noFigures();
  for (const figure of figures) {
    formulas[figure] = sum(...parts.map(({ draft, times }) => draft.formulas[figure].times(times)));
  }
  return { name, children, formulas };
}

export const once = (drafts: readonly Draft[]) => drafts.map((draft) => ({ draft, times: Expression.of(1) }));

/** The same tree with numbers. */
export function valued(draft: Draft, values: Values): Cost {
  const numbers = Object.fromEntries(
    figures.map((figure) => [figure, draft.formulas[figure].evaluate(values)]),
  ) as Figures<number>;
  return {
    name: draft.name,
    ...numbers,
    formulas: draft.formulas,
    values,
    children: draft.children.map((child) => valued(child, values)),
  };
}

/** The same tree with other formulas. */
export function mapDraft(draft: Draft, change: (formula: Expression, figure: Figure) => Expression): Draft {
  return {
    name: draft.name,
    formulas: Object.fromEntries(
      figures.map((figure) => [figure, change(draft.formulas[figure], figure)]),
    ) as Figures<Expression>,
    children: draft.children.map((child) => mapDraft(child, change)),
  };
}
