/**
 * What it takes to COPY, to run any dynamic program, and one that is m-local, mixer by mixer: claims C and D of docs/results.md.
 *
 *   T  tokens to copy, or steps that are written       m  tokens that a step looks back at most
 *   v  width of a value                                r  look-ups a step (1 for COPY, K + J of a dynamic program)
 *   log T  bits of a position: a key is the bits of its position as +-1 (C4)      d  width of the model
 *
 * `perToken` and `total` are the cost of mixing alone, of look-ups that run side by side; projections come apart, as they
 * are far from the same for all: a register needs rows of a projection, a token in a cache does not. A pair of a query and
 * a key takes 2 (key width + v) + 3 FLOPs and one exp, a cell of a state 6 and one exp in a selective scan, 5 in SSD (its
 * decay is one per head) and 4 in linear attention; a parameter of a projection takes 2 FLOPs per token.
 */
import { checkOptions } from '@freelunch/errors';
import { fail, whole } from './check.js';
import { type Expression, product, type Size, sum, type Values, variable } from './expression.js';

export const mechanisms = [
  'softmax',
  'sliding window',
  'block-sparse',
  'linear attention',
  'Mamba',
  'Mamba-2',
  'hybrid',
] as const;
export type Mechanism = (typeof mechanisms)[number];

export const tasks = ['COPY', 'arbitrary DP', 'm-local DP'] as const;
export type Task = (typeof tasks)[number];

export interface TableOptions {
  T: number;
  m: number;
  /** 16 if absent. */
  valueWidth?: number;
  /** Look-ups a step of a dynamic program; 2 if absent. */
  lookups?: number;
  /** Width of the model, which its projections have on one side; 64 if absent. */
  dModel?: number;
  /** Bits of a float that is kept; 32 if absent. */
  precision?: number;
}

/** One figure: as an expression, as its order in T and m, and as a number. */
export interface TableFigure {
  formula: Expression;
  order: string;
  value: number;
}

export interface TableEntry {
  mechanism: Mechanism;
  task: Task;
  /** Floats kept between steps, and the width of a key. */
  size: TableFigure;
  /** `size` in bytes. */
  sizeBytes: number;
  /** FLOPs of the last token, the dearest one. */
  perToken: TableFigure;
  /** FLOPs of all T tokens. */
  total: TableFigure;
  /** FLOPs of all T tokens, projections included. */
  totalWithProjections: TableFigure;
  transcendentals: TableFigure;
  /** Floats of cache or state that all T tokens read and write. */
  moved: TableFigure;
  /** Parameters of the layer: its projections from and to the width of the model. */
  params: TableFigure;
  /** Claims of docs/results.md. */
  theorem: string;
  /** What builds such a model, in @freelunch/constructions; absent where the row rests on the theorem alone. */
  construction?: 'copyModel' | 'dpModel';
  remark: string;
}

interface Cell {
  size: Expression;
  perToken: Expression;
  total: Expression;
  transcendentals: Expression;
  moved: Expression;
  params: Expression;
  theorem: string;
  built?: boolean;
  remark: string;
}

const T = variable('T');
const m = variable('m');
const v = variable('v');
const r = variable('r');
const d = variable('d');
const logT = variable('log T');
const logM = variable('log m');
const half = product(1 / 2, T, sum(T, 1));

/** Attention whose keys are `width` wide and whose queries see `last` keys at the end and `pairs` in all. */
function attention(
  width: Expression,
  kept: Size,
  last: Size,
  pairs: Size,
  theorem: string,
  remark: string,
  built = true,
): Cell {
  const each = sum(product(2, sum(width, v)), 3);
  return {
    size: sum(product(r, kept, sum(width, v)), width),
    perToken: product(r, last, each),
    total: product(r, pairs, each),
    transcendentals: product(r, pairs),
    moved: product(r, sum(pairs, T), sum(width, v)),
    params: product(2, r, d, sum(width, v)), // queries and keys, values and outputs
    theorem,
    built,
    remark,
  };
}

/** A state of `slots` slots of width v for each look-up; `flops` and `exps` are those of a cell and step. */
function state({
  slots,
  flops,
  exps,
  keyWidth,
  params,
  theorem,
  built = true,
  remark,
  width = v,
}: StateCell): Cell {
  const cells = product(r, slots, width);
  return {
    size: sum(cells, keyWidth),
    perToken: product(flops, cells),
    total: product(flops, cells, T),
    transcendentals: product(exps, T),
    moved: product(2, cells, T),
    params,
    theorem,
    built,
    remark,
  };
}

interface StateCell {
  slots: Expression;
  /** Of a slot; v if absent. */
  width?: Expression;
  flops: number;
  exps: Size;
  keyWidth: Size;
  params: Expression;
  theorem: string;
  built?: boolean;
  remark: string;
}

/** Registers of a selective scan: a write erases, and an untouched one holds. */
const registers = (slots: Expression, theorem: string, remark: string, built = true): Cell =>
  state({
    slots,
    flops: 6,
    exps: product(r, slots, v),
    keyWidth: 1,
    params: product(3, r, d, slots, v), // inputs, gates, outputs
    theorem,
    built,
    remark,
  });

/** Bits that tell n positions apart. */
const bits = (n: number) => Math.max(1, Math.ceil(Math.log2(n)));

