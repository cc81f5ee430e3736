import { refuse } from '../errors.js';
import { checkInteger } from '../options.js';

/** @throws TaskError unless p is a prime below 2^16 */
export function checkPrime(where: string, p: number): void {
  checkInteger(where, 'p', p, 2, 2 ** 16);
  for (let d = 2; d * d <= p; d++) if (p % d === 0) refuse(where, 'p', 'a prime', p);
}

/** The inverse of each number modulo a prime; 0 for 0. */
export function inverses(p: number): number[] {
  const inverse = [0, 1];
  for (let x = 2; x < p; x++) inverse.push((p - ((Math.floor(p / x) * inverse[p % x]) % p)) % p);
  return inverse;
}
