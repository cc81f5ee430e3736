/** How plots tell curves apart: by colour, by the shape of their marks, and by dashes where the colours have run out. */
import { colours, shapes } from './plot.js';

export interface Look {
  /** CSS variable without the dashes. */
  colour: (typeof colours)[number];
  shape: (typeof shapes)[number];
  dashed: boolean;
}

/** Colours for curves; the last one of the list is the ink of the page. */
const COLOURS = colours.length - 1;

/** The look of the i-th curve, from 0. The first 12 differ in colour and shape together, the 7th and later ones are dashed. */
export const look = (i: number): Look => ({
  colour: colours[i % COLOURS],
  shape: shapes[i % shapes.length],
  dashed: i >= COLOURS,
});
