import { expect, it } from 'vitest';
import { durationText, outlookOf, rateText } from './outlook.js';

it('says how fast pieces are done, and when all will be', () => {
  const outlook = outlookOf(100);
  expect([outlook.rate(), outlook.secondsLeft()]).toEqual([undefined, undefined]);
  for (let second = 0; second <= 10; second++) outlook.note(20 + 2 * second, second * 1000);
  expect([outlook.rate(), outlook.secondsLeft()]).toEqual([2, 30]);
});

it('forgets how fast it went more than a minute ago', () => {
  const outlook = outlookOf(10_000);
  for (let second = 0; second <= 60; second++) outlook.note(100 * second, second * 1000);
  for (let second = 61; second <= 130; second++) outlook.note(6000 + (second - 60), second * 1000);
  expect(outlook.rate()).toBeCloseTo(1, 5);
});

it('makes no promise while nothing is done', () => {
  const outlook = outlookOf(10);
  for (let second = 0; second <= 5; second++) outlook.note(3, second * 1000);
  expect([outlook.rate(), outlook.secondsLeft()]).toEqual([0, undefined]);
});

it('names times and rates in their units', () => {
  expect([0.2, 89, 120, 7200, 4 * 86_400].map(durationText)).toEqual([
    '1 s',
    '89 s',
    '2 min',
    '2.0 h',
    '4 days',
  ]);
  expect([0, 1234.5, 3.21, 0.05, 0.0005].map(rateText)).toEqual([
    '0 per s',
    '1235 per s',
    '3.2 per s',
    '3.0 per min',
    '1.8 per h',
  ]);
});
