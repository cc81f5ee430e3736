/** What the phases of a call share, and how it is cut into units. */
import { slopeOf } from './scores';
import { bytes, roundDown, words } from './sizes';

/**
 * A row of the table that a call is given, all of it 32-bit words: some queries of one pass of a batch item, start <= n <
 * stop, for some of the query heads of each key head. Each pass has equally many rows, which may be empty.
 */
@unmanaged
export class Part {
  item: i32;
  queries: usize;
  keys: usize;
  from: usize;
  to: usize;
  queryCount: i32; // of the pass
  queryOffset: i32;
  firstHead: i32;
  headCount: i32;
  start: i32;
  stop: i32;

  /** On a register tile. */
  get firstKey(): i32 {
    return roundDown(load<i32>(this.from + words(this.start)));
  }

  /** The first that none of its queries sees. */
  get lastKey(): i32 {
    return max(this.firstKey, load<i32>(this.to + words(this.stop) - 4));
  }
}

/** A block of memory, which a pointer names. */
@unmanaged
export class Pass {
  computed: f64; // the number of scores that a forward call computed, with those that a mask then took out

  q: usize;
  k: usize;
  v: usize;
  o: usize;
  logSumExp: usize;
  alibiSlopes: usize;
  qLen: i32;
  kLen: i32;
  nHeads: i32;
  nKvHeads: i32;
  headDim: i32;
  valueDim: i32;
  scale: f32;

  // Bytes of a step of q, k, o and v.
  qRow: usize;
  kRow: usize;
  oRow: usize;
  vRow: usize;

  // Of a unit: its part of a pass, for one key head.
  item: i32;
  queries: usize;
  keys: usize;
  from: usize;
  to: usize;
  queryCount: i32;
  queryOffset: i32;
  firstQuery: i32;
  lastQuery: i32; // the first that is not of it
  firstHead: i32;
  lastHead: i32; // the first that is not of it
  firstKey: i32;
  lastKey: i32;
  kh: usize; // keys and values of its head
  vh: usize;

  /** Whether to keep to what is seen pair by pair: something is not finite, so that a weight of 0 is no mask. */
  edges: bool;

  // Of a head: its ALiBi slope, and bytes from the start of q, of o and of logSumExp.
  slope: f32;
  qh: usize;
  oh: usize;
  sh: usize;

  // Of a tile of queries, start <= n < stop.
  start: i32;
  stop: i32;

  // Queries of the tile in lanes, each panel so many bytes from the next.
  qPanel: usize;
  qT: usize;
  oPanel: usize;
  kPanels: usize;
}

export function setRows(c: Pass): void {
  c.qRow = bytes(c.nHeads, c.headDim);
  c.kRow = bytes(c.nKvHeads, c.headDim);
  c.oRow = bytes(c.nHeads, c.valueDim);
  c.vRow = bytes(c.nKvHeads, c.valueDim);
}

/** Units are ordered by pass, key head and part, of which each pass has `parts`. */
export function partOf(table: usize, parts: i32, nKvHeads: i32, unit: i32): Part {
  const pass = unit / parts / nKvHeads;
  return changetype<Part>(table + <usize>(pass * parts + (unit % parts)) * offsetof<Part>());
}

/** @returns false if there is nothing to do */
export function openUnit(c: Pass, table: usize, parts: i32, unit: i32): bool {
  const part = partOf(table, parts, c.nKvHeads, unit);
  const kv = (unit / parts) % c.nKvHeads;
  c.item = part.item;
  c.queries = part.queries;
  c.keys = part.keys;
  c.from = part.from;
  c.to = part.to;
  c.queryCount = part.queryCount;
  c.queryOffset = part.queryOffset;
  c.firstQuery = part.start;
  c.lastQuery = part.stop;
  if (part.start == part.stop) return false;
  c.firstHead = kv * (c.nHeads / c.nKvHeads) + part.firstHead;
  c.lastHead = c.firstHead + part.headCount;
  c.firstKey = part.firstKey;
  c.lastKey = part.lastKey;
  c.kh = c.k + bytes(part.item * c.kLen * c.nKvHeads + kv, c.headDim);
  c.vh = c.v + bytes(part.item * c.kLen * c.nKvHeads + kv, c.valueDim);
  return true;
}

export function openHead(c: Pass, h: i32): void {
  c.slope = slopeOf(c.alibiSlopes, h);
  c.qh = bytes(c.item * c.qLen * c.nHeads + h, c.headDim);
  c.oh = bytes(c.item * c.qLen * c.nHeads + h, c.valueDim);
  c.sh = words((c.item * c.nHeads + h) * c.qLen);
}
