/** `model-crossovers` (M1): from which length on published models are cheaper than Transformers of their sizes. */
import {
  cost,
  crossover,
  type Crossover,
  type Figure as CostFigure,
  transformerLike,
} from '@freelunch/complexity';
import { type ModelConfig, resolveConfig } from '@freelunch/config';
import { checksOf } from '../experiments/check.js';
import { type Experiment, type Figure, type Findings, pause } from '../experiments/experiment.js';
import { builtIn, builtInNames } from '../files/model-config.js';
import { mixersText } from '../pretrained/describe.js';
import { grouped } from '../report/format.js';
import { look } from '../report/look.js';
import { logPlot } from '../report/plot.js';

type Config = {
  /** Built-in names. */
  models: string[];
  /** Tokens at which states are compared. */
  lengths: number[];
};

interface CrossoverPiece {
  key: string;
  model: string;
  lengths: number[];
  [field: string]: unknown;
}

/** A model at one length; what holds at all lengths is the same in all its rows. */
type CrossoverRow = {
  model: string;
  layers: string;
  params: number;
  transformerParams: number;
  transformerLayers: number;
  /** Tokens from which on the model is cheaper: 1 for always, null for never. */
  stateFrom: number | null;
  tokenFrom: number | null;
  promptFrom: number | null;
  /** How many times faster the Transformer's state grows; null if the model's does not grow. */
  slower: number | null;
  length: number;
  stateBytes: number;
  transformerStateBytes: number;
};

/** Curves that can be told apart. */
const MOST_CURVES = 12;
/** Where growth is taken: far beyond windows and convolutions. */
const FAR = 2 ** 24;

const fromOf = ({ at, cheaper }: Crossover): number | null => (cheaper === 'first' ? (at ?? 1) : null);

function rowsOf(model: string, config: ModelConfig, lengths: readonly number[]): CrossoverRow[] {
  const transformer = transformerLike(config);
  const from = (mode: 'decode' | 'prefill', figure: CostFigure) =>
    fromOf(crossover(config, transformer, { mode, figure }));
  const steps = [config, transformer].map((one) => cost(one, { mode: 'decode', promptLength: 1 }));
  const stateOf = (which: number, position: number) =>
    steps[which].formulas.stateBytes.evaluate({ ...steps[which].values, position });
  const [grows, transformerGrows] = [0, 1].map((which) => stateOf(which, FAR + 1) - stateOf(which, FAR));
  const same = {
    model,
    layers: mixersText(resolveConfig(config)),
    params: steps[0].params,
    transformerParams: steps[1].params,
    transformerLayers: transformer.nLayers,
    stateFrom: from('decode', 'stateBytes'),
    tokenFrom: from('decode', 'flops'),
    promptFrom: from('prefill', 'flops'),
    slower: grows === 0 ? null : transformerGrows / grows,
  };
  return lengths.map((length) => ({
    ...same,
    length,
    stateBytes: stateOf(0, length),
    transformerStateBytes: stateOf(1, length),
  }));
}

