/**
 * Small models as GGUF files: what llama.cpp's converter makes of the checkpoints of Hugging Face
 * (https://github.com/ggml-org/llama.cpp, conversion/{mamba,llama,gpt2}.py), step by step.
 */
import type { ModelConfig } from '@freelunch/config';
import { type Kernels } from '@freelunch/kernels';
import { type Random, random } from '@freelunch/random';
import { createModel, type LanguageModel } from '../src/language-model.js';
import { decodeBlocks, randomBlocks } from './gguf-blocks.js';
import { type Entry, type TypeName, types, type WrittenTensor } from './gguf-writer.js';

export type Architecture = 'mamba' | 'mamba2' | 'llama' | 'qwen2' | 'gpt2';

export const architectures: readonly Architecture[] = ['mamba', 'mamba2', 'llama', 'qwen2', 'gpt2'];

/** @param dModel a multiple of 32, or of 256 for K-quants: rows must divide into blocks */
export function configOf(architecture: Architecture, dModel = 32): ModelConfig {
  const common = { vocabSize: 40, dModel, nLayers: 2 };
  const all: Record<Architecture, ModelConfig> = {
    mamba: { ...common, mixer: { type: 'mamba', dState: 8, dtRank: 32 } },
    mamba2: { ...common, mixer: { type: 'mamba2', dState: 16, headDim: dModel / 4, nGroups: 2 } },
    llama: {
      ...common,
      mixer: { type: 'softmax-attention', nHeads: 4, nKvHeads: 2 },
      mlp: { type: 'swiglu', dHidden: 2 * dModel },
      position: 'rope',
      tieEmbeddings: false,
    },
    qwen2: {
      ...common,
      mixer: { type: 'softmax-attention', nHeads: 4, nKvHeads: 2, qkvBias: true },
      mlp: { type: 'swiglu', dHidden: 2 * dModel },
      position: 'rope',
    },
    gpt2: {
      ...common,
      mixer: { type: 'softmax-attention', nHeads: 4 },
      mlp: 'gelu',
      norm: 'layer',
      position: { type: 'learned', maxLength: 64 },
    },
  };
  return all[architecture];
}

const sides: Readonly<Record<string, string>> = {
  'backbone.embeddings.weight': 'token_embd.weight',
  'backbone.norm_f.weight': 'output_norm.weight',
  'model.embed_tokens.weight': 'token_embd.weight',
  'model.norm.weight': 'output_norm.weight',
  'lm_head.weight': 'output.weight',
  'transformer.wte.weight': 'token_embd.weight',
  'transformer.wpe.weight': 'position_embd.weight',
  'transformer.ln_f.weight': 'output_norm.weight',
  'transformer.ln_f.bias': 'output_norm.bias',
};
/** gguf-py/gguf/tensor_mapping.py */
const parts: readonly [hf: RegExp, gguf: string][] = [
  [/^backbone\.layers\.(\d+)\.norm\./, 'blk.$1.attn_norm.'],
  [/^backbone\.layers\.(\d+)\.mixer\.in_proj\./, 'blk.$1.ssm_in.'],
  [/^backbone\.layers\.(\d+)\.mixer\.conv1d\./, 'blk.$1.ssm_conv1d.'],
  [/^backbone\.layers\.(\d+)\.mixer\.x_proj\./, 'blk.$1.ssm_x.'],
  [/^backbone\.layers\.(\d+)\.mixer\.dt_proj\./, 'blk.$1.ssm_dt.'],
  [/^backbone\.layers\.(\d+)\.mixer\.dt_bias$/, 'blk.$1.ssm_dt.bias'],
  [/^backbone\.layers\.(\d+)\.mixer\.A_log$/, 'blk.$1.ssm_a'],
  [/^backbone\.layers\.(\d+)\.mixer\.D$/, 'blk.$1.ssm_d'],
  [/^backbone\.layers\.(\d+)\.mixer\.norm\./, 'blk.$1.ssm_norm.'],
  [/^backbone\.layers\.(\d+)\.mixer\.out_proj\./, 'blk.$1.ssm_out.'],
  [/^model\.layers\.(\d+)\.input_layernorm\./, 'blk.$1.attn_norm.'],
  [/^model\.layers\.(\d+)\.self_attn\.(q|k|v)_proj\./, 'blk.$1.attn_$2.'],
  [/^model\.layers\.(\d+)\.self_attn\.o_proj\./, 'blk.$1.attn_output.'],
  [/^model\.layers\.(\d+)\.post_attention_layernorm\./, 'blk.$1.ffn_norm.'],
  [/^model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj\./, 'blk.$1.ffn_$2.'],
  [/^transformer\.h\.(\d+)\.ln_1\./, 'blk.$1.attn_norm.'],
  [/^transformer\.h\.(\d+)\.ln_2\./, 'blk.$1.ffn_norm.'],
  [/^transformer\.h\.(\d+)\.attn\.c_attn\./, 'blk.$1.attn_qkv.'],
  [/^transformer\.h\.(\d+)\.attn\.c_proj\./, 'blk.$1.attn_output.'],
  [/^transformer\.h\.(\d+)\.mlp\.c_fc\./, 'blk.$1.ffn_up.'],
  [/^transformer\.h\.(\d+)\.mlp\.c_proj\./, 'blk.$1.ffn_down.'],
];

