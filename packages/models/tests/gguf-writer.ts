/** Writes GGUF files, for tests: whatever it is told, so that it can write broken ones too. */

const kinds = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
} as const;
export type Kind = keyof typeof kinds;

/** A value of the metadata: a name, its kind, what it is; arrays are of a kind. */
export type Entry =
  [name: string, kind: Kind, value: unknown] | [name: string, kind: Kind, values: unknown[], 'array'];

/** Numbers of tensor types, with the weights and bytes of a block. */
export const types = {
  F32: [0, 1, 4],
  F16: [1, 1, 2],
  Q4_0: [2, 32, 18],
  Q4_1: [3, 32, 20],
  Q5_0: [6, 32, 22],
  Q5_1: [7, 32, 24],
  Q8_0: [8, 32, 34],
  Q2_K: [10, 256, 84],
  Q3_K: [11, 256, 110],
  Q4_K: [12, 256, 144],
  Q5_K: [13, 256, 176],
  Q6_K: [14, 256, 210],
  IQ4_NL: [20, 32, 18],
  IQ4_XS: [23, 256, 136],
  F64: [28, 1, 8],
  BF16: [30, 1, 2],
} as const;
export type TypeName = keyof typeof types;

export interface WrittenTensor {
  name: string;
  type: TypeName | number;
  /** Rows first. */
  shape: number[];
  bytes: Uint8Array;
  /** Where the header says it lies, if not where it does. */
  offset?: number | bigint;
}

export interface Written {
  version?: number;
  entries?: Entry[];
  tensors?: WrittenTensor[];
  alignment?: number;
  /** What the header says there is, if not what there is. */
  tensorCount?: number | bigint;
  entryCount?: number | bigint;
}

class Bytes {
  readonly #parts: Uint8Array[] = [];
  length = 0;

  add(part: Uint8Array): void {
    this.#parts.push(part);
    this.length += part.length;
  }

  number(kind: Exclude<Kind, 'bool' | 'string' | 'array'>, value: number | bigint): void {
    const view = new DataView(new ArrayBuffer(8));
    const write = {
      uint8: () => (view.setUint8(0, Number(value)), 1),
      int8: () => (view.setInt8(0, Number(value)), 1),
      uint16: () => (view.setUint16(0, Number(value), true), 2),
      int16: () => (view.setInt16(0, Number(value), true), 2),
      uint32: () => (view.setUint32(0, Number(value), true), 4),
      int32: () => (view.setInt32(0, Number(value), true), 4),
      float32: () => (view.setFloat32(0, Number(value), true), 4),
      uint64: () => (view.setBigUint64(0, BigInt(value), true), 8),
      int64: () => (view.setBigInt64(0, BigInt(value), true), 8),
      float64: () => (view.setFloat64(0, Number(value), true), 8),
    };
    const length = write[kind]();
    this.add(new Uint8Array(view.buffer, 0, length));
  }

  text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.number('uint64', bytes.length);
    this.add(bytes);
  }

  value(kind: Kind, value: unknown): void {
    if (kind === 'string') this.text(value as string);
    else if (kind === 'bool') this.number('uint8', value === true ? 1 : 0);
    else if (kind !== 'array') this.number(kind, value as number | bigint);
  }

  pad(alignment: number): void {
    this.add(new Uint8Array((alignment - (this.length % alignment)) % alignment));
  }

  joined(): Uint8Array<ArrayBuffer> {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

export function writeGguf({
  version = 3,
  entries = [],
  tensors = [],
  alignment = 32,
  tensorCount = tensors.length,
  entryCount = entries.length,
}: Written): Uint8Array<ArrayBuffer> {
  const out = new Bytes();
  out.add(new TextEncoder().encode('GGUF'));
  out.number('uint32', version);
  out.number('uint64', tensorCount);
  out.number('uint64', entryCount);
  for (const [name, kind, value, array] of entries) {
    out.text(name);
    if (array === undefined) {
      out.number('uint32', kinds[kind]);
      out.value(kind, value);
      continue;
    }
    out.number('uint32', kinds.array);
    out.number('uint32', kinds[kind]);
    out.number('uint64', (value as unknown[]).length);
    for (const one of value as unknown[]) out.value(kind, one);
  }
  const data = new Bytes();
  for (const { name, type, shape, bytes, offset } of tensors) {
    data.pad(alignment);
    out.text(name);
    out.number('uint32', shape.length);
    for (const extent of shape.toReversed()) out.number('uint64', extent);
    out.number('uint32', typeof type === 'number' ? type : types[type][0]);
    out.number('uint64', offset ?? data.length);
    data.add(bytes);
  }
  out.pad(alignment);
  out.add(data.joined());
  return out.joined();
}

/** A vocabulary of byte-level BPE, without which llama.cpp loads no model. */
export const vocabularyOf = (
  tokens: readonly string[],
  merges: readonly string[],
  pre = 'gpt-2',
): Entry[] => [
  ['tokenizer.ggml.model', 'string', 'gpt2'],
  ['tokenizer.ggml.pre', 'string', pre],
  ['tokenizer.ggml.tokens', 'string', [...tokens], 'array'],
  ['tokenizer.ggml.token_type', 'int32', tokens.map(() => 1), 'array'],
  ['tokenizer.ggml.merges', 'string', [...merges], 'array'],
  ['tokenizer.ggml.bos_token_id', 'uint32', 0],
  ['tokenizer.ggml.eos_token_id', 'uint32', 0],
];
