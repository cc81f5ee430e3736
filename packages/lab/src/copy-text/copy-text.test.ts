import { stripVTControlCharacters } from 'node:util';
import { loadKernels } from '@freelunch/kernels';
import { describe, expect, it } from 'vitest';
import { runInMemory } from '../experiments/in-memory.js';
import { shaped } from '../files/shape.js';
import { tokenize } from '../files/tokens.js';
import { experimentPage } from '../report/findings-page.js';
import { findingsText } from '../report/findings-text.js';
import { finishedShape } from '../report/finished.js';
import { type CopyTextConfig, copyTextConfig, materialsOf } from './config.js';
import { copyText } from './experiment.js';

const k = await loadKernels({ variant: 'simd', guard: true });
const textOf = (content: string) => tokenize('text', new TextEncoder().encode(content), 'characters');
const sentence = 'What is kept, and what is lost? '.repeat(4);
const run = (content: string, options: Parameters<typeof copyTextConfig>[1]) =>
  runInMemory(copyText, k, copyTextConfig(textOf(content), options));
const report = await run(sentence, { lengths: [10, 100], states: [4, 25, 100, 400] });
k.checkGuards();

const pageOf = ({ findings }: typeof report) =>
  experimentPage({ name: copyText.name, summary: copyText.summary, command: 'c', machine: 'm', findings });