export function ggufName(name: string): string {
  if (Object.hasOwn(sides, name)) return sides[name];
  const found = parts.find(([pattern]) => pattern.test(name));
  if (found === undefined) throw new Error(`no name in GGUF for ${name}`);
  return name.replace(...found);
}

/** `modify_tensors`: the shape in the file, and where in the parameter each element of the file comes from. */
function layout(architecture: Architecture, name: string, shape: readonly number[], model: LanguageModel) {
  const size = shape.reduce((product, extent) => product * extent, 1);
  const same = Array.from({ length: size }, (_, i) => i);
  const [mixer] = model.config.mixers;
  if (name.endsWith('conv1d.weight')) return { shape: [shape[0], shape[2]], from: same }; // squeeze()
  if (architecture === 'mamba2' && mixer.type === 'mamba2') {
    if (/\.(A_log|D)$/.test(name)) return { shape: [shape[0], 1], from: same };
    if (name.endsWith('mixer.norm.weight'))
      return { shape: [mixer.nGroups, mixer.dInner / mixer.nGroups], from: same };
  }
  if (/\.c_(attn|proj|fc)\.weight$/.test(name)) {
    const [rows, columns] = shape; // transpose(1, 0)
    return { shape: [columns, rows], from: same.map((_, i) => (i % rows) * columns + Math.floor(i / rows)) };
  }
  const found = /\.(q|k)_proj\.(weight|bias)$/.exec(name);
  if (architecture === 'llama' && found !== null && mixer.type === 'softmax-attention') {
    // permute: reshape(heads, 2, rows / heads / 2, ...).swapaxes(1, 2)
    const heads = found[1] === 'q' ? mixer.nHeads : mixer.nKvHeads;
    const width = size / shape[0];
    const half = shape[0] / heads / 2;
    const from: number[] = [];
    for (let head = 0; head < heads; head++)
      for (let pair = 0; pair < half; pair++)
        for (let side = 0; side < 2; side++)
          for (let i = 0; i < width; i++) from.push(((head * 2 + side) * half + pair) * width + i);
    return { shape: [...shape], from };
  }
  return { shape: [...shape], from: same };
}

