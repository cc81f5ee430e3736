/**
 * Where the weights of a checkpoint go as they are read: float32, or fewer bits for the matrices of linear layers and
 * embeddings. These are rounded some rows at a time, so that no more than the result is held, and a piece of the file.
 */
import type { StoredBlocks } from '@freelunch/config';
import { show } from '@freelunch/errors';
import { type Kernels, QuantizedTensor, type WeightDType } from '@freelunch/kernels';
import { internalsOf, QuantizedRows, readRows } from '@freelunch/kernels/internals';
import type { FloatTensor, ParameterSpec, Weight } from '../mixers/parameters.js';
import type { ByteSource } from './byte-source.js';
import { type FileTensor, isWhole } from './layout.js';
import { type ReadOptions, convertElements, readTensor, rowPieces } from './safetensors.js';
import type { Entry } from './safetensors-format.js';

/** Weights that share a scale in `int8` and `int4`. */
const BLOCK = 32;
/** Bytes of a block. */
const blockBytes = { int8: 34, int4: 18 } as const;
type BlockDType = keyof typeof blockBytes;

const isBlockDType = (dtype: string): dtype is BlockDType => Object.hasOwn(blockBytes, dtype);

/** Elements of rows that are read and rounded at a time. */
const PIECE_ELEMENTS = 2 ** 20;

/** `[out, in]` of a matrix, undefined for other parameters. */
export function matrixShape({ shape, matrix }: ParameterSpec): readonly [number, number] | undefined {
  if (matrix === undefined) return undefined;
  return matrix === 'out-in' ? [shape[0], shape[1]] : [shape[1], shape[0]];
}

/** Whether a parameter can have a dtype: a matrix, and for blocks one whose rows are whole blocks. */
export function canHave(spec: ParameterSpec, dtype: WeightDType): boolean {
  const shape = matrixShape(spec);
  return shape !== undefined && (!isBlockDType(dtype) || shape[1] % BLOCK === 0);
}

/** How a parameter lies in a file of this dtype: blocks as bytes `[out, in / 32, bytes of a block]`. */
export function shapeInFile(spec: ParameterSpec, dtype: WeightDType): readonly number[] {
  const shape = matrixShape(spec);
  if (shape === undefined || !isBlockDType(dtype)) return spec.shape;
  return [shape[0], shape[1] / BLOCK, blockBytes[dtype]];
}

/** The dtype of an entry that holds blocks; undefined if it is something else. */
export function blocksOf(spec: ParameterSpec, { dtype, shape }: Entry): BlockDType | undefined {
  if (dtype !== 'U8') return undefined;
  const fits = (name: BlockDType) => canHave(spec, name) && String(shapeInFile(spec, name)) === String(shape);
  return (Object.keys(blockBytes) as BlockDType[]).find(fits);
}

/** A weight that is being read. */
export class LoadedWeight {
  readonly #k: Kernels;
  readonly #spec: ParameterSpec;
  readonly #target: QuantizedRows | FloatTensor;

  /** @param dtype  of a matrix: float32 if absent */
  constructor(k: Kernels, spec: ParameterSpec, dtype?: WeightDType) {
    this.#k = k;
    this.#spec = spec;
    this.#target =
      dtype === undefined
        ? k.empty(spec.shape)
        : new QuantizedRows(internalsOf(k), 'loadPretrained', matrixShape(spec)!, dtype);
  }

  get weight(): Weight {
    return this.#target instanceof QuantizedRows ? this.#target.tensor : this.#target;
  }

