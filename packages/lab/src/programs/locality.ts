/**
 * `dp-locality` (D2, D4): a recurrence of locality m over T tokens, written by models with hand-set weights; its cost
 * by formula, by counting what the kernels execute, and as measured time.
 */
import { readFile } from 'node:fs/promises';
import { cost, fitExponent, kernelGrain } from '@freelunch/complexity';
import { dpModelPlan } from '@freelunch/constructions';
import { type Kernels, loadKernels } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { recurrence } from '@freelunch/tasks';
import { random } from '@freelunch/random';
import { checksOf } from '../experiments/check.js';
import type {
  Experiment,
  Figure,
  Findings,
  Piece,
  Row,
  TableData,
  Verdict,
} from '../experiments/experiment.js';
import { mixers } from '../mixers.js';
import { grouped } from '../report/format.js';
import { logPlot } from '../report/plot.js';

const builders = ['softmax-attention', 'sliding-window', 'linear-attention', 'mamba'] as const;
type Mixer = (typeof builders)[number];

export interface DpLocalityConfig {
  /** How many earlier values a step needs. */
  m: number[];
  /** Tokens to write. */
  T: number[];
  /** Linear attention keeps a key for each token: texts up to this length only. */
  longestLinear: number;
  /** One long text, written by Mamba alone; 0 for none. */
  longest: number;
  /** Passes of which the best time counts. */
  passes: number;
  seed: number;
}

interface DpLocalityPiece extends Piece {
  mixer: Mixer;
  m: number;
  T: number;
  passes: number;
  counted: boolean;
  seed: number;
}

export interface DpLocalityRow extends Row {
  mixer: Mixer;
  m: number;
  T: number;
  tokens: number;
  wrong: number;
  parameters: number;
  floatsKept: number;
  /** FLOPs of the whole text, by formula and as counted; absent where it was not counted. */
  flops: number;
  countedFlops?: number;
  /** Of the best pass, prompt included. */
  seconds: number;
  /** Bytes of WASM memory after a tenth of the text, and at its end. */
  memoryEarly: number;
  memoryLate: number;
}

const nameOf = (mixer: Mixer) => (mixer === 'sliding-window' ? 'window of m' : mixers[mixer].name);
const MODULUS = 7;

interface Counting {
  k: Kernels;
  /** Executed so far. */
  flops(): number;
}

let counting: Promise<Counting> | undefined;

/** The counting build of the kernels' source, loaded once for each thread. */
async function loadCounting(): Promise<Counting> {
  const source = await readFile(new URL('../../build/counting.wasm', import.meta.url));
  const k = await loadKernels({ variant: 'simd', source });
  const counter = (internalsOf(k).wasm as unknown as { flops: WebAssembly.Global }).flops;
  return { k, flops: () => Number(counter.value as bigint) };
}

const taskOf = (m: number, T: number) => recurrence({ m, length: m + T, driven: false, p: MODULUS });

async function run(
  piece: DpLocalityPiece,
  {
    k,
    signal,
    onProgress,
  }: Parameters<Experiment<DpLocalityConfig, DpLocalityPiece, DpLocalityRow>['run']>[1],
): Promise<DpLocalityRow> {
  const { mixer, m, T, passes, counted, seed } = piece;
  const task = taskOf(m, T);
  const size = m + T;
  const plan = dpModelPlan(task, { mixer, size });
  const sample = task.sample(random(seed).split(`dp-locality ${m} ${T}`), size);
  const { prompt } = sample;
  const maxTokens = sample.tokens.length - prompt.length;
  let [wrong, seconds, memoryEarly, memoryLate] = [0, Infinity, 0, 0];
  const write = async (kernels: Kernels, watch: (token: number, index: number) => void): Promise<void> => {
    using model = plan.build(kernels);
    let index = 0;
    const start = performance.now();
    for await (const token of model.generate(prompt, { maxTokens, signal })) watch(token, index++);
    if (kernels === k) seconds = Math.min(seconds, (performance.now() - start) / 1000);
    memoryLate = kernels.memory.totalBytes;
  };
  const label = `${nameOf(mixer)}, m ${m}, T ${grouped(T)}`;
  for (let pass = 0; pass < passes; pass++) {
    await write(k, (token, index) => {
      if (pass === 0 && token !== sample.tokens[prompt.length + index]) wrong++;
      if (pass === 0 && index === Math.floor(maxTokens / 10)) memoryEarly = k.memory.totalBytes;
      if (index % 256 === 0) onProgress((pass + index / maxTokens) / (passes + Number(counted)), label);
    });
  }
  const row: DpLocalityRow = {
    mixer,
    m,
    T,
    tokens: maxTokens,
    wrong,
    parameters: plan.parameters,
    floatsKept: plan.floatsKept(plan.textLength),
    flops: cost(plan.config, {
      mode: 'generate',
      promptLength: prompt.length,
      newTokens: maxTokens,
      grain: kernelGrain,
    }).flops,
    seconds,
    memoryEarly,
    memoryLate,
  };
  if (!counted) return row;
  counting ??= loadCounting();
  const counter = await counting;
  using model = plan.build(counter.k);
  const before = counter.flops();
  let index = 0;
  for await (const _ of model.generate(prompt, { maxTokens, signal })) {
    if (++index % 256 === 0) onProgress((passes + index / maxTokens) / (passes + 1), `${label}, counting`);
  }
  return { ...row, countedFlops: counter.flops() - before };
}

