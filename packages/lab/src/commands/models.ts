/** `freelunch models`: published models by name, and from which length on each is cheaper than a Transformer of its size. */
import { cost, crossover, type Crossover, type Figure, transformerLike } from '@freelunch/complexity';
import { type ModelConfig, publishedModels, resolveConfig } from '@freelunch/config';
import { unknownName } from '../errors.js';
import { builtIn, builtInNames, smallModels } from '../files/model-config.js';
import { mixersText } from '../pretrained/describe.js';
import { grouped } from '../report/format.js';
import { textTable, wrap } from '../report/text-table.js';
import { parseOptions, wholeNumber } from './arguments.js';
import { flag, helpOption } from './shared.js';
import { checked, LARGEST } from './situation.js';
import type { Terminal } from './terminal.js';

const modelsHelp = `Usage: freelunch models [NAME...] [options]

Models whose configs are built in: the short names that cost, compare, crossover,
inspect and measure take, with layers, parameters and, of published ones, the
repository on Hugging Face. Without a NAME, all.

  --crossovers      instead, from which length on each is cheaper than a
                    Transformer of its size: in bytes of the state, in FLOPs of a
                    token, in FLOPs of a prompt
  --at N            how many times larger the Transformer's state is after so many
                    tokens, for --crossovers (default 32768)
  --json            data as JSON, nothing else
  -h, --help        this help

A Transformer of a model's size has the same vocabulary, width and tied or separate
head; a layer for each pair of a mixer and an MLP; in each layer softmax attention
with the heads of the model's own attention (of models without any, heads of 64
channels, four of which share keys and values), with rotary positions; and a SwiGLU
MLP so wide that both have as many parameters. Batch 1; recurrent states and caches
of keys and values have the same type. Where the recurrent states are float32 and the
cache is float16, the lengths for bytes of the state are twice as great.

Exit codes: 0 done, 2 bad input.
`;

const DEFAULT_AT = '32768';

/** What is listed of a model. */
export interface ListedModel {
  name: string;
  repository?: string;
  layers: string;
  params: number;
}

const listed = (name: string, config: ModelConfig): ListedModel => ({
  name,
  repository: Object.hasOwn(publishedModels, name) ? publishedModels[name].repository : undefined,
  layers: mixersText(resolveConfig(config)),
  params: paramsOf(config),
});

const paramsOf = (config: ModelConfig) => cost(config, { mode: 'decode', promptLength: 1 }).params;

/** Where a model becomes cheaper than a Transformer of its size. */
export interface ModelCrossovers {
  name: string;
  params: number;
  /** The Transformer's; equal but for the rounding of its MLP. */
  transformerParams: number;
  transformer: ModelConfig;
  stateBytes: Crossover;
  tokenFlops: Crossover;
  promptFlops: Crossover;
  /** The Transformer's state over the model's, after `at` tokens. */
  stateRatio: number;
}

const hasRecurrence = (config: ModelConfig) =>
  resolveConfig(config).mixers.some(({ type }) => type !== 'softmax-attention' && type !== 'none');

export function crossoversOf(name: string, config: ModelConfig, at: number): ModelCrossovers {
  const transformer = transformerLike(config);
  const crossing = (mode: 'decode' | 'prefill', figure: Figure) =>
    crossover(config, transformer, { mode, figure });
  const stateAt = (one: ModelConfig) => cost(one, { mode: 'decode', promptLength: at }).stateBytes;
  return {
    name,
    params: paramsOf(config),
    transformerParams: paramsOf(transformer),
    transformer,
    stateBytes: crossing('decode', 'stateBytes'),
    tokenFlops: crossing('decode', 'flops'),
    promptFlops: crossing('prefill', 'flops'),
    stateRatio: stateAt(transformer) / stateAt(config),
  };
}

/** From where on the first is cheaper. */
function fromText({ at, cheaper }: Crossover): string {
  if (cheaper === 'equal') return 'equal';
  if (cheaper === 'second') return 'never';
  return at === undefined ? 'always' : grouped(at);
}

/** Runs the command. @throws InputError */
export async function modelsCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('models', args, {
    crossovers: flag,
    at: { type: 'string', default: DEFAULT_AT },
    json: flag,
    ...helpOption,
  });
  if (values.help) return terminal.help(modelsHelp);
  const at = wholeNumber('--at', values.at, 1, LARGEST);
  const wrong = positionals.find((name) => builtIn(name) === undefined);
  if (wrong !== undefined) throw unknownName('model', wrong, builtInNames);
  const all = positionals.length > 0 ? positionals : builtInNames;
  const models = all.map((name) => ({ name, config: builtIn(name)! }));

  if (values.crossovers) {
    // A Transformer has no crossover with itself, and the made-up models are too small to say anything.
    const shown = positionals.length > 0 ? models : models.filter(({ name, config }) => !Object.hasOwn(smallModels, name) && hasRecurrence(config)); // prettier-ignore
    const found = shown.map(({ name, config }) => checked(() => crossoversOf(name, config, at)));
    if (values.json) return terminal.json({ at, models: found });
    const header = ['', 'parameters', 'state', 'token', 'prompt', `state at ${grouped(at)}`];
    const rows = found.map((one) => [
      one.name,
      grouped(one.params),
      fromText(one.stateBytes),
      fromText(one.tokenFlops),
      fromText(one.promptFlops),
      `${Number(one.stateRatio.toPrecision(3))} x`,
    ]);
    const title = `Tokens from which on each model is cheaper than a Transformer of its size, and how many times larger the Transformer's state is at ${grouped(at)} tokens:`;
    terminal.say(`${wrap(title, terminal.columns).join('\n')}\n\n`);
    return terminal.say(textTable(header, rows, terminal.columns));
  }
  const list = models.map(({ name, config }) => listed(name, config));
  if (values.json) return terminal.json(list);
  const rows = list.map(({ name, params, layers, repository = '' }) => [
    name,
    layers,
    grouped(params),
    repository,
  ]);
  const header = ['', 'layers', 'parameters', 'repository'];
  const table = textTable(header, rows, terminal.columns);
  // Repositories are what a narrow terminal can do without.
  const fits = table.split('\n').length === rows.length + 2;
  terminal.say(fits ? table : textTable(header.slice(0, 3), rows.map((row) => row.slice(0, 3)), terminal.columns)); // prettier-ignore
}