  /** Reads the weight from a file. @throws FormatError */
  async read(source: ByteSource, entry: Entry, options: ReadOptions): Promise<void> {
    const target = this.#target;
    if (target instanceof QuantizedRows) {
      await this.#readPieces(source, entry, options, (first, piece) => {
        if (piece instanceof Uint8Array) target.writeBytes(first, piece);
        else target.writeFloats(first, piece);
      });
      target.finish(`${source.name}: ${entry.name}`);
    } else if (blocksOf(this.#spec, entry) === undefined) await readTensor(source, entry, target, options);
    else await this.#unpack(target, source, entry, options);
  }

  /** Fills some rows, `[count, width]`, from those of a tensor that holds several parameters. @throws FormatError */
  writeRows(first: number, bytes: Uint8Array, count: number, entry: Entry, where: string): void {
    const k = this.#k;
    const target = this.#target;
    const { shape } = this.#spec;
    const width = shape.slice(1).reduce((size, extent) => size * extent, 1);
    if (!(target instanceof QuantizedRows)) {
      const start = first * width;
      convertElements(bytes, entry, target.data.subarray(start, start + count * width), where);
    } else if (halves[entry.dtype] === target.tensor.dtype) target.writeBytes(first, bytes);
    else
      k.scope(() => {
        const floats = k.empty([count, width]);
        convertElements(bytes, entry, floats.data, where);
        target.writeFloats(first, floats);
      });
  }

  /** Says that all rows are written. @throws FormatError if quantised weights are not finite */
  finish(where: string): void {
    if (this.#target instanceof QuantizedRows) this.#target.finish(where);
  }

  /** Whether an entry would give the same weight, bit for bit. @throws FormatError */
  async equals(source: ByteSource, entry: Entry, options: ReadOptions): Promise<boolean> {
    const k = this.#k;
    const { weight } = this;
    let same = true;
    await this.#readPieces(source, entry, options, (first, piece, count) => {
      if (!same) return;
      if (weight instanceof QuantizedTensor) {
        const rounded =
          piece instanceof Uint8Array ? piece : k.quantize({ x: piece, dtype: weight.dtype }).toBytes();
        same = equalBytes(rounded, readRows(internalsOf(k), weight, first, count));
      } else if (!(piece instanceof Uint8Array)) {
        const start = first * (weight.size / weight.shape[0]);
        same = equalBytes(bytesOf(piece.data), bytesOf(weight.data.subarray(start, start + piece.size)));
      }
    });
    return same;
  }

  /** Blocks become float32, with the axes of the parameter. */
  async #unpack(weight: FloatTensor, source: ByteSource, entry: Entry, options: ReadOptions): Promise<void> {
    const across = this.#spec.matrix === 'in-out';
    await this.#readPieces(source, entry, options, (first, piece, count) => {
      if (piece instanceof Uint8Array) return; // never: bytes are for weights of the same dtype
      const [, width] = piece.shape;
      if (across) scatterColumns(weight.data, piece.data, first, count, width);
      else weight.data.set(piece.data, first * width);
    });
  }

  /**
   * Goes through the rows of the matrix, `[out, in]`. `use` gets them as the bytes that they have in memory where the file
   * has just these, else as floats.
   */
  async #readPieces(
    source: ByteSource,
    entry: Entry,
    options: ReadOptions,
    use: (first: number, piece: Uint8Array | FloatTensor, count: number) => void,
  ): Promise<void> {
    const k = this.#k;
    const spec = this.#spec;
    const wanted = this.weight instanceof QuantizedTensor ? this.weight.dtype : undefined;
    const blocks = blocksOf(spec, entry);
    const stored = blocks ?? halves[entry.dtype];
    const shape = matrixShape(spec) ?? [spec.shape[0], this.weight.size / spec.shape[0]];
    if (spec.matrix === 'in-out' && blocks === undefined) {
      // Its rows are columns of the file: read whole, and taken from there.
      const whole = k.empty(spec.shape);
      try {
        await readTensor(source, entry, whole, options);
        eachColumns(k, whole, use);
      } finally {
        whole.dispose();
      }
      return;
    }
    for await (const { bytes, first, count } of rowPieces(
      source,
      entry,
      shape[0],
      rowsOf(shape[1]),
      options,
    )) {
      k.scope(() => {
        if (stored === wanted && stored !== undefined) use(first, bytes, count);
        else if (stored !== undefined) {
          const x = k.quantizedTensor(bytes, [count, shape[1]], stored);
          use(first, k.dequantize({ x }), count);
        } else {
          const floats = k.empty([count, shape[1]]);
          convertElements(bytes, entry, floats.data, source.name);
          use(first, floats, count);
        }
      });
    }
  }
}

