import { FormatError, show } from '@freelunch/errors';
import type { Tensor } from '@freelunch/kernels';
import { ln } from '@freelunch/random';
import type { ByteSource } from '../byte-source.js';
import type { Arrangement } from './architectures/place.js';
import type { GgufTensor } from './header.js';
import { unpack } from './unpack.js';

const PIECE_ELEMENTS = 2 ** 20;

/** Rows of a tensor, as many as arrive at once. */
interface Piece {
  values: Float32Array;
  first: number;
  rows: number;
  width: number;
}

/** Puts rows where they belong. @param total rows of the tensor */
function arrange(
  { values, first, rows, width }: Piece,
  arrangement: Arrangement,
  total: number,
  out: Float32Array,
): void {
  switch (arrangement.kind) {
    case 'transposed':
      for (let r = 0; r < rows; r++)
        for (let i = 0; i < width; i++) out[i * total + first + r] = values[r * width + i];
      return;
    case 'logarithm':
      for (let i = 0; i < rows * width; i++) out[first * width + i] = ln(-values[i]);
      return;
    case 'pairs-to-halves': {
      const perHead = total / arrangement.nHeads;
      for (let r = 0; r < rows; r++) {
        const within = (first + r) % perHead;
        const to = first + r - within + (within & 1) * (perHead / 2) + (within >> 1);
        out.set(values.subarray(r * width, (r + 1) * width), to * width);
      }
    }
  }
}

/**
 * Reads a tensor into a parameter, a few rows at a time.
 *
 * @param parameter has as many elements
 * @param onBytes   told where in the file it is after each piece
 * @throws FormatError
 */
export async function readGgufTensor(
  source: ByteSource,
  { name, type, shape, offset, bytes }: GgufTensor,
  parameter: Tensor<'float32'>,
  arrangement: Arrangement | undefined,
  { signal, onBytes }: { signal?: AbortSignal; onBytes?: (position: number) => void },
): Promise<void> {
  // The elements of a vector are its rows, where rows change places.
  const vector = arrangement?.kind === 'pairs-to-halves' && shape.length === 1;
  const width = vector ? 1 : (shape.at(-1) ?? 1);
  const total = parameter.size / width;
  const most = Math.max(1, Math.floor(PIECE_ELEMENTS / width));
  const scratch = arrangement && new Float32Array(Math.min(most, total) * width);
  const rowBytes = bytes / total;
  for (let first = 0; first < total; first += most) {
    signal?.throwIfAborted();
    const rows = Math.min(most, total - first);
    const from = offset + first * rowBytes;
    const got = await source.read(from, rows * rowBytes);
    if (got.length < rows * rowBytes)
      throw new FormatError(`${source.name}: ${show(name)} must be in the file, which ends before`);
    const { data } = parameter; // made anew each time: memory may have grown while this waited
    if (arrangement === undefined || scratch === undefined)
      unpack(type, got, data.subarray(first * width, (first + rows) * width));
    else {
      const values = scratch.subarray(0, rows * width);
      unpack(type, got, values);
      if (arrangement.kind === 'logarithm' && !values.every((value) => value <= 0))
        throw new FormatError(`${source.name}: ${show(name)} must be negative decays, got others`);
      arrange({ values, first, rows, width }, arrangement, total, data);
    }
    onBytes?.(from + rows * rowBytes);
  }
}
