/** Line plots: laid out as plain data, then drawn as SVG whose colours are CSS variables of the page. */

export const shapes = ['circle', 'square', 'triangle', 'diamond'] as const;

/** CSS variables, without the dashes. */
export const colours = [
  'series-1',
  'series-2',
  'series-3',
  'series-4',
  'series-5',
  'series-6',
  'ink',
] as const;

/** Low and high end. A list, as JSON has it. */
export type Range = readonly number[];

export interface Series {
  name: string;
  /** CSS variable without the dashes, such as `series-1`. */
  colour: string;
  shape: (typeof shapes)[number];
  /** Points to mark; `range` is where a bar through the point ends. */
  points?: readonly { x: number; y: number; range?: Range; title: string }[];
  /** A line without marks. */
  line?: readonly { x: number; y: number }[];
  dashed?: boolean;
  /** Larger and not filled, so that it shows around another mark at the same place. */
  hollow?: boolean;
}

export interface PlotOptions {
  /** For readers who do not see the plot. */
  description: string;
  xLabel: string;
  yLabel: string;
  /** Ticks on the x axis, where no labels would touch: others go without. */
  xTicks: readonly number[];
  xFormat: (x: number) => string;
  xRange: readonly [number, number];
  /** Logarithmic if absent. */
  xScale?: 'log' | 'linear';
  series: readonly Series[];
}

export interface Tick {
  at: number;
  label: string;
}

/** A plot laid out: all places are shares of its width or height, from the left or from the bottom. Plain JSON. */
export interface Plot {
  description: string;
  xLabel: string;
  yLabel: string;
  xTicks: Tick[];
  yTicks: Tick[];
  series: Series[];
}

export const WIDTH = 720;
export const HEIGHT = 380;
const LEFT = 62;
const RIGHT = 18;
const TOP = 30;
const BOTTOM = 52;

export const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const f = (value: number) => value.toFixed(1);

/** A plot of fractions, 0 to 1, over a logarithmic axis. */
export function fractionPlot(options: PlotOptions): Plot {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((at) => ({ at, label: `${at * 100} %` }));
  return layOut(options, ticks);
}

/** A plot of what is above 0, both axes logarithmic; zeros lie at the bottom. */
export function logPlot(options: PlotOptions & { yFormat: (y: number) => string }): Plot {
  const all = options.series.flatMap(({ points = [], line = [] }) => [...points, ...line]);
  const logs = all.filter(({ y }) => y > 0).map(({ y }) => Math.log10(y));
  const low = Math.floor(Math.min(...logs, Infinity) === Infinity ? 0 : Math.min(...logs));
  const high = Math.max(low + 1, Math.ceil(Math.max(...logs, low + 1)));
  const height = (y: number) => Math.max(0, y > 0 ? (Math.log10(y) - low) / (high - low) : 0);
  const step = Math.ceil((high - low) / 6);
  const ticks = Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, i) => low + i * step).map(
    (power) => ({ at: (power - low) / (high - low), label: options.yFormat(10 ** power) }),
  );
  const series = options.series.map((one) => ({
    ...one,
    points: one.points?.map((point) => atHeight(point, height)),
    line: one.line?.map((point) => ({ ...point, y: height(point.y) })),
  }));
  return layOut({ ...options, series }, ticks);
}

/** A plot over a linear y axis. @param yRange  of the values at hand, and 0, if absent */
export function linearPlot(
  options: PlotOptions & { yFormat: (y: number) => string; yRange?: readonly [number, number] },
): Plot {
  const values = options.series.flatMap(({ points = [], line = [] }) => [
    ...points.flatMap(({ y, range = [] }) => [y, ...range]),
    ...line.map(({ y }) => y),
  ]);
  const step = roundStep(
    (options.yRange ?? [Math.min(0, ...values), Math.max(0, ...values)]) as [number, number],
  );
  const low = options.yRange?.[0] ?? Math.floor(Math.min(0, ...values) / step) * step;
  const high = options.yRange?.[1] ?? Math.max(low + step, Math.ceil(Math.max(0, ...values) / step) * step);
  const height = (y: number) => (y - low) / (high - low);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  const ticks = Array.from({ length: count }, (_, i) => (first + i) * step).map((value) => ({
    at: height(value),
    label: options.yFormat(Number(value.toPrecision(12))),
  }));
  const series = options.series.map((one) => ({
    ...one,
    points: one.points?.map((point) => atHeight(point, height)),
    line: one.line?.map((point) => ({ ...point, y: height(point.y) })),
  }));
  return layOut({ ...options, series }, ticks);
}

/** A point whose value, with the ends of its bar, has become a height. */
const atHeight = <P extends { y: number; range?: Range }>(point: P, height: (y: number) => number): P => ({
  ...point,
  y: height(point.y),
  ...(point.range === undefined ? {} : { range: point.range.map(height) }),
});

