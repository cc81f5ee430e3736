/** Draws of several numbers at once. */
import type { Random } from '@freelunch/random';

/** `count` distinct numbers from [first, end), in random order. */
export function drawDistinct(rng: Random, first: number, end: number, count: number): number[] {
  const chosen = new Set<number>();
  if (2 * count > end - first) {
    const all = Array.from({ length: end - first }, (_, i) => first + i);
    for (let i = 0; i < count; i++) {
      const j = i + rng.integer(all.length - i);
      [all[i], all[j]] = [all[j], all[i]];
    }
    return all.slice(0, count);
  }
  while (chosen.size < count) chosen.add(first + rng.integer(end - first));
  return [...chosen];
}

/** `count` of the numbers below `end`, each set equally likely, in rising order. */
export function chooseSorted(rng: Random, end: number, count: number): number[] {
  const chosen = new Set<number>();
  for (let i = end - count; i < end; i++) {
    const pick = rng.integer(i + 1); // Floyd's method
    chosen.add(chosen.has(pick) ? i : pick);
  }
  return [...chosen].sort((a, b) => a - b);
}
