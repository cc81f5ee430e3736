import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo } from 'node:net';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Tensor } from '@freelunch/kernels';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { bytesSource } from './byte-source.js';
import { loadPretrained } from './checkpoint.js';
import { savePretrained } from './save.js';
import { createModel } from '../language-model.js';
import { encodeSafetensors, loadSafetensors, readTensor } from './safetensors.js';
import {
  k,
  mamba,
  gpt2,
  llama,
  file,
  filesOf,
  jsonOf,
  expectSame,
  placed,
} from '../../tests/checkpoint-samples.js';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 }); // a busy disk may take long to flush
const folder = await mkdtemp(join(tmpdir(), 'freelunch-checkpoint-'));
afterAll(() => rm(folder, { recursive: true }));

/** A server of one folder; `slow` sends model.safetensors in two parts and never the second. */
async function serve(directory: string, slow = false) {
  const requests: string[] = [];
  const answer = async (path: string, response: ServerResponse) => {
    requests.push(path);
    const content = await readFile(join(directory, path.replace('/sub/', '').replace(/\?.*/, ''))).catch(
      () => undefined,
    );
    if (content === undefined) return void response.writeHead(404).end('none');
    response.writeHead(200, { 'content-length': content.length });
    if (slow && path.endsWith('.safetensors')) response.write(content.subarray(0, content.length >> 1));
    else response.end(content);
  };
  const server = createServer((request, response) => void answer(request.url!, response));
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sub`;
  return { url, requests, close: () => (server.closeAllConnections(), server.close()) };
}

describe('loading', () => {
  it('from a URL gives the same model, whole or in shards, and fetches one file once', async () => {
    using model = createModel(k, gpt2);
    const directory = join(folder, 'served');
    for (const maxShardBytes of [Infinity, 2000]) {
      await savePretrained(directory, model, { maxShardBytes });
      const { url, requests, close } = await serve(directory);
      for (const source of [url, new URL(`${url}/?token=1`)]) {
        using back = await loadPretrained(k, source);
        expectSame(back, model);
      }
      if (maxShardBytes === Infinity) {
        expect(requests).toEqual([
          '/sub/config.json',
          '/sub/model.safetensors',
          '/sub/config.json?token=1',
          '/sub/model.safetensors?token=1',
        ]);
      }
      close();
    }
  });

  it('reports its progress over all files and stops where it is told to', async () => {
    using model = createModel(k, llama);
    const directory = join(folder, 'progress');
    await savePretrained(directory, model, { maxShardBytes: 2000 });
    const seen: number[] = [];
    let total = 0;
    using _back = await loadPretrained(k, directory, {
      onProgress: ({ doneBytes, totalBytes }) => {
        seen.push(doneBytes);
        total = totalBytes;
      },
    });
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(total);
    expect(total).toBeGreaterThan(4 * model.parameterCount);

    const { usedBytes } = k.memory;
    const stop = new AbortController();
    const options = { signal: stop.signal, onProgress: () => stop.abort(new Error('enough')) };
    await expect(loadPretrained(k, directory, options)).rejects.toThrow('enough');
    await expect(loadPretrained(k, directory, options)).rejects.toThrow('enough');
    expect(k.memory.usedBytes).toBe(usedBytes);
  });

  it('from a chosen directory takes the files at its top', async () => {
    using model = createModel(k, mamba);
    const [config, weights] = filesOf(jsonOf(model), model.parameters());
    const deeper = file('config.json', '{}');
    placed(config, 'chosen/config.json');
    placed(weights, 'chosen/model.safetensors');
    using back = await loadPretrained(k, [placed(deeper, 'chosen/onnx/config.json'), config, weights]);
    expectSame(back, model);
  });

  it('from a server that stops sending ends when it is told to', async () => {
    using model = createModel(k, llama);
    const directory = join(folder, 'slow');
    await savePretrained(directory, model);
    const { url, close } = await serve(directory, true);
    const { usedBytes } = k.memory;
    await expect(loadPretrained(k, url, { signal: AbortSignal.timeout(200) })).rejects.toThrow(/time|abort/i);
    expect(k.memory.usedBytes).toBe(usedBytes);
    close();
  });

  it('holds no more than a piece of the file beside the weights', async () => {
    const size = 2 ** 22 + 7;
    const tensor = k.zeros([size]);
    const bytes = encodeSafetensors(new Map([['a', tensor as Tensor]]));
    let longest = 0;
    let read = 0;
    const source = bytesSource(bytes);
    const counting = {
      ...source,
      read: (offset: number, length: number) => {
        longest = Math.max(longest, length);
        read += length;
        return source.read(offset, length);
      },
    };
    k.resetPeak();
    const { usedBytes } = k.memory;
    const { tensors } = await loadSafetensors(k, counting);
    expect(longest).toBe(2 ** 22); // 4 MB of 16
    expect(read).toBe(bytes.length); // each byte once
    expect(k.memory.peakBytes - usedBytes).toBe(Math.ceil((4 * size) / 64) * 64);
    await readTensor(
      source,
      { name: 'a', dtype: 'F32', shape: [size], offset: bytes.length - 4 * size, bytes: 4 * size },
      tensor,
    );
    for (const each of [...tensors.values(), tensor]) each.dispose();
  });

  it.each([[undefined], [null], [''], [7], [[]], [[7]], [{}]])('refuses %j for a source', async (source) => {
    await expect(loadPretrained(k, source as never)).rejects.toThrow(/source must be/);
  });
});
