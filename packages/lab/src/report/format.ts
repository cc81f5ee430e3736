/** Numbers as reports write them. */
import { mixers } from '../copy-text/experiment.js';

/** 1024 as 1,024. */
export const grouped = (value: number) => value.toLocaleString('en-US');

/** 0.25 as 25.0, without a sign; all as 100, and nothing less than all. */
export const percent = (fraction: number) =>
  fraction === 1 ? '100' : Math.min(99.9, 100 * fraction).toFixed(1);

/** Thousands in full, above that three digits of millions. */
export const short = (value: number) =>
  value < 1e5 ? grouped(value) : `${grouped(Number((value / 1e6).toPrecision(3)))} M`;

/** A construction's name: the mixer, and how it finds a token. */
export function label(mixer: string): string {
  const { name, keys } = mixers.find((entry) => entry.mixer === mixer)!;
  return `${name}, ${keys}`;
}
