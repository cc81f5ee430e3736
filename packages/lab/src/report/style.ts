/** Colours and lines that pages and pictures share. */

/** CSS variables, without the dashes: on light paper and on dark. */
export const light = {
  paper: '#fcfcfa',
  ink: '#1c1e21',
  soft: '#565b63',
  rule: '#d9dbdd',
  wash: '#f1f1ed',
  'wrong-ink': '#9c1c0b',
  'wrong-paper': '#fbe3de',
  'series-1': '#0b62a4',
  'series-2': '#b3490a',
  'series-3': '#1d7a4d',
  'series-4': '#8a3f9c',
  'series-5': '#6b6216',
  'series-6': '#a61e4d',
} as const;

export const dark: Readonly<Record<keyof typeof light, string>> = {
  paper: '#16181b',
  ink: '#e7e8e6',
  soft: '#a5abb3',
  rule: '#383c42',
  wash: '#1f2226',
  'wrong-ink': '#ffb4a5',
  'wrong-paper': '#4a1f18',
  'series-1': '#6db3ec',
  'series-2': '#f0985a',
  'series-3': '#62c896',
  'series-4': '#cf96e0',
  'series-5': '#cfc25f',
  'series-6': '#f28bb0',
};

export const variables = (colours: Readonly<Record<string, string>>) =>
  Object.entries(colours)
    .map(([name, value]) => `--${name}: ${value};`)
    .join(' ');

/** Of what `plot.ts` draws. */
export const plotStyle = `
.grid { stroke: var(--rule); }
.axis { stroke: var(--soft); }
.tick, .label { fill: var(--soft); font: 14px system-ui, sans-serif; }
.label { fill: var(--ink); }
.line { stroke: var(--c); stroke-width: 2; fill: none; stroke-linejoin: round; }
.dashed { stroke-dasharray: 7 5; }
.error { stroke: var(--c); stroke-width: 1.5; }
.mark { fill: var(--c); stroke: var(--c); stroke-width: 1.6; }
.hollow { fill: none; stroke-width: 2; }
`;
