/** A page that is closed in the middle of a call, while its threads compute. */
import { join } from 'node:path';
import { chromium } from 'playwright';
import { createServer } from 'vite';
import { servePages } from './page-server.mjs';

const PATIENCE_MS = 120_000;
const WATCHED_MS = 1000;

/** @throws if the page cannot be closed, leaves threads that compute, or lets no other page have some */
export async function closeBusyPage() {
  const { findChromium, chromiumFlags } = await chromiumTools();
  const pages = await servePages();
  const browser = await chromium.launch({ executablePath: findChromium(), args: chromiumFlags });
  try {
    const session = await browser.newBrowserCDPSession();
    /** Seconds that the processes of pages have computed. */
    const computed = async () => {
      const { processInfo } = await session.send('SystemInfo.getProcessInfo');
      return processInfo.reduce((total, { type, cpuTime }) => total + (type === 'renderer' ? cpuTime : 0), 0);
    };
    const compute = async () => {
      const page = await browser.newPage();
      const answer = pages.answer(PATIENCE_MS);
      await page.goto(pages.urlOf('busy.html'));
      const { threads } = await answer;
      if (threads !== 3) throw new Error(`a page has ${threads} threads`);
      return page;
    };
    const busy = await compute();
    const before = await computed();
    await sleep(WATCHED_MS);
    const whileOpen = (await computed()) - before;
    if (whileOpen < 0.1) throw new Error(`the page computed only ${whileOpen} s in a second`);
    await busy.close();
    await sleep(WATCHED_MS); // for its process to end
    const after = await computed();
    await sleep(WATCHED_MS);
    const whileClosed = (await computed()) - after;
    if (whileClosed > 0.1) throw new Error(`what the page left computes ${whileClosed} s in a second`);
    await (await compute()).close();
  } finally {
    await browser.close();
    await pages.close();
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function chromiumTools() {
  const loader = await createServer({
    root: join(import.meta.dirname, '..'),
    configFile: false,
    logLevel: 'error',
    server: { middlewareMode: true, ws: false },
  });
  try {
    return await loader.ssrLoadModule('/browser/chromium.ts');
  } finally {
    await loader.close();
  }
}
