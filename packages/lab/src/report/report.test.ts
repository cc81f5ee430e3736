import { expect, it } from 'vitest';
import { InputError } from '../errors.js';
import { shaped } from '../files/shape.js';
import { experimentPage, type Finished, reportPage } from './findings-page.js';
import { finishedShape } from './finished.js';
import { drawPlot, fractionPlot, linearPlot, logPlot } from './plot.js';

const axis = { description: 'd', xLabel: 'x', yLabel: 'y', xTicks: [8, 1, 2], xFormat: String };
const look = { colour: 'series-1', shape: 'circle' } as const;
const plot = fractionPlot({
  ...axis,
  xRange: [1, 16],
  series: [{ name: 's', ...look, points: [{ x: 4, y: 0.5, range: [0.4, 0.6], title: 't' }], line: [] }],
});
const finished: Finished = {
  name: 'copy-capacity',
  summary: 'Summary',
  command: 'freelunch run copy-capacity',
  machine: 'machine',
  findings: {
    text: ['text'],
    figures: [{ title: 'title', caption: 'caption', plot }],
    tables: [{ title: 'table', columns: ['a', 'b'], rows: [['1', '2']], caption: 'caption' }],
    verdicts: [{ claim: 'C1', theory: 'theory', measured: 'measured', agrees: 'partly' }],
  },
};

it('lays plots out as plain data, in shares of their size', () => {
  expect(plot.xTicks).toEqual([
    { at: 0, label: '1' },
    { at: 0.25, label: '2' },
    { at: 0.75, label: '8' },
  ]);
  expect(plot.yTicks.map(({ label }) => label)).toEqual(['0 %', '25 %', '50 %', '75 %', '100 %']);
  expect(plot.series[0].points).toEqual([{ x: 0.5, y: 0.5, range: [0.4, 0.6], title: 't' }]);
  const points = [0, 1, 100].map((y) => ({ x: 2, y, title: '' }));
  const series = [{ name: 's', ...look, points: [...points, { x: 0, y: 1, title: 'nowhere' }] }];
  const log = logPlot({ ...axis, xTicks: [], xRange: [1, 4], yFormat: String, series });
  expect(log.series[0].points!.map(({ y }) => y)).toEqual([0, 0, 1]);
  const linear = linearPlot({ ...axis, xRange: [1, 4], yFormat: String, yRange: [0, 200], series });
  expect(linear.series[0].points!.map(({ y }) => y)).toEqual([0, 0.005, 0.5]);
});

/** Every text of a value replaced, where the shape allows any text. */
function replaced(value: unknown, by: string): unknown {
  if (typeof value === 'string') return ['C1', 'partly', 'series-1', 'circle'].includes(value) ? value : by;
  if (Array.isArray(value)) return value.map((one) => replaced(one, by));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, replaced(one, by)]));
}

it.each([`\ud800"><script>alert(1)</script>`, `' onload='alert(1)`, `</style><img src=x onerror=alert(1)>`])(
  'puts no text of a findings file into a page unescaped: %s',
  (attack) => {
    const plain = shaped(finishedShape, replaced(finished, 'x'.repeat(attack.length)), 'f');
    const attacked = shaped(finishedShape, replaced(finished, attack), 'f');
    const tags = (page: string) => page.match(/<[^>]*>/g)!.map((tag) => tag.replace(/(["']).*?\1/g, ''));
    for (const page of [reportPage([attacked], []), experimentPage(attacked)]) {
      expect(page).not.toContain(attack);
      expect(page).toContain("content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri");
    }
    expect(tags(reportPage([attacked], []))).toEqual(tags(reportPage([plain], [])));
  },
);

const changed = (path: string, to: unknown) => {
  const copy = structuredClone(finished) as unknown as Record<string, unknown>;
  const names = path.split('.');
  let at = copy;
  for (const name of names.slice(0, -1)) at = at[name] as Record<string, unknown>;
  at[names.at(-1)!] = to;
  return copy;
};

it.each([
  ['name', 1, 'name must be text, got 1'],
  ['findings', undefined, 'findings must be an object, got undefined'],
  ['findings', '\u001b[2J', "findings must be an object, got '\\u001b[2J'"],
  ['findings.verdicts.0.claim', '<b>', 'findings.verdicts[0].claim must be one of C1, C2'],
  ['findings.verdicts.0.claim', 'toString', 'findings.verdicts[0].claim must be one of'],
  ['findings.figures.0.plot', '<svg onload="alert(1)">', 'findings.figures[0].plot must be an object'],
  ['findings.figures.0.plot.series.0.colour', 'x;} *{', 'series[0].colour must be one of series-1'],
  ['findings.figures.0.plot.series.0.shape', 'star', 'series[0].shape must be one of circle'],
  ['findings.figures.0.plot.series.0.points.0.x', null, 'points[0].x must be a number, got null'],
  ['findings.tables.0.rows.0', ['1'], 'findings.tables[0].rows[0] must be a list of 2'],
])('refuses findings whose %s is %j', (path, value, message) => {
  const read = () =>
    shaped(finishedShape, JSON.parse(JSON.stringify(changed(path, value))), 'a/findings.json');
  expect(read).toThrow(InputError);
  expect(read).toThrow(`a/findings.json: `);
  expect(read).toThrow(message);
});

it('draws a plot without places that are no numbers, and labels that do not touch', () => {
  const svg = drawPlot({ ...plot, xTicks: [0, 0.001, 0.5].map((at) => ({ at, label: '1,000' })) });
  expect(svg).not.toMatch(/NaN|undefined/);
  expect(svg.match(/>1,000</g)).toHaveLength(2);
});
