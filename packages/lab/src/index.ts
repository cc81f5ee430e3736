/** What runs in Node and in browsers alike; reading and writing files is the command's. */
export { copyExperiment, LARGEST_SIZE, mixers } from './copy-experiment.js';
export type { CopyBounds, CopyExperimentOptions, CopyReport, CopyResult, Watch } from './copy-experiment.js';
export { copyCsv } from './copy-csv.js';
export { copyFindings } from './copy-findings.js';
export { copyPage } from './copy-page.js';
export { copyText } from './copy-text.js';
export type { TextOptions } from './copy-text.js';
export { InputError } from './errors.js';
export { glyphs, NOTHING, tokenize } from './text.js';
export type { TokenKind, TokenText } from './text.js';
