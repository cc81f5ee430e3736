import { expect, it } from 'vitest';
import type { Finished } from './findings-page.js';
import { resultsMarkdown } from './markdown.js';
import { fractionPlot } from './plot.js';

const plot = fractionPlot({
  description: 'a < b',
  xLabel: 'x',
  yLabel: 'y',
  xTicks: [1, 2],
  xFormat: String,
  xRange: [1, 2],
  series: [
    {
      name: 'one & only',
      colour: 'series-1',
      shape: 'circle',
      points: [{ x: 1, y: 0.5, range: [0.25, 1], title: 't' }],
      line: [
        { x: 1, y: 0 },
        { x: 2, y: 1 },
      ],
    },
  ],
});
const finished: Finished = {
  name: 'copy-text',
  summary: 'What is kept?',
  command: 'freelunch copy',
  machine: 'a machine',
  findings: {
    text: ['a*b*c is <b>', 'second'],
    figures: [{ title: 'Figure', caption: 'Caption', plot }],
    tables: [{ title: 'Table', columns: ['', 'a|b'], rows: [['x', '1 (0–2)']], caption: 'Below' }],
    excerpts: [
      { title: 'shown', shown: true, texts: [{ title: 'm', runs: [{ kind: 'wrong', text: 'abc' }] }] },
      { title: 'hidden', shown: false, texts: [] },
    ],
    verdicts: [
      { claim: 'C4', theory: 't4', measured: 'm4', agrees: 'partly' },
      { claim: 'C1', theory: 't1', measured: 'm1', agrees: true },
    ],
  },
};

it('writes sections, tables and claims in order, and names its pictures', () => {
  const { 'results.md': markdown, ...pictures } = resultsMarkdown('# Results\n\nFirst.\n', [finished]);
  expect(Object.keys(pictures)).toEqual(['plots/copy-text-1.svg']);
  expect(markdown.split('\n\n')).toEqual(
    [
      '# Results',
      'First.',
      '## The claims',
      expect.stringMatching(
        /^\|  \| claim \|\n\| --- \| --- \|\n\| C1 \| A state .*\n\| C4 \| Softmax .* \|$/,
      ),
      '## Theory says, we measured',
      [
        '|  | theory says | we measured |  | experiment |',
        '| --- | --- | --- | --- | --- |',
        '| C1 | t1 | m1 | agrees | [copy-text](#copy-text) |',
        '| C4 | t4 | m4 | partly | [copy-text](#copy-text) |',
      ].join('\n'),
      '## copy-text',
      'What is kept?',
      '- a\\*b\\*c is \\<b\\>\n- second',
      'Made by this command on a machine:',
      '    freelunch copy',
      [
        '    The text as each mixer remembers it',
        '    Wrong symbols have ^ below them; · is nothing.',
        '',
        '    shown',
        '    m',
        '      abc',
        '      ^^^',
      ]
        .join('\n')
        .split('\n\n'),
      '![Figure](plots/copy-text-1.svg)',
      '*Figure.* Caption',
      '**Table**',
      '|  | a\\|b |\n| --- | --- |\n| x | 1 (0–2) |',
      'Below\n',
    ].flat(),
  );
});

it('draws pictures that stand alone: their own colours, names of the curves, no text unescaped', () => {
  const { 'plots/copy-text-1.svg': svg } = resultsMarkdown('', [finished]);
  expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" viewBox="0 0 720 418"/);
  expect(svg).toContain('--series-1: #0b62a4;');
  expect(svg).toContain('>one &#38; only</text>');
  expect(svg).toContain('aria-label="a &#60; b"');
  expect(svg.match(/<svg/g)).toHaveLength(1);
  // The bar from 25 to 100 %, of a plot 298 high.
  expect(svg).toContain('y1="30.0" y2="253.5"');
});
