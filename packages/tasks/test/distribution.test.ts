/** Each generator against the law that it states: chi-square, at p = 0.001, seeds fixed. */
// What a test looks at stands beside its law, and speed is nothing here.
/* oxlint-disable unicorn/consistent-function-scoping, oxc/no-map-spread, unicorn/no-useless-spread, unicorn/prefer-set-has */
import { describe, expect, it } from 'vitest';
import {
  arithmetic,
  associativeRecall,
  circuit,
  compression,
  copy,
  cyk,
  delayedCopy,
  duplicatedNgrams,
  editDistance,
  equation,
  fuzzyRecall,
  inContextRecall,
  inductionHeads,
  knapsack,
  layeredPath,
  lcs,
  lis,
  madSelectiveCopy,
  matrixChain,
  memorization,
  modularSum,
  mqar,
  mqarCompositional,
  mqarForgetting,
  ngramLookup,
  noisyRecall,
  parity,
  phoneBook,
  prefixMax,
  prefixSum,
  random,
  recurrence,
  reverseCopy,
  selectiveCopy,
  type Task,
  wordProblem,
} from '../src/index.js';

/** Upper 0.1 % point of chi-square (Wilson and Hilferty's approximation). */
function critical(freedom: number): number {
  const spread = 2 / (9 * freedom);
  return freedom * (1 - spread + 3.09 * Math.sqrt(spread)) ** 3;
}

type Law = Map<string, number>;

const uniform = (values: Iterable<unknown>): Law => {
  const all = [...values];
  return new Map(all.map((value) => [String(value), 1 / all.length]));
};
const below = (end: number, first = 0) => Array.from({ length: end - first }, (_, i) => first + i);

/** Draws `count` problems and compares what `look` sees in each with the law. */
function expectLaw<P>(task: Task<P>, count: number, look: (problem: P) => unknown[], law: Law): void {
  const rng = random(20).split(task.name);
  const seen = new Map<string, number>();
  let total = 0;
  for (let i = 0; i < count; i++) {
    for (const value of look(task.draw(rng))) {
      seen.set(String(value), (seen.get(String(value)) ?? 0) + 1);
      total++;
    }
  }
  for (const value of seen.keys()) expect(law.has(value), `${value} can be drawn`).toBe(true);
  let sum = 0;
  for (const share of law.values()) sum += share;
  expect(sum).toBeCloseTo(1, 9);
  let chiSquare = 0;
  let cells = 0;
  let [restSeen, restDue] = [0, 0]; // rare values together: a cell needs about five
  for (const [value, share] of law) {
    const due = share * total;
    if (due < 5) {
      restSeen += seen.get(value) ?? 0;
      restDue += due;
      continue;
    }
    chiSquare += ((seen.get(value) ?? 0) - due) ** 2 / due;
    cells++;
  }
  if (restDue >= 5) {
    chiSquare += (restSeen - restDue) ** 2 / restDue;
    cells++;
  }
  expect(cells).toBeGreaterThan(1);
  expect(total).toBeGreaterThan(500);
  expect(chiSquare).toBeLessThan(critical(cells - 1));
}

const add = (law: Law, value: unknown, share: number) =>
  law.set(String(value), (law.get(String(value)) ?? 0) + share);

