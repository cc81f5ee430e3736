import { array, assert, integer, nat, property, tuple } from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  arithmetic,
  associativeRecall,
  copy,
  createTask,
  editDistance,
  factories,
  lis,
  mqar,
  ngramLookup,
  phoneBook,
  random,
  reverseCopy,
  type Sample,
  type Task,
  TaskError,
} from './index.js';

const names = Object.keys(factories);

/** Each task as it comes, and in its other forms. */
const variants: [string, Task][] = names.flatMap((name) => {
  const options = createTask(name).options as Record<string, unknown>;
  const found: [string, Task][] = [[name, createTask(name)]];
  if ('form' in options) found.push([`${name}, direct`, createTask(name, { form: 'direct' })]);
  if ('inputs' in options) found.push([`${name}, inline`, createTask(name, { inputs: 'inline' })]);
  return found;
});
variants.push(
  ['lis, pairs', lis({ length: 6, states: 'pairs' }) as Task],
  ['lis, pairs, inline', lis({ length: 6, states: 'pairs', inputs: 'inline' }) as Task],
  ['edit-distance, column', editDistance({ length: 5, order: 'column' }) as Task],
  [
    'edit-distance, anti-diagonal',
    editDistance({ length: 5, order: 'anti-diagonal', inputs: 'inline' }) as Task,
  ],
  ['arithmetic, canonical', arithmetic({ order: 'canonical' }) as Task],
  ['ngram-lookup, suffix', ngramLookup({ key: 'suffix', answerLength: 3 }) as Task],
);

function perfect(task: Task, sample: Sample): number[] {
  return task.alignment === 'same' ? sample.answer : sample.tokens.slice(sample.prompt.length);
}

