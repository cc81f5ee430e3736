/**
 * What a user gets: packs every public package, installs the tarballs into an empty project, and there runs them in
 * Node, compiles a strict TypeScript file against them, bundles a page with vite and opens it in Chromium.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright';
import { createServer, preview } from 'vite';

const root = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'freelunch-packed-'));
const run = (command, args, options = {}) =>
  execFileSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });

let passed = 0;
let failed = 0;
async function check(title, test) {
  try {
    await test();
    passed++;
    console.log(`ok ${title}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${title}: ${error.message}\n${error.stdout ?? ''}${error.stderr ?? ''}`);
  }
}

const packages = readdirSync(join(root, 'packages'))
  .map((name) => ({
    path: join(root, 'packages', name),
    ...JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8')),
  }))
  .filter((entry) => entry.private !== true);
const tarballs = [];
for (const entry of packages) {
  await check(`${entry.name} packs its build, its README and its license, and no sources or tests`, () => {
    const [packed] = Object.values(
      JSON.parse(run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: entry.path })),
    );
    tarballs.push(join(folder, packed.filename.replace('@', '').replace('/', '-')));
    const files = packed.files.map((file) => file.path);
    for (const wanted of ['package.json', 'README.md', 'LICENSE']) {
      if (!files.includes(wanted)) throw new Error(`${wanted} is missing among ${files.join(', ')}`);
    }
    if (!files.some((file) => file.startsWith('dist/'))) throw new Error('dist is missing');
    const strange = files.filter((file) => /\.test\.|^src\/|^scripts\//.test(file));
    if (strange.length > 0) throw new Error(`these do not belong: ${strange.join(', ')}`);
  });
}

writeFileSync(
  join(folder, 'package.json'),
  JSON.stringify({ name: 'consumer', private: true, type: 'module' }),
);
await check('the tarballs install into an empty project', () =>
  run('npm', ['install', '--no-audit', '--no-fund', ...tarballs]),
);

const consumer = `
import { loadKernels, ShapeError } from '@freelunch/kernels';
import * as inline from '@freelunch/kernels/inline';
import { random } from '@freelunch/tasks';

export async function consume(): Promise<string> {
  const k = await loadKernels({ variant: 'simd' });
  const embedded = await inline.loadKernels();
  const rng = random(1);
  const u = k.tensor(Float32Array.from({ length: 12 }, () => rng.normal()), [1, 4, 3]);
  const delta = k.tensor(new Float32Array(12).fill(0.1), [1, 4, 3]);
  const A = k.tensor([-1, -2, -1, -2, -1, -2], [3, 2]);
  const B = k.tensor(new Float32Array(8).fill(1), [1, 4, 2]);
  const { y, lastState } = k.selectiveScan({ u, delta, A, B, C: B });
  const values: Float32Array = y.toArray();
  let message = '';
  try {
    k.selectiveScan({ u, delta, A, B, C: u });
  } catch (error) {
    if (error instanceof ShapeError) message = error.message;
  }
  if (!message.startsWith('selectiveScan: C must be')) throw new Error('no clear error: ' + message);
  const product = (kernels: { matmul: typeof k.matmul; tensor: typeof k.tensor }): string => {
    const a = kernels.tensor(Float32Array.from({ length: 128 * 128 }, (_, i) => Math.sin(i)), [128, 128]);
    return kernels.matmul({ a, b: a }).toArray().join();
  };
  for (const load of [loadKernels, inline.loadKernels]) {
    const threads = await load({ variant: 'simd', threads: 2 });
    if (threads.threads !== 2 || product(threads) !== product(k)) throw new Error('other bits with two threads');
    threads.dispose();
  }
  return [values.length, lastState.shape.join('x'), values.every(Number.isFinite), embedded.variant !== undefined].join(' ');
}
`;
const wanted = '12 1x3x2 true true';
writeFileSync(join(folder, 'consumer.ts'), consumer);
writeFileSync(
  join(folder, 'main.ts'),
  "import { consume } from './consumer.js';\n\ndocument.body.textContent = await consume();\n",
);
writeFileSync(
  join(folder, 'index.html'),
  '<!doctype html><title>consumer</title><body></body><script type="module" src="./main.ts"></script>',
);

const bin = (name) => join(root, 'node_modules/.bin', name);
await check('a strict TypeScript file compiles against the installed types', () =>
  run(bin('tsc'), [
    'consumer.ts',
    '--strict',
    '--noImplicitAny',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--lib',
    'es2023,dom,esnext.disposable',
    '--types',
    '',
    '--ignoreConfig',
  ]),
);
await check('the oldest TypeScript that the READMEs name compiles it without the newest lib', () => {
  run('npm', ['install', '--no-audit', '--no-fund', '--no-save', 'typescript-5.7@npm:typescript@5.7']);
  run('node', [
    'node_modules/typescript-5.7/bin/tsc',
    'consumer.ts',
    '--strict',
    '--noEmit',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--lib',
    'es2022,dom',
    '--typeRoots',
    'no-types',
  ]);
});
await check('the installed packages run in Node', () => {
  const printed = run('node', [
    '--input-type=module',
    '-e',
    "console.log(await (await import('./consumer.js')).consume())",
  ]).trim();
  if (printed !== wanted) throw new Error(`wanted ${wanted}, got ${printed}`);
});
await check('the freelunch command runs from its tarball', () => {
  writeFileSync(join(folder, 'text.txt'), 'What is kept, and what is lost? '.repeat(4));
  const args = ['copy', 'text.txt', '--lengths', '32', '--states', '16,32', '--json'];
  const { rows } = JSON.parse(run(join(folder, 'node_modules/.bin/freelunch'), args));
  if (!(rows?.length > 0)) throw new Error('no rows');
  const freelunch = (...words) => run(join(folder, 'node_modules/.bin/freelunch'), words);
  freelunch('tasks', 'export', 'mqar', '--count', '10', '--out', 'mqar.safetensors');
  if (!freelunch('tasks', 'verify', 'mqar.safetensors').includes('the same'))
    throw new Error('not the same file');
});
await check('the freelunch command says what to install for --redis', () => {
  if (existsSync(join(folder, 'node_modules/bullmq'))) throw new Error('bullmq is installed unasked');
  const args = ['worker', '--redis', 'redis://127.0.0.1:1'];
  const { status, stderr } = spawnSync(join(folder, 'node_modules/.bin/freelunch'), args, {
    cwd: folder,
    encoding: 'utf8',
  });
  const wanted =
    'freelunch worker: --redis needs the package bullmq, which is not installed: npm install bullmq@5\n';
  if (status !== 2 || stderr !== wanted) throw new Error(`wanted ${wanted}, got ${status}: ${stderr}`);
});
await check('a page bundled by vite, and one served by it, run in Chromium', async () => {
  run(bin('vite'), ['build', '--logLevel', 'error', '--target', 'es2022']);
  const assets = readdirSync(join(folder, 'dist/assets'));
  if (assets.filter((file) => file.endsWith('.wasm')).length !== 2)
    throw new Error(`the binaries were not bundled: ${assets.join(', ')}`);
  await inPage('/index.html', folder);
});

/** Opens a page of a folder in Chromium, and compares the text that it shows. */
async function inPage(address, served) {
  const loader = await createServer({
    root: join(root, 'tests'),
    configFile: false,
    logLevel: 'error',
    server: { middlewareMode: true, ws: false },
  });
  const { findChromium, chromiumFlags } = await loader.ssrLoadModule('/browser/chromium.ts');
  await loader.close();
  const browser = await chromium.launch({ executablePath: findChromium(), args: chromiumFlags });
  // Without these a page has no threads.
  const headers = {
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
  };
  const server = await preview({
    root: served,
    configFile: false,
    logLevel: 'error',
    preview: { port: 0, headers },
  });
  try {
    const page = await browser.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(new URL(address, server.resolvedUrls.local[0]).href);
    await page
      .waitForFunction(() => document.body.textContent.trim() !== '', undefined, { timeout: 20_000 })
      .catch(() => {});
    const text = (await page.textContent('body')).trim();
    if (text !== wanted) throw new Error(`wanted ${wanted}, got '${text}' ${errors.join('; ')}`);
  } finally {
    await browser.close();
    await server.close();
  }
}

