/** The experiment on COPY: store a text's tokens through each construction, read them back, count what is right. */
import {
  copyAddressed,
  copyLinearAttention,
  type CopyMixer,
  copyPrice,
  copyRegisterFile,
  copySelectiveScan,
  copySoftmaxAttention,
  decode,
  encode,
  informationBits,
  predictAccuracy,
  randomUnitKeys,
  signCodebook,
  welchBound,
} from '@freelunch/constructions';
import { ArgumentError, type Kernels, type Tensor, type Variant } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import type { TokenKind, TokenText } from '../files/tokens.js';

/** The largest length, and the largest state, that the experiment runs. */
export const LARGEST_SIZE = 4096;

/** The constructions in the order of reports. */
export const mixers: readonly { mixer: CopyMixer; construction: string; name: string; keys: string }[] = [
  { mixer: 'linearAttention', construction: 'C1', name: 'Linear attention', keys: 'random keys' },
  { mixer: 'selectiveScan', construction: 'C1', name: 'Mamba', keys: 'random keys' },
  { mixer: 'addressed', construction: 'C2a', name: 'Mamba', keys: 'addresses' },
  { mixer: 'registerFile', construction: 'C2b', name: 'Mamba', keys: 'registers' },
  { mixer: 'softmaxAttention', construction: 'C4', name: 'Softmax attention', keys: 'position bits' },
];

export interface CopyExperimentOptions {
  text: TokenText;
  /** Numbers of tokens to store, from the start of the text. */
  lengths: readonly number[];
  /** Key widths, state sizes and numbers of registers to try: slots of dValue floats each. */
  states: readonly number[];
  /** Width of a value; 16 if absent. */
  dValue?: number;
  /** Times that random keys are drawn; 16 if absent. */
  draws?: number;
  /** 1 if absent. */
  seed?: number;
}

/** One construction at one length and size. */
export interface CopyResult {
  mixer: CopyMixer;
  construction: string;
  length: number;
  /** Slots; null for softmax attention, whose cache holds whatever is stored. */
  state: number | null;
  draws: number;
  /** Fraction of tokens read back right, the mean over draws, */
  accuracy: number;
  /** and the standard error of that mean; 0 where nothing is random. */
  standardError: number;
  /** The same by theory. */
  predicted: number;
  floats: number;
  flops: number;
  /** What the first draw read back: numbers of symbols, -1 for nothing. */
  remembered: number[];
}

/** What no choice of keys or of code can beat. */
export interface CopyBounds {
  length: number;
  state: number;
  /** Least possible value of the greatest |k_i . k_j|, */
  welch: number;
  /** and its value for the first keys drawn; null where it would take too long. */
  coherence: number | null;
  /** Bits in the tokens, if each were a free choice, */
  informationBits: number;
  /** and bits in the state. */
  stateBits: number;
}

export interface CopyReport {
  experiment: 'copy';
  text: { name: string; kind: TokenKind; length: number; vocabulary: number[] };
  /** The stored part of the text: numbers of symbols. */
  tokens: number[];
  lengths: number[];
  states: number[];
  dValue: number;
  draws: number;
  seed: number;
  variant: Variant;
  results: CopyResult[];
  bounds: CopyBounds[];
  /** The prediction for random keys over the slots, for each length. */
  curves: { length: number; points: { state: number; predicted: number }[] }[];
}

export interface Watch {
  /** Called before each part of the work: the fraction done, and what comes next. */
  onProgress?: (progress: { done: number; label: string }) => void;
  /** Stops the experiment: it then throws the signal's reason. */
  signal?: AbortSignal;
}

/** Multiplications that measuring the coherence may take. */
const COHERENCE_LIMIT = 2 ** 31;

/**
 * Runs the experiment. The same options give the same report, bit for bit, on kernels of the variant `simd`.
 *
 * @throws ArgumentError if an option is out of its range, the signal's reason if it is aborted
 */