describe.each(variants)('%s', (_, task) => {
  it('gives samples that are plain data, the same from the same random source', () => {
    const sample = task.sample(random(5));
    expect(JSON.parse(JSON.stringify(sample))).toEqual(sample);
    expect(task.sample(random(5))).toEqual(sample);
    expect(task.verify(sample)).toBeNull();
    expect(sample.lossMask).toHaveLength(sample.tokens.length);
    expect(sample.lossMask).toContain(true);
    expect(sample.tokens.slice(0, sample.prompt.length)).toEqual(sample.prompt);
    expect(task.vocabulary.encode(task.vocabulary.decode(sample.tokens))).toEqual(sample.tokens);
  });

  it('finds every single wrong token of an output, and passes the right one in both modes', () => {
    const seeds = tuple(nat(1e6), nat(), nat());
    assert(
      property(seeds, ([seed, place, change]) => {
        const sample = task.sample(random(seed));
        const right = perfect(task, sample);
        expect(task.check(sample, right)).toMatchObject({
          correct: true,
          answerCorrect: true,
          firstWrong: null,
        });
        const forced = task.scored(sample).map((i) => (sample.targets ?? sample.tokens)[i]);
        const mode = 'teacher-forced';
        expect(task.check(sample, forced, { mode })).toMatchObject({ mode, correct: true, tokenAccuracy: 1 });

        const at = place % right.length;
        const output = [...right];
        output[at] = (output[at] + 1 + (change % (task.vocabulary.size - 1))) % task.vocabulary.size;
        const result = task.check(sample, output);
        // A chain of arithmetic may stay legal; test/reference.test.ts looks at those.
        if (task.name !== 'arithmetic' || !result.correct) {
          expect(result.correct).toBe(false);
          expect(result.firstWrong).toBeLessThanOrEqual(task.name === 'phone-book' ? at + 1 : at);
        }
        const k = place % forced.length;
        forced[k] = (forced[k] + 1) % task.vocabulary.size;
        const second = task.check(sample, forced, { mode });
        expect(second).toMatchObject({ correct: false, firstWrong: k });
        expect(second.tokenAccuracy).toBeCloseTo(1 - 1 / forced.length, 10);
      }),
      { numRuns: 25 },
    );
  });

  it('judges any output whatever, and finds it wrong', () => {
    const sample = task.sample(random(6));
    const token = integer({ min: -2, max: task.vocabulary.size + 1 });
    assert(
      property(array(token, { maxLength: 40 }), nat(), (noise, keep) => {
        const right = perfect(task, sample);
        const output = [...right.slice(0, keep % right.length), ...noise];
        if (task.alignment === 'same') output.length = right.length;
        const { correct, right: judged, tokenAccuracy, firstWrong } = task.check(sample, output);
        expect(tokenAccuracy).toBeGreaterThanOrEqual(0);
        expect(tokenAccuracy).toBeLessThanOrEqual(1);
        expect(judged.length).toBeLessThanOrEqual(output.length);
        if (correct) expect(firstWrong).toBeNull();
        else expect(tokenAccuracy).toBeLessThan(1);
        const { end } = task.vocabulary;
        const given =
          end !== undefined && output.includes(end) ? output.slice(0, output.indexOf(end)) : output;
        if (correct && task.name !== 'arithmetic' && task.name !== 'phone-book') {
          expect(given).toEqual(right.filter((id) => id !== end));
        }
      }),
      { numRuns: 40 },
    );
  });

  it('finds an output that stops early or goes on', () => {
    const sample = task.sample(random(3));
    const right = perfect(task, sample);
    if (task.alignment === 'same') return;
    const { end } = task.vocabulary;
    const body = right.filter((token) => token !== end);
    expect(task.check(sample, body).correct).toBe(true);
    expect(task.check(sample, body.slice(0, -1)).correct).toBe(false);
    expect(task.check(sample, [...body, body[0]]).correct).toBe(false);
    expect(task.check(sample, []).correct).toBe(false);
    if (end !== undefined) expect(task.check(sample, [...body, end, body[0]]).correct).toBe(true);
  });

  it('batches what it samples, whatever the batch size, and goes on from a saved state', () => {
    const whole = task.batches({ batchSize: 7, seed: 3 });
    const samples = whole.next().value.samples;
    const parts = task.batches({ batchSize: 2, seed: 3 });
    parts.next();
    const state = JSON.parse(JSON.stringify(parts.state));
    expect(state).toEqual({ seed: 3, position: 2 });
    const later = task.batches({ batchSize: 3, state }).next().value;
    expect(later.samples).toEqual(samples.slice(2, 5));
    expect(parts.next().value.samples).toEqual(samples.slice(2, 4));
    expect(whole.state.position).toBe(7);
  });

  it('puts into each row the inputs, what is due at them and what is scored', () => {
    for (const padding of ['right', 'left'] as const) {
      const { seqLen } = task.batches({ batchSize: 4, seed: 1 }).next().value;
      const padToken = -100;
      const batch = task
        .batches({ batchSize: 4, seed: 1, seqLen: seqLen + 3, padding, padToken })
        .next().value;
      batch.samples.forEach((sample, b) => {
        const shift = task.alignment === 'same' ? 0 : 1;
        const length = sample.tokens.length - shift;
        const first = b * batch.seqLen + (padding === 'left' ? batch.seqLen - length : 0);
        const row = (whole: ArrayLike<number>) => Array.from(whole).slice(first, first + length);
        expect(batch.lengths[b]).toBe(length);
        expect(row(batch.inputs)).toEqual(sample.tokens.slice(0, length));
        expect(row(batch.targets)).toEqual((sample.targets ?? sample.tokens).slice(shift));
        expect(row(batch.lossMask)).toEqual(sample.lossMask.slice(shift).map(Number));
        const outside = Array.from(batch.inputs)
          .slice(b * batch.seqLen, (b + 1) * batch.seqLen)
          .filter((token) => token === padToken);
        expect(outside).toHaveLength(batch.seqLen - length);
      });
      expect(batch.lossMask.reduce((sum, bit) => sum + bit, 0)).toBe(
        batch.samples.reduce((sum, sample) => sum + task.scored(sample).length, 0),
      );
    }
  });

  it('looks back as far as it says, and only at what stands before', () => {
    const sample = task.sample(random(8));
    const distances = task.distances(sample);
    expect(distances).toHaveLength(sample.tokens.length);
    const { mToken, inputReach, inlineReach = 0 } = task.locality();
    expect(Math.max(mToken, inputReach, inlineReach)).toBeGreaterThan(0);
    distances.forEach((distance, i) => {
      expect(distance).toBeGreaterThanOrEqual(0);
      expect(distance).toBeLessThanOrEqual(i);
    });
  });

  it('describes itself by a sample', () => {
    const text = task.describe();
    expect(text.startsWith(`${task.name}: `)).toBe(true);
    expect(text).toMatch(/\ntokens {2}/);
    expect(text).toMatch(/\nscored {2}.*\*/);
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(110);
  });

  it('refuses options that it does not have, and sizes and outputs that are none', () => {
    expect(() => createTask(task.name, { lenght: 3 })).toThrow(TaskError);
    expect(() => createTask(task.name, { lenght: 3 })).toThrow(/'lenght' is not an option; /);
    expect(() => task.sample(random(0), 0)).toThrow(TaskError);
    expect(() => task.sample(random(0), 1.5)).toThrow(TaskError);
    expect(() => task.check(task.sample(random(0)), null as never)).toThrow(/output must be a list/);
    expect(() => task.batches({ batchSize: 0 })).toThrow(/batches: batchSize must be/);
    expect(() => task.batches({ batchSize: 1, seed: -1 })).toThrow(/seed must be/);
  });
});

