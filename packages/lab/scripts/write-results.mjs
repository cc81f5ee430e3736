// Writes docs/results.md and its plots from the folders of finished experiments:
//   node packages/lab/scripts/write-results.mjs freelunch-out docs
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { claims, experiments } from '../dist/node.js';
import { drawPlot } from '../dist/report/plot.js';

const [from = 'freelunch-out', to = 'docs'] = process.argv.slice(2);
const colours = {
  'series-1': '#0b62a4',
  'series-2': '#b3490a',
  'series-3': '#1d7a4d',
  'series-4': '#8a3f9c',
  'series-5': '#6b6216',
  'series-6': '#a61e4d',
};
const style = `
text { font: 14px system-ui, sans-serif; fill: #565b63; } .label { fill: #1c1e21; }
.grid { stroke: #d9dbdd; } .axis { stroke: #565b63; }
.line { stroke: var(--c); stroke-width: 2; fill: none; stroke-linejoin: round; } .dashed { stroke-dasharray: 7 5; }
.error { stroke: var(--c); stroke-width: 1.5; } .mark { fill: var(--c); stroke: var(--c); stroke-width: 1.6; }
.hollow { fill: none; stroke-width: 2; }`;

/** A figure of a page as a picture of its own, its legend below it. */
function picture(html) {
  const end = html.indexOf('</svg>');
  const plot = html.slice(0, end);
  const legend = [
    ...html.slice(end + 6).matchAll(/<li style="--c: var\(--([\w-]+)\)"><svg[^>]*>(.*?)<\/svg>(.*?)<\/li>/gs),
  ];
  const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(plot).map(Number);
  const items = legend.map(([, colour, sign, name], i) => {
    const [x, y] = [20 + (i % 2) * 350, height + 6 + Math.floor(i / 2) * 24];
    return `<g transform="translate(${x} ${y})" style="--c: ${colours[colour]}">${sign}<text x="42" y="13">${name}</text></g>`;
  });
  const tall = height + 14 + Math.ceil(legend.length / 2) * 24;
  return (
    plot
      .replace(
        /<svg viewBox="[^"]*"/,
        `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${tall}" width="${width}"`,
      )
      .replace(/var\(--(series-\d)\)/g, (_, colour) => colours[colour])
      .replace(/>/, `><style>${style}</style><rect width="100%" height="100%" fill="#fcfcfa"/>`) +
    `${items.join('')}</svg>\n`
  );
}

const cell = (text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const table = (columns, rows) =>
  [columns, columns.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
const word = (agrees) => (agrees === 'partly' ? 'partly' : agrees ? 'agrees' : 'differs');

const finished = Object.keys(experiments)
  .map((name) => join(from, name, 'findings.json'))
  .filter(existsSync)
  .map((path) => JSON.parse(readFileSync(path, 'utf8')));
mkdirSync(join(to, 'plots'), { recursive: true });

const order = Object.keys(claims);
const verdicts = finished
  .flatMap(({ name, findings }) => findings.verdicts.map((verdict) => ({ name, ...verdict })))
  .sort((a, b) => order.indexOf(a.claim) - order.indexOf(b.claim));
const parts = [
  readFileSync(new URL('./results-introduction.md', import.meta.url), 'utf8').trimEnd(),
  '## Theory says, we measured',
  table(
    ['', 'theory says', 'we measured', '', 'experiment'],
    verdicts.map(({ claim, theory, measured, agrees, name }) => [
      claim,
      theory,
      measured,
      word(agrees),
      `[${name}](#${name})`,
    ]),
  ),
];
for (const { name, summary, command, machine, findings } of finished) {
  parts.push(`## ${name}`, `${summary}`, `    ${command}`, `${machine}.`);
  if (findings.text.length > 0) parts.push(findings.text.map((line) => `- ${line}`).join('\n'));
  findings.figures.forEach(({ title, caption, plot }, i) => {
    const file = `plots/${name}-${i + 1}.svg`;
    writeFileSync(join(to, file), picture(drawPlot(plot)));
    parts.push(`![${title}](${file})`, `*${title}.* ${caption}`);
  });
  for (const { title, columns, rows, caption } of findings.tables) {
    parts.push(`**${title}**`, table(columns, rows));
    if (caption !== undefined) parts.push(caption);
  }
}
writeFileSync(join(to, 'results.md'), `${parts.join('\n\n')}\n`);
process.stdout.write(
  `${join(to, 'results.md')}: ${finished.length} experiments, ${readdirSync(join(to, 'plots')).length} plots\n`,
);
