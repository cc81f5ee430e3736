/** `freelunch generate`: continues a prompt with the model of a checkpoint. */
import { show } from '@freelunch/errors';
import { loadKernels } from '@freelunch/kernels';
import {
  type GenerateOptions,
  inspectPretrained,
  type LanguageModel,
  loadPretrained,
} from '@freelunch/models';
import { InputError } from '../errors.js';
import { readBytes } from '../files/read.js';
import { idsLanguage, type Language, textLanguage } from '../pretrained/language.js';
import {
  checkSource,
  optionsOf,
  sourceFlags,
  sourceHelp,
  sourceOptionsHelp,
  understood,
} from '../pretrained/source.js';
import { bytesText, grouped } from '../report/format.js';
import { pairs } from '../report/text-table.js';
import { decimal, oneOf, parseOptions, wholeNumber } from './arguments.js';
import { EXIT_CODES, flag, helpOption, plural, text, threadsOf } from './shared.js';
import type { Terminal } from './terminal.js';

const dtypes = ['auto', 'float32', 'float16', 'bfloat16', 'int8', 'int4'] as const;
const DEFAULT_TOKENS = 256;
const LARGEST_PROMPT = 16 * 2 ** 20;
/** Of numbers of tokens: no state is larger. */
const MOST = 2 ** 31 - 1;

const generateHelp = `Usage: freelunch generate MODEL [PROMPT] [options]

Continues a prompt with the model of a checkpoint, and shows the text as it comes;
then, on the standard error, how fast that was and what it took. It completes plain
text: it knows no chat templates, so a chat model needs its marks in the prompt.

${sourceHelp}

The prompt is PROMPT, the content of --prompt-file, or what comes through a pipe; of
the last two without the end of their last line. The text ends at a token that the
checkpoint names as its end. Where a checkpoint has no tokenizer, prompt and output
are token ids with blanks between them.

  --prompt-file FILE  read the prompt from there
  --max-tokens N    tokens to generate (default ${DEFAULT_TOKENS}, or as many as learned
                    positions leave room for)
  --temperature X   0 takes the likeliest token each time (default; 1 with --top-k or
                    --top-p)
  --top-k N         draw from the N likeliest tokens
  --top-p X         draw from the fewest tokens that together have this probability
  --seed N          of what is drawn (default 0): the same seed gives the same text
  --stop TEXT       end before this text (a token id, where ids are shown); may be
                    given several times
  --dtype TYPE      of weights in memory: auto (default: as the file has them),
                    float32, float16, bfloat16, int8 or int4
  --threads N       threads of the kernels (default: one per core)
${sourceOptionsHelp}
  --ids             token ids in and out, even if there is a tokenizer
  --json            one object with text, tokens and figures at the end, nothing else
  -h, --help        this help

Ctrl-C ends the text; what there is of it stays. ${EXIT_CODES}
`;

const flags = {
  'prompt-file': text,
  'max-tokens': text,
  temperature: text,
  'top-k': text,
  'top-p': text,
  seed: { type: 'string', default: '0' },
  stop: { type: 'string', multiple: true, default: [] as string[] },
  dtype: { type: 'string', default: 'auto' },
  threads: text,
  ...sourceFlags,
  ids: flag,
  json: flag,
  ...helpOption,
} as const;

