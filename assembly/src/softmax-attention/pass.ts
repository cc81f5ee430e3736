/** What the phases of a call share: a block of memory, which a pointer names. */
import { bytes } from './sizes';

@unmanaged
export class Pass {
  q: usize;
  k: usize;
  v: usize;
  o: usize;
  logSumExp: usize;
  alibiSlopes: usize;
  queries: usize;
  keys: usize;
  from: usize;
  to: usize;
  queryCount: i32;
  keyCount: i32;
  qLen: i32;
  headDim: i32;
  valueDim: i32;
  queryOffset: i32;
  scale: f32;

  // Bytes of a step of q, k, o and v.
  qRow: usize;
  kRow: usize;
  oRow: usize;
  vRow: usize;

  /** Whether to keep to what is seen pair by pair: something is not finite, so that a weight of 0 is no mask. */
  edges: bool;

  // Of a head and a tile of queries, start <= n < stop.
  slope: f32;
  start: i32;
  stop: i32;

  // Queries of the tile in lanes, each panel so many bytes from the next.
  qPanel: usize;
  qT: usize;
  oPanel: usize;
  kPanels: usize;
}

export function setRows(c: Pass, nHeads: i32, nKvHeads: i32): void {
  c.qRow = bytes(nHeads, c.headDim);
  c.kRow = bytes(nKvHeads, c.headDim);
  c.oRow = bytes(nHeads, c.valueDim);
  c.vRow = bytes(nKvHeads, c.valueDim);
}
