import { expect, it } from 'vitest';
import { csv } from './csv.js';

it.each([
  [-1.5, '-1.5'],
  [undefined, ''],
  [null, ''],
  [true, 'true'],
  ['plain', 'plain'],
  ['a,b', '"a,b"'],
  ['say "x"', '"say ""x"""'],
  ['two\nlines', '"two\nlines"'],
  [[1, 2], '"[1,2]"'],
  ['=HYPERLINK("http://x")', '"\'=HYPERLINK(""http://x"")"'],
  ['+1', "'+1"],
  ['-1', "'-1"],
  ['@SUM(A1)', "'@SUM(A1)"],
  ['\t=1', "'\t=1"],
  ['\r=1', '"\'\r=1"'],
])('writes %j so that a spreadsheet shows it and computes nothing', (value, wanted) => {
  expect(csv([[value, 1]])).toBe(`${wanted},1\n`);
});
