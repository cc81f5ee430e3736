/**
 * `copy-models` (C2, C4): models with hand-set weights copy random strings by `generate`, counted letter by letter.
 */
import { cost } from '@freelunch/complexity';
import { copyModelPlan } from '@freelunch/constructions';
import { copy } from '@freelunch/tasks';
import { random } from '@freelunch/random';
import { checksOf } from '../experiments/check.js';
import type { Experiment, Findings, Piece, Row, Verdict } from '../experiments/experiment.js';
import { mixers } from '../mixers.js';
import { grouped } from '../report/format.js';
import { greedy, wrongTokens } from '../experiments/greedy.js';

const builders = ['softmax-attention', 'mamba', 'mamba2', 'linear-attention'] as const;
type Mixer = (typeof builders)[number];

export interface CopyModelsConfig {
  /** Lengths of the strings. */
  lengths: number[];
  mixers: string[];
  vocabSize: number;
  /** Symbols that each model writes at each length, at least. */
  symbols: number;
  seed: number;
}

interface CopyModelsPiece extends Piece {
  mixer: Mixer;
  length: number;
  vocabSize: number;
  symbols: number;
  seed: number;
}

export interface CopyModelsRow extends Row {
  mixer: Mixer;
  length: number;
  strings: number;
  symbols: number;
  wrong: number;
  layers: number;
  parameters: number;
  floatsKept: number;
  /** FLOPs of one string, prompt included, by formula. */
  flops: number;
}

const BATCH = 32;

/** How each finds a letter again, and the claim that says so. */
const finds: Record<Mixer, string> = {
  'softmax-attention': 'bits of the position (C4)',
  mamba: 'registers (C2b)',
  mamba2: 'addresses in the state (C2a)',
  'linear-attention': 'orthogonal keys (C2a)',
};
const nameOf = (mixer: Mixer) => `${mixers[mixer].name}: ${finds[mixer]}`;

async function run(
  { mixer, length, vocabSize, symbols, seed }: CopyModelsPiece,
  {
    k,
    signal,
    onProgress,
  }: Parameters<Experiment<CopyModelsConfig, CopyModelsPiece, CopyModelsRow>['run']>[1],
): Promise<CopyModelsRow> {
  const task = copy({ vocabSize, length });
  const plan = copyModelPlan({ mixer, length, vocabSize });
  using model = plan.build(k);
  const strings = Math.ceil(symbols / (length + 1)); // the end token is a symbol too
  const rng = random(seed).split(`copy-models ${length}`);
  let [wrong, done] = [0, 0];
  while (done < strings) {
    const samples = Array.from({ length: Math.min(BATCH, strings - done) }, () => task.sample(rng, length));
    const options = { end: task.vocabulary.end!, batchSize: BATCH, signal };
    for await (const batch of greedy(model, samples, options)) {
      for (const written of batch) wrong += wrongTokens(written);
      done += batch.length;
    }
    onProgress(done / strings, `${nameOf(mixer)}, T ${grouped(length)}`);
  }
  return {
    mixer,
    length,
    strings,
    symbols: strings * (length + 1),
    wrong,
    layers: plan.config.nLayers,
    parameters: model.parameterCount,
    floatsKept: plan.floatsKept(2 * length + 2),
    flops: cost(plan.config, { mode: 'generate', promptLength: length + 2, newTokens: length + 1 }).flops,
  };
}

function findings(_config: CopyModelsConfig, rows: CopyModelsRow[]): Findings {
  const of = (...asked: Mixer[]) => rows.filter(({ mixer }) => asked.includes(mixer));
  const total = (some: readonly CopyModelsRow[], field: 'symbols' | 'wrong') =>
    some.reduce((sum, row) => sum + row[field], 0);
  const verdict = (claim: Verdict['claim'], theory: string, some: readonly CopyModelsRow[]): Verdict[] => {
    if (some.length === 0) return [];
    const longest = some.reduce((most, row) => (row.length > most.length ? row : most));
    return [
      {
        claim,
        theory,
        measured:
          `${grouped(total(some, 'wrong'))} wrong of ${grouped(total(some, 'symbols'))} symbols, strings up to ${grouped(longest.length)}; ` +
          `${grouped(longest.floatsKept)} floats kept at the longest`,
        agrees: total(some, 'wrong') === 0,
      },
    ];
  };
  return {
    text: [
      `${grouped(total(rows, 'symbols'))} symbols written by ${rows.length} models, ${grouped(total(rows, 'wrong'))} wrong.`,
    ],
    figures: [],
    tables: [
      {
        title: 'Strings copied by hand-set weights',
        columns: [
          'construction',
          'T',
          'symbols',
          'wrong',
          'layers',
          'parameters',
          'floats kept',
          'MFLOPs per string',
        ],
        rows: rows.map((row) => [
          nameOf(row.mixer),
          grouped(row.length),
          grouped(row.symbols),
          grouped(row.wrong),
          grouped(row.layers),
          grouped(row.parameters),
          grouped(row.floatsKept),
          (row.flops / 1e6).toPrecision(3),
        ]),
        caption: 'Random letters s: greedy decoding of `s .` from the prompt `$ s |`.',
      },
    ],
    verdicts: [
      ...verdict(
        'C2',
        'A state of size linear in T copies exactly',
        of('mamba', 'mamba2', 'linear-attention'),
      ),
      ...verdict('C4', 'Softmax attention copies with keys of O(log T) floats', of('softmax-attention')),
    ],
  };
}

export const copyModels: Experiment<CopyModelsConfig, CopyModelsPiece, CopyModelsRow> = {
  name: 'copy-models',
  summary: 'Do models with hand-set weights copy without a wrong symbol?',
  claims: ['C2', 'C4'],
  presets: {
    quick: { lengths: [16, 64, 256], mixers: [...builders], vocabSize: 26, symbols: 20_000, seed: 1 },
    full: {
      lengths: [64, 512, 4096],
      mixers: ['softmax-attention', 'mamba', 'linear-attention'],
      vocabSize: 26,
      symbols: 340_000,
      seed: 1,
    },
  },
  pieces({ lengths, mixers: asked, vocabSize, symbols, seed }) {
    const { whole, among, once } = checksOf('copy-models');
    whole('lengths', lengths, 1, 4096);
    whole('vocabSize', vocabSize, 2, 4096);
    whole('symbols', symbols, 1, 2 ** 30);
    whole('seed', seed, 0, Number.MAX_SAFE_INTEGER);
    once('lengths', lengths);
    among('mixers', asked, builders);
    return (asked as Mixer[]).flatMap((mixer) =>
      lengths.map((length) => ({ key: `${mixer} ${length}`, mixer, length, vocabSize, symbols, seed })),
    );
  },
  run,
  findings,
};
