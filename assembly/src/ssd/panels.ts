/** States in panels, [headDim / 8][dState][8], and turned, [dState / 8][headDim][8]. */
import { packPanels } from '../matrix/panels';
import { roundUp } from '../matrix/rows';
import { COLUMNS } from '../matrix/tile';
import { ROWS } from './products';

/** Bytes of a panel of a state. */
export function statePanelBytes(dState: i32): usize {
  return <usize>roundUp(dState, ROWS) * 32;
}

/** A state [headDim, dState] into panels of channels. */
export function packState(panels: usize, h: usize, headDim: i32, dState: i32): void {
  const panel = statePanelBytes(dState);
  memory.fill(panels, 0, <usize>(roundUp(headDim, COLUMNS) / COLUMNS) * panel);
  packPanels(panels, panel, COLUMNS, h, <usize>dState * 4, 4, headDim, dState);
}

/** And back. */
export function unpackState(h: usize, panels: usize, headDim: i32, dState: i32): void {
  const panel = statePanelBytes(dState);
  for (let p = 0; p < headDim; p++) {
    let from = panels + <usize>(p / COLUMNS) * panel + <usize>(p % COLUMNS) * 4;
    for (let n = 0; n < dState; n++) {
      store<f32>(h, load<f32>(from));
      h += 4;
      from += 32;
    }
  }
}

/** Panels of channels into panels of states. */
export function transposeState(out: usize, panels: usize, headDim: i32, dState: i32): void {
  const panel = statePanelBytes(dState);
  const outPanel = <usize>roundUp(headDim, COLUMNS) * 32;
  for (let p = 0; p < headDim; p += COLUMNS) {
    packPanels(out + <usize>p * 32, outPanel, COLUMNS, panels, 32, 4, dState, COLUMNS);
    panels += panel;
  }
}
