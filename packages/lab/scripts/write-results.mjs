// Writes docs/results.md and its plots from the folders of finished experiments, after a build:
//   node packages/lab/scripts/write-results.mjs freelunch-out docs
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { shaped } from '../dist/files/shape.js';
import { experiments } from '../dist/node.js';
import { finishedShape } from '../dist/report/finished.js';
import { resultsMarkdown } from '../dist/report/markdown.js';

const [from = 'freelunch-out', to = 'docs'] = process.argv.slice(2);
const finished = Object.keys(experiments)
  .map((name) => join(from, name, 'findings.json'))
  .filter(existsSync)
  .map((path) => shaped(finishedShape, JSON.parse(readFileSync(path, 'utf8')), path));
const introduction = readFileSync(new URL('./results-introduction.md', import.meta.url), 'utf8');
const files = resultsMarkdown(introduction, finished);
const plots = join(to, 'plots');
mkdirSync(plots, { recursive: true });
for (const name of readdirSync(plots)) if (name.endsWith('.svg')) rmSync(join(plots, name));
for (const [name, content] of Object.entries(files)) writeFileSync(join(to, name), content);
process.stdout.write(
  `${join(to, 'results.md')}: ${finished.length} experiments, ${Object.keys(files).length - 1} plots\n`,
);