function expressions(task: Task<{ expression: unknown[] }>): string[] {
  const { samples } = task.batches({ batchSize: 2000 }).next().value;
  return samples.map(({ problem }) => problem.expression.join(' '));
}

describe('split', () => {
  it.each(names.filter((name) => name !== 'phone-book'))(
    'never draws a problem of %s on both sides',
    (name) => {
      const task = createTask(name);
      const { train, test } = task.split({ test: 0.3, seed: 1 });
      const key = (sample: Sample) => task.definition.key?.(sample.problem) ?? JSON.stringify(sample.problem);
      const seen = new Set(train.batches({ batchSize: 100, seed: 1 }).next().value.samples.map(key));
      const other = test.batches({ batchSize: 100, seed: 1 }).next().value.samples.map(key);
      expect(other.filter((problem) => seen.has(problem))).toEqual([]);
    },
  );

  it('keeps an expression on its side under another order of steps, and in the direct form', () => {
    const shares = { test: 0.5, seed: 9 };
    const { train } = arithmetic({ length: 2, p: 3 }).split(shares);
    const { test } = arithmetic({ length: 2, p: 3, order: 'canonical' }).split(shares);
    const direct = arithmetic({ length: 2, p: 3, form: 'direct' }).split(shares);
    const trained = new Set(expressions(train));
    expect(trained.size).toBeGreaterThan(50);
    expect(expressions(test).some((expression) => trained.has(expression))).toBe(false);
    expect(expressions(direct.test).some((expression) => trained.has(expression))).toBe(false);
  });

  it('finds problems of a part that is small, always', () => {
    const { test } = copy({ length: 12 }).split({ test: 0.005 });
    expect(test.batches({ batchSize: 200 }).next().value.samples).toHaveLength(200);
  });

  it('keeps the share that is asked for', () => {
    const task = copy({ length: 12 });
    const { problem } = task.sample(random(0));
    const rng = random(2);
    let inTest = 0;
    for (let i = 0; i < 20000; i++) if (task.sideOf(task.draw(rng), 0.1, 4) === 'test') inTest++;
    expect(Math.abs(inTest - 2000)).toBeLessThan(3.3 * Math.sqrt(20000 * 0.1 * 0.9));
    expect(task.sideOf(problem, 0.1, 4)).toBe(task.sideOf(structuredClone(problem), 0.1, 4));
  });

  it('refuses a side with nothing in it, and to split twice', () => {
    const only = copy({ vocabSize: 1, length: 3 });
    expect(() => only.split()).toThrow(/copy: no problem of the (train|test) part in \d+ draws/);
    const { train } = copy().split();
    expect(() => train.split()).toThrow(/a part already/);
    expect(() => copy().split({ test: 1.5 })).toThrow(/test must be a number/);
  });
});

