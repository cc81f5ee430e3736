/** The experiments that `freelunch run` knows. */
import { copyCapacity } from '../copy/capacity.js';
import { copyCost } from '../copy/cost.js';
import { copyDistance } from '../copy/distance.js';
import { copyExact } from '../copy/exact.js';
import { copyModels } from '../copy/models.js';
import { copyText } from '../copy-text/experiment.js';
import { dpExact } from '../programs/exact.js';
import { dpLocality } from '../programs/locality.js';
import { unknownName } from '../errors.js';
import { learnCopy } from '../learning/copy.js';
import { learnDp } from '../learning/programs.js';
import { learnMqar } from '../learning/mqar.js';
import { lengthGeneralisation } from '../learning/length-generalisation.js';
import { modelCrossovers } from '../published/crossovers.js';
import type { AnyExperiment, Experiment, Piece, Row } from '../experiments/experiment.js';

export type { AnyExperiment } from '../experiments/experiment.js';

/**
 * Forgets the types of an experiment: the runner hands each what it made itself, or what was checked against its presets.
 */
function anyOf<Config, P extends Piece, R extends Row>(experiment: Experiment<Config, P, R>): AnyExperiment {
  return experiment as unknown as AnyExperiment;
}

const all: readonly AnyExperiment[] = [
  // In the order of reports, one a line.
  anyOf(copyCapacity),
  anyOf(copyExact),
  anyOf(copyModels),
  anyOf(copyDistance),
  anyOf(copyCost),
  anyOf(copyText),
  anyOf(dpExact),
  anyOf(dpLocality),
  anyOf(learnCopy),
  anyOf(learnMqar),
  anyOf(learnDp),
  anyOf(lengthGeneralisation),
  anyOf(modelCrossovers),
];

export const experiments: Readonly<Record<string, AnyExperiment>> = Object.fromEntries(
  all.map((experiment) => [experiment.name, experiment]),
);

/** @throws InputError if there is none of this name */
export function experimentOf(name: string): AnyExperiment {
  if (!Object.hasOwn(experiments, name)) throw unknownName('experiment', name, Object.keys(experiments));
  return experiments[name];
}
