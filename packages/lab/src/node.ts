/** Experiments, for programs in Node: threads and files. */
export { claims } from './experiment.js';
export type {
  Claim,
  Experiment,
  ExperimentContext,
  Figure,
  Findings,
  Piece,
  Row,
  TableData,
  Verdict,
} from './experiment.js';
export { experimentPage, reportPage } from './experiment-page.js';
export type { Finished, Missing } from './experiment-page.js';
export { runExperiment } from './experiment-runner.js';
export type { RunOptions } from './experiment-runner.js';
export { findingsText } from './experiment-text.js';
export { experimentOf, experiments } from './experiments.js';
export type { AnyExperiment } from './experiments.js';
