/**
 * Programs on the residual stream: what a model with hand-set weights computes, as a list of channels.
 *
 *   channel    one number a token, in one coordinate of the residual stream, written once
 *   Expr       an affine combination of channels: free, since every weight matrix that reads the stream can hold it
 *   token      a channel that is a function of the token: a column of the embedding
 *   position   a channel that is a function of the position: a column of the position table
 *   node       a channel sum_i w_i relu(Expr_i): rows and a column of a two-layer MLP
 *   lookUp     channels copied from another token: a head of a mixer. This is COPY (copy.ts)
 *
 * Everything stands in blocks, a mixer and then an MLP, as soon as what it needs is there: {@link Program.blocks}. The
 * last Expr, {@link ProgramOutput}, is the id of the next token; the head picks the nearest.
 */
import { checkOptions } from '@freelunch/errors';
import { ArgumentError } from '@freelunch/kernels';

/** An affine combination of channels: sum of weight * channel, plus bias. */
export class Expr {
  #key: string | undefined;

  constructor(
    readonly terms: ReadonlyMap<number, number>,
    readonly bias: number,
  ) {}

  static of(value: number | Expr): Expr {
    return typeof value === 'number' ? new Expr(new Map(), value) : value;
  }

  plus(other: Expr | number): Expr {
    if (typeof other === 'number') return new Expr(this.terms, this.bias + other);
    const terms = new Map(this.terms);
    for (const [channel, weight] of other.terms) {
      const sum = (terms.get(channel) ?? 0) + weight;
      if (sum === 0) terms.delete(channel);
      else terms.set(channel, sum);
    }
    return new Expr(terms, this.bias + other.bias);
  }

  minus(other: Expr | number): Expr {
    return this.plus(typeof other === 'number' ? -other : other.times(-1));
  }

  times(factor: number): Expr {
    if (factor === 0) return Expr.of(0);
    return new Expr(
      new Map([...this.terms].map(([channel, weight]) => [channel, weight * factor])),
      this.bias * factor,
    );
  }

  /** Equal exactly for equal combinations. */
  get key(): string {
    if (this.#key === undefined) {
      const terms = [...this.terms].sort(([a], [b]) => a - b);
      this.#key = `${terms.map(([channel, weight]) => `${weight}c${channel}`).join('+')}+${this.bias}`;
    }
    return this.#key;
  }

  /** The value, given those of the channels. */
  at(channels: ArrayLike<number>): number {
    let value = this.bias;
    for (const [channel, weight] of this.terms) value += weight * channels[channel];
    return value;
  }
}

/** One part of a node: weight * relu(of). */
export interface Relu {
  weight: number;
  of: Expr;
}

/** What a head copies, and how it finds it. */
export interface LookUp {
  /** Names the look-up in errors. */
  name: string;
  /** The code under which a token's values are stored, its bits as +1 and -1, lowest first. */
  key: readonly Expr[];
  /** The code of the token to read. */
  query: readonly Expr[];
  /** What is copied: numbers from -16 up. */
  values: readonly Expr[];
  /**
   * The codes that are ever read; tokens under other codes need not be kept. Of several tokens under one code a state
   * that overwrites gives the latest; other mixers need codes to be used once.
   */
  codes: readonly number[];
}

export interface Node {
  channel: number;
  relus: readonly Relu[];
}

export interface PlacedLookUp extends LookUp {
  channels: readonly number[];
}

/** What one block of the model does: its mixer, then its MLP. */
export interface ProgramBlock {
  lookUps: PlacedLookUp[];
  nodes: Node[];
}

/** Bits that tell the codes 0..count-1 apart, at least 1. */
export function codeBits(count: number): number {
  let bits = 1;
  while (2 ** bits < count) bits++;
  return bits;
}

export const bitOf = (code: number, bit: number): 1 | -1 => (Math.floor(code / 2 ** bit) % 2 === 1 ? 1 : -1);

/** What a register that was never written reads as: the least of what look-ups that find nothing give. */
export const MISSING = -32;

/** Most hidden units and channels of a program, to stop a table that nobody can hold. */
const LIMIT = 2 ** 24;

export class Program {
  readonly vocabSize: number;
  readonly length: number;
  /** Always 1: what carries the biases of matrices that have none. */
  readonly one: Expr;
  readonly tokenColumns = new Map<number, Float64Array>();
  readonly positionColumns = new Map<number, Float64Array>();
  readonly blocks: ProgramBlock[] = [];
  /** For each channel when it is there: -1 from the start, 2b after the mixer of block b, 2b + 1 after its MLP. */
  readonly #ready: number[] = [];
  /** For each channel the least and greatest value that it can have. */
  readonly #ranges: (readonly [number, number])[] = [];
  readonly #nodes = new Map<string, Expr>();
  readonly #columns = new Map<string, Expr>();