/** The converter's hyperparameters. */
export function entriesOf(architecture: Architecture, { config }: LanguageModel): Entry[] {
  const [mixer] = config.mixers;
  const [mlp] = config.mlps;
  const at = (name: string) => `${architecture}.${name}`;
  const whole = (name: string, value: number): Entry => [at(name), 'uint32', value];
  const entries: Entry[] = [
    ['general.architecture', 'string', architecture],
    ['general.name', 'string', 'tiny'],
    whole('context_length', config.position.type === 'learned' ? config.position.maxLength : 1024),
    whole('embedding_length', config.dModel),
    whole('feed_forward_length', mlp.type === 'none' ? 0 : mlp.dHidden),
    whole('attention.head_count', mixer.type === 'softmax-attention' ? mixer.nHeads : 0),
    whole('block_count', config.nLayers),
    [
      at(`attention.layer_norm_${config.norm.type === 'rms' ? 'rms_' : ''}epsilon`),
      'float32',
      config.norm.eps,
    ],
  ];
  if (mixer.type === 'mamba' || mixer.type === 'mamba2')
    entries.push(
      whole('ssm.conv_kernel', mixer.dConv),
      whole('ssm.inner_size', mixer.dInner),
      whole('ssm.state_size', mixer.dState),
      whole('ssm.time_step_rank', mixer.type === 'mamba' ? mixer.dtRank : mixer.dInner / mixer.headDim),
    );
  if (mixer.type === 'mamba') entries.push([at('ssm.dt_b_c_rms'), 'bool', false]);
  if (mixer.type === 'mamba2') entries.push(whole('ssm.group_count', mixer.nGroups));
  if ((architecture === 'llama' || architecture === 'qwen2') && mixer.type === 'softmax-attention')
    entries.push(
      whole('attention.head_count_kv', mixer.nKvHeads),
      whole('rope.dimension_count', mixer.headDim),
      [at('rope.freq_base'), 'float32', 10000],
      whole('vocab_size', config.vocabSize),
    );
  return entries;
}

/** Matrices that llama.cpp quantises: all but norms, biases, the state space, the convolution and positions. */
const isMatrix = (name: string): boolean =>
  /^(token_embd|output)\.weight$|^blk\.\d+\.(attn_(q|k|v|qkv|output)|ffn_\w+|ssm_(in|x|dt|out))\.weight$/.test(
    name,
  ) && !name.includes('norm');

export interface Sample {
  entries: Entry[];
  tensors: WrittenTensor[];
  /** With the weights that the file holds, as exact as float32 has them. */
  model: LanguageModel;
}

/**
 * A model with random weights, and its file, whose matrices are of this type wherever rows divide into its blocks, and
 * else of Q8_0 or F32.
 *
 * @param chosen the tensors of that type, by their names in the file
 */
export function sampleOf(
  k: Kernels,
  architecture: Architecture,
  type: TypeName,
  config: ModelConfig = configOf(architecture),
  chosen: (name: string) => boolean = isMatrix,
  rng: Random = random(7),
): Sample {
  const model = createModel(k, config);
  const tensors: WrittenTensor[] = [];
  for (const [name, parameter] of model.parameters()) {
    const gguf = ggufName(name);
    const { shape, from } = layout(architecture, name, parameter.shape, model);
    const logarithm = name.endsWith('A_log');
    const { data } = parameter;
    // Norms, skips and biases that differ from one another show whether they are where they belong.
    if (/norm|ln_|\.D$|\.bias$/.test(name) && !/dt/.test(name))
      for (let i = 0; i < data.length; i++) data[i] += 0.2 * (rng.float() - 0.5);
    const row = shape.at(-1)!;
    const fit = ([type, 'Q8_0', 'F32'] as const).find((one) => row % types[one][1] === 0)!;
    const stored = chosen(gguf) ? fit : 'F32';
    let bytes: Uint8Array;
    if (stored === 'F32') {
      const values = Float32Array.from(from, (i) => (logarithm ? -Math.exp(data[i]) : data[i]));
      bytes = new Uint8Array(values.buffer);
    } else {
      const size = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      bytes = randomBlocks(stored, data.length, size, rng);
      const values = decodeBlocks(stored, bytes);
      from.forEach((i, j) => (data[i] = values[j]));
    }
    tensors.push({ name: gguf, type: stored, shape, bytes });
  }
  return { entries: entriesOf(architecture, model), tensors, model };
}
