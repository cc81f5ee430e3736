/** For tests of the queue: an experiment of small pieces, and workers in this process that are none of the command line's. */
import type { Experiment } from '../experiments/experiment.js';
import type { AnyExperiment } from '../running/registry.js';
import type { Slots } from '../queue/slots.js';
import { plainRows } from '../running/rows.js';

type Config = { count: number; fail: string[] };
type P = { key: string; value: number; fail: boolean } & Record<string, unknown>;

/** Two rows for each piece but the first, which has none. */
const squares: Experiment<Config, P, { value: number; part: number }> = {
  name: 'squares',
  summary: 'What are squares?',
  claims: [],
  presets: { quick: { count: 5, fail: ['none'] }, full: { count: 9, fail: ['none'] } },
  pieces: ({ count, fail }) =>
    Array.from({ length: count }, (_, value) => ({
      key: `n=${value}`,
      value,
      fail: fail.includes(`n=${value}`),
    })),
  run: ({ value, fail }) => {
    if (fail) return Promise.reject(new Error(`no square of ${value}`));
    return Promise.resolve(value === 0 ? [] : [0, 1].map((part) => ({ value: value ** 2 / 3, part })));
  },
  findings: (_, rows) => ({ text: [String(rows.length)], figures: [], tables: [], verdicts: [] }),
};
export const anySquares = squares as unknown as AnyExperiment;

/** Runs pieces where it is called. @param before  each piece, with its key */
export function inlineSlots(
  before: (key: string, folder?: string) => Promise<void> | void = () => {},
): Slots {
  return {
    async run(experiment, { piece, folder }, onProgress, signal) {
      await before(piece.key, folder);
      signal.throwIfAborted();
      const k = undefined as never; // squares have no use for kernels
      return plainRows(await experiment.run(piece, { k, signal, onProgress, folder }));
    },
    end: () => Promise.resolve(),
  };
}