// Other bundlers: the entry that has the binaries inside, since not all of them follow `new URL(...)`.
const page = (script) =>
  `<!doctype html><title>consumer</title><body></body><script type="module" src="./${script}"></script>`;
writeFileSync(
  join(folder, 'inline.js'),
  readFileSync(join(folder, 'consumer.js'), 'utf8').replace(
    "from '@freelunch/kernels'",
    "from '@freelunch/kernels/inline'",
  ),
);
writeFileSync(
  join(folder, 'inline-main.js'),
  "import { consume } from './inline.js';\n\nconsume().then((text) => (document.body.textContent = text), (error) => (document.body.textContent = error.message));\n",
);
await check('bundlers install', () =>
  run('npm', ['install', '--no-audit', '--no-fund', 'esbuild@0.27', 'webpack@5', 'webpack-cli@6']),
);
writeFileSync(
  join(folder, 'files-main.js'),
  readFileSync(join(folder, 'inline-main.js'), 'utf8').replace('./inline.js', './consumer.js'),
);
for (const [bundler, name, ...args] of [
  [
    'esbuild',
    'esbuild',
    'inline-main.js',
    '--bundle',
    '--minify',
    '--format=esm',
    '--outfile=dist/esbuild.js',
  ],
  [
    'webpack',
    'webpack',
    './inline-main.js',
    '--mode',
    'production',
    '-o',
    'dist',
    '--output-filename',
    'webpack.js',
  ],
  // It follows `new URL(...)`: the binaries lie beside the script.
  [
    'webpack',
    'webpack-files',
    './files-main.js',
    '--mode',
    'production',
    '-o',
    'dist',
    '--output-filename',
    'webpack-files.js',
  ],
]) {
  await check(`a page bundled by ${bundler} (${name}) runs in Chromium, with threads`, async () => {
    run(join(folder, 'node_modules/.bin', bundler), args);
    writeFileSync(join(folder, 'dist', `${name}.html`), page(`${name}.js`));
    await inPage(`/${name}.html`, folder);
  });
}

