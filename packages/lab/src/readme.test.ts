import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadKernels } from '@freelunch/kernels';
import { expect, it } from 'vitest';
import { copyText } from './copy-text/experiment.js';
import { runInMemory } from './experiments/in-memory.js';
import { copyWays } from './mixers.js';

const folder = fileURLToPath(new URL('..', import.meta.url));
const readme = readFileSync(`${folder}README.md`, 'utf8');

it('has the figures of the command it names', async () => {
  const k = await loadKernels({ variant: 'simd' });
  // What `freelunch copy` runs without a file, of its lengths only the one shown.
  const config = { ...copyText.presets.full, lengths: [1024] };
  const { findings } = await runInMemory(copyText, k, config);
  const [shares] = findings.tables;
  const lines = readme.split('\n').filter((line) => /^\| (Linear|Mamba|Softmax)/.test(line));
  expect(lines).toHaveLength(copyWays.length);
  shares.rows.forEach(([label, ...cells], i) => {
    const shown = label.startsWith('Softmax') ? cells.slice(0, 1) : cells;
    expect(lines[i]).toContain(` | ${shown.join(' | ')}`);
  });
});
