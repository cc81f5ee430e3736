/**
 * Takes over what the kernels were compiled to: the binaries into dist, as files and as a module that holds their bytes,
 * and the types of their exports into src.
 */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const names = { simd: 'simd', relaxedSimd: 'relaxed-simd' };

await copyFile(at('../../../assembly/build/exports.ts'), at('../src/wasm-exports.ts'));
await mkdir(at('../dist'), { recursive: true });
let module = '';
for (const [constant, file] of Object.entries(names)) {
  const source = at(`../../../assembly/build/${file}.wasm`);
  await copyFile(source, at(`../dist/${file}.wasm`));
  module += `export const ${constant} = '${(await readFile(source)).toString('base64')}';\n`;
}
await writeFile(at('../dist/wasm-bytes.js'), module);
