/** The same samples, bit by bit, in Node, in Chromium and in a worker there. Needs the built package. */
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright';
import { build, type Rolldown } from 'vite';
import { expect, it } from 'vitest';
import { chromiumFlags, findChromium } from '../../../tests/browser/chromium.js';

const dist = new URL('../dist/', import.meta.url);
const origin = 'http://tasks.test';

/** Runs in every runtime: what all tasks give, as one number, and how far the files go. */
const digestSource = `async (tasks) => {
  let digest = 0;
  const take = (text) => {
    for (let i = 0; i < text.length; i++) digest = (Math.imul(digest, 31) + text.charCodeAt(i)) | 0;
  };
  for (const name of Object.keys(tasks.factories)) {
    const task = tasks.createTask(name);
    const lines = [...tasks.writeJsonLines(task, { count: 30, seed: 5 })];
    for (const line of lines) take(line);
    const bytes = [...tasks.writeSafetensors(task, { count: 10, seed: 5 })];
    for (const part of bytes) take(Array.from(part).join());
    let read = 0;
    for await (const sample of (await tasks.readJsonLines(new Blob(lines).stream())).samples) {
      read++;
      if (task.verify(sample) !== null) throw new Error(name);
    }
    if (read !== 30 || (await tasks.readSafetensors(bytes)).count !== 10) throw new Error(name);
    take(task.describe());
    take(JSON.stringify(task.locality()));
  }
  return digest;
}`;

/** The package and what it imports as one module, as an application's bundler makes it. */
async function bundled(): Promise<string> {
  const { output } = (await build({
    configFile: false,
    logLevel: 'error',
    build: {
      rolldownOptions: {
        input: fileURLToPath(new URL('index.js', dist)),
        preserveEntrySignatures: 'strict',
      },
      modulePreload: { polyfill: false },
      write: false,
    },
  })) as Rolldown.RolldownOutput;
  return output[0].code;
}

it('gives the same samples in Node, in Chromium and in a worker', async () => {
  // oxlint-disable-next-line no-eval
  const digestOf = (0, eval)(digestSource) as (tasks: unknown) => Promise<number>;
  const inNode = await digestOf(await import(new URL('index.js', dist).href));
  const module = await bundled();
  const browser = await chromium.launch({
    executablePath: findChromium(),
    args: chromiumFlags,
  });
  try {
    const page = await browser.newPage();
    await page.route(`${origin}/**`, (route) => {
      const path = new URL(route.request().url()).pathname.slice(1);
      if (path === '') return route.fulfill({ contentType: 'text/html', body: '<!doctype html>' });
      if (path === 'worker.js') {
        const body = `import * as tasks from './index.js'; (${digestSource})(tasks).then((x) => postMessage(x));`;
        return route.fulfill({ contentType: 'text/javascript', body });
      }
      return route.fulfill({ contentType: 'text/javascript', body: module });
    });
    await page.goto(`${origin}/`);
    const inPage = await page.evaluate(`import('${origin}/index.js').then(${digestSource})`);
    const inWorker = await page.evaluate(`new Promise((done, fail) => {
      const worker = new Worker('${origin}/worker.js', { type: 'module' });
      worker.onmessage = ({ data }) => done(data);
      worker.onerror = (event) => fail(new Error(event.message));
    })`);
    expect(inPage).toBe(inNode);
    expect(inWorker).toBe(inNode);
  } finally {
    await browser.close();
  }
});
