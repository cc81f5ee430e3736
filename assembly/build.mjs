/**
 * Compiles src/index.ts to build/simd.wasm and build/relaxed-simd.wasm: one source, two binaries. Beside them,
 * build/exports.ts: the types of what they export.
 * `node build.mjs --entry src/x.ts --out DIR` compiles another entry (to try a kernel alone).
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { main } from 'assemblyscript/asc';
import { common } from './options.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({
  options: {
    entry: { type: 'string', default: 'src/index.ts' },
    out: { type: 'string', default: join(here, 'build') },
    text: { type: 'boolean', default: false },
  },
});

// prettier-ignore
const optimised = [
  ...common, '-O3', '--converge', '--transform', join(here, 'inlining.mjs'),
  '--runPasses', 'coalesce-locals,reorder-locals,vacuum', // once more: 0.4 % of the binary
];
const variants = {
  simd: ['--enable', 'simd', '--transform', join(here, 'exports.mjs')],
  'relaxed-simd': ['--enable', 'simd,relaxed-simd'],
};

const out = resolve(values.out);
await mkdir(out, { recursive: true });
for (const [variant, features] of Object.entries(variants)) {
  const files = ['--outFile', `${variant}.wasm`, ...(values.text ? ['--textFile', `${variant}.wat`] : [])];
  const { error, stderr } = await main([resolve(here, values.entry), ...files, ...optimised, ...features], {
    stdout: process.stdout,
    writeFile: (name, contents) => writeFile(join(out, name), contents),
  });
  if (error) {
    process.stderr.write(stderr.toString());
    process.exit(1);
  }
}
