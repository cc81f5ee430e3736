/** Runs experiments in this thread and keeps nothing: in Node and in browsers alike. */
import { checkOptions } from '@freelunch/errors';
import type { Kernels } from '@freelunch/kernels';
import { completeConfig } from '../running/config.js';
import type { AnyExperiment, Experiment, Findings, Piece, Row } from './experiment.js';

export interface InMemoryOptions {
  /** Stops it: it then throws the signal's reason. */
  signal?: AbortSignal;
  /** @param done from 0 to 1 */
  onProgress?(done: number, label?: string): void;
}

/**
 * Runs an experiment, piece by piece.
 *
 * @param k       kernels; of the variant `simd` they give the same rows on every machine
 * @param config  fields of a configuration; those that are missing come from the preset `quick`
 * @returns the whole configuration, all rows in the order of the pieces, and what the experiment finds in them
 * @throws InputError if the configuration is wrong, the signal's reason if it is aborted
 */
export async function runInMemory<Config extends object, P extends Piece, R extends Row>(
  experiment: Experiment<Config, P, R>,
  k: Kernels,
  config: Partial<Config>,
  options: InMemoryOptions = {},
): Promise<{ config: Config; rows: R[]; findings: Findings }> {
  checkOptions('runInMemory', options, ['signal', 'onProgress']);
  const { signal = new AbortController().signal, onProgress = () => {} } = options;
  const whole = completeConfig(experiment as unknown as AnyExperiment, 'quick', config) as Config;
  const pieces = experiment.pieces(whole);
  const rows: R[] = [];
  for (const [i, piece] of pieces.entries()) {
    signal.throwIfAborted();
    const result = await experiment.run(piece, {
      k,
      signal,
      onProgress: (done, label = piece.key) => onProgress((i + done) / pieces.length, label),
    });
    rows.push(...(Array.isArray(result) ? result : [result]));
  }
  onProgress(1);
  return { config: whole, rows, findings: experiment.findings(whole, rows) };
}
