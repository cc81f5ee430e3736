/** What an experiment is: plain configuration in, independent pieces, plain rows out, findings from the rows. */
import type { Kernels } from '@freelunch/kernels';
import type { Plot } from '../report/plot.js';

/**
 * The claims of the theory, in the order of reports: C on COPY, D on dynamic programs with chain of thought, L on learning,
 * M on published models.
 */
export const claims = {
  C1: 'A state of constant size limits COPY: the share copied right depends on N / T, slots per token',
  C2: 'A state of linear size copies exactly, by addresses or by registers',
  C3: 'Decay shortens the reach: the score needed grows exponentially with the distance, for softmax attention like a logarithm',
  C4: 'Softmax attention copies with keys of O(log T) floats',
  C5: 'Copying T tokens costs on the order of T² operations with every mixer that copies exactly',
  D1: 'Any dynamic program is look-ups and a transition, and is written token by token at a comparable cost by every mixer',
  D2: 'An m-local program, whose steps need only the last m values, takes O(m) floats and O(m T) operations',
  D3: 'Models with hand-set weights write the whole chain of thought without a wrong token',
  D4: 'Formula, operation count and measured time agree on what each mixer costs on programs and COPY',
  L1: 'Learning COPY: softmax attention needs fewer samples and a smaller model, Mamba a state that grows',
  L2: 'Learning to recall values by their keys (MQAR): accuracy grows with the state and falls with the number of pairs',
  L3: 'Programs are learned with a chain of thought where direct answers fail',
  L4: 'Beyond the trained length every mixer fails somewhere: at which position and distance first',
  M1: 'Published models with recurrent layers keep less than a Transformer of their size from some length on, by what their layers of attention leave',
} as const;

/** Words that reports use. */
export const terms =
  'COPY means: store a sequence of T tokens, then write it out again. A construction is a model with hand-set weights instead of ' +
  'trained ones. N is the number of slots of a state. A program is m-local if each of its steps needs only the last m values.';

export type Claim = keyof typeof claims;

/** One independent piece of an experiment: plain data, named by its key. */
export interface Piece {
  key: string;
  [field: string]: unknown;
}

/** Plain JSON: one line of rows.jsonl. */
export type Row = Record<string, unknown>;

export interface ExperimentContext {
  /** The deterministic kernels, one set for each thread. */
  k: Kernels;
  signal: AbortSignal;
  /** @param done from 0 to 1 */
  onProgress(done: number, label?: string): void;
  /** A folder of this piece's own, for training checkpoints: the same after an interruption. Undefined in memory. */
  folder?: string;
}

export interface Figure {
  title: string;
  /** What is found in it. */
  caption: string;
  /** From plot.ts. */
  plot: Plot;
}

export interface TableData {
  title: string;
  columns: string[];
  rows: string[][];
  caption?: string;
}

/** A stretch of a text that came back in one way. */
export interface ExcerptRun {
  kind: 'right' | 'wrong' | 'nothing';
  text: string;
}

/** A text as it came back, in several ways. */
export interface Excerpt {
  title: string;
  /** At once; the others on request. */
  shown: boolean;
  texts: { title: string; runs: ExcerptRun[] }[];
}

/** A line of "theory says / we measured". */
export interface Verdict {
  claim: Claim;
  theory: string;
  measured: string;
  agrees: boolean | 'partly';
}

export interface Findings {
  text: string[];
  figures: Figure[];
  tables: TableData[];
  /** Only of experiments on texts. */
  excerpts?: Excerpt[];
  verdicts: Verdict[];
}

export interface Experiment<Config = Row, P extends Piece = Piece, R extends Row = Row> {
  /** As on the command line. */
  name: string;
  /** Its question, in one sentence. */
  summary: string;
  claims: readonly Claim[];
  presets: { quick: Config; full: Config };
  /** Its rows hold times: one piece at a time, whatever the number of workers. */
  timed?: boolean;
  /**
   * What to run: independent of one another, the same for the same configuration, each key once.
   *
   * @throws InputError if the configuration asks for what cannot be
   */
  pieces(config: Config): P[];
  /** @throws the signal's reason if it is aborted */
  run(piece: P, context: ExperimentContext): Promise<R | R[]>;
  /** @param rows in the order of the pieces */
  findings(config: Config, rows: R[]): Findings;
}

/** An experiment whose configuration, pieces and rows are known to itself only. */
export type AnyExperiment = Experiment<Row, Piece, Row>;

/** Lets signals and messages in, and says how far a piece is. @throws the signal's reason if it is aborted */
export async function pause(
  { signal, onProgress }: ExperimentContext,
  done: number,
  label?: string,
): Promise<void> {
  // Browsers have no setImmediate, and setTimeout waits for a millisecond or more.
  await new Promise((resolve) =>
    typeof setImmediate === 'function' ? setImmediate(resolve) : setTimeout(resolve, 0),
  );
  signal.throwIfAborted();
  onProgress(done, label);
}
