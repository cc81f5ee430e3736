/** `freelunch inspect`: what a checkpoint holds, and what its model costs, without reading any weights. */
import { basename } from 'node:path';
import { cost, type CostOptions } from '@freelunch/complexity';
import { checkComputable, type ModelConfig, resolveConfig, type ResolvedConfig } from '@freelunch/config';
import { UnsupportedError } from '@freelunch/errors';
import { inspectPretrained, type TensorInfo } from '@freelunch/models';
import { builtIn, readConfig } from '../files/model-config.js';
import { configRows, layersText } from '../pretrained/describe.js';
import {
  checkSource,
  optionsOf,
  sourceFlags,
  sourceHelp,
  sourceOptionsHelp,
  understood,
} from '../pretrained/source.js';
import { bytesText, grouped } from '../report/format.js';
import { pairs, scaled, textTable } from '../report/text-table.js';
import { parseOptions, wholeNumbers } from './arguments.js';
import { flag, helpOption, onlyOne, plural } from './shared.js';
import { LARGEST } from './situation.js';
import { oneLine, type Terminal } from './terminal.js';

const DEFAULT_LENGTHS = '1024,8192,65536';

const inspectHelp = `Usage: freelunch inspect MODEL [options]

What a checkpoint holds: its config, its tensors, whether there is a tokenizer; and
what its model costs by formula. It reads config.json and the headers of files, no
weights, from servers neither, so that it takes a moment for any size. It also takes
a config.json alone, a built-in name (freelunch models lists them), and models whose
cost is known but which cannot be loaded yet: it says so.

${sourceHelp}

  --tensors         each tensor with shape, type and bytes (default: tensors of the
                    same kind together)
  --lengths LIST    numbers of tokens to give costs at (default ${DEFAULT_LENGTHS})
${sourceOptionsHelp}
  --json            data as JSON, nothing else
  -h, --help        this help

State, activations and costs are those of one sequence with float32 for all that is
not a weight, as models here compute it.

Exit codes: 0 done, 2 bad input.
`;

const dtypes = ['float32', 'bfloat16', 'int8', 'int4'] as const;

/** What is known of a model: more of a checkpoint than of a config alone. */
interface About {
  name: string;
  architecture?: string;
  format?: 'safetensors' | 'gguf';
  config: ModelConfig;
  tensors: readonly TensorInfo[];
  fileBytes: number;
  obstacle?: string;
  hasTokenizer: boolean;
  endTokens: readonly number[];
}

const isConfig = (source: string) => /\.json$/i.test(source) && !/^[a-z][a-z\d+.-]*:/i.test(source);

async function aboutOf(
  source: string,
  values: { cache: boolean; token?: string },
  terminal: Terminal,
): Promise<About> {
  if (builtIn(source) !== undefined || isConfig(source)) {
    const named = await readConfig(source, terminal.signal);
    return { ...named, tensors: [], fileBytes: 0, hasTokenizer: false, endTokens: [] };
  }
  await checkSource(source);
  const options = optionsOf(source, values, terminal);
  return { name: nameOf(source), ...(await understood(source, () => inspectPretrained(source, options))) };
}

