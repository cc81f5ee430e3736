import { random } from '@freelunch/random';
import type { Sample, Sampler } from './sample.js';

const LINE = 100;

/** A short sample of the task, as a table: tokens, what is due where that is not the next token, what is scored. */
export function describe<Problem>(task: Sampler<Problem>, summary: string, sample = shortest(task)): string {
  const text = (id: number) => task.vocabulary.text(id).replace('\n', '\\n').replace(' ', '_');
  const rows: [string, string[]][] = [['tokens', sample.tokens.map(text)]];
  if (sample.targets) {
    const due = sample.targets.map((id, i) => (sample.lossMask[i] ? text(id) : '.'));
    rows.push(['target', due]);
  }
  rows.push(['scored', sample.lossMask.map((scored) => (scored ? '*' : '.'))]);
  const lines = [`${task.name}: ${summary}`, ''];
  let start = 0;
  while (start < sample.tokens.length) {
    let end = start;
    let width = 8;
    const widths: number[] = [];
    while (end < sample.tokens.length) {
      const column = Math.max(...rows.map(([, cells]) => cells[end].length)) + 1;
      if (end > start && width + column > LINE) break;
      width += column;
      widths.push(column);
      end++;
    }
    for (const [name, cells] of rows) {
      const line = cells.slice(start, end).map((cell, i) => cell.padStart(widths[i] - 1));
      lines.push(`${name.padEnd(8)}${line.join(' ')}`);
    }
    if (end < sample.tokens.length) lines.push('');
    start = end;
  }
  return lines.join('\n');
}

function shortest<Problem>(task: Sampler<Problem>): Sample<Problem> {
  const rng = random(0).split('describe');
  let best = task.sample(rng);
  for (let i = 0; i < 15; i++) {
    const sample = task.sample(rng);
    if (sample.tokens.length < best.tokens.length) best = sample;
  }
  return best;
}
