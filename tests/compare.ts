import { expect } from 'vitest';
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

/** Fails unless the tensor has the wanted shape and its error is within the tolerance. */
export function expectClose(
  name: string,
  got: HostTensor | undefined,
  want: { shape: readonly number[]; data: ArrayLike<number> },
  tolerance: number,
): void {
  expect(got, `${name} is missing`).toBeDefined();
  expect(got!.shape, `shape of ${name}`).toEqual(want.shape);
  expect(relativeError(got!.data, want.data), `error of ${name}`).toBeLessThanOrEqual(tolerance);
}
