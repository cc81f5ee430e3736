import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { loadKernels } from '@freelunch/kernels';
import { configJson, createModel, encodeSafetensors } from '@freelunch/models';
import type { TestProject } from 'vitest/node';

interface Asked {
  host: string;
  path: string;
  range?: string;
  authorization?: string;
}

const CORS = { 'access-control-allow-origin': '*', 'access-control-allow-headers': 'authorization' };
const BROKEN_AFTER = 10_000_000;
const PACKED_AFTER = 2_000_000;

/**
 * Serves a checkpoint of three pieces of the cache from another origin than the tests', in the folder that its path begins
 * with: `exposed` shows its ETag to pages, `dated` has only a date, `broken` breaks its weights off where no Range is asked
 * for, `packed` does so too and packs them, `away` redirects to another host. `log` gives all requests since it was asked last.
 */
export default async function setup(project: TestProject): Promise<() => void> {
  const k = await loadKernels({ variant: 'simd' });
  const model = createModel(k, {
    vocabSize: 30_000,
    dModel: 160,
    nLayers: 1,
    mixer: { type: 'mamba', dState: 3 },
  });
  const files: Record<string, Uint8Array> = {
    'config.json': new TextEncoder().encode(configJson(model.config)),
    'model.safetensors': encodeSafetensors(model.parameters()),
  };
  const packed = gzipSync(files['model.safetensors'], { level: 1 });
  const asked: Asked[] = [];

  const reply = (host: string, away: string) => (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url!.slice(1);
    for (const [name, value] of Object.entries(CORS)) response.setHeader(name, value);
    if (request.method === 'OPTIONS') return void response.writeHead(204).end();
    if (path === 'log') return void response.end(JSON.stringify(asked.splice(0)));
    const { range, authorization } = request.headers;
    asked.push({ host, path, range, authorization });
    const [kind, file] = path.split('/');
    const content = files[file];
    if (content === undefined) return void response.writeHead(404).end();
    if (kind === 'away' && host === 'home')
      return void response.writeHead(302, { location: `${away}/${path}` }).end();
    if (kind === 'dated') response.setHeader('last-modified', 'Sat, 01 Jan 2022 00:00:00 GMT');
    else {
      response.setHeader('etag', '"1"');
      response.setHeader('access-control-expose-headers', 'etag, content-range');
    }
    const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    const isWeights = file === 'model.safetensors';
    if (kind === 'packed' && isWeights && range === undefined) {
      const broken = !asked.slice(0, -1).some((before) => before.path === path);
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.length });
      if (!broken) return void response.end(packed);
      response.write(packed.subarray(0, PACKED_AFTER), () => setTimeout(() => response.destroy(), 200));
      return;
    }
    if (range !== undefined)
      response.setHeader('content-range', `bytes ${start}-${content.length - 1}/${content.length}`);
    response.writeHead(range === undefined ? 200 : 206, { 'content-length': content.length - start });
    if (kind !== 'broken' || !isWeights || range !== undefined)
      return void response.end(content.subarray(start));
    response.write(content.subarray(0, BROKEN_AFTER), () => setTimeout(() => response.destroy(), 200));
  };
  const listen = async (host: string, away: string) => {
    const server = createServer(reply(host, away));
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
    return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  };
  const other = await listen('other', '');
  const home = await listen('home', other.url);
  project.provide('cachedCheckpoint', {
    url: home.url,
    logits: k.scope(() => [...model.forward([1, 2, 3], { lastOnly: true }).data.subarray(0, 100)]),
  });
  return () => {
    for (const { server } of [home, other]) {
      server.closeAllConnections();
      server.close();
    }
  };
}
