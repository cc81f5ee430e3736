import { createHash } from 'node:crypto';
import { stripVTControlCharacters } from 'node:util';
import { loadKernels } from '@freelunch/kernels';
import { describe, expect, it } from 'vitest';
import { copyExperiment, type CopyExperimentOptions } from './experiment.js';
import { copyFindings } from './findings.js';
import { copyPage } from './page.js';
import { copyText } from './text.js';
import { tokenize } from '../files/tokens.js';

const k = await loadKernels({ variant: 'simd', guard: true });
const textOf = (content: string) => tokenize('text', new TextEncoder().encode(content), 'characters');
const sentence = 'What is kept, and what is lost? '.repeat(4);
const report = await copyExperiment(k, {
  text: textOf(sentence),
  lengths: [10, 100],
  states: [4, 25, 100, 400],
});
k.checkGuards();

it('reads back what the constructions promise', () => {
  for (const { mixer, length, state, accuracy, predicted, standardError, draws } of report.results) {
    if (mixer === 'addressed' || mixer === 'registerFile')
      expect(accuracy).toBeCloseTo(Math.min(1, state! / length), 6);
    else if (mixer === 'softmaxAttention') expect(accuracy).toBe(1);
    else {
      // Draws of a few tokens scatter; 16 of 100 tokens hardly do.
      expect(draws).toBe(16);
      expect(Math.abs(accuracy - predicted)).toBeLessThan(length === 100 ? 0.05 : 0.2);
      expect(standardError).toBeLessThan(0.1);
    }
  }
});

it('keeps the first tokens by address and the last by register', () => {
  const remembered = (mixer: string) =>
    report.results.find((r) => r.mixer === mixer && r.length === 100 && r.state === 25)!.remembered;
  const { tokens } = report;
  const nothing = Array.from({ length: 75 }, () => -1);
  expect(remembered('addressed')).toEqual([...tokens.slice(0, 25), ...nothing]);
  expect(remembered('registerFile')).toEqual([...nothing, ...tokens.slice(75, 100)]);
});

it('measures keys that overlap by the Welch bound or more, up to rounding', () => {
  for (const { welch, coherence } of report.bounds) expect(coherence).toBeGreaterThanOrEqual(welch - 1e-6);
});

it('reports progress from 0 to 1', async () => {
  const seen: number[] = [];
  const onProgress = ({ done }: { done: number }) => seen.push(done);
  await copyExperiment(k, { text: textOf(sentence), lengths: [9], states: [4], draws: 2 }, { onProgress });
  expect(seen[0]).toBe(0);
  expect(seen.at(-1)).toBe(1);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(seen).toHaveLength(2 + 2 + 1 + 1 + 1 + 1);
});

it('stops when it is told to, with the reason, and leaves no tensors', async () => {
  const stop = new AbortController();
  const before = k.memory.tensors;
  const running = copyExperiment(
    k,
    { text: textOf(sentence), lengths: [100], states: [25], draws: 1000 },
    { onProgress: ({ done }) => done > 0.1 && stop.abort(new Error('enough')), signal: stop.signal },
  );
  await expect(running).rejects.toThrow('enough');
  expect(k.memory.tensors).toBe(before);
});

it.each([
  [{ lengths: [] }, 'lengths must not be empty'],
  [{ lengths: [129] }, 'each of lengths must be a whole number from 1 to 128, got 129'],
  [{ states: [0] }, 'each of states must be a whole number from 1 to 4096, got 0'],
  [{ states: [NaN] }, 'each of states must be a whole number from 1 to 4096, got NaN'],
  [{ draws: 0.5 }, 'draws must be a whole number from 1 to 10000, got 0.5'],
  [{ dValue: 2 }, 'signCodebook: dValue must be a whole number with 2^dValue >= vocabSize = 17, got 2'],
  [{ seed: -1 }, 'random: seed must be a whole number from 0'],
])('refuses %j', async (wrong: Partial<CopyExperimentOptions>, message) => {
  const options = { text: textOf(sentence), lengths: [9], states: [4], ...wrong };
  await expect(copyExperiment(k, options)).rejects.toThrow(message);
});

describe.each([36, 40, 50, 60, 80, 100, 120])('in a terminal of %i columns', (columns) => {
  it.each([true, false])('no line is too long, colour: %s', (colour) => {
    const lines = stripVTControlCharacters(copyText(report, { columns, colour })).split('\n');
    expect(lines.filter((line) => line.length > columns)).toEqual([]);
  });
});

it('counts wide characters as two columns', async () => {
  const wide = await copyExperiment(k, {
    text: textOf('記憶と忘却について考える。'.repeat(9)),
    lengths: [100],
    states: [100],
  });
  const shown = copyText(wide, { columns: 50, colour: false }).split('\n');
  const line = shown.find((entry) => /^ {2}[記憶と忘却について考える。]{24}$/.test(entry));
  expect(line).toBeDefined();
});

it.each([
  ['one token', 'a', [1], [1]],
  ['one symbol', 'aaaaaaaa', [8], [2]],
  ['no state that is large enough', sentence, [100], [2, 3]],
  ['no state that is too small', sentence, [5], [50]],
])('has a report for %s', async (_, content, lengths, states) => {
  const small = await copyExperiment(k, { text: textOf(content), lengths, states, draws: 1 });
  expect(copyText(small, { columns: 60, colour: false })).not.toMatch(/NaN|Infinity|undefined/);
  expect(copyPage(small)).not.toMatch(/NaN|Infinity|undefined/);
  expect(copyFindings(small).length).toBeGreaterThanOrEqual(2);
});

it('puts a text that looks like HTML into the page as text', async () => {
  const content = '</script><script>alert("&amp;")</script><!-- ';
  const page = copyPage(
    await copyExperiment(k, { text: textOf(content), lengths: [content.length], states: [64] }),
  );
  expect(page.match(/<script/g)).toHaveLength(2); // the data and the viewer
  expect(page.match(/<\/script/g)).toHaveLength(2);
});

it('has a page that runs its own script and no other', async () => {
  const page = copyPage(await copyExperiment(k, { text: textOf('ab'), lengths: [2], states: [2], draws: 1 }));
  const [, script] = /<script>(.*?)<\/script>/s.exec(page)!;
  const hash = createHash('sha256').update(script).digest('base64');
  expect(page).toContain(
    `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'; base-uri`,
  );
});