export const modelCrossovers: Experiment<Config, CrossoverPiece, CrossoverRow> = {
  name: 'model-crossovers',
  summary: 'From which length on are published models cheaper than Transformers of their sizes?',
  claims: ['M1'],
  presets: {
    quick: { models: ['mamba-130m', 'mamba2-130m', 'jamba-v0.1'], lengths: [1024, 8192, 65536] },
    full: {
      models: [
        'granite-4.0-h-350m',
        'granite-4.0-h-1b',
        'granite-4.0-h-micro',
        'bamba-9b',
        'nemotron-h-8b',
        'jamba-v0.1',
        'zamba2-1.2b',
        'falcon-h1-0.5b',
        'qwen3.5-0.8b',
        'lfm2-350m',
        'mamba2-2.7b',
        'mamba-2.8b',
        'falcon-mamba-7b',
        'mamba2-130m',
        'mamba-130m',
      ],
      lengths: [1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144],
    },
  },

  pieces({ models, lengths }) {
    const { whole, once, among } = checksOf('model-crossovers');
    among('models', models, builtInNames);
    once('models', models);
    whole('lengths', lengths, 1, 2 ** 24);
    once('lengths', lengths);
    return models.map((model) => ({ key: model, model, lengths }));
  },

  async run({ model, lengths }, context) {
    await pause(context, 0, model);
    return rowsOf(model, builtIn(model)!, lengths);
  },

  findings({ models, lengths }, rows) {
    const firsts = models.map((model) => rows.find((row) => row.model === model)!);
    const longest = Math.max(...lengths);
    const at = (model: string, length: number) => {
      const row = rows.find((one) => one.model === model && one.length === length)!;
      return row.transformerStateBytes / row.stateBytes;
    };
    const cheaper = firsts.filter(({ stateFrom }) => stateFrom !== null);
    const never = firsts.filter(({ stateFrom }) => stateFrom === null).map(({ model }) => model);
    const held = firsts.filter(
      ({ slower, stateFrom }) => (slower === null || slower > 1) === (stateFrom !== null),
    );
    const range = (values: readonly (number | null)[]) => {
      const found = values.filter((value) => value !== null);
      if (found.length === 0) return 'never';
      const [least, most] = [Math.min(...found), Math.max(...found)];
      return least === most ? grouped(least) : `${grouped(least)} to ${grouped(most)}`;
    };
    const fewer = (what: 'tokenFrom' | 'promptFrom') => firsts.filter((row) => row[what] !== null);
    const tokens = fewer('tokenFrom');
    const prompts = fewer('promptFrom');
    const found =
      `the state is smaller from ${range(cheaper.map(({ stateFrom }) => stateFrom))} tokens on in ${cheaper.length} of ${firsts.length} models` +
      `${never.length === 0 ? '' : ` (never: ${never.join(', ')})`}; a token takes fewer FLOPs from ${range(tokens.map(({ tokenFrom }) => tokenFrom))} tokens on in ${tokens.length}, ` +
      `a prompt from ${range(prompts.map(({ promptFrom }) => promptFrom))} tokens on in ${prompts.length}`;
    return {
      text: [
        `By formula, ${found}.`,
        'A Transformer of a model’s size has the same vocabulary, width and tied or separate head; a layer for each pair of a mixer and an MLP that the model has; in each layer softmax attention with rotary positions, with the heads of the model’s own attention (of models without any: heads of 64 channels, four of which share keys and values); and a SwiGLU MLP so wide that both have as many parameters. Where the model has experts, so has the Transformer.',
        'One sequence; recurrent states and caches of keys and values of one type. Where recurrent states are float32 and caches are of 16 bits, the lengths for the state are twice as great.',
      ],
      figures: [stateFigure(models.slice(0, MOST_CURVES), lengths, at)],
      tables: [
        {
          title: 'Tokens from which on each model is cheaper than a Transformer of its size',
          columns: [
            '',
            'layers',
            'parameters',
            'state',
            'FLOPs of a token',
            'FLOPs of a prompt',
            `state at ${grouped(longest)}`,
            'at most',
          ],
          rows: firsts.map((row) => [
            row.model,
            row.layers,
            grouped(row.params),
            fromText(row.stateFrom),
            fromText(row.tokenFrom),
            fromText(row.promptFrom),
            timesText(at(row.model, longest)),
            row.slower === null ? 'no limit' : timesText(row.slower),
          ]),
          caption:
            'The last two columns: how many times larger the Transformer’s state is at that length, and at any length. Parameters of the Transformers ' +
            `differ by ${percentApart(firsts)} at most, as MLPs are multiples of 8 wide.`,
        },
      ],
      verdicts: [
        {
          claim: 'M1',
          theory:
            'the state is smaller from some length on if it grows more slowly than the Transformer’s, by no more than the ratio of the two, and without limit if it does not grow',
          measured: found,
          agrees: held.length === firsts.length,
        },
      ],
    } satisfies Findings;
  },
};

const fromText = (from: number | null) => (from === null ? 'never' : from === 1 ? 'always' : grouped(from));
const timesText = (ratio: number) => `${grouped(Number(ratio.toPrecision(3)))} x`;
const percentApart = (rows: readonly CrossoverRow[]) =>
  `${(100 * Math.max(...rows.map((row) => Math.abs(row.transformerParams / row.params - 1)))).toPrecision(2)} %`;

function stateFigure(
  models: readonly string[],
  lengths: readonly number[],
  ratioAt: (model: string, length: number) => number,
): Figure {
  const title = 'The Transformer’s state over the model’s';
  return {
    title,
    caption:
      'Above 1 the model keeps less. Without attention the ratio grows with the length; with some, it comes to rest at the ratio of the caches.',
    plot: logPlot({
      description: `${title}, over the number of tokens, both logarithmic, for ${models.length} models; the table below has figures.`,
      xLabel: 'tokens (logarithmic)',
      yLabel: 'times larger',
      xRange: [Math.min(...lengths) / 1.15, Math.max(...lengths) * 1.15],
      xTicks: lengths,
      xFormat: grouped,
      yFormat: (ratio) => `${ratio} x`,
      series: models.map((name, i) => {
        const points = lengths.map((length) => {
          const y = ratioAt(name, length);
          return { x: length, y, title: `${name}, ${grouped(length)} tokens: ${timesText(y)}` };
        });
        return { name, ...look(i), points, line: points };
      }),
    }),
  };
}