/** Runs the command. @throws InputError, FileError; the signal's reason, once what there is has been shown */
export async function generateCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('generate', args, flags);
  if (values.help) return terminal.help(generateHelp);
  const [source, given, ...more] = positionals;
  if (source === undefined) throw new InputError('takes a model and a prompt, got none');
  if (more.length > 0)
    throw new InputError(
      `takes a model and a prompt, got ${positionals.length} arguments; quotes hold the words of a prompt together`,
    );
  const wanted = {
    ...drawing(values),
    dtype: oneOf('--dtype', values.dtype, dtypes),
    threads: threadsOf(values.threads, 'auto' as const),
  };
  if (values.stop.includes('')) throw new InputError('--stop must not be empty');
  if (given !== undefined && values['prompt-file'] !== undefined)
    throw new InputError('takes a prompt or --prompt-file, got both');
  await checkSource(source);
  const prompt = given ?? (await readPrompt(values['prompt-file'], terminal));

  const options = optionsOf(source, values, terminal);
  const about = await understood(source, () => inspectPretrained(source, { ...options, weights: false }));
  const isText = about.hasTokenizer && !values.ids;
  if (!about.hasTokenizer && !values.ids && !values.json)
    terminal.note('There is no tokenizer: the prompt and the text are token ids.\n');
  const language = await understood(source, () =>
    isText
      ? textLanguage(source, options, values.stop, about.endTokens)
      : idsLanguage(values.stop, about.endTokens),
  );
  const ids = await understood(source, () => language.encode(prompt));
  if (ids.length === 0) throw new InputError('the prompt must be one token or more, got none');

  using k = await loadKernels({ variant: 'simd', threads: wanted.threads });
  const { model, loadMs } = await load(() =>
    understood(source, () =>
      loadPretrained(k, source, {
        ...options,
        dtype: wanted.dtype,
        onProgress: ({ doneBytes, totalBytes }) =>
          terminal.bar.show({
            done: totalBytes === 0 ? 1 : doneBytes / totalBytes,
            label: `loading ${bytesText(doneBytes)} of ${bytesText(totalBytes)}`,
          }),
      }),
    ),
  ).finally(() => terminal.bar.clear());
  const made = await generated(source, model, language, ids, wanted, values.json ? undefined : terminal.stream, terminal.signal); // prettier-ignore
  const figures = {
    promptTokens: ids.length,
    newTokens: made.tokens.length,
    end: made.end,
    loadMs,
    promptMs: made.promptMs,
    decodeMs: made.decodeMs,
    promptTokensPerSecond: rate(ids.length, made.promptMs),
    tokensPerSecond: rate(made.tokens.length - 1, made.decodeMs),
    stateBytes: model.stateBytes(ids.length + Math.max(0, made.tokens.length - 1)),
    weightBytes: model.weightBytes,
    params: model.parameterCount,
    threads: k.threads,
    dtypes: dtypesOf(model),
  };
  if (values.json)
    terminal.json({
      model: source,
      architecture: about.architecture,
      prompt,
      promptIds: ids,
      tokens: made.tokens,
      ...(language.kind === 'text' && { text: made.text }),
      ...figures,
    });
  else terminal.note(report(figures, terminal.columns));
  if (made.end === 'interrupted') throw terminal.signal.reason;
}

/** What is asked of the drawing. @throws InputError */
function drawing(
  values: Partial<Record<'max-tokens' | 'temperature' | 'top-k' | 'top-p', string>> & { seed: string },
): GenerateOptions {
  // prettier-ignore
  const options: GenerateOptions = { seed: wholeNumber('--seed', values.seed, 0, Number.MAX_SAFE_INTEGER) };
  const { 'max-tokens': maxTokens, temperature, 'top-k': topK, 'top-p': topP } = values;
  if (maxTokens !== undefined) options.maxTokens = wholeNumber('--max-tokens', maxTokens, 1, MOST);
  if (temperature !== undefined) options.temperature = decimal('--temperature', temperature, 0, 1000);
  if (topK !== undefined) options.topK = wholeNumber('--top-k', topK, 1, MOST);
  if (topP !== undefined) {
    options.topP = decimal('--top-p', topP, 0, 1);
    if (options.topP === 0) throw new InputError('--top-p must be above 0, got 0');
  }
  return options;
}

