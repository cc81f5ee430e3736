/** What the backward pass computes of a group and chunk, for all its heads: before them, and after. */
import { packPanels } from '../matrix/panels';
import { addRow } from '../matrix/rows';
import { COLUMNS } from '../matrix/tile';
import { BackwardCall, groupChunkAt, lengthOf } from './backward-call';
import {
  LEFT_STEP,
  LOWER_LEFT,
  multiplyPairs,
  multiplyTriangle,
  ones,
  RIGHT_STEP,
  ROWS,
  UPPER_LEFT,
} from './products';

/** B and C of a group and chunk in panels, and C B^T. */
export function packGroup(c: BackwardCall, index: i32): void {
  const length = lengthOf(c, index);
  const dState = c.dState;
  const B = c.B + groupChunkAt(c, index);
  const C = c.C + groupChunkAt(c, index);
  const deep = <usize>index * c.deepBytes;
  const down = <usize>index * c.downBytes;
  const downPanel = <usize>length * LEFT_STEP;
  const rightPanel = <usize>dState * RIGHT_STEP;
  packPanels(c.cDeep + deep, c.deepPanel, ROWS, C, c.groupRow, 4, length, dState);
  packPanels(c.bDeep + deep, c.deepPanel, ROWS, B, c.groupRow, 4, length, dState);
  packPanels(c.cDown + down, downPanel, ROWS, C, 4, c.groupRow, dState, length);
  packPanels(c.bDown + down, downPanel, ROWS, B, 4, c.groupRow, dState, length);
  packPanels(c.right, rightPanel, COLUMNS, B, c.groupRow, 4, length, dState);
  const pairs = c.CB + <usize>index * c.squareBytes;
  multiplyPairs(pairs, c.pairRow, length, c.cDeep + deep, c.deepPanel, c.right, rightPanel, dState, 1);
}

/** dB and dC of a group and chunk, from what its heads have left: that of all bundles is added up in the first. */
export function groupGradients(c: BackwardCall, index: i32): void {
  const length = lengthOf(c, index);
  const at = groupChunkAt(c, index);
  const row = c.groupStep;
  const T = c.T + <usize>index * c.squareBytes;
  const dC = c.dCs + <usize>index * c.groupBytes;
  const dB = c.dBs + <usize>index * c.groupBytes;
  const leftPanel = <usize>length * LEFT_STEP;
  const rightPanel = <usize>length * RIGHT_STEP;
  for (let bundle = 1; bundle < c.bundles; bundle++) {
    const part = <usize>bundle * c.bytesOfPart;
    addRow(T, T + part, c.padded * c.padded);
    addRow(dC, dC + part, c.padded * c.stateColumns);
    addRow(dB, dB + part, c.padded * c.stateColumns);
  }
  packPanels(c.left, leftPanel, ROWS, T, c.pairRow, 4, length, length);
  packPanels(c.right, rightPanel, COLUMNS, c.B + at, 4, c.groupRow, c.dState, length);
  multiplyTriangle(dC, row, length, c.stateColumns, c.left, c.right, ones, 0, LOWER_LEFT, 1);
  packPanels(c.left, leftPanel, ROWS, T, 4, c.pairRow, length, length);
  packPanels(c.right, rightPanel, COLUMNS, c.C + at, 4, c.groupRow, c.dState, length);
  multiplyTriangle(dB, row, length, c.stateColumns, c.left, c.right, ones, 0, UPPER_LEFT, 1);
  for (let i: usize = 0; i < <usize>length; i++) {
    memory.copy(c.dC + at + i * c.groupRow, dC + i * row, <usize>c.dState * 4);
    memory.copy(c.dB + at + i * c.groupRow, dB + i * row, <usize>c.dState * 4);
  }
}
