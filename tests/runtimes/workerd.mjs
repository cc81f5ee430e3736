/** workerd, the runtime of Cloudflare's Workers: serves a worker, bundled with the cases, and asks it. */
import { spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const PATIENCE_MS = 120_000;

const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [(name = "http", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    (name = "simd.wasm", wasm = embed "simd.wasm"),
  ],
  compatibilityDate = "2025-01-01",
);
`;

/** @param binary the path of workerd @returns what the worker answers */
export async function askWorkerd(binary) {
  const folder = mkdtempSync(join(tmpdir(), 'freelunch-workerd-'));
  await build({
    root: join(import.meta.dirname, '..'),
    configFile: false,
    logLevel: 'error',
    build: {
      ssr: join(import.meta.dirname, 'worker.mjs'),
      target: 'es2022',
      outDir: folder,
      rollupOptions: { external: ['./simd.wasm'], output: { entryFileNames: 'worker.js' } },
    },
    ssr: { noExternal: true, target: 'webworker' },
  });
  copyFileSync(fileURLToPath(import.meta.resolve('@freelunch/kernels/simd.wasm')), join(folder, 'simd.wasm'));
  writeFileSync(join(folder, 'config.capnp'), config);
  const address = `127.0.0.1:${await freePort()}`;
  const workerd = spawn(binary, ['serve', join(folder, 'config.capnp'), '--socket-addr', `http=${address}`], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  let ended;
  workerd.on('exit', (code) => (ended = new Error(`workerd ended with ${code}`)));
  workerd.on('error', (error) => (ended = error));
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    for (;;) {
      try {
        return await (await fetch(`http://${address}`, { signal })).json();
      } catch (error) {
        if (ended !== undefined) throw ended;
        if (signal.aborted || error.cause?.code !== 'ECONNREFUSED') throw error;
        await new Promise((resolve) => setTimeout(resolve, 100)); // it is still starting
      }
    }
  } finally {
    workerd.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
