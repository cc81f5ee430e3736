/** Serves pages of these tests, with what lets them have threads, and takes their answers. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'vite';

export async function servePages() {
  const cacheDir = mkdtempSync(join(tmpdir(), 'freelunch-pages-'));
  const waiting = [];
  const server = await createServer({
    root: join(import.meta.dirname, '..'),
    configFile: false,
    logLevel: 'error',
    cacheDir,
    server: {
      port: 0,
      host: '127.0.0.1',
      hmr: false,
      headers: {
        'Cross-Origin-Opener-Policy': 'same-origin',
        'Cross-Origin-Embedder-Policy': 'require-corp',
      },
    },
    plugins: [
      {
        name: 'answer',
        configureServer: ({ middlewares }) => {
          middlewares.use('/answer', (request, response) => {
            let body = '';
            request.on('data', (chunk) => (body += chunk));
            request.on('end', () => {
              response.end();
              waiting.shift()?.(JSON.parse(body));
            });
          });
        },
      },
    ],
  });
  await server.listen();
  return {
    urlOf: (name) => new URL(`/runtimes/${name}`, server.resolvedUrls.local[0]).href,
    /** What a page tells next. @throws if it tells nothing for so long */
    answer: (patienceMs) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no answer for ${patienceMs / 1000} s`)), patienceMs);
        waiting.push((answer) => {
          clearTimeout(timer);
          resolve(answer);
        });
      }),
    close: async () => {
      await server.close();
      rmSync(cacheDir, { recursive: true, force: true });
    },
  };
}
