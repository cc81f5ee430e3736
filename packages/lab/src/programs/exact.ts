/**
 * `dp-exact` (D1, D3): models with hand-set weights write chains of thought, counted token by token; and the same with
 * half the size that they need, where that can be.
 */
import { cost } from '@freelunch/complexity';
import { arithmeticModelPlan, type DpModelOptions, dpModelPlan, type Plan } from '@freelunch/constructions';
import { UnsupportedError } from '@freelunch/kernels';
import { type Sample, type Task } from '@freelunch/tasks';
import { random } from '@freelunch/random';
import { checksOf } from '../experiments/check.js';
import { programOf } from './programs.js';
import type { Experiment, Findings, Piece, Row, TableData, Verdict } from '../experiments/experiment.js';
import { mixers } from '../mixers.js';
import { grouped } from '../report/format.js';
import { greedy, wrongTokens } from '../experiments/greedy.js';

const builders = ['softmax-attention', 'sliding-window', 'linear-attention', 'mamba'] as const;
type Mixer = (typeof builders)[number];

export interface DpExactConfig {
  /** Names and sizes, as in `lis:12`. */
  tasks: string[];
  mixers: string[];
  /** Random instances of each task. */
  instances: number;
  /** Instances for a model of half the size that it needs; 0 for none. */
  halfInstances: number;
  seed: number;
}

interface DpExactPiece extends Piece {
  task: string;
  mixer: Mixer;
  half: boolean;
  instances: number;
  seed: number;
}

export interface DpExactRow extends Row {
  task: string;
  mixer: Mixer;
  /** Whether the model has but half of the slots that its look-ups need. */
  half: boolean;
  /** Why there is no such model. */
  unsupported?: string;
  instances?: number;
  tokens?: number;
  wrong?: number;
  /** Instances of which every token was right, by the task's own check. */
  correct?: number;
  textLength?: number;
  reach?: number;
  lookUps?: number;
  slots?: number;
  layers?: number;
  dModel?: number;
  parameters?: number;
  floatsKept?: number;
  /** FLOPs of reading the longest prompt and writing the rest, by formula. */
  flops?: number;
}

const BATCH = 64;

interface Built {
  plan: Plan;
  textLength: number;
  promptLength: number;
  reach?: number;
  lookUps?: number;
  slots?: number;
}

/** The option that gives a model but half of what its plan takes. */
function halved(mixer: Mixer, { slots, reach }: { slots: number; reach: number }): Partial<DpModelOptions> {
  const half = (count: number) => Math.max(1, count >> 1);
  if (mixer === 'mamba') return { registers: half(slots), anyway: true };
  if (mixer === 'linear-attention') return { keys: half(slots), anyway: true };
  return { window: half(reach + 1), anyway: true };
}

function build(piece: DpExactPiece): Built {
  const { mixer, half } = piece;
  const program = programOf(piece.task);
  if (program.kind === 'arithmetic') {
    if (half) throw new UnsupportedError('arithmetic: its model is built for whole texts only');
    const { task, size } = program;
    const window = mixer === 'sliding-window';
    const options = { mixer: window ? ('softmax-attention' as const) : mixer, size, window };
    const textLength = 2 * size * size + 2 * size + 2;
    return { plan: arithmeticModelPlan(task, options), textLength, promptLength: 4 * size };
  }
  const { task, size } = program;
  const full = dpModelPlan(task, { mixer, size });
  const plan = half ? dpModelPlan(task, { mixer, size, ...halved(mixer, full) }) : full;
  const promptLength = task.layout(task.draw(random(0), size)).promptLength;
  const { textLength, reach, lookUps, slots } = plan;
  return { plan, textLength, promptLength, reach, lookUps, slots };
}

