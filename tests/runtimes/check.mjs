/**
 * The same bits in other runtimes: computes the digests of all cases in newer Node, Deno and Bun, and compares them
 * with those of the Node that runs this. The runtimes come from the npm registry, as packages that hold their
 * binaries; they are kept in a folder of the system's temporary files.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'vite';

const script = join(import.meta.dirname, 'print-digests.ts');
const runtimes = [
  { name: 'node', version: '22', command: ['node'], relaxed: true },
  { name: 'node', version: '26', command: ['node'], relaxed: true },
  { name: 'deno', version: '2', command: ['deno', 'run', '--allow-all', '--quiet'], relaxed: true },
  { name: 'bun', version: '1', command: ['bun', 'run'], relaxed: true },
];

// This Node may be too old to read TypeScript: vite does it.
const vite = await createServer({
  root: join(import.meta.dirname, '..'),
  configFile: false,
  logLevel: 'error',
  server: { middlewareMode: true, ws: false },
  optimizeDeps: { noDiscovery: true },
  ssr: {
    external: [
      '@freelunch/kernels',
      '@freelunch/kernels/reference',
      '@freelunch/kernels/internals',
      '@freelunch/tasks',
    ],
  },
});
const { digests } = await vite.ssrLoadModule('/digest.ts');
const { loadKernels } = await import('@freelunch/kernels');
const here = JSON.stringify(await digests(await loadKernels({ variant: 'simd' })));
await vite.close();

let passed = 0;
let failed = 0;
for (const { name, version, command, relaxed } of runtimes) {
  const folder = join(tmpdir(), 'freelunch-runtimes', `${name}-${version}`);
  const title = `${name} ${version}`;
  try {
    const binary = join(folder, 'node_modules', '.bin', command[0]);
    if (!existsSync(binary)) {
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'package.json'), '{"private":true}');
      execFileSync('npm', ['install', '--no-audit', '--no-fund', `${name}@${version}`], {
        cwd: folder,
        stdio: ['ignore', 'ignore', 'inherit'],
      });
    }
    const printed = execFileSync(binary, [...command.slice(1), script], {
      maxBuffer: 2 ** 26,
      encoding: 'utf8',
    });
    const { variants, files, twoThreadsAreTheSame, inlineIsTheSame } = JSON.parse(printed);
    if (JSON.stringify(files) !== here) {
      const wanted = JSON.parse(here);
      const different = Object.keys(wanted).filter((key) => wanted[key] !== files[key]);
      throw new Error(
        `other bits than Node ${process.version} in ${different.length} cases: ${different.slice(0, 5).join('; ')}`,
      );
    }
    if (!twoThreadsAreTheSame) throw new Error('two threads give other bits');
    if (!inlineIsTheSame) throw new Error('the inline entry gives other bits');
    if (relaxed !== variants.includes('relaxed-simd')) throw new Error(`variants are ${variants.join(', ')}`);
    passed++;
    console.log(
      `ok ${title}: ${Object.keys(files).length} cases, the same bits as Node ${process.version}; variants ${variants.join(', ')}`,
    );
  } catch (error) {
    failed++;
    console.log(`FAILED ${title}: ${error.message}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
