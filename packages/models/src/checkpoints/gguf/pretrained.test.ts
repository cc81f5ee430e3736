import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { FormatError, UnsupportedError } from '@freelunch/errors';
import { describe, expect, it } from 'vitest';
import { failure, file, k } from '../../../tests/checkpoint-samples.js';
import { sampleOf } from '../../../tests/gguf-samples.js';
import { type Entry, writeGguf, type WrittenTensor } from '../../../tests/gguf-writer.js';
import { serve } from '../../../tests/server.js';
import { bytesSource } from '../byte-source.js';
import { loadPretrained } from '../checkpoint.js';

const { model: sample, entries, tensors } = sampleOf(k, 'mamba2', 'Q8_0');
const bytes = writeGguf({ entries, tensors });

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);

it('loads a path, a URL of a file or a server, a chosen file, a Blob and a source of bytes', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'freelunch-gguf-'));
  const path = join(directory, 'model.gguf');
  await writeFile(path, bytes);
  using server = await serve((_, response) => response.end(bytes));
  const sources = [
    path,
    pathToFileURL(path),
    `${server.url}/model.gguf`,
    [file('model.gguf', bytes)],
    new Blob([bytes]),
    file('model', bytes),
    bytesSource(bytes),
  ];
  const first = await loadPretrained(k, sources[0], { dtype: 'float32' });
  for (const source of sources.slice(1)) {
    using model = await loadPretrained(k, source, { dtype: 'float32' });
    for (const [name, { data }] of first.parameters())
      expect(Buffer.compare(bytesOf(model.parameters().get(name)!.data), bytesOf(data)), name).toBe(0);
  }
  first.dispose();
  await rm(directory, { recursive: true });
});

it('tells how far it is, stops at a signal and leaves nothing behind', async () => {
  const before = k.memory.usedBytes;
  const seen: number[] = [];
  const onProgress = ({ doneBytes, totalBytes }: { doneBytes: number; totalBytes: number }) => {
    seen.push(doneBytes);
    expect(totalBytes).toBe(bytes.length);
  };
  (await loadPretrained(k, new Blob([bytes]), { onProgress })).dispose();
  expect(seen.at(-1)).toBe(bytes.length);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  const abort = new AbortController();
  await expect(
    loadPretrained(k, new Blob([bytes]), {
      signal: abort.signal,
      onProgress: () => abort.abort(new Error('enough')),
    }),
  ).rejects.toThrow('enough');
  expect(k.memory.usedBytes).toBe(before);
});

const blob = (changedEntries: Entry[], changedTensors: WrittenTensor[] = tensors) =>
  new Blob([writeGguf({ entries: changedEntries, tensors: changedTensors })]);
const without = (name: string) => entries.filter(([key]) => key !== name);
const replaced = (entry: Entry) => [...without(entry[0]), entry];

it.each([
  ['an architecture that is not known', replaced(['general.architecture', 'string', 'rwkv6']), UnsupportedError, "general.architecture must be one of mamba, mamba2, gpt2, llama, qwen2 to be supported, got 'rwkv6'"],
  ['no architecture', without('general.architecture'), UnsupportedError, 'got undefined'],
  ['a hyperparameter that is missing', without('mamba2.ssm.state_size'), FormatError, 'mamba2: ssm.state_size must be there, got undefined'],
  ['a hyperparameter that is no number', replaced(['mamba2.ssm.state_size', 'string', '8']), FormatError, "ssm.state_size must be a whole number from 0 up, got '8'"],
  ['one that is not known', replaced(['mamba2.logit_scale', 'float32', 2]), UnsupportedError, "'logit_scale' is not a known field"],
  ['sizes of no model', replaced(['mamba2.ssm.conv_kernel', 'uint32', 1e9]), FormatError, 'dConv'],
  ['more layers than tensors', replaced(['mamba2.block_count', 'uint32', 1e9]), FormatError, 'weights must hold 1000000000 layers as block_count says'],
  ['heads that do not divide', replaced(['mamba2.ssm.time_step_rank', 'uint32', 7]), FormatError, 'ssm.time_step_rank must be a divisor of ssm.inner_size = 64, got 7'],
  ['one part of several files', replaced(['split.count', 'uint16', 3]), UnsupportedError, 'split.count must be 1 to be supported, got 3'],
] as const)('refuses %s', async (_, changed, kind, message) => {
  expect(await failure(blob([...changed]), kind)).toContain(message);
}); // prettier-ignore