async function run(
  piece: DpExactPiece,
  { k, signal, onProgress }: Parameters<Experiment<DpExactConfig, DpExactPiece, DpExactRow>['run']>[1],
): Promise<DpExactRow> {
  const { task: name, mixer, half, instances, seed } = piece;
  const row = { task: name, mixer, half };
  let built: Built;
  try {
    built = build(piece);
  } catch (cause) {
    if (cause instanceof UnsupportedError) return { ...row, unsupported: cause.message };
    throw cause;
  }
  const { plan, textLength, promptLength, reach, lookUps, slots } = built;
  const { task, size } = programOf(name) as { task: Task<unknown>; size: number };
  using model = plan.build(k);
  // The instances of a task are the same for every mixer.
  const rng = random(seed).split(`dp-exact ${name}`);
  const samples = Array.from({ length: instances }, (): Sample => task.sample(rng, size));
  let [tokens, wrong, correct, done] = [0, 0, 0, 0];
  for await (const batch of greedy(model, samples, { end: task.vocabulary.end!, batchSize: BATCH, signal })) {
    for (const written of batch) {
      tokens += written.sample.tokens.length - written.sample.prompt.length;
      wrong += wrongTokens(written);
      correct += Number(task.check(written.sample, written.output).correct);
    }
    done += batch.length;
    onProgress(done / instances, `${name}, ${mixers[mixer].short}${half ? ', half the size' : ''}`);
  }
  const newTokens = Math.max(1, textLength - promptLength);
  return {
    ...row,
    instances,
    tokens,
    wrong,
    correct,
    textLength,
    reach,
    lookUps,
    slots,
    layers: plan.config.nLayers,
    dModel: plan.config.dModel,
    parameters: model.parameterCount,
    floatsKept: plan.floatsKept(textLength),
    flops: cost(plan.config, { mode: 'generate', promptLength, newTokens }).flops,
  };
}

function table(rows: readonly DpExactRow[]): TableData {
  return {
    title: 'Chains of thought by hand-set weights',
    columns: [
      'task',
      'mixer',
      'text',
      'instances',
      'tokens',
      'wrong',
      'look-ups',
      'slots',
      'parameters',
      'floats kept',
      'MFLOPs per text',
    ],
    rows: rows
      .filter(({ half, unsupported }) => !half && unsupported === undefined)
      .map((row) => [
        row.task,
        mixers[row.mixer].short,
        grouped(row.textLength!),
        grouped(row.instances!),
        grouped(row.tokens!),
        grouped(row.wrong!),
        row.lookUps === undefined ? '' : grouped(row.lookUps),
        row.slots === undefined ? '' : grouped(row.slots),
        grouped(row.parameters!),
        grouped(row.floatsKept!),
        (row.flops! / 1e6).toPrecision(3),
      ]),
    caption:
      'Greedy decoding from the prompt; a token is wrong if it is not the one of the reference. Slots: registers (Mamba), keys (linear attention), tokens in sight (softmax attention) of the largest head.',
  };
}

function halfTable(rows: readonly DpExactRow[]): TableData {
  return {
    title: 'Half the size is not enough',
    columns: ['task', 'mixer', 'slots', 'chains right', 'tokens wrong'],
    rows: rows
      .filter(({ half, unsupported }) => half && unsupported === undefined)
      .map((row) => [
        row.task,
        mixers[row.mixer].short,
        grouped(row.slots!),
        `${grouped(row.correct!)} of ${grouped(row.instances!)}`,
        `${grouped(row.wrong!)} of ${grouped(row.tokens!)}`,
      ]),
    caption:
      'The same models with half of the registers, keys or window that their look-ups need, built all the same. `dpModel` refuses to build them, with an error that names the look-up.',
  };
}