export async function copyExperiment(
  k: Kernels,
  options: CopyExperimentOptions,
  watch: Watch = {},
): Promise<CopyReport> {
  const { text, lengths, states, dValue = 16, draws = 16, seed = 1 } = options;
  checkOptions({ text, lengths, states, dValue, draws });
  const rng = random(seed);
  const vocabSize = text.vocabulary.length;
  const codebook = signCodebook(rng.split('codebook'), vocabSize, dValue);
  const keyStream = rng.split('keys');

  const results: CopyResult[] = [];
  const bounds: CopyBounds[] = [];
  const curves: CopyReport['curves'] = [];
  const work = new Work(lengths, states, draws, watch);

  for (const length of lengths) {
    const tokens = text.tokens.subarray(0, length);
    const predict = predictAccuracy({ codebook, dValue, tokens });
    curves.push({
      length,
      points: curveStates(states).map((state) => ({ state, predicted: round(predict(state)) })),
    });

    /** Runs one construction `count` times and files the result. */
    const measure = async (
      { mixer, construction, name, keys }: (typeof mixers)[number],
      state: number | null,
      count: number,
      predicted: number,
      run: (values: Tensor<'float32'>, draw: number) => Tensor<'float32'>,
    ) => {
      const accuracies: number[] = [];
      let remembered: number[] = [];
      for (let draw = 0; draw < count; draw++) {
        await work.next(mixer, length, state, `${name}, ${keys}: ${length} ${text.kind}`);
        const symbols = k.scope(() => decode(run(encode(k, tokens, codebook, dValue), draw), codebook));
        accuracies.push(fractionRight(symbols, tokens));
        if (draw === 0) remembered = Array.from(symbols);
      }
      const { mean, standardError } = statistics(accuracies);
      results.push({
        mixer,
        construction,
        length,
        state,
        draws: count,
        accuracy: round(mean),
        standardError: round(standardError),
        predicted: round(predicted),
        ...copyPrice({ mixer, seqLen: length, reads: length, dValue, slots: state ?? length }),
        remembered,
      });
    };

    const [linear, scan, addressed, registers, softmax] = mixers;
    for (const state of states) {
      const drawKeys = (mixer: CopyMixer, draw: number) =>
        randomUnitKeys(k, keyStream.split(`${mixer} ${length} ${state} ${draw}`), length, state);
      await measure(linear, state, draws, predict(state), (values, draw) =>
        copyLinearAttention(k, { values, keys: drawKeys('linearAttention', draw) }),
      );
      await measure(scan, state, draws, predict(state), (values, draw) =>
        copySelectiveScan(k, { values, keys: drawKeys('selectiveScan', draw) }),
      );
      const kept = Math.min(1, state / length);
      await measure(addressed, state, 1, kept, (values) => copyAddressed(k, { values, dState: state }));
      await measure(registers, state, 1, kept, (values) => copyRegisterFile(k, { values, slots: state }));
      bounds.push({
        length,
        state,
        welch: round(welchBound(length, state)),
        coherence:
          length * length * state <= COHERENCE_LIMIT
            ? round(k.scope(() => coherence(k, drawKeys('linearAttention', 0))))
            : null,
        informationBits: round(informationBits(length, vocabSize)),
        stateBits: state * dValue * 32,
      });
    }
    await measure(softmax, null, 1, 1, (values) => copySoftmaxAttention(k, { values }));
  }
  work.finish();

  const longest = Math.max(...lengths);
  return {
    experiment: 'copy',
    text: { name: text.name, kind: text.kind, length: text.tokens.length, vocabulary: text.vocabulary },
    tokens: Array.from(text.tokens.subarray(0, longest)),
    lengths: [...lengths],
    states: [...states],
    dValue,
    draws,
    seed,
    variant: k.variant,
    results,
    bounds,
    curves,
  };
}

