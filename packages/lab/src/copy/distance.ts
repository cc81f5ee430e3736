/** C3: what decay does to a copy with distance, and the score that wins against everything nearer. */
import { decayError, decayReach } from '@freelunch/constructions';
import { checksOf } from '../experiments/check.js';
import { type Experiment, pause } from '../experiments/experiment.js';
import { type DistanceConfig, distanceFindings, type DistanceRow } from './distance-findings.js';
import { decayErrors, measuredScore, scoreNeeded, shownDistances } from './distance-probes.js';

type DistancePiece =
  | { kind: 'decay'; key: string; rate: number; delta: number; distance: number; errors: number[] }
  | {
      kind: 'score';
      key: string;
      mixer: 'selectiveScan' | 'softmaxAttention';
      keep: number;
      distance: number;
    };

export const copyDistance: Experiment<DistanceConfig, DistancePiece, DistanceRow> = {
  name: 'copy-distance',
  summary: 'How far back can a state that decays copy, and at what score?',
  claims: ['C3'],
  presets: {
    quick: {
      rates: [0.001, 0.01, 0.1],
      deltas: [0.5, 1],
      errors: [0.01, 0.1, 0.5],
      distance: 1024,
      keeps: [0.5, 0.8, 0.95],
      scoreDistances: [1, 2, 4, 8, 16, 32, 64, 96],
    },
    full: {
      rates: [0.0001, 0.001, 0.01, 0.1, 1],
      deltas: [0.1, 0.5, 1],
      errors: [0.001, 0.01, 0.1, 0.5],
      distance: 8192,
      keeps: [0.5, 0.8, 0.9, 0.95],
      scoreDistances: [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112],
    },
  },

  pieces({ rates, deltas, errors, distance, keeps, scoreDistances }) {
    const { whole, each } = checksOf('copy-distance');
    each('rates', rates, (x) => x > 0, 'above 0');
    each('deltas', deltas, (x) => x > 0, 'above 0');
    each('errors', errors, (x) => x > 0 && x < 1, 'between 0 and 1');
    whole('distance', distance, 1, 65536);
    each('keeps', keeps, (x) => x > 0 && x < 1, 'between 0 and 1');
    whole('scoreDistances', scoreDistances, 1, 65536);
    const farthest = Math.max(...scoreDistances);
    const held = (keep: number) => scoreNeeded('selectiveScan', keep, farthest) <= 1e36;
    each('keeps', keeps, held, `so large that float32 holds the score at scoreDistances = ${farthest}`);
    const decays = rates.flatMap((rate) =>
      deltas.map((delta): DistancePiece => {
        const key = `decay A=-${rate} delta=${delta}`;
        return { kind: 'decay', key, rate, delta, distance, errors };
      }),
    );
    const score = (mixer: 'selectiveScan' | 'softmaxAttention', keep: number) =>
      scoreDistances.map((l): DistancePiece => {
        const key = `score ${mixer}${keep === 1 ? '' : ` a=${keep}`} l=${l}`;
        return { kind: 'score', key, mixer, keep, distance: l };
      });
    return [
      ...decays,
      ...keeps.flatMap((keep) => score('selectiveScan', keep)),
      ...score('softmaxAttention', 1),
    ];
  },

  async run(piece, context) {
    const { k } = context;
    await pause(context, 0);
    if (piece.kind === 'decay') {
      const { rate, delta, distance, errors } = piece;
      const found = decayErrors(k, rate, delta, distance);
      const rows: DistanceRow[] = shownDistances(distance).map((l) => {
        const predicted = decayError({ rate, delta, distance: l });
        return { kind: 'decay', rate, delta, distance: l, measured: found[l], predicted };
      });
      for (const error of errors) {
        const beyond = found.findIndex((one) => one > error);
        const measured = beyond === -1 ? null : beyond - 1;
        rows.push({
          kind: 'reach',
          rate,
          delta,
          error,
          measured,
          predicted: decayReach({ rate, delta, error }),
        });
      }
      return rows;
    }
    const { mixer, keep, distance } = piece;
    const measured = measuredScore(k, mixer, keep, distance);
    return { kind: 'score', mixer, keep, distance, measured, predicted: scoreNeeded(mixer, keep, distance) };
  },

  findings: distanceFindings,
};