const nameOf = (source: string) => basename(source.replace(/[?#].*$/, '').replace(/[/\\]+$/, '')) || source;

/** What models cannot compute of a config alone. */
function obstacleOf(config: ResolvedConfig, name: string): string | undefined {
  try {
    checkComputable(config, name);
    return undefined;
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    return error.message;
  }
}

/** Runs the command. @throws InputError, FileError, or the signal's reason */
export async function inspectCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('inspect', args, {
    ...sourceFlags,
    tensors: flag,
    lengths: { type: 'string', default: DEFAULT_LENGTHS },
    json: flag,
    ...helpOption,
  });
  if (values.help) return terminal.help(inspectHelp);
  const source = onlyOne('model', positionals);
  const lengths = wholeNumbers('--lengths', values.lengths, 1, LARGEST);
  const about = await aboutOf(source, values, terminal);
  const config = await understood(source, () => resolveConfig(about.config, source));
  const { obstacle = obstacleOf(config, about.name) } = about;
  const { position } = config;
  // Learned positions end somewhere: beyond, there is nothing to cost.
  const reached =
    position.type === 'learned' ? lengths.filter((length) => length <= position.maxLength) : lengths;
  const step = (dtype: CostOptions['dtype'] = 'float32') =>
    cost(about.config, { mode: 'decode', promptLength: 1, dtype });
  const one = step();
  const prompt = cost(about.config, { mode: 'prefill', promptLength: 1 });
  const costs = reached.map((length) => {
    const values = { ...one.values, position: length };
    return {
      length,
      stateBytes: one.formulas.stateBytes.evaluate(values),
      flopsPerToken: one.formulas.flops.evaluate(values),
      promptFlops: prompt.formulas.flops.evaluate({ ...prompt.values, seqLen: length }),
    };
  });
  const { params } = one;
  const weightBytes = Object.fromEntries(dtypes.map((weights) => [weights, step({ weights }).weightBytes]));

  if (values.json)
    return terminal.json({
      model: about.name,
      architecture: about.architecture,
      format: about.format,
      layers: layersText(config),
      config,
      params,
      weightBytes,
      costs,
      fileBytes: about.fileBytes,
      tensors: about.tensors,
      hasTokenizer: about.hasTokenizer,
      endTokens: about.endTokens,
      loads: obstacle === undefined,
      obstacle,
    });
  const rows: [string, string][] = [
    ...(about.architecture === undefined ? [] : [['architecture', about.architecture] as [string, string]]),
    ...configRows(config),
    ['parameters', grouped(params)],
    ['in memory', dtypes.map((dtype) => `${bytesText(weightBytes[dtype])} as ${dtype}`).join(', ')],
    ...fileRows(about),
    ['loads', obstacle === undefined ? 'yes' : `no: ${oneLine(obstacle.replace(/\s*\n\s*/g, ' '))}`],
  ];
  terminal.say(`${about.name}\n\n${pairs(rows, terminal.columns)}\n`);
  const header = ['tokens', 'state', 'FLOPs per token', 'FLOPs of a prompt'];
  const table = costs.map(({ length, stateBytes, flopsPerToken, promptFlops }) => [
    grouped(length),
    bytesText(stateBytes),
    scaled(flopsPerToken),
    scaled(promptFlops),
  ]);
  terminal.say(textTable(header, table, terminal.columns));
  if (about.tensors.length === 0) return;
  const rowsOf = values.tensors ? each : byKind;
  const titles = values.tensors
    ? ['tensor', 'type', 'shape', 'bytes']
    : ['tensors', 'count', 'type', 'shape', 'bytes'];
  terminal.say(`\n${textTable(titles, rowsOf(about.tensors), terminal.columns)}`);
}

/** Rows on the files of a checkpoint. */
function fileRows({ format, tensors, fileBytes, hasTokenizer, endTokens }: About): [string, string][] {
  if (format === undefined) return [];
  const files = new Set(tensors.map(({ file }) => file)).size;
  const found = `${bytesText(fileBytes)} in ${plural(files, 'file')}, ${plural(tensors.length, 'tensor')}`;
  const ends = endTokens.length === 0 ? '' : `; a text ends at token ${endTokens.join(', ')}`;
  const where = format === 'gguf' ? 'in the file' : 'tokenizer.json';
  return [
    ['weights', tensors.length === 0 ? 'none' : `${found}: ${typesText(tensors)}`],
    ['tokenizer', `${hasTokenizer ? where : 'none'}${ends}`],
  ];
}

/** Types with the share of the bytes that each has. */
function typesText(tensors: readonly TensorInfo[]): string {
  const bytes = new Map<string, number>();
  for (const tensor of tensors) bytes.set(tensor.dtype, (bytes.get(tensor.dtype) ?? 0) + tensor.bytes);
  return [...bytes]
    .toSorted(([, a], [, b]) => b - a)
    .map(([dtype, sum]) => `${bytesText(sum)} ${dtype}`)
    .join(', ');
}

const shapeText = (shape: readonly number[]) => `[${shape.join(', ')}]`;

const each = (tensors: readonly TensorInfo[]): string[][] =>
  tensors.map(({ name, dtype, shape, bytes }) => [name, dtype, shapeText(shape), grouped(bytes)]);

/** One row for tensors that differ only in their layer. */
function byKind(tensors: readonly TensorInfo[]): string[][] {
  const kinds = new Map<
    string,
    { name: string; count: number; dtype: string; shape: string; bytes: number }
  >();
  for (const tensor of tensors) {
    const name = tensor.name.replace(/(?<=^|\.)\d+(?=\.|$)/g, '*');
    const shape = shapeText(tensor.shape);
    const key = JSON.stringify([name, tensor.dtype, shape]);
    const kind = kinds.get(key) ?? { name, count: 0, dtype: tensor.dtype, shape, bytes: 0 };
    kinds.set(key, { ...kind, count: kind.count + 1, bytes: kind.bytes + tensor.bytes });
  }
  return Array.from(kinds.values(), ({ name, count, dtype, shape, bytes }) => [
    name,
    `${count}`,
    dtype,
    shape,
    bytesText(bytes),
  ]);
}