/** 1, 2 or 5 times a power of ten, so that a range has four to nine steps. */
function roundStep([low, high]: readonly [number, number]): number {
  const rough = (high > low ? high - low : 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * (rough / power >= 5 ? 5 : rough / power >= 2 ? 2 : 1);
}

/** @param yTicks  and the series: heights from 0 to 1 */
function layOut(options: PlotOptions, yTicks: Tick[]): Plot {
  const { description, xLabel, yLabel, xRange, xTicks, xFormat, xScale = 'log', series } = options;
  const scale = xScale === 'log' ? Math.log2 : (value: number) => value;
  const width = scale(xRange[1]) - scale(xRange[0]);
  const along = (x: number) => rounded((scale(x) - scale(xRange[0])) / width);
  // What lies at no finite place, such as 0 on a logarithmic axis, cannot be drawn.
  const placed = <T extends { x: number; y: number }>(points: readonly T[] | undefined) =>
    points
      ?.map((point) => ({ ...point, x: along(point.x), y: rounded(point.y) }))
      .filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
  return {
    description,
    xLabel,
    yLabel,
    xTicks: [...xTicks]
      .sort((a, b) => a - b)
      .map((tick) => ({ at: along(tick), label: xFormat(tick) }))
      .filter(({ at }) => Number.isFinite(at)),
    yTicks,
    series: series.map((one) => ({
      ...one,
      points: placed(one.points),
      line: placed(one.line?.map(({ x, y }) => ({ x, y }))),
    })),
  };
}

/** To a fraction of what can be seen. */
const rounded = (share: number) => Math.round(share * 1e6) / 1e6;

/** The plot as SVG with its legend below it, as HTML. All text is escaped; colours and shapes must be those there are. */
export function drawPlot(plot: Plot): string {
  return (
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(plot.description)}">` +
    `${drawBody(plot)}</svg>${legend(plot.series)}`
  );
}

/** What is inside the SVG: {@link WIDTH} wide, {@link HEIGHT} high. */
export function drawBody({ xLabel, yLabel, xTicks, yTicks, series }: Plot): string {
  const x = (share: number) => LEFT + share * (WIDTH - LEFT - RIGHT);
  const y = (share: number) => TOP + (1 - share) * (HEIGHT - TOP - BOTTOM);
  const parts: string[] = [];
  for (const { at, label } of yTicks) {
    parts.push(
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${f(y(at))}" y2="${f(y(at))}"/>`,
      `<text class="tick" x="${LEFT - 10}" y="${f(y(at) + 4)}" text-anchor="end">${escapeHtml(label)}</text>`,
    );
  }
  let free = -Infinity; // where the next label may begin
  for (const { at: tick, label } of xTicks) {
    parts.push(
      `<line class="axis" x1="${f(x(tick))}" x2="${f(x(tick))}" y1="${f(y(0))}" y2="${f(y(0) + 5)}"/>`,
    );
    const half = label.length * 4; // of its width, in 14 px
    if (x(tick) - half < free) continue;
    free = x(tick) + half + 8;
    parts.push(
      `<text class="tick" x="${f(x(tick))}" y="${f(y(0) + 20)}" text-anchor="middle">${escapeHtml(label)}</text>`,
    );
  }
  parts.push(
    `<line class="axis" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${f(y(0))}" y2="${f(y(0))}"/>`,
    `<text class="label" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${escapeHtml(xLabel)}</text>`,
    `<text class="label" x="${LEFT - 44}" y="${TOP - 14}">${escapeHtml(yLabel)}</text>`,
  );
  // Bars of curves with points at the same places stand side by side.
  const barred = series.filter(({ points = [] }) => points.some(({ range }) => range !== undefined));
  for (const one of series) {
    const { line, points = [], colour, shape, dashed, hollow } = one;
    const aside = 3 * (barred.indexOf(one) - (barred.length - 1) / 2);
    const style = `style="--c: var(--${escapeHtml(colour)})"`;
    if (line !== undefined) {
      const path = line.map((point, i) => `${i === 0 ? 'M' : 'L'}${f(x(point.x))} ${f(y(point.y))}`).join('');
      parts.push(`<path class="line${dashed ? ' dashed' : ''}" ${style} d="${path}"/>`);
    }
    for (const point of points) {
      const at = [x(point.x), y(point.y)] as const;
      const [low, high] = (point.range ?? [point.y, point.y]).map((end) => Math.min(1, Math.max(0, end)));
      if (high > low) {
        const [top, bottom] = [y(high), y(low)];
        parts.push(
          `<line class="error" ${style} x1="${f(at[0] + aside)}" x2="${f(at[0] + aside)}" y1="${f(top)}" y2="${f(bottom)}"/>`,
        );
      }
      parts.push(
        `<g class="mark${hollow ? ' hollow' : ''}" ${style}><title>${escapeHtml(point.title)}</title>${mark(shape, ...at, hollow ? 1.6 : 1)}</g>`,
      );
    }
  }
  return parts.join('');
}

function mark(shape: Series['shape'], x: number, y: number, size: number): string {
  const polygon = (...corners: number[][]) => {
    const points = corners.map(([dx, dy]) => `${f(x + dx * size)},${f(y + dy * size)}`);
    return `<polygon points="${points.join(' ')}"/>`;
  };
  switch (shape) {
    case 'circle':
      return `<circle cx="${f(x)}" cy="${f(y)}" r="${f(5 * size)}"/>`;
    case 'square':
      return polygon([-4.5, -4.5], [4.5, -4.5], [4.5, 4.5], [-4.5, 4.5]);
    case 'triangle':
      return polygon([0, -6], [5.5, 4.5], [-5.5, 4.5]);
    case 'diamond':
      return polygon([0, -6.5], [6.5, 0], [0, 6.5], [-6.5, 0]);
  }
}

/** The line and the mark of a series, 32 wide and 16 high. */
export function drawSign({ shape, line, points, dashed, hollow }: Series): string {
  const path = line === undefined ? '' : `<path class="line${dashed ? ' dashed' : ''}" d="M2 8H30"/>`;
  const sign =
    points === undefined ? '' : `<g class="mark${hollow ? ' hollow' : ''}">${mark(shape, 16, 8, 1)}</g>`;
  return path + sign;
}

function legend(series: readonly Series[]): string {
  const items = series.map(
    (one) =>
      `<li style="--c: var(--${escapeHtml(one.colour)})"><svg viewBox="0 0 32 16" aria-hidden="true">${drawSign(one)}</svg>${escapeHtml(one.name)}</li>`,
  );
  return `<ul class="legend">${items.join('')}</ul>`;
}
