import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { QuantizedTensor, type WeightDType } from '@freelunch/kernels';
import { expect, it } from 'vitest';
import { k } from '../../../tests/checkpoint-samples.js';
import { architectures, configOf, ggufName, type Sample, sampleOf } from '../../../tests/gguf-samples.js';
import { type TypeName, writeGguf } from '../../../tests/gguf-writer.js';
import type { LanguageModel } from '../../language-model.js';
import type { Weight } from '../../mixers/parameters.js';
import { bytesSource } from '../byte-source.js';
import { loadPretrained } from '../checkpoint.js';
import { savePretrained } from '../save.js';

type Options = Parameters<typeof loadPretrained>[2];
const load = (file: Omit<Sample, 'model'>, options?: Options) =>
  loadPretrained(k, bytesSource(writeGguf(file), 'x.gguf'), options);

/** The weights of a matrix, `[out, in]`, and of all else as they are. */
function valuesOf(weight: Weight): Float32Array {
  return k.scope(() => (weight instanceof QuantizedTensor ? k.dequantize({ x: weight }) : weight).toArray());
}

/** The same of a parameter that GPT-2 has the other way round. */
function turned(model: LanguageModel, name: string): Float32Array {
  const { shape, data } = model.parameters().get(name)!;
  if (!/\.c_(attn|proj|fc)\.weight$/.test(name)) return data.slice();
  const [rows, columns] = shape;
  return Float32Array.from(data, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]);
}

const isMatrix = (name: string) => /(token_embd|output|attn_(q|k|v|qkv|output)|ffn_(gate|up|down)|ssm_(in|x|out))\.weight$/.test(ggufName(name)); // prettier-ignore

const cases = [
  ...architectures.flatMap((architecture) =>
    ([['Q8_0', 'int8'], ['Q4_0', 'int4']] as const).map(([type, dtype]) => [architecture, type, dtype] as const),
  ),
  ['llama', 'Q5_0', 'int8'],
  ['gpt2', 'Q4_1', 'int8'],
] as const; // prettier-ignore

it.each(cases)('keeps %s of %s as %s, each weight where it belongs', async (architecture, type, dtype) => {
  const { model: sample, ...file } = sampleOf(k, architecture, type);
  using model = await load(file);
  const exact = type === 'Q8_0' || type === 'Q4_0';
  for (const [name, weight] of model.weights()) {
    expect(weight.dtype, name).toBe(isMatrix(name) ? dtype : 'float32');
    const want = turned(sample, name);
    const got = valuesOf(weight);
    const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const allowed = exact ? 3e-7 : 0.005;
    expect(
      got.findIndex((value, i) => Math.abs(value - want[i]) > allowed * largest),
      name,
    ).toBe(-1);
  }
  // What the products of few rows round besides: activations, to 16 bits.
  const tokens = [[1, 7, 0, 39, 12]];
  k.scope(() => {
    const want = sample.forward(tokens).toArray();
    const got = model.forward(tokens).toArray();
    const off = Math.max(...got.map((value, i) => Math.abs(value - want[i])));
    expect(off).toBeLessThan(exact ? 2e-3 : 5e-2);
  });
  sample.dispose();
});

it.each([
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['Q8_0', 'int8'],
  ['Q4_0', 'int4'],
] as [TypeName, WeightDType][])('passes %s through as %s bit for bit where asked to', async (type, dtype) => {
  const { model: sample, ...file } = sampleOf(k, 'mamba2', type);
  sample.dispose();
  using model = await load(file, { dtype: 'auto' });
  for (const { name, bytes } of file.tensors.filter(({ name }) => /(ssm_in|ssm_out|token_embd)/.test(name))) {
    const [parameter] = [...model.weights()].find(([one]) => ggufName(one) === name)!;
    const weight = model.weights().get(parameter) as QuantizedTensor;
    expect(weight.dtype).toBe(dtype);
    expect(Buffer.compare(weight.toBytes(), bytes)).toBe(0);
  }
});