function findings(_config: DpExactConfig, rows: DpExactRow[]): Findings {
  const exact = rows.filter(({ half, unsupported }) => !half && unsupported === undefined);
  const halves = rows.filter(({ half, unsupported }) => half && unsupported === undefined);
  const refused = rows.filter(({ half, unsupported }) => !half && unsupported !== undefined);
  const total = (field: 'tokens' | 'wrong' | 'instances') => exact.reduce((sum, row) => sum + row[field]!, 0);
  const programs = new Set(exact.map(({ task }) => task)).size;
  const failing = halves.filter(({ correct, instances }) => correct! < instances!);
  const wrong = total('wrong');
  const text = [
    `${grouped(exact.length)} models for ${programs} programs wrote ${grouped(total('tokens'))} tokens of ${grouped(total('instances'))} chains: ${grouped(wrong)} wrong.`,
  ];
  if (halves.length > 0)
    text.push(`With half of the slots, ${failing.length} of ${halves.length} models write wrong chains.`);
  for (const { task, mixer, unsupported } of refused)
    text.push(`${task}, ${mixers[mixer].short}: ${unsupported}`);
  const verdicts: Verdict[] = [];
  if (exact.length > 0) {
    const measured = `${grouped(wrong)} wrong of ${grouped(total('tokens'))} tokens, ${programs} programs, ${exact.length} models`;
    verdicts.push({
      claim: 'D3',
      theory: 'A builder produces a model that writes the whole chain of thought without a wrong token',
      measured,
      agrees: wrong === 0,
    });
    const kept = (mixer: Mixer) =>
      exact
        .filter((row) => row.mixer === mixer && row.reach !== undefined)
        .map((row) => row.floatsKept! / row.textLength!);
    const range = (values: number[]) =>
      values.length === 0 ? 'none' : `${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)}`;
    verdicts.push({
      claim: 'D1',
      theory:
        'Look-ups are COPY: softmax attention keeps O(T log T) floats, Mamba and linear attention O(T); the totals are comparable',
      measured: `floats kept per token of text: softmax ${range(kept('softmax-attention'))}, linear ${range(kept('linear-attention'))}, Mamba ${range(kept('mamba'))}`,
      agrees: wrong === 0,
    });
  }
  return {
    text,
    figures: [],
    tables: [table(rows), ...(halves.length > 0 ? [halfTable(rows)] : [])],
    verdicts,
  };
}

export const dpExact: Experiment<DpExactConfig, DpExactPiece, DpExactRow> = {
  name: 'dp-exact',
  summary: 'Do models with hand-set weights write whole chains of thought without a wrong token?',
  claims: ['D1', 'D3'],
  presets: {
    quick: {
      tasks: [
        'lis:8',
        'edit-distance:4',
        'lcs:5',
        'knapsack:3',
        'recurrence:20',
        'arithmetic:2',
        'stairs:12',
      ],
      mixers: [...builders],
      instances: 1000,
      halfInstances: 100,
      seed: 1,
    },
    full: {
      tasks:
        'lis:8 lis:20 lis-pairs:8 lis-pairs:16 edit-distance:6 edit-distance:12 edit-distance:20 lcs:6 lcs:12 knapsack:4 knapsack:8 recurrence:20 recurrence:100 recurrence-local:200 arithmetic:2 arithmetic:4 prefix-sum:40 layered-path:6 matrix-chain:6 cyk:8 word-problem:40 stairs:12 stairs:40'.split(
          ' ',
        ),
      mixers: [...builders],
      instances: 1000,
      halfInstances: 100,
      seed: 1,
    },
  },
  pieces({ tasks, mixers: asked, instances, halfInstances, seed }) {
    const { whole, among, once } = checksOf('dp-exact');
    among('mixers', asked, builders);
    once('mixers', asked);
    once('tasks', tasks);
    whole('instances', instances, 1, 1e6);
    whole('halfInstances', halfInstances, 0, 1e6);
    whole('seed', seed, 0, Number.MAX_SAFE_INTEGER);
    return tasks.flatMap((task) => {
      programOf(task);
      return (asked as Mixer[]).flatMap((mixer) =>
        [false, true]
          .filter((half) => !half || halfInstances > 0)
          .map((half) => ({
            key: `${task} ${mixer}${half ? ' half' : ''}`,
            task,
            mixer,
            half,
            instances: half ? halfInstances : instances,
            seed,
          })),
      );
    });
  },
  run,
  findings,
};
