/** Takes what worker.ts was compiled to into a module that holds its text: bundlers then need no rule for workers. */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const source = await readFile(at('../dist/threads/worker.js'), 'utf8');
if (/^import /m.test(source)) throw new Error('bundle-worker: worker.ts must not import anything but types');
await writeFile(
  at('../dist/threads/worker-source.js'),
  `export const workerSource = ${JSON.stringify(source)};\n`,
);
