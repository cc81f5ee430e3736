/** The results of a report, a row each. */
import { csv } from '../files/csv.js';
import type { CopyReport } from './experiment.js';

export function copyCsv({ results, bounds }: CopyReport): string {
  const header =
    'mixer,construction,length,state,draws,accuracy,standard_error,predicted,floats,flops,welch,coherence,information_bits,state_bits';
  const rows = results.map((r) => {
    const bound = bounds.find(({ length, state }) => length === r.length && state === r.state);
    // prettier-ignore
    return [
      r.mixer, r.construction, r.length, r.state, r.draws, r.accuracy, r.standardError, r.predicted, r.floats, r.flops,
      bound?.welch, bound?.coherence, bound?.informationBits, bound?.stateBits,
    ];
  });
  return csv([header.split(','), ...rows]);
}
