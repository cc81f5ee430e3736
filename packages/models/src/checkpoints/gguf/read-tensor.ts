import { FormatError, show } from '@freelunch/errors';
import { type Kernels, QuantizedTensor, type WeightDType } from '@freelunch/kernels';
import { internalsOf, QuantizedRows } from '@freelunch/kernels/internals';
import { ln } from '@freelunch/random';
import type { FloatTensor, ParameterSpec, Weight } from '../../mixers/parameters.js';
import type { ByteSource } from '../byte-source.js';
import { type DTypeOptions, dtypeOf } from '../dtype-options.js';
import { matrixShape } from '../weights.js';
import type { Arrangement } from './architectures/place.js';
import type { GgufTensor } from './header.js';
import type { GgmlType } from './types.js';
import { unpack } from './unpack.js';

const PIECE_ELEMENTS = 2 ** 20;

/** Types whose bytes are those of a dtype in memory. */
const same: Readonly<Record<string, WeightDType | undefined>> = {
  F16: 'float16',
  BF16: 'bfloat16',
  Q8_0: 'int8',
  Q4_0: 'int4',
};

/** In which dtype a parameter is kept that a file has in this type; undefined for float32. */
export function dtypeOfGguf(
  spec: ParameterSpec,
  { name, block }: GgmlType,
  { dtype, except }: DTypeOptions,
): WeightDType | undefined {
  const quantised = block > 1;
  // Other blocks become int8, which is finer than they are.
  const own = same[name] ?? (quantised ? 'int8' : undefined);
  const asInFile = dtype === 'auto' || (dtype === undefined && quantised);
  return dtypeOf(spec, asInFile ? own : dtype, except);
}

/** What a tensor becomes, before its weights are read. @throws OutOfMemoryError */
export class GgufWeight {
  readonly weight: Weight;
  readonly #k: Kernels;
  readonly #rows: QuantizedRows | undefined;

  constructor(k: Kernels, spec: ParameterSpec, dtype: WeightDType | undefined) {
    this.#k = k;
    if (dtype === undefined) this.weight = k.empty(spec.shape);
    else {
      this.#rows = new QuantizedRows(internalsOf(k), 'loadPretrained', matrixShape(spec)!, dtype);
      this.weight = this.#rows.tensor;
    }
  }

  /**
   * Reads the weights, a few rows at a time.
   *
   * @param tensor  has as many elements
   * @param onBytes told where in the file it is after each piece
   * @throws FormatError
   */
  async read(
    source: ByteSource,
    { name, type, shape, offset, bytes }: GgufTensor,
    arrangement: Arrangement | undefined,
    { signal, onBytes }: { signal?: AbortSignal; onBytes: (position: number) => void },
  ): Promise<void> {
    const { size } = this.weight;
    // The elements of a vector are its rows, where rows change places.
    const vector = arrangement?.kind === 'pairs-to-halves' && shape.length === 1;
    const width = vector ? 1 : (shape.at(-1) ?? 1);
    const total = size / width;
    const rowBytes = bytes / total;
    // Rows of a head change places among themselves: heads are read whole.
    const together = arrangement?.kind === 'pairs-to-halves' ? total / arrangement.nHeads : 1;
    const most = together * Math.max(1, Math.floor(PIECE_ELEMENTS / width / together));
    for (let first = 0; first < total; first += most) {
      signal?.throwIfAborted();
      const rows = Math.min(most, total - first);
      const from = offset + first * rowBytes;
      const got = await source.read(from, rows * rowBytes);
      if (got.length < rows * rowBytes)
        throw new FormatError(`${source.name}: ${show(name)} must be in the file, which ends before`);
      const ordered = arrangement?.kind === 'pairs-to-halves' ? toHalves(got, rowBytes, together) : got;
      if (this.weight instanceof QuantizedTensor) this.#writeRows(this.weight, ordered, type, first, rows);
      else
        this.#writeFloats(
          this.weight,
          ordered,
          type,
          arrangement,
          first,
          rows,
          `${source.name}: ${show(name)}`,
        );
      onBytes(from + rows * rowBytes);
    }
    this.#rows?.finish(`${source.name}: ${show(name)}`);
  }

  /** Rows of a quantised matrix, `[out, in]` as in the file. */
  #writeRows(
    { dtype, shape }: QuantizedTensor,
    bytes: Uint8Array,
    type: GgmlType,
    first: number,
    rows: number,
  ) {
    if (same[type.name] === dtype) return this.#rows!.writeBytes(first, bytes);
    const k = this.#k;
    k.scope(() => {
      const floats = k.empty([rows, shape[1]]);
      unpack(type, bytes, floats.data);
      this.#rows!.writeFloats(first, floats);
    });
  }

  #writeFloats(
    parameter: FloatTensor,
    bytes: Uint8Array,
    type: GgmlType,
    arrangement: Arrangement | undefined,
    first: number,
    rows: number,
    where: string,
  ): void {
    const { data } = parameter; // made anew each time: memory may have grown since the last
    const count = (bytes.length / type.bytes) * type.block;
    const width = count / rows;
    if (arrangement?.kind === 'transposed') {
      const values = new Float32Array(count);
      unpack(type, bytes, values);
      const height = data.length / width;
      for (let r = 0; r < rows; r++)
        for (let i = 0; i < width; i++) data[i * height + first + r] = values[r * width + i];
      return;
    }
    const values = data.subarray(first * width, first * width + count);
    unpack(type, bytes, values);
    if (arrangement?.kind !== 'logarithm') return;
    if (!values.every((value) => value <= 0))
      throw new FormatError(`${where} must be negative decays, got others`);
    for (let i = 0; i < count; i++) values[i] = ln(-values[i]);
  }
}

/** Whole heads, whose rows 0 1 2 3 .. become 0 2 .. 1 3 .. */
function toHalves(bytes: Uint8Array, rowBytes: number, perHead: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  const rows = bytes.length / rowBytes;
  for (let row = 0; row < rows; row++) {
    const within = row % perHead;
    const to = row - within + (within & 1) * (perHead / 2) + (within >> 1);
    out.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), to * rowBytes);
  }
  return out;
}