/** Of a file, or of what comes through a pipe. @throws InputError */
async function readPrompt(file: string | undefined, terminal: Terminal): Promise<string> {
  const bytes =
    file === undefined ? await terminal.input(LARGEST_PROMPT) : await readBytes(file, LARGEST_PROMPT);
  if (bytes === undefined)
    throw new InputError('a prompt is needed: as an argument, by --prompt-file, or through a pipe');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes).replace(/\r?\n$/, '');
  } catch (cause) {
    throw new InputError(`${file === undefined ? 'the standard input' : show(file)} must be UTF-8`, {
      cause,
    });
  }
}

async function load(run: () => Promise<LanguageModel>): Promise<{ model: LanguageModel; loadMs: number }> {
  const begun = performance.now();
  const model = await run();
  return { model, loadMs: performance.now() - begun };
}

interface Made {
  tokens: number[];
  text: string;
  end: 'stop' | 'length' | 'interrupted';
  promptMs: number;
  /** From the first token to the last. */
  decodeMs: number;
}

/** Generates, and hands on each piece of text as soon as it is complete. */
async function generated(
  source: string,
  model: LanguageModel,
  language: Language,
  ids: readonly number[],
  options: GenerateOptions,
  put: ((piece: string) => Promise<void>) | undefined,
  signal: AbortSignal,
): Promise<Made> {
  const { maxTokens, temperature, topK, topP, seed } = options;
  const { stopTokens } = language;
  const shown = language.shown(ids);
  const made: Made = { tokens: [], text: '', end: 'length', promptMs: 0, decodeMs: 0 };
  const show = async (piece: string) => {
    made.text += piece;
    await put?.(piece);
  };
  const begun = performance.now();
  let first = 0;
  try {
    const stream = await understood(source, () =>
      model.generate([...ids], { maxTokens, temperature, topK, topP, seed, stopTokens, signal }),
    );
    for await (const id of stream) {
      const now = performance.now();
      first ||= now;
      made.promptMs = first - begun;
      made.decodeMs = now - first;
      made.tokens.push(id);
      if (stopTokens.includes(id)) made.end = 'stop';
      else await show(shown.push(id));
      if (shown.stopped) made.end = 'stop';
      if (made.end === 'stop') break;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    made.end = 'interrupted';
  }
  await show(shown.end());
  if (put !== undefined && !made.text.endsWith('\n')) await put('\n');
  return made;
}

/** How the weights are kept, the most of them first. */
function dtypesOf(model: LanguageModel): string[] {
  const sizes = new Map<string, number>();
  for (const { dtype, size } of model.weights().values()) sizes.set(dtype, (sizes.get(dtype) ?? 0) + size);
  return [...sizes].toSorted(([, a], [, b]) => b - a).map(([dtype]) => dtype);
}

/** Per second; undefined where nothing was timed. */
const rate = (count: number, ms: number) => (count > 0 && ms > 0 ? (1000 * count) / ms : undefined);

const ends = { stop: 'ended by itself', length: 'ended by --max-tokens', interrupted: 'interrupted' };

interface Figures {
  promptTokens: number;
  newTokens: number;
  end: Made['end'];
  promptTokensPerSecond?: number;
  tokensPerSecond?: number;
  stateBytes: number;
  weightBytes: number;
  threads: number;
  dtypes: readonly string[];
}

function report(figures: Figures, columns: number): string {
  const speed = (perSecond: number | undefined) =>
    perSecond === undefined ? '' : `, ${grouped(Number(perSecond.toPrecision(3)))} tokens/s`;
  return `\n${pairs(
    [
      ['prompt', `${plural(figures.promptTokens, 'token')}${speed(figures.promptTokensPerSecond)}`],
      [
        'text',
        `${plural(figures.newTokens, 'token')}${speed(figures.tokensPerSecond)}, ${ends[figures.end]}`,
      ],
      ['state', `${grouped(figures.stateBytes)} bytes`],
      ['weights', `${grouped(figures.weightBytes)} bytes, ${figures.dtypes.join(' and ')}`],
      ['threads', `${figures.threads}`],
    ],
    columns,
  )}`;
}
