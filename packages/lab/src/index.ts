/** What runs in Node and in browsers alike; reading and writing files is the command's. */
export { copyExperiment, LARGEST_SIZE, mixers } from './copy-text/experiment.js';
export type {
  CopyBounds,
  CopyExperimentOptions,
  CopyReport,
  CopyResult,
  Watch,
} from './copy-text/experiment.js';
export { copyCsv } from './copy-text/csv.js';
export { copyFindings } from './copy-text/findings.js';
export { copyPage } from './copy-text/page.js';
export { copyText } from './copy-text/text.js';
export type { TextOptions } from './copy-text/text.js';
export { InputError } from './errors.js';
export { glyphs, NOTHING, tokenize } from './files/tokens.js';
export type { TokenKind, TokenText } from './files/tokens.js';
