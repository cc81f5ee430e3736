// Puts the counting build of the kernels beside the compiled experiments that count with it.
import { copyFileSync } from 'node:fs';

const from = new URL('../../../assembly/build/counting.wasm', import.meta.url);
copyFileSync(from, new URL('../dist/counting.wasm', import.meta.url));
