/** Saves a model and loads it from its files, a URL and a cache, and prints whether each gives the same logits. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { loadKernels } from '@freelunch/kernels';
import { createModel, loadPretrained, type LanguageModel, savePretrained } from '@freelunch/models';
import { send, serve } from '../../packages/models/tests/server.ts';

const k = await loadKernels({ variant: 'simd' });
const logitsOf = (model: LanguageModel) =>
  model
    .forward([[1, 2, 3, 4, 5]])
    .toArray()
    .join();
const folder = await mkdtemp(join(tmpdir(), 'freelunch-sources-'));
const checkpoint = join(folder, 'checkpoint');
const model = createModel(k, { vocabSize: 11, dModel: 8, nLayers: 2, mixer: { type: 'mamba' }, seed: 3 });
await savePretrained(checkpoint, model);
const wanted = logitsOf(model);
const server = await serve((path, response, request) => {
  readFile(join(checkpoint, path)).then(
    (content) => send(content, response, request),
    () => response.writeHead(404).end(),
  );
});
try {
  const results: Record<string, string> = {};
  const tell = async (name: string, load: () => Promise<LanguageModel>) => {
    const found = await load().then(logitsOf, (error: Error) => `${error.name}: ${error.message}`);
    results[name] = found === wanted ? 'the same' : found;
  };
  const cache = join(folder, 'cache');
  await tell('folder', () => loadPretrained(k, checkpoint));
  await tell('file URL', () => loadPretrained(k, pathToFileURL(checkpoint)));
  await tell('http URL', () => loadPretrained(k, server.url));
  await tell('http URL, into a cache', () => loadPretrained(k, server.url, { cache }));
  await tell('http URL, from a cache', () => loadPretrained(k, server.url, { cache }));
  console.log(JSON.stringify(results));
} finally {
  server.close();
  await rm(folder, { recursive: true });
}
