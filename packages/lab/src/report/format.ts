/** Numbers as reports write them. */
import { scaled } from './text-table.js';
import type { Spread } from './statistics.js';

/** 1024 as 1,024. */
export const grouped = (value: number) => value.toLocaleString('en-US');

/** 0.25 as 25.0, without a sign; all as 100, and nothing less than all. */
export const percent = (fraction: number) =>
  fraction === 1 ? '100' : Math.min(99.9, 100 * fraction).toFixed(1);

/** Thousands in full, above that three digits of millions. */
export const short = (value: number) =>
  value < 1e5 ? grouped(value) : `${grouped(Number((value / 1e6).toPrecision(3)))} M`;

/** `39.1 (0.0–97.7)`: the mean in percent, in brackets the least and the greatest; the mean alone where all show alike. */
export const percentCell = (share: Spread) => spreadText(share, '');

/** The same in sentences: `39.1 % (0.0–97.7)`. */
export const percentText = (share: Spread) => spreadText(share, ' %');

function spreadText({ mean, least, greatest }: Spread, sign: string): string {
  const [middle, low, high] = [mean, least, greatest].map((share) => (100 * share).toFixed(1));
  return low === high ? `${middle}${sign}` : `${middle}${sign} (${low}–${high})`;
}

/** Bytes in units of a thousand: 517 MB. */
export function bytesText(bytes: number): string {
  const text = scaled(bytes);
  return `${text}${/\d$/.test(text) ? ' ' : ''}B`;
}