describe('batches', () => {
  it('packs samples one after the other and does not score what is cut off', () => {
    const task = copy({ length: [3, 9] });
    const stream = task.batches({ batchSize: 2, seqLen: 50, seed: 4, packed: true });
    for (let i = 0; i < 5; i++) {
      const { inputs, targets, lossMask } = stream.next().value;
      expect(inputs.slice(1, 50)).toEqual(targets.slice(0, 49));
      const text = task.vocabulary.decode([inputs[0], ...targets.slice(0, 50)]);
      let expected = '';
      for (const part of text.match(/\$[^$]*/g)!) {
        const [before, answer] = part.split('|');
        const whole = answer !== undefined && answer.endsWith('.');
        expected += '.'.repeat(before.length + 1) + (whole ? '*' : '.').repeat(answer?.length ?? 0);
      }
      const got = Array.from(lossMask.subarray(0, 50), (bit) => (bit ? '*' : '.')).join('');
      expect(got).toBe(expected.slice(1, 51));
    }
    const again = task.batches({ batchSize: 2, seqLen: 50, packed: true, state: stream.state });
    expect(again.next().value.inputs).toEqual(stream.next().value.inputs);
  });

  it('refuses rows that are too short, without losing samples', () => {
    const stream = copy({ length: [5, 20] }).batches({ batchSize: 8, seqLen: 30 });
    expect(() => stream.next()).toThrow(/copy: batches: seqLen must be at least \d+, the length of a sample/);
    expect(stream.state.position).toBe(0);
  });

  it('refuses to pack without a length, and what has labels', () => {
    expect(() => copy().batches({ batchSize: 1, packed: true })).toThrow(/seqLen must be given/);
    expect(() => mqar().batches({ batchSize: 1, packed: true, seqLen: 64 })).toThrow(/packed must be false/);
  });

  it('is an iterator', () => {
    let count = 0;
    for (const batch of copy().batches({ batchSize: 3, seed: 1 })) {
      expect(batch.batchSize).toBe(3);
      if (++count === 4) break;
    }
    expect(count).toBe(4);
  });

  it('goes on past 2^32 samples', () => {
    const task = copy({ length: 30 });
    const position = 2 ** 32 - 1;
    const far = task.batches({ batchSize: 3, state: { seed: 1, position } });
    const { samples } = far.next().value;
    expect(new Set(samples.map(({ problem }) => problem.string.join())).size).toBe(3);
    expect(far.state.position).toBe(2 ** 32 + 2);
    const second = task.batches({ batchSize: 1, state: { seed: 1, position: 2 ** 32 } }).next().value;
    expect(second.samples[0]).toEqual(samples[1]);
    const first = task.batches({ batchSize: 1, seed: 1 }).next().value;
    expect(first.samples[0]).not.toEqual(samples[1]);
  });
});

describe('metrics', () => {
  it('counts by position, distance, length and step', () => {
    const task = reverseCopy({ length: 4 });
    const metrics = task.metrics();
    const sample = task.sample(random(1));
    const output = sample.tokens.slice(6);
    metrics.add(sample, task.check(sample, output));
    output[2] = 29;
    metrics.add(sample, task.check(sample, output));
    metrics.add(sample, task.check(sample, output.slice(0, 1)));
    expect(metrics.exactMatch).toBeCloseTo(1 / 3);
    expect(metrics.tokenAccuracy).toBeCloseTo((5 + 4 + 1) / 15);
    expect([...metrics.byPosition].map(([k, { right, total }]) => [k, right, total])).toEqual([
      [0, 3, 3],
      [1, 2, 3],
      [2, 1, 3],
      [3, 2, 3],
      [4, 2, 3],
    ]);
    // Output i reads position 4 - i: 2, 4, 6, 8 back; the end token reads nothing.
    expect([...metrics.byDistance.keys()]).toEqual([2, 4, 6, 8, 0]);
    expect(metrics.byDistance.get(6)).toEqual({ right: 1, total: 3 });
    expect(metrics.byLength.get(sample.tokens.length)).toEqual({ right: 1, total: 3 });
  });
});

it('shows a sample as a table', () => {
  const task = copy({ length: 3 });
  expect(task.describe(task.encode({ string: [0, 1, 25] }))).toBe(
    ['copy: write the string again', '', 'tokens  $ a b z | a b z .', 'scored  . . . . . * * * *'].join('\n'),
  );
});

describe('locality', () => {
  it('of a copy is its length, of a reverse copy twice that', () => {
    expect(copy().locality(7)).toEqual({ mState: 0, mToken: 0, inputReach: 8 });
    expect(reverseCopy().locality(7)).toEqual({ mState: 0, mToken: 0, inputReach: 14 });
    expect(ngramLookup({ n: 2 }).locality(20).inputReach).toBeGreaterThan(10);
  });
});

it('refuses problems that it cannot write, and sources that are not random', () => {
  expect(() => copy().encode({ string: [99] })).toThrow(/copy: problem must be one that is written with/);
  expect(() => mqar().encode({ tokens: [1, 2], queries: [1] })).toThrow(/mqar: queries must be/);
  expect(() => copy().sample(Math.random as never)).toThrow(/copy: rng must be what random\(seed\) gives/);
});