function plotOf(
  rows: readonly DpLocalityRow[],
  x: 'T' | 'm',
  y: (row: DpLocalityRow) => number,
  line: ((row: DpLocalityRow) => number) | undefined,
  labels: { title: string; caption: string; xLabel: string; yLabel: string; yFormat: (y: number) => string },
): Figure {
  const xs = [...new Set(rows.map((row) => row[x]))].sort((a, b) => a - b);
  const plot = logPlot({
    description: labels.title,
    xLabel: labels.xLabel,
    yLabel: labels.yLabel,
    xTicks: xs,
    xFormat: grouped,
    xRange: [xs[0], Math.max(xs[xs.length - 1], xs[0] * 2)],
    yFormat: labels.yFormat,
    series: builders
      .filter((mixer) => rows.some((row) => row.mixer === mixer))
      .map((mixer) => {
        const own = rows.filter((row) => row.mixer === mixer).sort((a, b) => a[x] - b[x]);
        return {
          name: nameOf(mixer),
          ...mixers[mixer].look,
          points: own.map((row) => ({
            x: row[x],
            y: y(row),
            title: `${nameOf(mixer)}: ${y(row).toPrecision(4)}`,
          })),
          line: own.map((row) => ({ x: row[x], y: (line ?? y)(row) })),
        };
      }),
  });
  return { title: labels.title, caption: labels.caption, plot };
}

const exponentIn = (rows: readonly DpLocalityRow[], x: 'T' | 'm', y: (row: DpLocalityRow) => number) =>
  fitExponent(
    rows.map((row) => row[x]),
    rows.map(y),
  ).exponent;

function findings(config: DpLocalityConfig, rows: DpLocalityRow[]): Findings {
  const m = config.m[config.m.length - 1];
  const T = config.T[config.T.length - 1];
  const long = rows.find((row) => row.T === config.longest);
  const grid = rows.filter((row) => row !== long || config.T.includes(row.T));
  const overT = grid.filter((row) => row.m === m);
  const overM = grid.filter((row) => row.T === T);
  const flops = (row: DpLocalityRow) => row.flops;
  const of = (mixer: Mixer, list: readonly DpLocalityRow[]) => list.filter((row) => row.mixer === mixer);
  const counted = grid.filter(({ countedFlops }) => countedFlops !== undefined);
  const off = counted.map((row) => Math.abs(row.flops / row.countedFlops! - 1));
  const greatestOff = Math.max(0, ...off);
  const wrong = rows.reduce((sum, row) => sum + row.wrong, 0);
  const growth: TableData = {
    title: `How cost grows with T (m = ${m}), from T = ${grouped(config.T[0])} to ${grouped(T)}`,
    columns: ['mixer', 'FLOPs', 'counted', 'time', 'floats kept'],
    rows: builders
      .map((mixer) => ({ mixer, own: of(mixer, overT) }))
      .filter(({ own }) => own.length >= 3)
      .map(({ mixer, own }) => {
        const half = own.slice(own.length >> 1);
        const power = (y: (row: DpLocalityRow) => number) => `T^${exponentIn(half, 'T', y).toFixed(2)}`;
        const all = half.every(({ countedFlops }) => countedFlops !== undefined);
        return [
          nameOf(mixer),
          power(flops),
          all ? power((row) => row.countedFlops!) : '',
          power(({ seconds }) => seconds),
          power(({ floatsKept }) => floatsKept),
        ];
      }),
    caption: 'Exponents fitted to the longer half of the texts.',
  };
  const all: TableData = {
    title: 'Every text',
    columns: ['mixer', 'm', 'T', 'wrong', 'floats kept', 'MFLOPs, formula', 'counted', 'µs per token'],
    rows: rows.map((row) => [
      nameOf(row.mixer),
      grouped(row.m),
      grouped(row.T),
      grouped(row.wrong),
      grouped(row.floatsKept),
      (row.flops / 1e6).toPrecision(4),
      row.countedFlops === undefined ? '' : (row.countedFlops / 1e6).toPrecision(4),
      ((row.seconds / row.tokens) * 1e6).toFixed(0),
    ]),
  };
  const figures = [
    plotOf(overT, 'T', (row) => row.countedFlops ?? row.flops, flops, {
      title: `FLOPs of the whole text, m = ${m}`,
      caption: 'Marks: counted by the kernels; lines: by formula.',
      xLabel: 'T, tokens written',
      yLabel: 'FLOPs',
      yFormat: (y) => y.toExponential(0),
    }),
    plotOf(overT, 'T', ({ seconds }) => seconds * 1000, undefined, {
      title: `Time of the whole text, m = ${m}`,
      caption: 'Measured, best pass, one thread.',
      xLabel: 'T, tokens written',
      yLabel: 'ms',
      yFormat: (y) => y.toPrecision(1),
    }),
    plotOf(overT, 'T', ({ floatsKept }) => floatsKept, undefined, {
      title: `Floats kept at the end, m = ${m}`,
      caption: 'Mamba and the window keep what m needs, softmax and linear attention what T needs.',
      xLabel: 'T, tokens written',
      yLabel: 'floats',
      yFormat: (y) => y.toPrecision(1),
    }),
    ...(config.m.length > 1
      ? [
          plotOf(overM, 'm', ({ floatsKept }) => floatsKept, undefined, {
            title: `Floats kept against m, T = ${grouped(T)}`,
            caption: 'The price of looking back over m values.',
            xLabel: 'm',
            yLabel: 'floats',
            yFormat: (y: number) => y.toPrecision(1),
          }),
        ]
      : []),
  ];
  const mamba = of('mamba', overT);
  const constant = new Set(mamba.map(({ floatsKept }) => floatsKept)).size === 1;
  const softmaxPower = of('softmax-attention', overT);
  const verdicts: Verdict[] = [];
  if (mamba.length >= 2) {
    const half = mamba.slice(mamba.length >> 1);
    verdicts.push({
      claim: 'D2',
      theory:
        'On an m-local program, Mamba of size O(m) writes T tokens at a cost of O(m T); softmax attention pays O(T^2)',
      measured:
        `${grouped(wrong)} wrong tokens; Mamba keeps ${grouped(mamba[0].floatsKept)} floats at every T` +
        (half.length >= 2 ? `, FLOPs grow with T^${exponentIn(half, 'T', flops).toFixed(2)}` : '') +
        (softmaxPower.length >= 4
          ? `, those of softmax attention with T^${exponentIn(softmaxPower.slice(softmaxPower.length >> 1), 'T', flops).toFixed(2)}`
          : '') +
        (long
          ? `; ${grouped(long.tokens)} tokens in ${long.memoryEarly === long.memoryLate ? 'memory that does not grow' : 'memory that grows'}`
          : ''),
      agrees: wrong === 0 && constant && (long === undefined || long.memoryEarly === long.memoryLate),
    });
  }
  if (counted.length > 0) {
    verdicts.push({
      claim: 'D4',
      theory: 'Formula, operation count and measured time agree on what each mixer costs',
      measured: `formula and count differ by at most ${(100 * greatestOff).toFixed(2)} % over ${counted.length} texts; exponents of the measured times are in the table`,
      agrees: greatestOff <= 0.02 ? true : 'partly',
    });
  }
  return {
    text: [
      `${grouped(rows.reduce((sum, { tokens }) => sum + tokens, 0))} tokens written, ${grouped(wrong)} wrong.`,
      ...(long
        ? [
            `Mamba, m = ${long.m}: ${grouped(long.tokens)} tokens with a state of ${grouped(long.floatsKept)} floats; WASM memory ${grouped(long.memoryEarly)} bytes after a tenth, ${grouped(long.memoryLate)} at the end.`,
          ]
        : []),
    ],
    figures,
    tables: [growth, all],
    verdicts,
  };
}