function checkOptions({
  text,
  lengths,
  states,
  dValue,
  draws,
}: Required<Omit<CopyExperimentOptions, 'seed'>>): void {
  const list = (name: string, values: readonly number[], end: number) => {
    if (values.length === 0) throw new ArgumentError(`copyExperiment: ${name} must not be empty`);
    for (const value of values) whole(`each of ${name}`, value, end);
  };
  list('lengths', lengths, Math.min(LARGEST_SIZE, text.tokens.length));
  list('states', states, LARGEST_SIZE);
  whole('dValue', dValue, 256);
  whole('draws', draws, 10000);
}

function whole(name: string, value: number, end: number): void {
  if (!Number.isInteger(value) || value < 1 || value > end)
    throw new ArgumentError(`copyExperiment: ${name} must be a whole number from 1 to ${end}, got ${value}`);
}

/** Keeps account of the work, reports it, and lets other things happen in between: signals, timers, the screen. */
class Work {
  readonly #total: number;
  #done = 0;
  #current = 0;
  #lastPause = performance.now();

  constructor(
    lengths: readonly number[],
    states: readonly number[],
    draws: number,
    readonly watch: Watch,
  ) {
    let total = 0;
    for (const length of lengths) {
      for (const { mixer } of mixers) {
        const runs = mixer === 'linearAttention' || mixer === 'selectiveScan' ? draws : 1;
        if (mixer === 'softmaxAttention') total += effort(mixer, length, null);
        else for (const state of states) total += runs * effort(mixer, length, state);
      }
    }
    this.#total = total;
  }

  async next(mixer: CopyMixer, length: number, state: number | null, label: string): Promise<void> {
    this.#done += this.#current;
    this.#current = effort(mixer, length, state);
    this.watch.onProgress?.({ done: this.#done / this.#total, label });
    if (performance.now() - this.#lastPause > 20) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      this.#lastPause = performance.now();
    }
    this.watch.signal?.throwIfAborted();
  }

  finish(): void {
    this.watch.onProgress?.({ done: 1, label: 'done' });
  }
}

/** About how long a run takes, for the progress bar: proportional to the entries of the state times the steps. */
function effort(mixer: CopyMixer, length: number, state: number | null): number {
  const weight = mixer === 'registerFile' ? 6 : 1;
  return length * (weight * (state ?? length) + 200);
}

/** The share of tokens that came back right. */
export function fractionRight(symbols: Int32Array, tokens: Int32Array): number {
  let right = 0;
  for (let t = 0; t < tokens.length; t++) if (symbols[t] === tokens[t]) right++;
  return right / tokens.length;
}

/** Mean, and the standard error of it: 0 for one sample. */
export function statistics(samples: readonly number[]): { mean: number; standardError: number } {
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / samples.length;
  if (samples.length === 1) return { mean, standardError: 0 };
  const squares = samples.reduce((sum, sample) => sum + (sample - mean) ** 2, 0);
  return { mean, standardError: Math.sqrt(squares / (samples.length - 1) / samples.length) };
}

/** The greatest |k_i . k_j| over i != j. */
export function coherence(k: Kernels, keys: Tensor<'float32'>): number {
  const count = keys.shape[0];
  const { data } = k.matmul({ a: keys, b: keys, transposeB: true });
  let greatest = 0;
  for (let i = 0; i < count; i++)
    for (let j = 0; j < i; j++) greatest = Math.max(greatest, Math.abs(data[i * count + j]));
  return greatest;
}

/** Sizes at which the predicted curve is drawn: four for each doubling, over the range of the states and a little more. */
function curveStates(states: readonly number[]): number[] {
  const sizes = new Set<number>();
  const end = Math.max(...states) * 2;
  for (let size = Math.max(1, Math.min(...states) / 2); size <= end * 1.001; size *= 1.189207115002721)
    sizes.add(Math.round(size));
  return [...sizes];
}

/** Six decimals: all that means anything, and the same in engines whose exp and log differ in the last bit. */
export function round(value: number): number {
  return Math.round(value * 1e6) / 1e6;
}
