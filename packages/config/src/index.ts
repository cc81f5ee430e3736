export { checkComputable } from './computable.js';
export { configJson, fromHuggingFace, readConfig, writeConfig } from './config-json.js';
export type { HuggingFaceConfig, StoredBlocks, StoredDType } from './config-json.js';
export { readGgufConfig } from './gguf/index.js';
export { endOfString, formatJson, isObject, parseJson } from './json.js';
export type { Json } from './json.js';
export { limits } from './limits.js';
export { resolveConfig } from './resolve.js';
export type * from './types.js';
