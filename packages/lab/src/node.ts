/** Experiments, for programs in Node: threads and files. */
export { claims } from './experiments/experiment.js';
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
} from './experiments/experiment.js';
export { experimentPage, reportPage } from './report/findings-page.js';
export type { Finished, Missing } from './report/findings-page.js';
export { runExperiment } from './running/runner.js';
export type { RunOptions } from './running/runner.js';
export { findingsText } from './report/findings-text.js';
export { experimentOf, experiments } from './running/registry.js';
export type { AnyExperiment } from './running/registry.js';
