/**
 * Models that do not fit in float32: loads random weights of the sizes of mamba-1.4b and Llama-3.2-1B from a file of
 * bfloat16, as fewer bits, and decodes. Says what memory that takes.
 *
 *   node dist/large.js [--models mamba-1.4b,llama-3.2-1b] [--dtype int8] [--tokens 10] [--threads 1]
 */
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadKernels } from '@freelunch/kernels';
import {
  configJson,
  createModel,
  type DTypeOptions,
  loadPretrained,
  type ModelConfig,
  resolveConfig,
} from '@freelunch/models';
import { random } from '@freelunch/random';
import { median } from './speed-up.js';

const { values: given } = parseArgs({
  options: {
    models: { type: 'string', default: 'mamba-1.4b,llama-3.2-1b' },
    dtype: { type: 'string', default: 'int8' },
    tokens: { type: 'string', default: '10' },
    threads: { type: 'string', default: '1' },
  },
});

const sizes: Record<string, ModelConfig> = {
  'mamba-1.4b': { vocabSize: 50280, dModel: 2048, nLayers: 48, mixer: { type: 'mamba' } },
  'llama-3.2-1b': {
    vocabSize: 128256,
    dModel: 2048,
    nLayers: 16,
    mixer: { type: 'softmax-attention', nHeads: 32, nKvHeads: 8 },
    mlp: { type: 'swiglu', dHidden: 8192 },
    position: { type: 'rope', base: 500_000 },
  },
};

interface Stored {
  name: string;
  shape: readonly number[];
}

/** What the checkpoint of a config holds: as a model of one layer does, for every layer. */
async function tensorsOf(config: ModelConfig): Promise<Stored[]> {
  const k = await loadKernels();
  using one = createModel(k, { ...config, vocabSize: 8, nLayers: 1 });
  return one.specs.flatMap(({ name, shape }) => {
    const whole = shape[0] === 8 && /embed/.test(name) ? [config.vocabSize, ...shape.slice(1)] : shape;
    if (!name.includes('layers.0.')) return [{ name, shape: whole }];
    const layers = Array.from({ length: config.nLayers }, (_, i) => i);
    return layers.map((layer) => ({ name: name.replace('layers.0.', `layers.${layer}.`), shape: whole }));
  });
}

const countOf = ({ shape }: Stored): number => shape.reduce((size, extent) => size * extent, 1);

/** Writes a checkpoint of bfloat16 weights, uniform within 2 %: the same few, again and again. */
async function writeCheckpoint(folder: string, config: ModelConfig): Promise<number> {
  const tensors = await tensorsOf(config);
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const tensor of tensors) {
    const bytes = 2 * countOf(tensor);
    header[tensor.name] = { dtype: 'BF16', shape: tensor.shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const rng = random(1).split('weights');
  const floats = Float32Array.from({ length: 2 ** 20 }, () => 0.04 * (rng.float() - 0.5));
  const piece = Buffer.from(Uint16Array.from(new Uint32Array(floats.buffer), (bits) => bits >>> 16).buffer);
  await writeFile(join(folder, 'config.json'), configJson(resolveConfig(config), 'bfloat16'));
  const file = await open(join(folder, 'model.safetensors'), 'w');
  try {
    await file.write(length);
    await file.write(json);
    for (let left = end; left > 0; left -= piece.length)
      await file.write(piece, 0, Math.min(left, piece.length));
  } finally {
    await file.close();
  }
  return end;
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
console.log(
  `${cpus()[0].model.trim()}, ${availableParallelism()} cores, Node ${process.version}, ${given.dtype}\n`,
);
for (const name of given.models.split(',')) {
  const folder = await mkdtemp(join(tmpdir(), 'freelunch-large-'));
  try {
    const fileBytes = await writeCheckpoint(folder, sizes[name]);
    const k = await loadKernels({ variant: 'simd', threads: Number(given.threads) });
    const start = performance.now();
    const model = await loadPretrained(k, folder, { dtype: given.dtype as DTypeOptions['dtype'] });
    const seconds = (performance.now() - start) / 1e3;
    const state = model.initialState();
    const ms: number[] = [];
    for (let token = 0; token < Number(given.tokens) + 2; token++) {
      const begin = performance.now();
      model.step(token, state).dispose();
      if (token >= 2) ms.push(performance.now() - begin);
    }
    const peak = Math.max(k.memory.peakBytes, k.memory.totalBytes);
    console.log(
      `${name}: ${(model.parameterCount / 1e6).toFixed(0)} M weights; ${megabytes(fileBytes)} of bfloat16 loaded in ${seconds.toFixed(1)} s; ` +
        `weights ${megabytes(model.weightBytes)}, WASM memory ${megabytes(peak)}, process at most ${megabytes(1024 * process.resourceUsage().maxRSS)}; ` +
        `${(1e3 / Math.min(...ms)).toFixed(1)} tokens/s at best, ${(1e3 / median(ms)).toFixed(1)} in the median`,
    );
    k.dispose();
  } finally {
    await rm(folder, { recursive: true });
  }
}
