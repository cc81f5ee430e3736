import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { type CopyReport, mixers } from './copy-text/experiment.js';
import { percent } from './report/format.js';

const folder = fileURLToPath(new URL('..', import.meta.url));
const readme = readFileSync(`${folder}README.md`, 'utf8');

it('has the figures of the command it names', () => {
  const json = execFileSync(process.execPath, [`${folder}dist/cli.js`, 'copy', '--json'], {
    encoding: 'utf8',
  });
  const report: CopyReport = JSON.parse(json);
  const rows = readme.split('\n').filter((line) => /^\| (Linear|Mamba|Softmax)/.test(line));
  expect(rows).toHaveLength(mixers.length);
  mixers.forEach(({ mixer }, i) => {
    const cells = report.results
      .filter((result) => result.mixer === mixer && result.length === 1024)
      .map(({ accuracy, predicted }) => `${percent(accuracy)} (${percent(predicted)})`);
    expect(rows[i]).toContain(cells.join(' | '));
  });
});