describe('options that cannot be met', () => {
  it.each<[string, () => unknown, RegExp]>([
    ['a copy of no letters', () => copy({ vocabSize: 0 }), /copy: vocabSize must be a whole number from 1/],
    ['NaN', () => copy({ vocabSize: NaN }), /vocabSize must be .*, got NaN/],
    ['sizes upside down', () => copy({ length: [5, 2] }), /length must be a size or \[smallest, largest\]/],
    [
      'weights that do not fit',
      () => copy({ length: { sizes: [1, 2], weights: [1] } }),
      /as many sizes as weights/,
    ],
    [
      'weights of zero',
      () => copy({ length: { sizes: [1], weights: [0] } }),
      /weights must be of a sum from 1/,
    ],
    ['a unique key among one letter', () => ngramLookup({ vocabSize: 1 }), /n must be large enough for keys/],
    [
      'a unique letter among two in a hundred',
      () => ngramLookup({ vocabSize: 2, n: 1, length: 100 }),
      /occur once/,
    ],
    ['a key as long as the string', () => ngramLookup({ n: 20, length: 20 }), /length must be/],
    [
      'more pairs than keys',
      () => mqar({ vocabSize: 8, pairs: 4 }),
      /pairs must be a whole number from 1 to 3/,
    ],
    ['gaps of no power', () => mqar({ power: NaN }), /power must be a number from -4 to 4, got NaN/],
    [
      'a text too short for its pairs',
      () => mqar({ seqLen: 30, pairs: 8 }),
      /seqLen must be even and at least 32/,
    ],
    ['lis beyond its numbers', () => lis({ length: 50, numberRange: 100 }), /numberRange must be/],
    ['a field of ten', () => arithmetic({ p: 10 }), /p must be a prime, got 10/],
    [
      'an unknown cost',
      () => editDistance({ costs: 'cheap' as never }),
      /costs must be one of 'unit', 'reference'/,
    ],
    ['a phone book of two', () => phoneBook({ entries: 2 }), /entries must be a whole number from 3/],
    [
      'two numbers alone',
      () => associativeRecall({ vocabSize: 3 }),
      /vocabSize must be a whole number from 4/,
    ],
    ['options that are no object', () => copy(7 as never), /options must be an object, got 7/],
    ['a task that is none', () => createTask('copi'), /createTask: name must be one of .*, got 'copi'/],
  ])('%s', (_, make, message) => {
    expect(make).toThrow(TaskError);
    expect(make).toThrow(message);
  });
});

it('draws sizes in the shares of their weights', () => {
  const task = copy({ length: { sizes: [1, 2, 9], weights: [1, 2, 0] } });
  const counts = new Map<number, number>();
  const rng = random(6);
  for (let i = 0; i < 3000; i++) {
    const { length } = task.draw(rng).string;
    counts.set(length, (counts.get(length) ?? 0) + 1);
  }
  expect([...counts.keys()].toSorted()).toEqual([1, 2]);
  expect(Math.abs(counts.get(1)! - 1000)).toBeLessThan(90);
});

it('draws all slots of MQAR even where some are next to never drawn', () => {
  const task = mqar({ vocabSize: 256, seqLen: 256, pairs: 64, power: -4 });
  const { queries } = task.draw(random(1));
  expect(queries).toEqual(Array.from({ length: 64 }, (_, i) => 128 + 2 * i));
});

describe('any option that is odd', () => {
  const odd = [
    NaN,
    Infinity,
    -1,
    0,
    1,
    2,
    3,
    1.5,
    1e12,
    '',
    'x',
    true,
    false,
    [],
    [2, 1],
    [1, 1],
    {},
    { sizes: [] },
  ];
  it.each(names)('of %s is refused with a TaskError or makes a task that works', (name) => {
    for (const option of Object.keys(createTask(name).options)) {
      for (const value of odd) {
        try {
          const task = createTask(name, { [option]: value });
          const sample = task.sample(random(1));
          expect(task.check(sample, perfect(task, sample)).correct).toBe(true);
        } catch (error) {
          if (!(error instanceof TaskError)) throw new Error(`${option}: ${String(value)}`, { cause: error });
        }
      }
    }
  });
});
