/**
 * Ours draw what the reference generators draw: features of their samples against features of many of ours, by
 * chi-square over bins of equal weight, at p = 0.0001.
 */
import { expect, it } from 'vitest';
import { random, type Sample, type Task } from '../src/index.js';
import { counterpart, samples } from './reference.js';

const OURS = 2000;
const MAX_BINS = 8;

function features(task: Task, sample: Sample): Record<string, number> {
  const { tokens, prompt, answer, lossMask } = sample;
  const counts = new Map<number, number>();
  for (const token of tokens) counts.set(token, (counts.get(token) ?? 0) + 1);
  const distances = task.distances(sample);
  const scored = task.scored(sample);
  return {
    length: tokens.length,
    promptLength: prompt.length,
    answerLength: answer.length,
    answer: answer[0],
    lastAnswer: answer.at(-1)!,
    distinct: counts.size,
    mostFrequent: Math.max(...counts.values()),
    first: tokens[0],
    third: tokens[2],
    middle: tokens[prompt.length >> 1],
    lastOfPrompt: prompt.at(-1)!,
    beforeLast: prompt.at(-2) ?? 0,
    scored: scored.length,
    firstScored: scored[0],
    lastScored: lossMask.lastIndexOf(true),
    secondScored: scored[1] ?? 0,
    distance: distances[scored[0]],
    lastDistance: distances[scored.at(-1)!],
    sum: tokens.reduce((total, token) => total + token, 0),
    runs: tokens.reduce((total, token, i) => total + Number(token === tokens[i - 1]), 0),
    rises: tokens.reduce((total, token, i) => total + Number(token > tokens[i - 1]), 0),
    queried: counts.get(prompt.at(-1)!) ?? 0,
  };
}

/** Upper 0.01 % point of chi-square. */
function critical(freedom: number): number {
  const spread = 2 / (9 * freedom);
  return freedom * (1 - spread + 3.719 * Math.sqrt(spread)) ** 3;
}

/** Edges that part sorted values into bins of about equal weight. */
function edges(sorted: number[]): number[] {
  const found: number[] = [];
  for (let b = 1; b < MAX_BINS; b++) {
    const edge = sorted[Math.floor((b * sorted.length) / MAX_BINS)];
    if (edge !== found.at(-1) && edge !== sorted[0]) found.push(edge);
  }
  return found;
}

const groups = new Map<string, { task: Task; theirs: Sample[] }>();
for (const reference of samples) {
  const ours = counterpart(reference);
  if (!ours || reference.task === 'phonebook') continue; // its names are of another list
  const key = `${reference.task} ${reference.form ?? ''} ${reference.split ?? ''} ${JSON.stringify(reference.params)}`;
  if (!groups.has(key)) groups.set(key, { task: ours.task, theirs: [] });
  groups.get(key)!.theirs.push(ours.task.encode(ours.problem));
}

it.each([...groups].filter(([, { theirs }]) => theirs.length >= 40))('%s', (key, { task, theirs }) => {
  const rng = random(77).split(key);
  const ours = Array.from({ length: OURS }, () => features(task, task.sample(rng)));
  const reference = theirs.map((sample) => features(task, sample));
  const wrong: string[] = [];
  for (const name of Object.keys(reference[0])) {
    const values = ours.map((each) => each[name]).toSorted((a, b) => a - b);
    const cuts = edges(values);
    const bin = (value: number) => cuts.filter((cut) => value >= cut).length;
    const due = [0, ...cuts.map(() => 0)];
    const got = [0, ...cuts.map(() => 0)];
    for (const value of values) due[bin(value)] += reference.length / OURS;
    for (const each of reference) got[bin(each[name])]++;
    const outside = reference.filter((each) => each[name] < values[0] || each[name] > values.at(-1)!).length;
    if (outside > reference.length / 20) wrong.push(`${name}: ${outside} of ${reference.length} outside`);
    if (cuts.length === 0) continue;
    const chiSquare = due.reduce((sum, expected, i) => sum + (got[i] - expected) ** 2 / expected, 0);
    if (chiSquare > critical(cuts.length))
      wrong.push(`${name}: ${chiSquare.toFixed(1)} ${got.join()} for ${due.map((x) => x.toFixed(1)).join()}`);
  }
  expect(wrong).toEqual([]);
});