/** Reads a tensor that holds rows of several parameters, from front to end. @throws FormatError */
export async function readPacked(
  { shape, pieces }: FileTensor,
  weights: ReadonlyMap<string, LoadedWeight>,
  source: ByteSource,
  entry: Entry,
  options: ReadOptions,
): Promise<void> {
  const [rows, ...rest] = shape;
  const width = rest.reduce((size, extent) => size * extent, 1);
  for await (const { bytes, first, count } of rowPieces(source, entry, rows, rowsOf(width), options)) {
    const rowBytes = bytes.length / count;
    for (const { spec, row, from, count: all } of pieces) {
      const start = Math.max(row, first);
      const end = Math.min(row + all, first + count);
      if (end <= start) continue;
      const part = bytes.subarray((start - first) * rowBytes, (end - first) * rowBytes);
      weights.get(spec.name)!.writeRows(from + start - row, part, end - start, entry, source.name);
    }
  }
  for (const { spec } of pieces) weights.get(spec.name)!.finish(`${source.name}: ${entry.name}`);
}

/** Dtypes of files that are kept bit for bit. */
export const halves: Readonly<Record<string, WeightDType | undefined>> = { F16: 'float16', BF16: 'bfloat16' };

const rowsOf = (width: number): number => Math.max(1, Math.floor(PIECE_ELEMENTS / width));

/** The matrix of a float32 parameter, rounded. */
export function quantizeWeight(
  k: Kernels,
  spec: ParameterSpec,
  weight: FloatTensor,
  dtype: WeightDType,
): QuantizedTensor {
  if (spec.matrix === 'out-in') return k.quantize({ x: weight, dtype });
  const [out, width] = matrixShape(spec)!;
  const rows = new QuantizedRows(internalsOf(k), 'quantizeModel', [out, width], dtype);
  eachColumns(k, weight, (first, floats) => rows.writeFloats(first, floats));
  return rows.finish(spec.name);
}

/** Goes through the columns of a matrix `[in, out]`, some at a time, as rows: `[count, in]`. */
function eachColumns(
  k: Kernels,
  matrix: FloatTensor,
  use: (first: number, rows: FloatTensor, count: number) => void,
): void {
  const [height, width] = matrix.shape;
  const most = rowsOf(height);
  for (let first = 0; first < width; first += most) {
    const count = Math.min(most, width - first);
    k.scope(() => {
      const rows = k.empty([count, height]);
      const { data } = rows;
      const from = matrix.data;
      for (let i = 0; i < height; i++)
        for (let j = 0; j < count; j++) data[j * height + i] = from[i * width + first + j];
      use(first, rows, count);
    });
  }
}

/** The reverse: puts rows `[count, height]` back as columns. */
function scatterColumns(
  matrix: Float32Array,
  rows: Float32Array,
  first: number,
  count: number,
  height: number,
): void {
  const width = matrix.length / height;
  for (let i = 0; i < height; i++)
    for (let j = 0; j < count; j++) matrix[i * width + first + j] = rows[j * height + i];
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** What is wrong with an entry that is to become a tensor's parameters; undefined if nothing is. */
export function misfitOf(
  tensor: FileTensor,
  entry: Entry,
  quantized: StoredBlocks | undefined,
): string | undefined {
  const { name, dtype, shape } = entry;
  const title = show(name);
  let wanted = tensor.shape;
  let inBlocks = false;
  if (quantized !== undefined && isWhole(tensor)) {
    const [{ spec }] = tensor.pieces;
    const expected = quantized === 'mixed' ? (blocksOf(spec, entry) ?? 'int8') : quantized;
    inBlocks = dtype === 'U8' && canHave(spec, expected);
    if (inBlocks) wanted = shapeInFile(spec, expected);
  }
  if (wanted.length !== shape.length || wanted.some((extent, i) => extent !== shape[i]))
    return `${title} must be [${wanted.join(', ')}], got [${shape.join(', ')}]`;
  if (!inBlocks && !['F32', 'F16', 'BF16', 'F64'].includes(dtype))
    return `${title} must be F32, F16, BF16 or F64, got ${dtype}`;
  return undefined;
}
