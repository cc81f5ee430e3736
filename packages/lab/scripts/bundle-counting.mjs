// Puts the counting build of the kernels beside the compiled experiments that count with it.
import { copyFileSync, mkdirSync } from 'node:fs';

const from = new URL('../../../assembly/build/counting.wasm', import.meta.url);
mkdirSync(new URL('../build/', import.meta.url), { recursive: true });
copyFileSync(from, new URL('../build/counting.wasm', import.meta.url));