  /** @param length positions that the table has rows for */
  constructor(sizes: { vocabSize: number; length: number }) {
    checkOptions('Program', sizes, ['vocabSize', 'length']);
    const { vocabSize, length } = sizes;
    for (const [name, value] of Object.entries({ vocabSize, length })) {
      if (!Number.isSafeInteger(value) || value < 1)
        throw new ArgumentError(`Program: ${name} must be a whole number from 1 up, got ${value}`);
    }
    this.vocabSize = vocabSize;
    this.length = length;
    this.one = this.token(() => 1);
  }

  /** Channels in use. */
  get width(): number {
    return this.#ready.length;
  }

  /** A function of the token at the position; the same function again is the same channel. */
  token(of: (id: number) => number): Expr {
    return this.#column(
      'token',
      Float64Array.from({ length: this.vocabSize }, (_, id) => of(id)),
    );
  }

  /** A function of the position, from 0; the same function again is the same channel. */
  position(of: (position: number) => number): Expr {
    return this.#column(
      'position',
      Float64Array.from({ length: this.length }, (_, t) => of(t)),
    );
  }

  /** The bits of a code that the position decides, +1 or -1 each. */
  positionCode(bits: number, of: (position: number) => number): Expr[] {
    return Array.from({ length: bits }, (_, bit) => this.position((t) => bitOf(of(t), bit)));
  }

  /** The bits of a code that the token decides. */
  tokenCode(bits: number, of: (id: number) => number): Expr[] {
    return Array.from({ length: bits }, (_, bit) => this.token((id) => bitOf(of(id), bit)));
  }

  /** Least and greatest value that a combination can have, as far as its channels tell. */
  range(expr: Expr): [number, number] {
    let [least, greatest] = [expr.bias, expr.bias];
    for (const [channel, weight] of expr.terms) {
      const ends = this.#ranges[channel].map((end) => weight * end);
      least += Math.min(...ends);
      greatest += Math.max(...ends);
    }
    return [least, greatest];
  }

  /**
   * sum_i w_i relu(of_i), in a channel of its own; the same node again is the same channel.
   *
   * @param range of the sum, where it is known to be narrower than those of its parts tell
   */
  node(relus: readonly Relu[], range?: readonly [number, number]): Expr {
    const live = relus.filter(({ weight, of }) => weight !== 0 && (of.terms.size > 0 || of.bias > 0));
    const constant = live.filter(({ of }) => of.terms.size === 0);
    const bias = constant.reduce((sum, { weight, of }) => sum + weight * of.bias, 0);
    const varying = live.filter(({ of }) => of.terms.size > 0);
    if (varying.length === 0) return Expr.of(bias);
    const key = varying.map(({ weight, of }) => `${weight}(${of.key})`).join();
    const known = this.#nodes.get(key);
    if (known !== undefined) return known.plus(bias);
    const needed = varying.reduce((latest, { of }) => Math.max(latest, this.#readyAt(of)), -1);
    const block = Math.max(0, Math.ceil(needed / 2)); // the first whose MLP comes after
    const { channel, expr } = this.#channel(2 * block + 1, range ?? this.#rangeOfNode(varying));
    this.#block(block).nodes.push({ channel, relus: varying });
    this.#nodes.set(key, expr);
    return expr.plus(bias);
  }

  relu(of: Expr): Expr {
    return this.node([{ weight: 1, of }]);
  }

  /**
   * The values of the token that is stored under the code of the query, this one and earlier ones among them. If there
   * is none, what comes back is not defined.
   *
   * @throws ArgumentError if key and query differ in length, a code does not fit in them, or there is nothing to look up
   */
  lookUp(lookUp: LookUp): Expr[] {
    const { name, key, query, values, codes } = lookUp;
    if (key.length === 0 || values.length === 0 || codes.length === 0)
      throw new ArgumentError(
        `lookUp: ${name} must have bits in its key, values and codes, got ${key.length}, ${values.length} and ${codes.length}`,
      );
    const wrong = codes.find((code) => !Number.isSafeInteger(code) || code < 0 || code >= 2 ** key.length);
    if (wrong !== undefined)
      throw new ArgumentError(
        `lookUp: codes of ${name} must be whole numbers from 0 to ${2 ** key.length - 1}, got ${wrong}`,
      );
    if (key.length !== query.length)
      throw new ArgumentError(
        `lookUp: query of ${name} must have ${key.length} bits as its key has, got ${query.length}`,
      );
    const needed = [...key, ...query, ...values].reduce(
      (latest, expr) => Math.max(latest, this.#readyAt(expr)),
      -1,
    );
    const block = Math.ceil((needed + 1) / 2); // the first whose mixer comes after
    const placed = values.map((value) => {
      const [least, greatest] = this.range(value);
      return this.#channel(2 * block, [Math.min(least, MISSING), Math.max(greatest, 0)]);
    });
    this.#block(block).lookUps.push({ ...lookUp, channels: placed.map(({ channel }) => channel) });
    return placed.map(({ expr }) => expr);
  }

  /**
   * What the program computes, in double precision: the definition that compiled models are checked against.
   *
   * @returns the channels of each token; 0 where a look-up finds nothing
   * @throws ArgumentError for a token that is not of the vocabulary, and for more of them than there are positions
   */
  evaluate(tokens: ArrayLike<number>): Float64Array[] {
    if (tokens.length > this.length)
      throw new ArgumentError(
        `evaluate: tokens must be at most ${this.length}, as there are positions, got ${tokens.length}`,
      );
    for (let t = 0; t < tokens.length; t++) {
      if (!Number.isInteger(tokens[t]) || tokens[t] < 0 || tokens[t] >= this.vocabSize)
        throw new ArgumentError(
          `evaluate: tokens must be whole numbers from 0 to ${this.vocabSize - 1}, got ${tokens[t]} at ${t}`,
        );
    }
    const rows = Array.from({ length: tokens.length }, (_, t) => {
      const row = new Float64Array(this.width);
      for (const [channel, column] of this.tokenColumns) row[channel] = column[tokens[t]];
      for (const [channel, column] of this.positionColumns) row[channel] = column[t];
      return row;
    });
    for (const { lookUps, nodes } of this.blocks) {
      for (const { key, query, values, codes, channels } of lookUps) {
        const kept = new Set(codes);
        const stored = new Map<number, Float64Array>();
        for (const row of rows) {
          const code = codeAt(key, row);
          if (kept.has(code))
            stored.set(
              code,
              Float64Array.from(values, (value) => value.at(row)),
            );
          const found = stored.get(codeAt(query, row));
          if (found !== undefined) channels.forEach((channel, i) => (row[channel] = found[i]));
        }
      }
      for (const row of rows) {
        const computed = nodes.map(({ relus }) =>
          relus.reduce((sum, { weight, of }) => sum + weight * Math.max(0, of.at(row)), 0),
        );
        nodes.forEach(({ channel }, i) => (row[channel] = computed[i]));
      }
    }
    return rows;
  }

  #column(kind: 'token' | 'position', column: Float64Array): Expr {
    const wrong = column.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0)
      throw new ArgumentError(
        `Program: a ${kind}'s channel must be a finite number, got ${column[wrong]} for ${wrong}`,
      );
    const key = `${kind} ${column.join()}`;
    const known = this.#columns.get(key);
    if (known !== undefined) return known;
    const { channel, expr } = this.#channel(-1, rangeOf(column));
    (kind === 'token' ? this.tokenColumns : this.positionColumns).set(channel, column);
    this.#columns.set(key, expr);
    return expr;
  }

  #rangeOfNode(relus: readonly Relu[]): [number, number] {
    let [least, greatest] = [0, 0];
    for (const { weight, of } of relus) {
      const most = weight * Math.max(0, this.range(of)[1]);
      least += Math.min(0, most);
      greatest += Math.max(0, most);
    }
    return [least, greatest];
  }

  #channel(ready: number, range: readonly [number, number]): { channel: number; expr: Expr } {
    const channel = this.#ready.length;
    if (channel >= LIMIT) throw new ArgumentError(`Program: channels must be at most ${LIMIT}, got more`);
    this.#ready.push(ready);
    this.#ranges.push(range);
    return { channel, expr: new Expr(new Map([[channel, 1]]), 0) };
  }

  #readyAt(expr: Expr): number {
    let latest = -1;
    for (const channel of expr.terms.keys()) latest = Math.max(latest, this.#ready[channel]);
    return latest;
  }

  #block(index: number): ProgramBlock {
    while (this.blocks.length <= index) this.blocks.push({ lookUps: [], nodes: [] });
    return this.blocks[index];
  }
}

function rangeOf(column: Float64Array): [number, number] {
  return column.reduce(([least, greatest], value) => [Math.min(least, value), Math.max(greatest, value)], [
    Infinity,
    -Infinity,
  ] as [number, number]);
}

/** The code that bits of +1 and -1 stand for. */
function codeAt(bits: readonly Expr[], row: Float64Array): number {
  return bits.reduce((code, bit, i) => code + (bit.at(row) > 0 ? 2 ** i : 0), 0);
}