describe('strings', () => {
  it.each([
    ['copy', copy({ vocabSize: 5, length: [2, 6] })],
    ['reverse copy', reverseCopy({ vocabSize: 5, length: [2, 6] })],
  ])('%s: letters and lengths are uniform', (_, task) => {
    expectLaw(task, 5000, ({ string }) => string, uniform(below(5)));
    expectLaw(task, 5000, ({ string }) => [string.length], uniform(below(7, 2)));
  });

  it.each([true, false])(
    'n-gram lookup: the key starts anywhere but near the end (unique: %s)',
    (uniqueKey) => {
      const task = ngramLookup({ vocabSize: 26, length: 16, n: 4, answerLength: 2, uniqueKey });
      const start = ({ string, key }: { string: number[]; key: number[] }) => [
        string.findIndex((_, i) => key.every((letter, j) => letter === string[i + j])),
      ];
      expectLaw(task, 5000, start, uniform(below(16 - 4 - 2 - 2)));
    },
  );

  it('n-gram lookup: unique keys are unique', () => {
    const task = ngramLookup({ vocabSize: 4, length: 30, n: 2, answerLength: 5 });
    const rng = random(1);
    for (let i = 0; i < 300; i++) {
      const { string, key } = task.draw(rng);
      expect(string.filter((_, at) => key.every((letter, j) => letter === string[at + j]))).toHaveLength(1);
    }
  });

  it('duplicated n-grams: any two places', () => {
    const [n, length] = [3, 12];
    const task = duplicatedNgrams({ vocabSize: 26, length, n });
    const places: string[] = [];
    for (let p = 0; p < length - n - 1; p++)
      for (let q = p + n; q < length - n - 1; q++) places.push(`${p},${q}`);
    const look = ({ string }: { string: number[] }) => {
      const at = (i: number) => string.slice(i, i + n).join();
      const found = places.filter(
        (place) => at(Number(place.split(',')[0])) === at(Number(place.split(',')[1])),
      );
      return found.length === 1 ? found : [];
    };
    expectLaw(task, 5000, look, uniform(places));
  });

  it('delayed and selective copy: data and places are uniform', () => {
    const options = { alphabet: 6, noise: 4, memorize: 2 };
    const data = ({ tokens }: { tokens: number[] }) => tokens.filter((token) => token > 0 && token < 5);
    const places = ({ tokens }: { tokens: number[] }) => [
      tokens.flatMap((token, i) => (token > 0 && token < 5 ? [i] : [])),
    ];
    expectLaw(delayedCopy(options), 3000, data, uniform(below(5, 1)));
    expectLaw(selectiveCopy(options), 3000, data, uniform(below(5, 1)));
    const pairs = below(6).flatMap((i) => below(6, i + 1).map((j) => `${i},${j}`));
    expectLaw(selectiveCopy(options), 3000, places, uniform(pairs));
    expectLaw(
      delayedCopy(options),
      1000,
      (problem) => [...places(problem), 'x'],
      new Map([
        ['0,1', 0.5],
        ['x', 0.5],
      ]),
    );
  });

  it('MAD selective copy: each blank goes before a token of its own choice', () => {
    const task = madSelectiveCopy({ vocabSize: 6, seqLen: 8, count: 2 });
    const data = ({ tokens }: { tokens: number[] }) => tokens.slice(0, 5).filter((token) => token < 4);
    expectLaw(task, 3000, data, uniform(below(4)));
    const before = ({ tokens }: { tokens: number[] }) => [tokens.findIndex((token) => token < 4)];
    expectLaw(
      task,
      3000,
      before,
      new Map([
        ['0', 1 / 8],
        ['1', 3 / 8],
        ['2', 3 / 8],
        ['3', 1 / 8],
      ]),
    );
  });

  it('phone book: digits, examples and the name that is asked for are uniform', () => {
    const task = phoneBook({ entries: 5 });
    expectLaw(task, 500, ({ entries }) => entries.map(({ number }) => number[0]), uniform(below(10, 6)));
    expectLaw(
      task,
      500,
      ({ entries }) => entries.flatMap(({ number }) => [...number.slice(1)]),
      uniform(below(10)),
    );
    const order = below(5).flatMap((a) =>
      below(5).flatMap((b) =>
        below(5).flatMap((c) => (a !== b && a !== c && b !== c ? [`${a},${b},${c}`] : [])),
      ),
    );
    expectLaw(task, 3000, ({ examples, query }) => [[...examples, query]], uniform(order));
    const [first] = task.draw(random(0)).entries;
    expect(first.name).toMatch(/^[A-Z][a-z]+ [A-Z][a-z]+$/);
  });
});

