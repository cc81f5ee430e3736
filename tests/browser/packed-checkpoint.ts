import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { loadKernels } from '@freelunch/kernels';
import { configJson, createModel, encodeSafetensors } from '@freelunch/models';
import type { TestProject } from 'vitest/node';

/** Serves a checkpoint from another origin than the tests', packed: browsers hide that it is. */
export default async function setup(project: TestProject): Promise<() => void> {
  const k = await loadKernels({ variant: 'simd' });
  const model = createModel(k, { vocabSize: 11, dModel: 6, nLayers: 2, mixer: { type: 'mamba', dState: 3 } });
  const files = new Map<string, string | Uint8Array>([
    ['/config.json', configJson(model.config)],
    ['/model.safetensors', encodeSafetensors(model.parameters())],
  ]);
  const server = createServer((request, response) => {
    const content = files.get(request.url!);
    const headers = { 'access-control-allow-origin': '*' };
    if (content === undefined) return void response.writeHead(404, headers).end();
    const packed = gzipSync(content);
    response
      .writeHead(200, { ...headers, 'content-encoding': 'gzip', 'content-length': packed.length })
      .end(packed);
  });
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  project.provide('packedCheckpoint', {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    logits: k.scope(() => [...model.forward([1, 2, 3]).data]),
  });
  return () => void server.close();
}
