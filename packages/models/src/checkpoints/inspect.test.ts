import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileError, FormatError, UnsupportedError } from '@freelunch/errors';
import { loadKernels } from '@freelunch/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import { sampleOf } from '../../tests/gguf-samples.js';
import { type Entry, writeGguf } from '../../tests/gguf-writer.js';
import { serve } from '../../tests/server.js';
import { createModel, type ModelConfig } from '../index.js';
import { bytesSource } from './byte-source.js';
import { inspectPretrained } from './inspect.js';
import { encodeSafetensors } from './safetensors.js';
import { savePretrained } from './save.js';

const k = await loadKernels({ variant: 'simd' });
const config: ModelConfig = { vocabSize: 40, dModel: 32, nLayers: 2, mixer: { type: 'mamba', dState: 3 } };
const model = createModel(k, config);
const folder = await mkdtemp(join(tmpdir(), 'freelunch-inspect-'));
const put = (name: string, json: unknown) => writeFile(join(folder, name), JSON.stringify(json));
await savePretrained(folder, model, { dtype: 'BF16' });
afterAll(() => rm(folder, { recursive: true }));

describe('inspectPretrained', () => {
  it('tells what a folder holds', async () => {
    const { config: found, tensors, fileBytes, ...rest } = await inspectPretrained(folder);
    expect(rest).toEqual({ format: 'safetensors', architecture: 'mamba', obstacle: undefined, hasTokenizer: false, endTokens: [] }); // prettier-ignore
    expect(found.nLayers).toBe(2);
    expect(tensors.map(({ name }) => name).sort()).toEqual([...model.parameters().keys()].sort());
    expect(tensors.find(({ name }) => name === 'backbone.embeddings.weight')).toEqual({ name: 'backbone.embeddings.weight', shape: [40, 32], dtype: 'BF16', bytes: 40 * 32 * 2, file: 'model.safetensors' }); // prettier-ignore
    expect(tensors.reduce((total, { bytes }) => total + bytes, 0)).toBeLessThan(fileBytes);
    expect((await inspectPretrained(folder, { weights: false })).tensors).toEqual([]);
  });

  it('knows the tokenizer, and the tokens that end a text: those of generation_config.json first', async () => {
    await put('tokenizer.json', {});
    const base = { model_type: 'mamba', vocab_size: 40, hidden_size: 32, num_hidden_layers: 2 };
    await put('config.json', { ...base, eos_token_id: 7 });
    expect(await inspectPretrained(folder)).toMatchObject({ hasTokenizer: true, endTokens: [7] });
    await put('generation_config.json', { eos_token_id: [3, 5, 4000, -1, 'x'] });
    expect((await inspectPretrained(folder)).endTokens).toEqual([3, 5]);
  });

  it('reads no weights: what follows a header on a server is not waited for', async () => {
    const weights = encodeSafetensors(model.parameters());
    const headerBytes = 8 + Number(new DataView(weights.buffer, weights.byteOffset).getBigUint64(0, true));
    using server = await serve((path, response) => {
      if (path === 'config.json')
        response.end(JSON.stringify({ model_type: 'mamba', vocab_size: 40, hidden_size: 32, num_hidden_layers: 2, state_size: 3 })); // prettier-ignore
      else if (path === 'model.safetensors')
        response.writeHead(200, { 'content-length': weights.length }).write(weights.subarray(0, headerBytes));
      else response.writeHead(404).end();
    });
    const { tensors, fileBytes } = await inspectPretrained(server.url);
    expect([tensors.length, fileBytes]).toEqual([model.parameters().size, weights.length]);
  });

  it('tells what a GGUF file holds, by its own names', async () => {
    const sample = sampleOf(k, 'llama', 'Q4_0');
    const entries: Entry[] = [
      ...sample.entries,
      ['tokenizer.ggml.tokens', 'string', ['a', 'b'], 'array'],
      ['tokenizer.ggml.eos_token_id', 'uint32', 2],
      ['tokenizer.ggml.eot_token_id', 'uint32', 4000],
    ];
    const bytes = writeGguf({ entries, tensors: sample.tensors });
    const { config: found, tensors, ...rest } = await inspectPretrained(bytesSource(bytes));
    expect(rest).toEqual({ format: 'gguf', architecture: 'llama', obstacle: undefined, hasTokenizer: true, endTokens: [2], fileBytes: bytes.length }); // prettier-ignore
    expect([found.nLayers, found.vocabSize, found.tieEmbeddings]).toEqual([2, 40, false]);
    expect(tensors).toHaveLength(sample.tensors.length);
    expect(tensors.find(({ name }) => name === 'token_embd.weight')).toMatchObject({ shape: [40, 32], dtype: 'Q4_0', bytes: 40 * 18 }); // prettier-ignore
    sample.model.dispose();
  });

  it('says what keeps a checkpoint from loading', async () => {
    const falcon = { model_type: 'mixtral', num_hidden_layers: 2 };
    const files = [new File([JSON.stringify(falcon)], 'config.json')];
    const { architecture, obstacle, tensors } = await inspectPretrained(files);
    expect([architecture, tensors]).toEqual(['mixtral', []]);
    expect(obstacle).toMatch(/experts must be 1/);
    const bare = [new File(['{"model_type": "mamba"}'], 'config.json')];
    expect((await inspectPretrained(bare)).obstacle).toMatch(/must hold model.safetensors or/);
    const weights = new File([encodeSafetensors(model.parameters()) as BlobPart], 'model.safetensors');
    const { obstacle: misfit } = await inspectPretrained([...bare, weights]);
    expect(misfit).toMatch(/weights must hold 32 layers as config.json says, got/);
    const sizes = '{"model_type": "mamba", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2}';
    const other = await inspectPretrained([new File([sizes], 'config.json'), weights]);
    expect(other.obstacle).toMatch(/weights must fit config.json, got[^]*A_log/);
  });

  it.each([
    ['{"model_type": "retnet"}', UnsupportedError, /model_type must be one of .* got 'retnet'/],
    ['[]', FormatError, /must hold an object/],
    ['{"model_type": "mamba", "hidden_size": -1}', FormatError, /hidden_size/],
  ])('refuses %s', async (text, kind, message) => {
    const found = inspectPretrained([new File([text], 'config.json')]);
    await expect(found).rejects.toThrow(kind);
    await expect(found).rejects.toThrow(message);
  });

  it('gives up where a server refuses', async () => {
    using server = await serve((_path, response) => void response.writeHead(500).end());
    await expect(inspectPretrained(server.url, { retries: 0 })).rejects.toThrow(FileError);
  });
});
