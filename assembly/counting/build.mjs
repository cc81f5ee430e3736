/**
 * Compiles src/index.ts to build/counting.wasm: the kernels of the `simd` binary, which count what they do. Nothing is
 * optimised, so what is counted is what the source says.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from 'assemblyscript/asc';
import { common } from '../options.mjs';
import { kindOf } from './functions.mjs';
import { instrument } from './instrument.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const folder = join(here, '..', 'build');
let binary;
const { error, stderr } = await main(
  [
    join(here, '..', 'src', 'index.ts'),
    '--outFile',
    'counting.wasm',
    '--debug',
    ...common,
    '--enable',
    'simd',
    '--transform',
    join(here, 'transform.mjs'),
  ],
  {
    writeFile: (name, contents) => {
      if (name.endsWith('.wasm')) binary = contents;
    },
  },
);
if (error) {
  process.stderr.write(stderr.toString());
  process.exit(1);
}
await mkdir(folder, { recursive: true });
await writeFile(join(folder, 'counting.wasm'), instrument(binary, kindOf));