describe('recall', () => {
  it('induction heads: one trigger, or several half of the time; tokens and places are uniform', () => {
    const one = inductionHeads({ vocabSize: 8, seqLen: 10, inductionLength: 2 });
    const start = ({ tokens }: { tokens: number[] }) => [tokens.indexOf(7)];
    expectLaw(one, 3000, start, uniform(below(7)));
    expectLaw(one, 3000, ({ tokens }) => tokens.filter((token) => token !== 7), uniform(below(7, 1)));
    // Two starts in [0, 7), the second dropped when it is within 2 of the first: 1/2 + 1/2 of those.
    const two = inductionHeads({ vocabSize: 8, seqLen: 10, inductionLength: 2, triggers: 2 });
    let near = 0;
    for (const a of below(7)) for (const b of below(7)) if (Math.abs(a - b) <= 2) near += 1 / 49;
    const count = ({ tokens }: { tokens: number[] }) => [tokens.filter((token) => token === 7).length];
    expectLaw(
      two,
      3000,
      count,
      new Map([
        ['1', 0.5 + near / 2],
        ['2', 0.5 - near / 2],
      ]),
    );
  });

  it('associative recall: keys and values are uniform; an unseen key as often as chance has it', () => {
    const task = associativeRecall({ vocabSize: 10, seqLen: 6, allowUnseen: true });
    expectLaw(task, 3000, ({ pairs }) => pairs.filter((_, i) => i % 2 === 0), uniform(below(5, 1)));
    expectLaw(task, 3000, ({ pairs }) => [pairs[1]], uniform(below(9, 5)));
    const unseen = (3 / 4) ** 3;
    const isUnseen = ({ pairs, key }: { pairs: number[]; key: number[] }) => [
      !pairs.some((token, i) => i % 2 === 0 && token === key[0]),
    ];
    expectLaw(
      task,
      3000,
      isUnseen,
      new Map([
        ['true', unseen],
        ['false', 1 - unseen],
      ]),
    );
    const seen = associativeRecall({ vocabSize: 10, seqLen: 6 });
    expectLaw(
      seen,
      1000,
      (problem) => [...isUnseen(problem), 'x'],
      new Map([
        ['false', 0.5],
        ['x', 0.5],
      ]),
    );
  });

  const powerLaw = (count: number, exponent: number): Law => {
    const weights = below(count).map((g) => (g + 1) ** (exponent - 1));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return new Map(weights.map((weight, g) => [String(g), weight / total]));
  };

  it.each([0.01, 1])('MQAR: keys, values, and gaps with power %d', (power) => {
    const task = mqar({ vocabSize: 16, seqLen: 24, pairs: 3, power });
    const keys = ({ tokens }: { tokens: number[] }) => [tokens[0], tokens[2], tokens[4]];
    expectLaw(task, 3000, keys, uniform(below(8, 1)));
    expectLaw(task, 3000, ({ tokens }) => [tokens[1], tokens[3], tokens[5]], uniform(below(16, 8)));
    // The first pair's query takes the slot that is drawn first.
    const slot = ({ tokens, queries }: { tokens: number[]; queries: number[] }) => [
      (queries.find((query) => tokens[query] === tokens[0])! - 6) / 2,
    ];
    expectLaw(task, 5000, slot, powerLaw(9, power));
    const spread = ({ queries }: { queries: number[] }) => [new Set(queries).size];
    expectLaw(
      task,
      1000,
      (problem) => [...spread(problem), 'x'],
      new Map([
        ['3', 0.5],
        ['x', 0.5],
      ]),
    );
  });

  it('MQAR: random filler is uniform, and none looks like a live key unless asked', () => {
    const options = { vocabSize: 16, seqLen: 24, pairs: 3, randomFiller: true };
    const filler = ({ tokens, queries }: { tokens: number[]; queries: number[] }) =>
      tokens.filter((_, i) => i >= 6 && !queries.includes(i));
    expectLaw(mqar({ ...options, lookAlikes: true }), 2000, filler, uniform(below(16)));
    const clean = mqar(options);
    const rng = random(2);
    for (let i = 0; i < 300; i++) {
      const problem = clean.draw(rng);
      const live = [0, 2, 4].map((k) => problem.tokens[k]);
      expect(filler(problem).some((token) => live.includes(token))).toBe(false);
    }
  });

  it('MQAR with forgetting: any key is updated, to any other value', () => {
    const task = mqarForgetting({ vocabSize: 16, seqLen: 24, pairs: 3, updates: 1 });
    const which = ({ tokens }: { tokens: number[] }) => [[0, 2, 4].findIndex((i) => tokens[i] === tokens[6])];
    expectLaw(task, 3000, which, uniform(below(3)));
    const change = ({ tokens }: { tokens: number[] }) => {
      const old = tokens[tokens.indexOf(tokens[6]) + 1];
      return [(tokens[7] - old + 8) % 8];
    };
    expectLaw(task, 3000, change, uniform(below(8, 1)));
  });

  it('compositional MQAR: gaps, and every pair of the grid', () => {
    const task = mqarCompositional({ vocabSize: 30, seqLen: 36, pairs: 4 });
    const slot = ({ tokens, queries }: { tokens: number[]; queries: number[] }) => [
      (queries.find((query) => tokens[query] === tokens[1] && tokens[query - 1] === tokens[0])! - 13) / 3,
    ];
    expectLaw(task, 3000, slot, powerLaw(8, 0.01));
    expectLaw(task, 3000, ({ tokens }) => [tokens[0]], uniform(below(10, 1)));
    const rng = random(1);
    const { tokens } = task.draw(rng);
    expect(new Set([0, 3, 6, 9].map((i) => `${tokens[i]},${tokens[i + 1]}`)).size).toBe(4);
  });

  it('in-context recall: keys are uniform, a value is drawn once a key', () => {
    const task = inContextRecall({ vocabSize: 10, seqLen: 20 });
    const keys = ({ tokens }: { tokens: number[] }) => tokens.slice(0, 18).filter((_, i) => i % 2 === 0);
    expectLaw(task, 1000, keys, uniform(below(5)));
    expectLaw(task, 3000, ({ tokens }) => [tokens[1]], uniform(below(10, 5)));
  });

  it('noisy recall: each slot but one is noise as often as asked', () => {
    const task = noisyRecall({ vocabSize: 14, seqLen: 12, noiseVocabSize: 4, noise: 0.4 });
    const slots = ({ tokens }: { tokens: number[] }) => [0, 2, 4, 6, 8].map((i) => tokens[i] >= 10);
    // One of five is never noise.
    expectLaw(
      task,
      3000,
      slots,
      new Map([
        ['true', 0.4 * 0.8],
        ['false', 1 - 0.4 * 0.8],
      ]),
    );
    const noise = ({ tokens }: { tokens: number[] }) => tokens.filter((token) => token >= 10);
    expectLaw(task, 2000, noise, uniform(below(14, 10)));
    const always = noisyRecall({ vocabSize: 14, seqLen: 6, noiseVocabSize: 4, noise: 1 });
    const rng = random(3);
    for (let i = 0; i < 200; i++) expect(always.sample(rng).answer[0]).toBeLessThan(10);
  });

  it('fuzzy recall: motifs have every length equally often, and the last query can be answered', () => {
    const task = fuzzyRecall({ vocabSize: 16, seqLen: 40, score: 'train' });
    const runs = ({ tokens }: { tokens: number[] }) => {
      const text = tokens.filter((token) => token < 15);
      const found: number[] = [];
      let from = 0;
      while (text[from] < 7) from++;
      found.push(from);
      return found; // the first key's length; later ones depend on it through the room that is left
    };
    expectLaw(task, 3000, runs, uniform([1, 2, 3]));
    expectLaw(task, 3000, ({ tokens }) => [tokens.find((token) => token < 15)], uniform(below(7)));
    const hard = fuzzyRecall({ vocabSize: 16, seqLen: 24 });
    const rng = random(4);
    for (let i = 0; i < 500; i++) {
      const sample = hard.sample(rng);
      expect(sample.tokens).toHaveLength(25);
      expect(hard.distances(sample).at(-1)).toBeGreaterThan(0);
    }
  });

  it('memorization: keys are uniform; the map is one to one and that of its seed', () => {
    const task = memorization({ vocabSize: 11, seqLen: 8 });
    expectLaw(task, 2000, ({ keys }) => keys, uniform(below(5)));
    const values = (mapSeed: number) =>
      memorization({ vocabSize: 65, seqLen: 64, mapSeed }).encode({ keys: below(32) }).answer;
    expect(new Set(values(1)).size).toBe(32);
    expect(Math.min(...values(1))).toBeGreaterThanOrEqual(32);
    expect(values(1)).toEqual(values(1));
    expect(values(1)).not.toEqual(values(2));
  });

  it('compression and circuits: tokens are uniform', () => {
    expectLaw(
      compression({ vocabSize: 9, seqLen: 12 }),
      1000,
      ({ tokens }) => tokens.slice(0, -1),
      uniform(below(8)),
    );
    for (const kind of ['parity', 'majority'] as const) {
      expectLaw(circuit({ kind }), 500, ({ symbols }) => symbols, uniform(below(2)));
    }
    const most = circuit({ kind: 'vocabulary-majority', seqLen: 9 });
    expectLaw(most, 5000, (problem) => most.encode(problem).answer, uniform(below(6, 1)));
    const rng = random(2);
    for (let i = 0; i < 300; i++) {
      const counts = [0, 0, 0, 0, 0, 0];
      for (const symbol of most.draw(rng).symbols) counts[symbol]++;
      const top = Math.max(...counts);
      expect(counts.filter((count) => count === top)).toHaveLength(1);
    }
  });
});

