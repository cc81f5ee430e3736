/**
 * Where a kernel of linear attention or of the delta rule is: at a head of an item of the batch, and within it at some key
 * channels and value columns, all of them or a piece that a thread computes.
 */
import { padded } from './rows';

@unmanaged
export class HeadPiece {
  seqLen: i32;
  nHeads: i32;
  dKey: i32;
  dValue: i32;

  // Bytes of a row of one head.
  keyRow: usize;
  valueRow: usize;

  // The key channels and value columns that are computed: from where on, how many there are, and padded.
  firstKey: usize;
  keyCount: i32;
  key: i32;
  firstValue: usize;
  valueCount: i32;
  value: i32;

  // The head that is open: its item of the batch, and among all heads of the batch.
  item: i32;
  head: i32;
  index: usize;
}

/** Turns to a head of an item of the batch, and all of it. */
export function openHead(c: HeadPiece, item: i32, head: i32): void {
  c.item = item;
  c.head = head;
  c.index = <usize>(item * c.nHeads + head);
  openKeys(c, 0, 1);
  openValues(c, 0, 1);
}

/** Turns to a piece of its key channels: whole panels of 8, of which the last channels may be lacking. */
export function openKeys(c: HeadPiece, piece: i32, pieces: i32): void {
  c.key = padded(c.dKey) / pieces;
  const first = piece * c.key;
  c.firstKey = (<usize>first) << 2;
  c.keyCount = min(c.key, c.dKey - first);
}

/** And of its value columns. */
export function openValues(c: HeadPiece, piece: i32, pieces: i32): void {
  c.value = padded(c.dValue) / pieces;
  const first = piece * c.value;
  c.firstValue = (<usize>first) << 2;
  c.valueCount = min(c.value, c.dValue - first);
}

/** Steps before a step of the head, in the order of the tensors. */
export function stepAt(c: HeadPiece, t: i32): usize {
  return (<usize>c.item * c.seqLen + t) * c.nHeads + c.head;
}

/** Bytes from the start of q to a step's row, from the open channels on. */
export function keyAt(c: HeadPiece, t: i32): usize {
  return stepAt(c, t) * c.keyRow + c.firstKey;
}

/** Bytes from the start of v to a step's row, from the open columns on. */
export function valueAt(c: HeadPiece, t: i32): usize {
  return stepAt(c, t) * c.valueRow + c.firstValue;
}
