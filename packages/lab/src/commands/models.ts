/** `freelunch models`: the models that have short names. */
import { cost } from '@freelunch/complexity';
import { type ModelConfig, publishedModels, resolveConfig } from '@freelunch/config';
import { unknownName } from '../errors.js';
import { builtIn, builtInNames } from '../files/model-config.js';
import { mixersText } from '../pretrained/describe.js';
import { grouped } from '../report/format.js';
import { textTable } from '../report/text-table.js';
import { parseOptions } from './arguments.js';
import { flag, helpOption } from './shared.js';
import type { Terminal } from './terminal.js';

const modelsHelp = `Usage: freelunch models [NAME...] [options]

Models whose configs are built in: the short names that cost, compare, crossover,
inspect and measure take, with layers, parameters and, of published ones, the
repository on Hugging Face. Without a NAME, all.

  --json            data as JSON, nothing else
  -h, --help        this help

Exit codes: 0 done, 2 bad input.
`;

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

/** Runs the command. @throws InputError */
export async function modelsCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('models', args, {
    json: flag,
    ...helpOption,
  });
  if (values.help) return terminal.help(modelsHelp);
  const wrong = positionals.find((name) => builtIn(name) === undefined);
  if (wrong !== undefined) throw unknownName('model', wrong, builtInNames);
  const all = positionals.length > 0 ? positionals : builtInNames;
  const models = all.map((name) => ({ name, config: builtIn(name)! }));

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
