/** A Mamba of ours as the GGUF file that llama.cpp's converter would make of it. */
import type { LanguageModel } from '@freelunch/models';

/** Types of GGUF files by what we call them. */
export const ggufTypes = { float32: 0, float16: 1, int8: 8, int4: 2 } as const;
export type GgufDType = keyof typeof ggufTypes;

const kinds = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8 } as const;
type Value = [kind: keyof typeof kinds, value: number | string | boolean | readonly (number | string)[]];

class Writer {
  readonly parts: Uint8Array[] = [];
  length = 0;

  bytes(part: Uint8Array): void {
    this.parts.push(part);
    this.length += part.length;
  }

  uint32(value: number): void {
    this.bytes(Uint8Array.from([0, 8, 16, 24], (shift) => value >>> shift));
  }

  uint64(value: number): void {
    this.uint32(value % 2 ** 32);
    this.uint32(Math.floor(value / 2 ** 32));
  }

  text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.uint64(bytes.length);
    this.bytes(bytes);
  }

  value(kind: Value[0], value: number | string | boolean): void {
    if (kind === 'string') this.text(String(value));
    else if (kind === 'bool') this.bytes(Uint8Array.of(value === true ? 1 : 0));
    else if (kind === 'float32') this.bytes(new Uint8Array(Float32Array.of(Number(value)).buffer));
    else this.uint32(Number(value));
  }

  pad(): void {
    this.bytes(new Uint8Array((32 - (this.length % 32)) % 32));
  }
}

/** @see gguf-py/gguf/tensor_mapping.py of https://github.com/ggml-org/llama.cpp */
function nameOf(name: string): string {
  const parts: Record<string, string> = {
    'norm.weight': 'attn_norm.weight',
    'mixer.in_proj.weight': 'ssm_in.weight',
    'mixer.conv1d.weight': 'ssm_conv1d.weight',
    'mixer.conv1d.bias': 'ssm_conv1d.bias',
    'mixer.x_proj.weight': 'ssm_x.weight',
    'mixer.dt_proj.weight': 'ssm_dt.weight',
    'mixer.dt_proj.bias': 'ssm_dt.bias',
    'mixer.A_log': 'ssm_a',
    'mixer.D': 'ssm_d',
    'mixer.out_proj.weight': 'ssm_out.weight',
  };
  const found = /^backbone\.layers\.(\d+)\.(.*)$/.exec(name);
  if (found !== null) return `blk.${found[1]}.${parts[found[2]]}`;
  return name.includes('embeddings') ? 'token_embd.weight' : 'output_norm.weight';
}

/** A vocabulary in which 'a' is one token: llama.cpp loads no model without one. */
function vocabulary(size: number): Record<string, Value> {
  const tokens = Array.from({ length: size }, (_, i) => (i < 26 ? String.fromCharCode(97 + i) : `<${i}>`));
  return {
    'tokenizer.ggml.model': ['string', 'gpt2'],
    'tokenizer.ggml.pre': ['string', 'gpt-2'],
    'tokenizer.ggml.tokens': ['string', tokens],
    'tokenizer.ggml.token_type': ['int32', tokens.map(() => 1)],
    'tokenizer.ggml.merges': ['string', ['x y']],
    'tokenizer.ggml.bos_token_id': ['uint32', 0],
    'tokenizer.ggml.eos_token_id': ['uint32', size - 1],
  };
}

/** The pieces of the file, in order. */
export function ggufOf(model: LanguageModel, dtype: GgufDType): Uint8Array[] {
  const { k, config, specs } = model;
  const [mixer] = config.mixers;
  if (mixer.type !== 'mamba') throw new Error(`ggufOf: mixer must be mamba, got ${mixer.type}`);
  const metadata: Record<string, Value> = {
    'general.architecture': ['string', 'mamba'],
    'mamba.context_length': ['uint32', 2 ** 20],
    'mamba.embedding_length': ['uint32', config.dModel],
    'mamba.feed_forward_length': ['uint32', 0],
    'mamba.attention.head_count': ['uint32', 0],
    'mamba.block_count': ['uint32', config.nLayers],
    'mamba.attention.layer_norm_rms_epsilon': ['float32', config.norm.eps],
    'mamba.ssm.conv_kernel': ['uint32', mixer.dConv],
    'mamba.ssm.inner_size': ['uint32', mixer.dInner],
    'mamba.ssm.state_size': ['uint32', mixer.dState],
    'mamba.ssm.time_step_rank': ['uint32', mixer.dtRank],
    'mamba.ssm.dt_b_c_rms': ['bool', false],
    ...vocabulary(config.vocabSize),
  };
  const out = new Writer();
  out.bytes(new TextEncoder().encode('GGUF'));
  out.uint32(3);
  out.uint64(specs.length);
  out.uint64(Object.keys(metadata).length);
  for (const [name, [kind, value]] of Object.entries(metadata)) {
    out.text(name);
    if (Array.isArray(value)) {
      out.uint32(9);
      out.uint32(kinds[kind]);
      out.uint64(value.length);
      for (const one of value as (number | string)[]) out.value(kind, one);
    } else {
      out.uint32(kinds[kind]);
      out.value(kind, value as number | string | boolean);
    }
  }
  const parameters = model.parameters();
  const data = new Writer();
  for (const { name, matrix } of specs) {
    const parameter = parameters.get(name)!;
    const { shape } = parameter;
    const kept: GgufDType = matrix === undefined ? 'float32' : dtype;
    data.pad();
    out.text(nameOf(name));
    const extents = name.endsWith('conv1d.weight') ? [shape[0], shape[2]] : shape;
    out.uint32(extents.length);
    for (const extent of extents.toReversed()) out.uint64(extent);
    out.uint32(ggufTypes[kept]);
    out.uint64(data.length);
    data.bytes(
      k.scope(() => {
        if (kept !== 'float32') return k.quantize({ x: parameter, dtype: kept }).toBytes();
        const x = name.endsWith('A_log') ? k.negate({ x: k.exp({ x: parameter }) }) : parameter;
        return new Uint8Array(x.toArray().buffer);
      }),
    );
  }
  out.pad();
  return [...out.parts, ...data.parts];
}
