/** Which build of freelunch this is. Rows are the same to the bit only where kernels and experiments are. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What the rows of experiments come from. */
const PACKAGES = [
  'errors',
  'random',
  'config',
  'kernels',
  'autograd',
  'tasks',
  'complexity',
  'models',
  'constructions',
];

let known: string | undefined;

/** The version, then a digest of all code and kernels that rows come from: `0.1.0+1f3870be274f`. */
export function buildOf(): string {
  known ??= computed();
  return known;
}

function computed(): string {
  const lab = fileURLToPath(new URL('../..', import.meta.url));
  const { version } = JSON.parse(readFileSync(join(lab, 'package.json'), 'utf8')) as { version: string };
  const digest = createHash('sha256');
  const folders = [join(lab, 'dist')];
  const { resolve } = createRequire(import.meta.url);
  for (const name of PACKAGES)
    folders.push(join(dirname(resolve(`@freelunch/${name}/package.json`)), 'dist'));
  folders.forEach((folder, i) => {
    for (const file of codeIn(folder)) {
      digest.update(`${i}/${file}\0`);
      digest.update(readFileSync(join(folder, file)));
    }
  });
  return `${version}+${digest.digest('hex').slice(0, 12)}`;
}

const codeIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => /\.(js|mjs|wasm)$/.test(name))
    .sort();