describe('factors of rotary frequencies', () => {
  const llama = sampleOf(k, 'llama', 'F32');
  llama.model.dispose();
  const withFactors = (factors: readonly number[]) => {
    const tensor: WrittenTensor = {
      name: 'rope_freqs.weight',
      type: 'F32',
      shape: [factors.length],
      bytes: new Uint8Array(Float32Array.from(factors).buffer),
    };
    return blob(llama.entries, [tensor, ...llama.tensors]);
  };
  const { position, mixers } = llama.model.config;
  const base = position.type === 'rope' ? position.base : 0;
  const pairs = mixers[0].type === 'softmax-attention' ? mixers[0].headDim / 2 : 0;
  /** As convert_hf_to_gguf.py of llama.cpp has them. */
  const llama3 = (length: number, factor: number) =>
    Array.from({ length: pairs }, (_, i) => {
      const wavelength = 2 * Math.PI * base ** (i / pairs);
      if (wavelength < length / 4) return 1;
      if (wavelength > length) return factor;
      const smooth = (length / wavelength - 1) / 3;
      return 1 / ((1 - smooth) / factor + smooth);
    });

  it('become the rule of Llama 3 that they were worked out by', async () => {
    using model = await loadPretrained(k, withFactors(llama3(64, 8)));
    expect(model.config.position).toMatchObject({
      scaling: { type: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxLength: 64 },
    });
  });

  it('change nothing if they are ones', async () => {
    using model = await loadPretrained(k, withFactors(Array<number>(pairs).fill(1)));
    expect(model.config.position).toEqual(position);
  });

  it('are refused if they come from another rule, or are not one per pair', async () => {
    const others = Array.from({ length: pairs }, (_, i) => 1 + i);
    expect(await failure(withFactors(others), UnsupportedError)).toContain(
      'rope_freqs.weight must be those of the llama3 rule',
    );
    expect(await failure(withFactors([1]), FormatError)).toContain(
      `rope_freqs.weight must be [${pairs}], got [1]`,
    );
  });
});

it('lists all tensors that do not fit', async () => {
  const changed = tensors.flatMap((tensor): WrittenTensor[] => {
    if (tensor.name === 'output_norm.weight') return [];
    if (tensor.name === 'blk.0.ssm_d') return [{ ...tensor, shape: [2, 1] }];
    if (tensor.name === 'blk.1.ssm_d') return [{ ...tensor, name: 'blk.9.ssm_d' }];
    if (tensor.name === 'blk.0.ssm_a') return [{ ...tensor, type: 26 }]; // I32
    return [tensor];
  });
  const message = await failure(blob(entries, changed), FormatError);
  for (const part of [
    "'blk.0.ssm_d' must be [8], got [2, 1]",
    "'blk.9.ssm_d' [8, 1] has no place in the model",
    "'blk.0.ssm_a' must be of type F32, F16, BF16, F64",
    'got I32',
    'backbone.norm_f.weight [32] is missing',
    'backbone.layers.1.mixer.D [8] is missing',
  ])
    expect(message).toContain(part);
});

it('refuses decays that would grow', async () => {
  const changed = tensors.map((tensor) =>
    tensor.name === 'blk.1.ssm_a'
      ? { ...tensor, bytes: new Uint8Array(Float32Array.of(-1, -2, 3, -4, -5, -6, -7, -8).buffer) }
      : tensor,
  );
  expect(await failure(blob(entries, changed), FormatError)).toContain(
    "'blk.1.ssm_a' must be negative decays",
  );
});

it('refuses a file of unknown size that ends within the last tensor', async () => {
  const cut = { ...bytesSource(bytes.subarray(0, bytes.length - 40)), size: undefined };
  const read = async (offset: number, length: number) =>
    bytes.subarray(offset, Math.min(offset + length, bytes.length - 40));
  expect(await failure({ ...cut, read }, FormatError)).toContain('must be in the file, which ends before');
});

it('ties the head to the embedding where the file has no head', () => {
  expect(sample.config.tieEmbeddings).toBe(true);
});
