import type { HostTensor } from './cases/case.ts';

/** The largest |got - want| as a share of the largest |want|; infinite if anything is not finite. */
export function relativeError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Infinity;
  let error = 0;
  let scale = 0;
  for (let i = 0; i < want.length; i++) {
    if (!Number.isFinite(got[i])) return Infinity;
    error = Math.max(error, Math.abs(got[i] - want[i]));
    scale = Math.max(scale, Math.abs(want[i]));
  }
  return scale === 0 ? error : error / scale;
}

/** Throws unless the tensor has the wanted shape and its error is within the tolerance. */
export function expectClose(
  name: string,
  got: HostTensor | undefined,
  want: { shape: readonly number[]; data: ArrayLike<number> },
  tolerance: number,
): void {
  if (got === undefined) throw new Error(`${name} is missing`);
  if (got.shape.join() !== want.shape.join())
    throw new Error(`${name} must be [${want.shape.join(', ')}], got [${got.shape.join(', ')}]`);
  const error = relativeError(got.data, want.data);
  if (!(error <= tolerance))
    throw new Error(`${name} has an error of ${error}, at most ${tolerance} is allowed`);
}
