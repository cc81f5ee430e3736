/**
 * What others reach with the same weights: llama.cpp compiled for this machine (node-llama-cpp) and for WASM (wllama, in
 * Chromium). Both are installed into a folder of their own when they are asked for.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, extname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { LanguageModel } from '@freelunch/models';
import { type GgufDType, ggufOf } from './gguf.js';

/** One that runs a model: milliseconds per token. */
export interface Contender {
  name: string;
  dtype: string;
  threads: number;
  bytes: number;
  decode(tokens: number): Promise<number> | number;
  prompt(tokens: number): Promise<number> | number;
}

const LLAMA = '3.22.1';
const WLLAMA = '3.13.0';
const folder = fileURLToPath(new URL('../peers', import.meta.url));

async function install(): Promise<void> {
  if (existsSync(join(folder, 'node_modules', '@wllama', 'wllama'))) return;
  await mkdir(folder, { recursive: true });
  const packages = [
    `node-llama-cpp@${LLAMA}`,
    `@node-llama-cpp/${process.platform}-${process.arch}@${LLAMA}`,
    `@wllama/wllama@${WLLAMA}`,
  ];
  const options = [
    '--no-save',
    '--no-package-lock',
    '--ignore-scripts',
    '--omit=optional',
    '--no-audit',
    '--no-fund',
  ];
  const { status } = spawnSync('npm', ['install', ...options, '--prefix', folder, ...packages], {
    cwd: folder,
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error(`peers: npm install must succeed in ${folder}, got exit code ${status}`);
}

interface Sequence {
  evaluate(tokens: number[], options: object): AsyncGenerator<number>;
  evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>;
  clearHistory(): Promise<void>;
}
interface Llama {
  loadModel(options: object): Promise<{
    createContext(options: object): Promise<{ getSequence(): Sequence }>;
  }>;
}

/** llama.cpp for this machine, one thread. */
async function native(path: string, dtype: GgufDType, bytes: number): Promise<Contender> {
  const entry = pathToFileURL(join(folder, 'node_modules', 'node-llama-cpp', 'dist', 'index.js')).href;
  const { getLlama } = (await import(entry)) as { getLlama(options: object): Promise<Llama> };
  const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error' });
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  const context = await model.createContext({ contextSize: 1024, batchSize: 512, threads: 1 });
  const sequence = context.getSequence();
  return {
    name: 'llama.cpp',
    dtype,
    threads: 1,
    bytes,
    async decode(tokens) {
      await sequence.clearHistory();
      let start = 0;
      let count = -1; // the first token is that of the prompt
      for await (const _ of sequence.evaluate([1], { temperature: 0, yieldEogToken: true })) {
        if (++count === 0) start = performance.now();
        if (count === tokens) break;
      }
      return (performance.now() - start) / tokens;
    },
    async prompt(tokens) {
      await sequence.clearHistory();
      const start = performance.now();
      await sequence.evaluateWithoutGeneratingNewTokens(Array.from({ length: tokens }, (_, i) => i % 26));
      return (performance.now() - start) / tokens;
    },
  };
}

/** What the page of wllama offers. */
interface WllamaPage {
  load(name: string): Promise<void>;
  run(prompt: string, tokens: number): Promise<{ promptMs: number; decodeMs: number; promptTokens: number }>;
}

const page = `<!doctype html><title>wllama</title><script type="module">
import { Wllama } from '/wllama/index.js';
let one;
globalThis.load = async (name) => {
  one = new Wllama({ default: '/wllama/wasm/wllama.wasm' }, { suppressNativeLog: true });
  const blob = await (await fetch('/models/' + name)).blob();
  await one.loadModel([blob], { n_ctx: 1024, n_batch: 512, n_threads: 1, n_gpu_layers: 0 });
};
globalThis.run = async (prompt, tokens) => {
  const { timings } = await one.createCompletion({ prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, cache_prompt: false });
  return { promptMs: timings.prompt_ms, promptTokens: timings.prompt_n, decodeMs: timings.predicted_ms / timings.predicted_n };
};
globalThis.ready = true;
</script>`;

const types: Record<string, string> = {
  '.js': 'text/javascript',
  '.wasm': 'application/wasm',
  '.html': 'text/html',
};

/** Serves the page, wllama and the models. */
async function serve(models: string): Promise<{ url: string; close: () => void }> {
  const wllama = join(folder, 'node_modules', '@wllama', 'wllama', 'esm');
  const server = createServer((request, response) => {
    const path = new URL(request.url!, 'http://localhost').pathname;
    const respond = (body: string | Uint8Array, type: string) =>
      response.writeHead(200, { 'content-type': type }).end(body);
    if (path === '/') {
      respond(page, 'text/html');
      return;
    }
    const [, kind, ...rest] = path.split('/');
    const file = join(kind === 'models' ? models : wllama, ...rest);
    readFile(file).then(
      (body) => respond(body, types[extname(file)] ?? 'application/octet-stream'),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close: () => server.close() };
}

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

/** FREELUNCH_CHROMIUM, or one on the PATH, or else Playwright's. */
function findChromium(playwrights: string): string {
  const named = process.env.FREELUNCH_CHROMIUM;
  const folders = (process.env.PATH ?? '').split(delimiter);
  const paths = folders.flatMap((of) =>
    ['chromium', 'chromium-browser', 'google-chrome'].map((name) => join(of, name)),
  );
  return named ?? [...paths, playwrights].find(existsSync) ?? playwrights;
}

/** Contenders for these dtypes, and how to end them. */
export async function loadPeers(
  model: LanguageModel,
  dtypes: readonly GgufDType[],
): Promise<{ contenders: Contender[]; close: () => Promise<void> }> {
  await install();
  const directory = await mkdtemp(join(tmpdir(), 'freelunch-peers-'));
  const { chromium } = await import('playwright');
  const server = await serve(directory);
  const browser = await chromium.launch({
    executablePath: findChromium(chromium.executablePath()),
    args: flags,
  });
  const contenders: Contender[] = [];
  for (const dtype of dtypes) {
    const name = `${dtype}.gguf`;
    const path = join(directory, name);
    const file = await open(path, 'w');
    let bytes = 0;
    for (const part of ggufOf(model, dtype)) {
      await file.write(part);
      bytes += part.length;
    }
    await file.close();
    contenders.push(await native(path, dtype, bytes));
    const tab = await browser.newPage();
    await tab.goto(server.url);
    await tab.waitForFunction(() => (globalThis as { ready?: boolean }).ready);
    await tab.evaluate((of) => (globalThis as unknown as WllamaPage).load(of), name);
    const run = (prompt: string, tokens: number) =>
      tab.evaluate(([text, count]) => (globalThis as unknown as WllamaPage).run(text, count), [
        prompt,
        tokens,
      ] as const);
    contenders.push({
      name: 'wllama',
      dtype,
      threads: 1,
      bytes,
      decode: async (tokens) => (await run('a', tokens)).decodeMs,
      async prompt(tokens) {
        const { promptMs, promptTokens } = await run(
          'abcdefghijklmnopqrstuvwxyz'.repeat(tokens / 26 + 1).slice(0, tokens),
          1,
        );
        return promptMs / promptTokens;
      },
    });
  }
  const close = async () => {
    await browser.close();
    server.close();
    await rm(directory, { recursive: true });
  };
  return { contenders, close };
}
