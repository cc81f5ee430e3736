import type { WriteStream } from 'node:tty';
import { expect, it } from 'vitest';
import { progressBar } from './progress.js';

function stream(isTTY: boolean, columns: number) {
  const written: string[] = [];
  return {
    written,
    out: { isTTY, columns, write: (text: string) => written.push(text) } as unknown as WriteStream,
  };
}

it('writes one line that fits, and takes it away', () => {
  const { written, out } = stream(true, 40);
  const bar = progressBar(out);
  bar.show({ done: 0.5, label: 'a label that is longer than the terminal is wide' });
  bar.clear();
  expect(written).toHaveLength(2);
  expect(written[0]).toBe('\r[#####-----]  50 %  a label that is lon\x1b[K');
  expect(written[1]).toBe('\r\x1b[K');
});

it('writes nothing where there is no terminal', () => {
  const { written, out } = stream(false, 80);
  const bar = progressBar(out);
  bar.show({ done: 0.5, label: 'label' });
  bar.clear();
  expect(written).toEqual([]);
});