const windowPairs = product(m, T).minus(product(1 / 2, m, m.minus(1)));

function cellOf(mechanism: Mechanism, task: Task): Cell {
  const local = task === 'm-local DP';
  const of = (copying: string, dp: string, near: string) => (task === 'COPY' ? copying : local ? near : dp);
  switch (mechanism) {
    case 'softmax':
      return attention(
        logT,
        T,
        T,
        half,
        of('C4', 'D1, C4', 'D2'),
        'keys of log T bits; the cache grows with T',
      );
    case 'sliding window':
      return local
        ? attention(logM, m, m, windowPairs, 'D2, C4', 'a window of m')
        : attention(
            logT,
            T,
            T,
            half,
            of('C5', 'D1', ''),
            'the window must reach back to the first token',
            task !== 'COPY',
          );
    case 'block-sparse':
      return local
        ? attention(
            logT,
            T,
            sum(m, product(T, m.inverse())),
            sum(windowPairs, product(1 / 2, T, T, m.inverse())),
            'D1, D2',
            'strided, stride m: the last m keys, and every m-th before',
            false,
          )
        : attention(
            logT,
            T,
            T,
            half,
            of('C5', 'D1', ''),
            'a target may lie anywhere: blocks must reach back to the first token',
            false,
          );
    case 'linear attention':
      return state({
        slots: T,
        flops: 4,
        exps: 0,
        keyWidth: T,
        params: product(2, r, d, sum(T, v)),
        theorem: of('C1, C2', 'D1, C1', 'C1, C2, D2'),
        remark: local
          ? 'cannot overwrite without a gate: one key a token, as for any DP'
          : 'exact keys are orthogonal: as many as tokens',
      });
    case 'Mamba':
      return registers(
        local ? m : T,
        of('C2 (b)', 'D1, C2 (b)', 'D2'),
        local ? 'registers for m tokens' : 'a register for each token',
      );
    case 'Mamba-2': {
      if (task === 'COPY')
        return state({
          slots: T,
          width: product(2, v),
          flops: 5,
          exps: r,
          keyWidth: T,
          params: product(r, d, sum(product(6, v), product(2, T), 1)),
          theorem: 'C2 (a)',
          remark: 'addresses in the state; a pair of channels per number, so that the norm is known',
        });
      const slots = local ? m : T;
      return state({
        slots,
        flops: 5,
        exps: product(r, slots),
        keyWidth: 1,
        params: product(r, d, slots, sum(product(3, v), 1)),
        theorem: local ? 'D2' : 'D1, C2 (b)',
        built: false,
        remark: 'a head is a register: one decay for its v channels',
      });
    }
    case 'hybrid':
      return local
        ? registers(m, 'D2', 'its Mamba layers are enough', false)
        : attention(
            logT,
            T,
            T,
            half,
            of('C4, C5', 'D1, C4', ''),
            'its softmax layer does the look-ups; Mamba layers stay of constant size',
            false,
          );
  }
}

/**
 * The table: size needed, cost of a token and in all, for each mixer and task.
 *
 * @throws ArgumentError if T or m is not a whole number from 1 up, or m is above T
 */
export function table(options: TableOptions): TableEntry[] {
  if (options === undefined) fail('table', 'options', 'an object with T and m', options);
  checkOptions('table', options, ['T', 'm', 'valueWidth', 'lookups', 'dModel', 'precision']);
  const { T: steps, m: reach, valueWidth = 16, lookups = 2, dModel = 64, precision = 32 } = options;
  for (const [name, value] of Object.entries({
    T: steps,
    m: reach,
    valueWidth,
    lookups,
    dModel,
    precision,
  })) {
    whole('table', name, value, 1, 2 ** 40);
  }
  if (reach > steps) fail('table', 'm', `at most T = ${steps}`, reach);
  return tasks.flatMap((task) =>
    mechanisms.map((mechanism): TableEntry => {
      const cell = cellOf(mechanism, task);
      const values: Values = {
        T: steps,
        m: reach,
        v: valueWidth,
        r: task === 'COPY' ? 1 : lookups,
        d: dModel,
        'log T': bits(steps),
        'log m': bits(reach),
      };
      const figure = (formula: Expression): TableFigure => ({
        formula,
        order: formula.order(['T', 'm', 'log T', 'log m'], true),
        value: formula.evaluate(values),
      });
      const size = figure(cell.size);
      return {
        mechanism,
        task,
        size,
        sizeBytes: (size.value * precision) / 8,
        perToken: figure(cell.perToken),
        total: figure(cell.total),
        totalWithProjections: figure(sum(cell.total, product(2, cell.params, T))),
        transcendentals: figure(cell.transcendentals),
        moved: figure(cell.moved),
        params: figure(cell.params),
        theorem: cell.theorem,
        ...(cell.built && { construction: task === 'COPY' ? ('copyModel' as const) : ('dpModel' as const) }),
        remark: cell.remark,
      };
    }),
  );
}

/** The least floats that anything must keep to copy T symbols out of V at `precision` bits a float (C1). */
export const leastFloats = (steps: number, vocabSize: number, precision = 32): number =>
  Math.ceil((steps * Math.log2(vocabSize)) / precision);
