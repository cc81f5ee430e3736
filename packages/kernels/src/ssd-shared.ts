import type { Check } from './check.js';

/** The limits of the step size, in full. @throws ArgumentError */
export function checkLimit(check: Check, dtLimit: unknown): readonly [min: number, max: number] {
  if (dtLimit === undefined) return [-Infinity, Infinity];
  const wanted = 'two numbers [min, max] with min <= max';
  if (!Array.isArray(dtLimit) || dtLimit.length !== 2) check.argument('dtLimit', wanted, dtLimit);
  const [min, max] = dtLimit as [unknown, unknown];
  if (typeof min !== 'number' || typeof max !== 'number' || !(min <= max)) {
    check.argument('dtLimit', wanted, `[${String(min)}, ${String(max)}]`);
  }
  return [min, max];
}