describe('dynamic programming', () => {
  it('arithmetic: the law of the expansion, for all expressions of up to two operators over Z_2 and Z_3', () => {
    type Tokens = (number | string)[];
    /** All u op v with value x, each with its share. */
    const triples = (x: number, p: number): [Tokens, number][] => {
      const found: [Tokens, number][] = [];
      for (const u of below(p)) {
        found.push([[u, '+', (x - u + p) % p], 1]);
        found.push([[u, '-', (u - x + p) % p], 1]);
        if (u !== 0) for (const v of below(p)) if ((u * v) % p === x) found.push([[u, '*', v], 1]);
        if (u === 0 && x === 0) for (const v of below(p)) found.push([[u, '*', v], 1 / p]);
        for (const v of below(p, 1)) {
          if ((v * x) % p === u && (u === 0) === (x === 0))
            found.push([[u, '/', v], u === 0 ? 1 / (p - 1) : 1]);
        }
      }
      const total = found.reduce((sum, [, share]) => sum + share, 0);
      return found.map(([tokens, share]) => [tokens, share / total]);
    };
    for (const [p, operators] of [
      [2, 2],
      [3, 1],
      [2, 1],
    ] as const) {
      const law: Law = new Map();
      const grow = (tokens: Tokens, order: number[], left: number, share: number) => {
        if (left === 0) {
          add(law, `${tokens.join(' ')} ${order.toReversed().join()}`, share);
          return;
        }
        const numbers = tokens.flatMap((token, i) => (typeof token === 'number' ? [i] : []));
        for (const at of numbers) {
          for (const [part, odds] of triples(tokens[at] as number, p)) {
            const [before, after] = [String(tokens[at - 1]), String(tokens[at + 1])];
            const additive = part[1] === '+' || part[1] === '-';
            const bracket =
              before === '/' ||
              (additive && (before === '*' || before === '-' || after === '*' || after === '/'));
            const written = bracket ? ['(', ...part, ')'] : part;
            const next = [...tokens.slice(0, at), ...written, ...tokens.slice(at + 1)];
            grow(next, [...order, at], left - 1, (share * odds) / numbers.length);
          }
        }
      };
      for (const x of below(p)) grow([x], [], operators, 1 / p);
      const task = arithmetic({ length: operators, p });
      expectLaw(task, 20000, ({ expression, order }) => [`${expression.join(' ')} ${order.join()}`], law);
    }
  });

  it('equation: every invertible matrix', () => {
    const matrices: string[] = [];
    for (let code = 0; code < 64; code++) {
      const [a, b, c, d, x, y] = below(6).map((bit) => (code >> bit) & 1);
      if ((a * d + b * c) % 2 === 1) matrices.push([a, b, x, c, d, y].join());
    }
    expect(matrices).toHaveLength(24);
    expectLaw(equation({ length: 2, p: 2 }), 5000, ({ matrix }) => [matrix.flat()], uniform(matrices));
  });

  it('lis: up to three rising runs', () => {
    // Three numbers out of 4, 5, 6, all of them in runs, which are split as [3], [1,2], [2,1], [1,1,1], [1,2], [2,1].
    const law: Law = new Map();
    const run = (length: number): number[][] =>
      length === 0
        ? [[]]
        : length === 1
          ? [[4], [5], [6]]
          : length === 2
            ? [
                [4, 5],
                [4, 6],
                [5, 6],
              ]
            : [[4, 5, 6]];
    const spread = (lengths: number[], share: number) => {
      let texts: number[][] = [[]];
      for (const length of lengths)
        texts = texts.flatMap((text) => run(length).map((part) => [...text, ...part]));
      for (const text of texts) add(law, text, share / texts.length);
    };
    spread([3], 1 / 3);
    spread([1, 2], 1 / 6);
    spread([2, 1], 1 / 6);
    spread([1, 1, 1], 1 / 12);
    spread([1, 2], 1 / 12);
    spread([2, 1], 1 / 6);
    expectLaw(lis({ length: 3, numberRange: 7 }), 6000, ({ numbers }) => [numbers], law);
  });

  it('lis: runs as long as stated, in longer inputs', () => {
    // With numbers from a huge range, numbers outside of the runs are alike all places.
    const task = lis({ length: 12, numberRange: 100000 });
    expectLaw(task, 4000, ({ numbers }) => [numbers[0] < numbers[1] ? 'up' : 'down'], lawOfFirstPair(12));
  });

  /** Chance that the first number is below the second, from the law of runs. */
  function lawOfFirstPair(n: number): Law {
    let up = 0;
    const choose = (a: number, b: number): number => (b === 0 ? 1 : (choose(a - 1, b - 1) * a) / b);
    for (let t = 3; t <= n; t++) {
      const splits: [number[], number][] = [[[t], 1 / 3]];
      const halves = Math.floor(t / 2) + 1;
      for (let a = 1; a <= halves; a++) splits.push([[a, t - a], 1 / 3 / halves]);
      const thirds = Math.floor(t / 3) + 1;
      for (let a = 1; a <= thirds; a++) {
        const rest = Math.floor((t - a) / 2) + 1;
        for (let b = 1; b <= rest; b++) splits.push([[a, b, t - a - b], 1 / 3 / thirds / rest]);
      }
      const bothPlaced = choose(n - 2, t - 2) / choose(n, t);
      for (const [lengths, share] of splits) {
        // Places 0 and 1 both in the runs: the first two of all run members.
        const [first, second = 0] = lengths;
        const within = first >= 2 ? 1 : 1 - (second <= 1 ? 1 / 2 : second / (second + 1)); // a lone number against the least of `second`
        const onlyFirst = choose(n - 2, t - 1) / choose(n, t);
        // One of them in a run, either one: the least of `first` against a uniform number, below it or above it.
        const neither = 1 - bothPlaced - 2 * onlyFirst;
        const chance = bothPlaced * within + onlyFirst + neither / 2;
        up += (share * chance) / (n - 2);
      }
    }
    return new Map([
      ['up', up],
      ['down', 1 - up],
    ]);
  }

  it('edit distance: the law of the edits, for strings of one letter drawn', () => {
    // Letters by order of first occurrence; the alphabet has three.
    const pattern = (a: number[], b: number[]) => {
      const names = [...new Set([...a, ...b])];
      return [a, b].map((string) => string.map((letter) => names.indexOf(letter)).join('')).join('|');
    };
    const law: Law = new Map();
    const strings = (length: number): number[][] =>
      length === 0
        ? [[]]
        : strings(length - 1).flatMap((head) => below(3).map((letter) => [...head, letter]));
    for (const length of [1, 2, 3]) {
      for (const b of strings(length)) add(law, pattern([0], b), 0.4 / 3 / 3 ** length);
    }
    const redraw = 1 - 1 / 9; // a replacement by the same letter is drawn again
    for (const letter of [1, 2]) add(law, pattern([0], [letter]), (0.6 * (1 / 9)) / redraw);
    for (const letter of below(3)) {
      add(law, pattern([0], [letter, 0]), (0.6 * (2 / 3 / 3 / 2)) / redraw);
      add(law, pattern([0], [0, letter]), (0.6 * (2 / 3 / 3 / 2)) / redraw);
    }
    const task = editDistance({ length: 1, using: 1 });
    expectLaw(task, 5000, ({ a, b }) => [pattern(a, b)], law);
    const wide = editDistance({ length: 200, using: 8 });
    const letters = ({ a, b }: { a: number[]; b: number[] }) => [new Set([...a, ...b]).size];
    expectLaw(wide, 600, letters, uniform(below(11, 3)));
    expectLaw(wide, 600, ({ a }) => [a[0]], uniform(below(26)));
  });

  it('cyk: half of the words are of the language', () => {
    const task = cyk({ grammar: 'dyck1', length: 6 });
    expectLaw(task, 2000, (problem) => [task.solve(problem).answer], uniform([0, 1]));
    // Derivations are equally likely; of "( ) ( ) ( )" there are two, of the other four words one.
    const words = new Map([
      ['000111', 1],
      ['001011', 1],
      ['001101', 1],
      ['010011', 1],
      ['010101', 2],
    ]);
    const total = [...words.values()].reduce((sum, ways) => sum + ways, 0);
    const law: Law = new Map([...words].map(([word, ways]) => [word, ways / total]));
    const members = (problem: { word: number[] }) =>
      task.solve(problem).answer === 1 ? [problem.word.join('')] : [];
    expectLaw(task, 4000, members, law);
  });

  const even = <P>(name: string, task: Task<P>, look: (problem: P) => unknown[], values: number[]) =>
    [name, () => expectLaw(task, 1500, look, uniform(values))] as const;
  it.each([
    even('lcs', lcs(), ({ a, b }) => [...a, ...b], below(4)),
    even('lcs lengths', lcs(), ({ a, b }) => [a.length, b.length], below(11, 6)),
    even('knapsack weights', knapsack(), ({ weights }) => weights, below(9, 1)),
    even('knapsack values', knapsack(), ({ values }) => values, below(21, 1)),
    even('matrix chain', matrixChain(), ({ dims }) => dims, below(6, 1)),
    even('recurrence start', recurrence(), ({ start }) => start, below(7)),
    even('recurrence drive', recurrence(), ({ drive }) => drive, below(7)),
    even('prefix sum', prefixSum(), ({ numbers }) => numbers, below(10)),
    even('prefix max', prefixMax(), ({ numbers }) => numbers, below(10)),
    even('layered path', layeredPath(), ({ weights }) => weights.flat(2), below(10)),
    even('word problem', wordProblem(), ({ numbers }) => numbers, below(120)),
    even('parity', parity(), ({ numbers }) => numbers, below(2)),
    even('modular sum', modularSum(), ({ numbers }) => numbers, below(7)),
  ])('%s: uniform', (_, test) => test());
});