await check(
  'a page bundled by esbuild says what is missing, and runs once the binaries lie next to it',
  async () => {
    const args = ['main.js', '--bundle', '--minify', '--format=esm', '--outfile=dist/files/esbuild.js'];
    writeFileSync(
      join(folder, 'main.js'),
      readFileSync(join(folder, 'inline-main.js'), 'utf8').replace('./inline.js', './consumer.js'),
    );
    run(join(folder, 'node_modules/.bin/esbuild'), args);
    writeFileSync(join(folder, 'dist/files/index.html'), page('esbuild.js'));
    const missing = await inPage('/files/index.html', folder).catch((error) => error.message);
    if (
      !/simd.wasm must be a binary, got .*copy node_modules\/@freelunch\/kernels\/dist\/simd.wasm/.test(
        missing,
      )
    )
      throw new Error(`no clear error: ${missing}`);
    for (const name of ['simd.wasm', 'relaxed-simd.wasm'])
      copyFileSync(
        join(folder, 'node_modules/@freelunch/kernels/dist', name),
        join(folder, 'dist/files', name),
      );
    await inPage('/files/index.html', folder);
  },
);

await check('the package freelunch has the command and all packages in one import', () => {
  const printed = run('node', [
    '--input-type=module',
    '-e',
    "import { createModel, loadKernels, tasks, complexity } from 'freelunch'; console.log([createModel, loadKernels, tasks.copy, complexity.cost].map((f) => typeof f).join())",
  ]).trim();
  if (printed !== 'function,function,function,function') throw new Error(printed);
});

await check('a model runs in a worker of the installed packages, in Node', () => {
  const printed = run('node', [
    '--input-type=module',
    '-e',
    "import { startWorker } from '@freelunch/models/worker'; const worker = await startWorker({ variant: 'simd' }); const model = await worker.createModel({ vocabSize: 5, dModel: 8, nLayers: 1, mixer: { type: 'mamba' } }); let n = 0; for await (const token of model.generate([1], { maxTokens: 4 })) n++; console.log(n); worker.terminate()",
  ]).trim();
  if (printed !== '4') throw new Error(`wanted 4 tokens, got ${printed}`);
});

rmSync(folder, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