export const dpLocality: Experiment<DpLocalityConfig, DpLocalityPiece, DpLocalityRow> = {
  name: 'dp-locality',
  summary:
    'What does a dynamic program of locality m cost over T tokens, by formula, by operation count and in time?',
  claims: ['D2', 'D4'],
  timed: true,
  presets: {
    quick: {
      m: [2, 4, 8, 16],
      T: [64, 128, 256, 512, 1024, 2048],
      longestLinear: 1024,
      longest: 20_000,
      passes: 2,
      seed: 1,
    },
    full: {
      m: [2, 4, 8, 16, 32],
      T: [64, 128, 256, 512, 1024, 2048, 4096, 8192],
      longestLinear: 2048,
      longest: 100_000,
      passes: 3,
      seed: 1,
    },
  },
  pieces({ m, T, longestLinear, longest, passes, seed }) {
    const { whole, once } = checksOf('dp-locality');
    whole('m', m, 1, 4096);
    whole('T', T, 1, 2 ** 20);
    once('m', m);
    once('T', T);
    whole('longestLinear', longestLinear, 0, 2 ** 20);
    whole('longest', longest, 0, 2 ** 20);
    whole('passes', passes, 1, 1000);
    whole('seed', seed, 0, Number.MAX_SAFE_INTEGER);
    const piece = (mixer: Mixer, locality: number, length: number, counted: boolean): DpLocalityPiece => ({
      key: `${mixer} ${locality} ${length}`,
      mixer,
      m: locality,
      T: length,
      passes: counted ? passes : 1,
      counted,
      seed,
    });
    const [mostM, mostT] = [Math.max(...m), Math.max(...T)];
    const grid = builders.flatMap((mixer) =>
      m.flatMap((locality) =>
        T.filter((length) => locality === mostM || length === mostT) // the two edges of the grid
          .filter((length) => mixer !== 'linear-attention' || length <= longestLinear)
          .map((length) => piece(mixer, locality, length, true)),
      ),
    );
    return longest > 0 ? [...grid, piece('mamba', Math.min(8, mostM), longest, false)] : grid;
  },
  run,
  findings,
};
