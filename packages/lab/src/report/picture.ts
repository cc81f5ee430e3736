/** Plots as SVG files: with their legend, their colours and their paper. */
import { drawBody, drawSign, escapeHtml, HEIGHT, type Plot, WIDTH } from './plot.js';
import { light, plotStyle, variables } from './style.js';

const ROW = 24;
const COLUMN = 350;

/** A plot on light paper; two columns of names below it. */
export function plotPicture(plot: Plot): string {
  const names = plot.series.map((series, i) => {
    const [x, y] = [20 + (i % 2) * COLUMN, HEIGHT + 6 + Math.floor(i / 2) * ROW];
    const text = `<text class="tick" x="42" y="13">${escapeHtml(series.name)}</text>`;
    return `<g transform="translate(${x} ${y})" style="--c: var(--${escapeHtml(series.colour)})">${drawSign(series)}${text}</g>`;
  });
  const height = HEIGHT + 14 + Math.ceil(plot.series.length / 2) * ROW;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" role="img" ` +
    `aria-label="${escapeHtml(plot.description)}"><style>svg { ${variables(light)} }${plotStyle}</style>` +
    `<rect width="100%" height="100%" fill="${light.paper}"/>${drawBody(plot)}${names.join('')}</svg>\n`
  );
}
