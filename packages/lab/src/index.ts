/** What runs in Node and in browsers alike; reading and writing files is the command's. */
export { builtInText, copyTextConfig } from './copy-text/config.js';
export type { CopyTextConfig, CopyTextRow } from './copy-text/config.js';
export { copyText } from './copy-text/experiment.js';
export { claims } from './experiments/experiment.js';
export type { Experiment, Findings } from './experiments/experiment.js';
export { runInMemory } from './experiments/in-memory.js';
export type { InMemoryOptions } from './experiments/in-memory.js';
export { copyWays, mixers } from './mixers.js';
export type { CopyWay, MixerName } from './mixers.js';
export { experimentPage } from './report/findings-page.js';
export type { Finished } from './report/findings-page.js';
export { findingsText } from './report/findings-text.js';
export type { FindingsTextOptions } from './report/findings-text.js';
export { InputError } from './errors.js';
export { glyphs, NOTHING, tokenize } from './files/tokens.js';
export type { TokenKind, TokenText } from './files/tokens.js';
