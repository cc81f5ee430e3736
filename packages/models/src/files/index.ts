/** Files for programs that must not lose any (Node, Deno, Bun): `@freelunch/models/files`. */
export { LOCK, lockFolder } from './lock.js';
export { openFile } from './open.js';
export {
  type FileData,
  makeFolder,
  PARTIAL,
  type StagedFile,
  stageFile,
  syncFolder,
  writeDurably,
  type WriteOptions,
} from './write.js';
