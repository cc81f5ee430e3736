import { type ModelConfig, parseJson } from '@freelunch/config';
import { QuantizedTensor } from '@freelunch/kernels';
import { describe, expect, it } from 'vitest';
import { expectSame, k } from '../../tests/checkpoint-samples.js';
import { architectureOf } from '../architecture.js';
import { createModel, type LanguageModel } from '../language-model.js';
import { quantizeModel } from '../quantize-model.js';
import { loadPretrained } from './checkpoint.js';
import { encodePretrained } from './encode.js';
import { fileTensors, type Layout, nameOf } from './layout.js';
import { loadSafetensors } from './safetensors.js';

const filesOf = (model: LanguageModel, options?: Parameters<typeof encodePretrained>[1]) =>
  encodePretrained(model, options).map(({ name, bytes }) => new File([bytes], name));

/** A model of Granite's form, whose gate and up projections are one tensor of the file. */
const granite = (dHidden: number): ModelConfig => ({
  vocabSize: 11,
  dModel: 32,
  nLayers: 2,
  mixer: [
    { type: 'mamba2', dState: 3, headDim: 8, normGroups: 1, bias: false },
    { type: 'softmax-attention', nHeads: 2, scale: 0.25 },
  ],
  mlp: { type: 'swiglu', dHidden },
  naming: 'granitemoehybrid',
  residualMultiplier: 0.5,
});
const packedName = 'model.layers.0.shared_mlp.input_linear.weight';

describe('a tensor that holds several parameters', () => {
  it('is saved as others read it, and taken apart when it is loaded', async () => {
    using model = createModel(k, granite(40));
    const [, { bytes }] = encodePretrained(model);
    const { tensors } = await loadSafetensors(k, bytes);
    const parameters = model.parameters();
    const parts = ['gate_proj', 'up_proj'].map((part) =>
      parameters.get(`model.layers.0.shared_mlp.${part}.weight`)!.toArray(),
    );
    expect(tensors.get(packedName)!.toArray()).toEqual(Float32Array.from(parts.flatMap((part) => [...part])));
    expect(tensors.has('model.layers.0.shared_mlp.gate_proj.weight')).toBe(false);
    for (const tensor of tensors.values()) tensor.dispose();
    using back = await loadPretrained(k, filesOf(model));
    expectSame(back, model);
  });

  it.each(['float16', 'int8', 'int4'] as const)(
    'is rounded in pieces as its parameters are: %s, more rows than are read at once',
    async (dtype) => {
      using model = createModel(k, granite(20_000));
      using rounded = quantizeModel(model, { dtype });
      using loaded = await loadPretrained(k, filesOf(model), { dtype });
      const bytesOf = (one: LanguageModel, name: string) => {
        const weight = one.weights().get(name)!;
        return weight instanceof QuantizedTensor ? weight.toBytes() : weight.toArray();
      };
      for (const name of model.weights().keys())
        expect(Buffer.compare(bytes(bytesOf(loaded, name)), bytes(bytesOf(rounded, name))), name).toBe(0);
      using again = await loadPretrained(k, filesOf(rounded), { dtype: 'auto' });
      for (const name of model.weights().keys())
        expect(Buffer.compare(bytes(bytesOf(again, name)), bytes(bytesOf(rounded, name))), name).toBe(0);
    },
  );

  it('is taken apart in files whose weights are in blocks, which only we read', () => {
    using model = createModel(k, granite(40));
    using rounded = quantizeModel(model, { dtype: 'int8' });
    const text = new TextDecoder().decode(encodePretrained(rounded)[1].bytes.subarray(8, 4000));
    expect(text).toContain('shared_mlp.gate_proj.weight');
    expect(text).not.toContain('input_linear');
  });

  it('is named where its shape is wrong', async () => {
    using model = createModel(k, granite(40));
    const [config, weights] = encodePretrained(model);
    const json = parseJson(new TextDecoder().decode(config.bytes), 'config.json') as object;
    const wider = JSON.stringify({ ...json, shared_intermediate_size: 41 });
    const files = [new File([wider], 'config.json'), new File([weights.bytes], 'model.safetensors')];
    await expect(loadPretrained(k, files)).rejects.toThrow(`'${packedName}' must be [82, 32], got [80, 32]`);
  });

  it('may have a share of each parameter per head', () => {
    const config: ModelConfig = {
      vocabSize: 5,
      dModel: 4,
      nLayers: 1,
      mixer: { type: 'softmax-attention', nHeads: 2 },
    };
    using model = createModel(k, config);
    const { specs } = architectureOf(model.config);
    const layout: Layout = {
      model: {},
      layer: 'layers.#.',
      modules: {},
      packed: {
        qkv: {
          parts: ['softmax-attention.q_proj', 'softmax-attention.k_proj', 'softmax-attention.v_proj'],
          blocks: (mixer) => (mixer.type === 'softmax-attention' ? mixer.nHeads : 1),
        },
      },
    };
    const tensors = fileTensors(layout, model.config, specs, true);
    const { shape, pieces } = tensors.find(({ name }) => name === 'layers.0.qkv.weight')!;
    expect(shape).toEqual([12, 4]);
    expect(pieces.map(({ spec, row, from, count }) => [spec.path.split('.')[3], row, from, count])).toEqual([
      ['q_proj', 0, 0, 2],
      ['k_proj', 2, 0, 2],
      ['v_proj', 4, 0, 2],
      ['q_proj', 6, 2, 2],
      ['k_proj', 8, 2, 2],
      ['v_proj', 10, 2, 2],
    ]);
    expect(fileTensors(layout, model.config, specs, false)).toHaveLength(specs.length);
  });
});

const bytes = ({ buffer, byteOffset, byteLength }: Uint8Array | Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

describe('names of parameters', () => {
  const layout: Layout = {
    model: { embedding: 'wte' },
    layer: 'h.#.',
    modules: { mixer: 'attn', mamba: 'ssm', 'mamba.out_proj': 'ssm.out', mlp: 'ffn' },
  };

  it.each([
    ['embedding.weight', 'wte.weight'],
    ['layers.12.mamba.A_log', 'h.12.ssm.A_log'],
    ['layers.0.mamba.out_proj.weight', 'h.0.ssm.out.weight'],
    ['layers.0.mamba2.out_proj.weight', 'h.0.attn.out_proj.weight'],
    ['layers.0.mlp.fc1.bias', 'h.0.ffn.fc1.bias'],
  ])('have the longest beginning that the architecture names: %s', (path, name) => {
    expect(nameOf(layout, path)).toBe(name);
  });
});
