/**
 * Other runtimes: computes the digests of all cases in newer Node, Deno, Bun, workerd, Firefox and WebKit, and compares
 * them with those of the Node that runs this; loads a model from files and URLs where there are both; and closes a page
 * while its threads compute. Runtimes come from the npm registry, as packages that hold their binaries, and are kept in
 * a folder of the system's temporary files; browsers are Debian's, and passed over where there are none and none can be
 * installed.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'vite';
import { askBrowser, browsers, findBrowser } from './browsers.mjs';
import { closeBusyPage } from './closed-page.mjs';
import { askWorkerd } from './workerd.mjs';

const script = (name) => join(import.meta.dirname, name);
const runtimes = [
  { name: 'node', version: '22', command: ['node'] },
  { name: 'node', version: '26', command: ['node'] },
  { name: 'deno', version: '2', command: ['deno', 'run', '--allow-all', '--quiet'] },
  { name: 'bun', version: '1', command: ['bun', 'run'] },
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
async function check(title, test) {
  try {
    const said = await test();
    passed++;
    console.log(`ok ${title}${said === undefined ? '' : `: ${said}`}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${title}: ${error.message}`);
  }
}

/** The path of a runtime's binary, installed if it is not there. */
function install(name, version, binary = name) {
  const folder = join(tmpdir(), 'freelunch-runtimes', `${name}-${version}`);
  const path = join(folder, 'node_modules', '.bin', binary);
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{"private":true}');
    execFileSync('npm', ['install', '--no-audit', '--no-fund', `${name}@${version}`], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  return path;
}

/** @throws if digests differ from those of this Node */
function compareFiles(files) {
  if (JSON.stringify(files) === here) return;
  const wanted = JSON.parse(here);
  const different = Object.keys(wanted).filter((key) => wanted[key] !== files[key]);
  throw new Error(
    `other bits than Node ${process.version} in ${different.length} cases: ${different.slice(0, 5).join('; ')}`,
  );
}

/** @throws if a report is not of the same bits in every way */
function compare({ error, variants, files, twoThreads, inlineIsTheSame }) {
  if (error !== undefined) throw new Error(error);
  compareFiles(files);
  if (twoThreads !== 'the same') throw new Error(`two threads: ${twoThreads}`);
  if (!inlineIsTheSame) throw new Error('the inline entry gives other bits');
  return `${Object.keys(files).length} cases, the same bits as Node ${process.version}; variants ${variants.join(', ')}`;
}

for (const { name, version, command } of runtimes) {
  const run = (file) =>
    JSON.parse(
      execFileSync(install(name, version), [...command.slice(1), script(file)], {
        maxBuffer: 2 ** 26,
        encoding: 'utf8',
      }),
    );
  await check(`${name} ${version}`, () => {
    const report = run('print-digests.ts');
    if (!report.variants.includes('relaxed-simd'))
      throw new Error(`variants are ${report.variants.join(', ')}`);
    return compare(report);
  });
  await check(`${name} ${version} loads a model from files and URLs`, () => {
    const sources = Object.entries(run('print-sources.ts'));
    const different = sources.filter(([, found]) => found !== 'the same');
    if (different.length > 0) throw new Error(different.map((one) => one.join(': ')).join('; '));
    return sources.map(([source]) => source).join('; ');
  });
}
await check('workerd', async () => {
  const { error, files, threads } = await askWorkerd(install('workerd', '1'));
  if (error !== undefined) throw new Error(error);
  compareFiles(files);
  if (threads !== 1) throw new Error(`'auto' gives ${threads} threads`);
  return `${Object.keys(files).length} cases, the same bits as Node ${process.version}`;
});
for (const browser of browsers) {
  const command = findBrowser(browser);
  if (command === undefined) {
    console.log(
      `passed over ${browser.name}: there is none, and apt-get cannot install ${browser.packages.join(' ')}`,
    );
  } else {
    await check(browser.name, async () => compare(await askBrowser(browser, command)));
  }
}
await check(
  'a page that is closed in the middle of a call ends its threads, and others can have some',
  closeBusyPage,
);

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
