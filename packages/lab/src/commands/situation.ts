/** What the commands on costs have in common: models, and the situation they are in. */
import {
  algorithmGrain,
  cost,
  type CostOptions,
  type DType,
  dtypeBits,
  type Figure,
  figures,
  kernelGrain,
  type Mode,
} from '@freelunch/complexity';
import { FreelunchError } from '@freelunch/errors';
import { InputError, unknownName } from '../errors.js';
import { builtIn, type NamedConfig, readConfig, smallModels } from '../files/model-config.js';
import { oneOf, wholeNumber } from './arguments.js';
import { flag, helpOption, text } from './shared.js';

export const LARGEST = 2 ** 40;
const modes: readonly Mode[] = ['train', 'prefill', 'decode', 'generate'];
const grains = { algorithm: algorithmGrain, kernel: kernelGrain };
export type Kind = keyof typeof grains;
const dtypes = Object.keys(dtypeBits) as DType[];

export const situationHelp = `A CONFIG is a JSON file (of @freelunch/models, or a Hugging Face config.json),
hf:OWNER/NAME or hf:OWNER/NAME@REVISION (from HF_ENDPOINT, with HF_TOKEN, if
these are set), a published model by its short name, such as mamba-130m or
llama-3.2-1b (freelunch models lists them), or one of
  ${Object.keys(smallModels).slice(0, 4).join(', ')},
  ${Object.keys(smallModels).slice(4).join(', ')}.

  --mode MODE       ${modes.join(', ')} (default prefill)
  --batch N         sequences at once (default 1)
  --prompt N        tokens of the prompt, of a training sequence, or before the one
                    that is decoded (default 1024)
  --new N           tokens to generate (default 128)
  --dtype TYPE      ${dtypes.join(', ')}
                    (default float32)
  --kind KIND       algorithm: what the formulas need (default); kernel: what the
                    kernels of this project execute`;

const otherFigures = figures.filter((figure) => figure !== 'flops');

export const curveHelp = `  --figure FIGURE   flops (default), or one of
                    ${otherFigures.slice(0, 4).join(', ')},
                    ${otherFigures.slice(4, 7).join(', ')},
                    ${otherFigures.slice(7).join(', ')}
  --along SIZE      the size that varies (default: seqLen; position for decode,
                    newTokens for generate); any size of a model, such as dState`;

export const costEnd = `  --json            data as JSON, nothing else
  -h, --help        this help

Exit codes: 0 done, 2 bad input.
`;

export const commonOptions = { json: flag, ...helpOption } as const;

export const situationOptions = {
  mode: { type: 'string', default: 'prefill' },
  batch: { type: 'string', default: '1' },
  prompt: { type: 'string', default: '1024' },
  new: { type: 'string', default: '128' },
  dtype: { type: 'string', default: 'float32' },
  kind: { type: 'string', default: 'algorithm' },
} as const;

export const curveOptions = { figure: { type: 'string', default: 'flops' }, along: text } as const;

type Situation = Record<keyof typeof situationOptions, string>;

/** @throws InputError */
export function costOptions(values: Situation): CostOptions {
  const mode = oneOf('--mode', values.mode, modes);
  const kind = oneOf('--kind', values.kind, ['algorithm', 'kernel'] as const);
  const largest = largestOf(kind);
  return {
    mode,
    grain: grains[kind],
    batch: wholeNumber('--batch', values.batch, 1, LARGEST),
    promptLength: wholeNumber('--prompt', values.prompt, mode === 'decode' ? 0 : 1, largest),
    newTokens: wholeNumber('--new', values.new, 0, largest),
    dtype: oneOf('--dtype', values.dtype, dtypes),
  };
}

/** @throws InputError unless at least one of the models has a size of this name: otherwise nothing would vary */
export function checkAlong(
  { along, ...options }: CostOptions & { along?: string },
  models: readonly NamedConfig[],
): void {
  if (along === undefined || kindOf(options) === 'kernel') return;
  const sizes = models.flatMap(({ config }) => Object.keys(checked(() => cost(config, options)).values));
  if (!sizes.includes(along)) throw unknownName('size', along, [...new Set(sizes)].sort());
}

/** @throws InputError */
export const figureOf = (given: string): Figure => oneOf('--figure', given, figures);

/** What --kind says. */
export const kindOf = ({ grain }: CostOptions): Kind => (grain === kernelGrain ? 'kernel' : 'algorithm');

/** What kernels execute is counted token by token. */
export const largestOf = (kind: Kind) => (kind === 'kernel' ? 65536 : LARGEST);

/** Names may have commas between them, those of files not: they can have commas in them. */
function parts(source: string): string[] {
  const names = source.split(',');
  return names.some((name) => builtIn(name) !== undefined) ? names : [source];
}

const MOST_CONFIGS = 100;

/** @throws InputError unless there are so many, each a model; the signal's reason */
export async function readConfigs(
  given: readonly string[],
  signal: AbortSignal,
  least: number,
  most: number = MOST_CONFIGS,
): Promise<NamedConfig[]> {
  const sources = given.flatMap(parts);
  if (sources.length < least || sources.length > most) {
    const wanted = least === most ? `${least}` : `${least} to ${most}`;
    throw new InputError(`takes ${wanted} config${most === 1 ? '' : 's'}, got ${sources.length}`);
  }
  return Promise.all(sources.map((source) => readConfig(source, signal)));
}

/** What the library says about a config or an option is for the user, who can change it. */
export function checked<T>(run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof RangeError || cause instanceof TypeError || cause instanceof FreelunchError)
      throw new InputError(cause.message.split('\n')[0], { cause });
    throw cause;
  }
}

/** Mode, and whose figures they are if not the algorithm's. */
export const titleOf = (options: CostOptions) =>
  kindOf(options) === 'kernel' ? `${options.mode} by the kernels` : options.mode;