it('reads back what the constructions promise', () => {
  for (const { mixer, length, state, accuracy, predicted, standardError, draws } of report.rows) {
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
  expect(report.findings.verdicts.map(({ claim, agrees }) => [claim, agrees])).toEqual([
    ['C1', true],
    ['C2', true],
    ['C4', true],
  ]);
});

it('keeps the first tokens by address and the last by register', () => {
  const remembered = (mixer: string) =>
    report.rows.find((row) => row.mixer === mixer && row.length === 100 && row.state === 25)!.remembered;
  const { tokens } = materialsOf(report.config, 100);
  const nothing = Array.from({ length: 75 }, () => -1);
  expect(remembered('addressed')).toEqual([...tokens.slice(0, 25), ...nothing]);
  expect(remembered('registerFile')).toEqual([...nothing, ...tokens.slice(75, 100)]);
});

it('measures keys that overlap by the Welch bound or more, up to rounding', () => {
  const measured = report.rows.filter(({ coherence }) => coherence !== null);
  expect(measured).toHaveLength(8);
  for (const { welch, coherence } of measured) expect(coherence).toBeGreaterThanOrEqual(welch! - 1e-6);
});

it('shows each text as it came back, in runs that spell it out', () => {
  const { excerpts = [] } = report.findings;
  expect(excerpts.map(({ title, shown }) => [title, shown])).toEqual(
    [10, 100].flatMap((T) =>
      [4, 25, 100, 400].map((N) => [
        `T = ${T} characters, N = ${N} slots`,
        T === 100 && (N === 25 || N === 100),
      ]),
    ),
  );
  const { texts } = excerpts.find(({ title }) => title === 'T = 100 characters, N = 25 slots')!;
  const byRegisters = texts.find(({ title }) => title.startsWith('Mamba, registers'))!;
  expect(byRegisters.runs).toEqual([
    { kind: 'nothing', text: '·'.repeat(75) },
    { kind: 'right', text: sentence.slice(75, 100) },
  ]);
});

it('reports progress from 0 to 1', async () => {
  const seen: number[] = [];
  const config = copyTextConfig(textOf(sentence), { lengths: [9], states: [4], draws: 2 });
  await runInMemory(copyText, k, config, { onProgress: (done) => seen.push(done) });
  expect(seen[0]).toBe(0);
  expect(seen.at(-1)).toBe(1);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(seen).toHaveLength(2 + 2 + 1 + 1 + 1 + 1);
});

it('stops when it is told to, with the reason, and leaves no tensors', async () => {
  const stop = new AbortController();
  const before = k.memory.tensors;
  const config = copyTextConfig(textOf(sentence), { lengths: [100], states: [25], draws: 1000 });
  const onProgress = (done: number) => done > 0.01 && stop.abort(new Error('enough'));
  await expect(
    runInMemory(copyText, k, config, { onProgress: (done) => void onProgress(done), signal: stop.signal }),
  ).rejects.toThrow('enough');
  expect(k.memory.tensors).toBe(before);
});

it.each([
  [{ lengths: [] }, 'lengths must be a list of at least one element'],
  [{ lengths: [129] }, 'lengths must be a whole number from 1 to 128, got 129'],
  [{ states: [5000] }, 'states must be a whole number from 1 to 4096, got 5000'],
  [{ states: [4, 4] }, 'states must differ from one another, got 4 twice'],
  [{ states: [NaN] }, 'states[0] must be a number, got NaN'],
  [{ draws: 10001 }, 'draws must be a whole number from 1 to 10000, got 10001'],
  [{ dValue: 2 }, 'dValue must be a whole number from 5 to 256, got 2'],
  [{ seed: -1 }, 'seed must be a whole number from 0'],
  [{ text: 'z' }, "text must be spelt with its vocabulary, got 'z'"],
  [{ vocabulary: 'aa' }, "vocabulary must differ from one another, got 'a' twice"],
  [{ kind: 'words' }, "kind must be of characters, bytes, got 'words'"],
])('refuses %j', async (wrong: Partial<CopyTextConfig>, message) => {
  const config = { ...copyTextConfig(textOf(sentence), { lengths: [128], states: [4] }), ...wrong };
  await expect(runInMemory(copyText, k, config)).rejects.toThrow(`copy-text: ${message}`);
});

describe.each([36, 60, 80, 120])('in a terminal of %i columns', (columns) => {
  it.each([true, false])('no line is too long, colour: %s', (colour) => {
    const shown = findingsText(copyText, report.findings, { columns, colour });
    const lines = stripVTControlCharacters(shown).split('\n');
    expect(lines.filter((line) => line.length > columns)).toEqual([]);
    expect(shown.includes('\x1b')).toBe(colour);
    // Wrong symbols are marked below where there is no colour.
    if (!colour) expect(shown).toMatch(/^ +\^[ ^]*$/m);
  });
});

it('counts wide characters as two columns', async () => {
  const wide = await run('記憶と忘却について考える。'.repeat(9), { lengths: [100], states: [100], draws: 1 });
  const shown = findingsText(copyText, wide.findings, { columns: 50, colour: false }).split('\n');
  const line = shown.find((entry) => /^ {2}[記憶と忘却について考える。]{24}$/.test(entry));
  expect(line).toBeDefined();
});

it.each([
  ['one token', 'a', [1], [1]],
  ['one symbol', 'aaaaaaaa', [8], [2]],
  ['no state that is large enough', sentence, [100], [2, 3]],
  ['no state that is too small', sentence, [5], [50]],
])('has a report for %s', async (_, content, lengths, states) => {
  const small = await run(content, { lengths, states, draws: 1 });
  expect(findingsText(copyText, small.findings, { columns: 60, colour: false })).not.toMatch(
    /NaN|Infinity|undefined/,
  );
  expect(pageOf(small)).not.toMatch(/NaN|Infinity|undefined/);
  expect(small.findings.text.length).toBeGreaterThanOrEqual(3);
});

it('puts a text that looks like HTML into the page as text, and runs no script', async () => {
  const content = '</script><script>alert("&amp;")</script><!-- ';
  const small = await run(content, { lengths: [content.length], states: [64], draws: 1 });
  const page = pageOf(small);
  expect(page).not.toContain('<script');
  expect(page).toContain('&#60;&#47;script'.replace('&#47;', '/'));
});

it('has findings that are read again as they were written', () => {
  const { name, summary } = copyText;
  const finished = { name, summary, command: 'c', machine: 'm', findings: report.findings };
  const written = JSON.parse(JSON.stringify(finished)) as unknown;
  expect(JSON.parse(JSON.stringify(shaped(finishedShape, written, 'f')))).toEqual(written);
});