it.each([
  ['F32', 'int8'],
  ['F16', 'int4'],
  ['BF16', 'float16'],
  ['Q8_0', 'int4'],
  ['Q4_0', 'int8'],
  ['Q5_1', 'bfloat16'],
] as [TypeName, WeightDType][])('rounds %s to %s as k.quantize does', async (type, dtype) => {
  const { model: sample, ...file } = sampleOf(k, 'llama', type);
  sample.dispose();
  using floats = await load(file, { dtype: 'float32' });
  const kept = 'model.layers.1.mlp.down_proj.weight';
  using model = await load(file, { dtype, except: [/^lm_head/, kept] });
  for (const [name, weight] of model.weights()) {
    const float = floats.parameters().get(name)!;
    if (!isMatrix(name) || name === kept || name.startsWith('lm_head'))
      expect(valuesOf(weight), name).toEqual(float.toArray());
    else
      k.scope(() => {
        const want = k.quantize({ x: float, dtype });
        expect(weight.dtype).toBe(dtype);
        expect(Buffer.compare((weight as QuantizedTensor).toBytes(), want.toBytes()), name).toBe(0);
      });
  }
});

it('leaves half floats float32 if not asked otherwise', async () => {
  const { model: sample, ...file } = sampleOf(k, 'mamba', 'F16');
  sample.dispose();
  using model = await load(file);
  expect([...model.weights().values()].every(({ dtype }) => dtype === 'float32')).toBe(true);
});

it('refuses blocks whose scale is not finite', async () => {
  const { model: sample, ...file } = sampleOf(k, 'mamba', 'Q8_0');
  sample.dispose();
  const tensor = file.tensors.find(({ name }) => name === 'blk.1.ssm_in.weight')!;
  tensor.bytes.set([0, 0x7c], 34 * 5);
  const { usedBytes } = k.memory;
  await expect(load(file)).rejects.toThrow(/blk\.1\.ssm_in\.weight.*finite/);
  expect(k.memory.usedBytes).toBe(usedBytes);
});

it.each([
  ['Q4_0', 0],
  ['Q5_0', 4 * 2 ** 20], // a piece as float32, to be rounded
] as const)('holds no more of %s than the result and a piece of one tensor', async (type, floats) => {
  const config = { ...configOf('mamba', 256), vocabSize: 6000, nLayers: 1 };
  const { model: sample, ...file } = sampleOf(k, 'mamba', type, config);
  sample.dispose();
  const source = bytesSource(writeGguf(file));
  let longest = 0;
  const read = async (offset: number, length: number) => {
    longest = Math.max(longest, length);
    return source.read(offset, length);
  };
  k.resetPeak();
  const { usedBytes } = k.memory;
  using model = await loadPretrained(k, { ...source, read });
  const held = [...model.weights().values()].reduce(
    (total, weight) => total + (weight instanceof QuantizedTensor ? weight.bytes : 4 * weight.size),
    0,
  );
  expect(held).toBeLessThan(0.35 * 4 * model.parameterCount);
  expect(k.memory.peakBytes - usedBytes).toBeLessThan(1.02 * held + floats);
  expect(longest).toBeLessThanOrEqual((2 ** 20 / 32) * 22);
});

it('is saved and loaded again with matrices of several dtypes', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'freelunch-gguf-'));
  const int4 = sampleOf(k, 'llama', 'Q4_0');
  const others = ['Q8_0', 'F16'] as const;
  const [int8, half] = others.map((type) => sampleOf(k, 'llama', type).tensors);
  const tensors = int4.tensors.map((tensor, i) =>
    tensor.name.includes('attn_q') ? int8[i] : tensor.name === 'token_embd.weight' ? half[i] : tensor,
  );
  using model = await load({ ...int4, tensors }, { dtype: 'auto' });
  await savePretrained(directory, model);
  using again = await loadPretrained(k, directory, { dtype: 'auto' });
  const dtypes = new Set<string>();
  for (const [name, weight] of model.weights()) {
    const got = again.weights().get(name)!;
    dtypes.add(weight.dtype);
    expect(got.dtype, name).toBe(weight.dtype);
    expect(
      Buffer.compare(Buffer.from(valuesOf(got).buffer), Buffer.from(valuesOf(weight).buffer)),
      name,
    ).toBe(0);
  }
  expect([...dtypes].toSorted()).toEqual(['float16', 'float32', 'int4', 'int8']);
  await rm(directory, { recursive: true });
});
