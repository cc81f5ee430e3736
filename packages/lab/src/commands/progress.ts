/** A progress bar on a terminal's one line. Where the stream is no terminal, it writes nothing. */
import type { EventEmitter } from 'node:events';
import { printable } from '@freelunch/errors';

/** What a command needs of the standard output and the standard error. */
export interface Output extends EventEmitter {
  isTTY?: boolean;
  columns?: number;
  hasColors?(): boolean;
  write(data: string | Uint8Array): boolean;
}

export interface ProgressBar {
  show(progress: { done: number; label: string }): void;
  clear(): void;
}

export function progressBar(stream: Output): ProgressBar {
  if (!stream.isTTY) return { show: () => {}, clear: () => {} };
  let shownAt = -Infinity;
  return {
    show({ done, label }) {
      const now = performance.now();
      if (now - shownAt < 50) return;
      shownAt = now;
      const columns = Math.max(20, stream.columns || 80);
      const bar = Math.min(24, columns >> 2);
      const filled = Math.round(done * bar);
      const text = `[${'#'.repeat(filled)}${'-'.repeat(bar - filled)}] ${String(Math.floor(done * 100)).padStart(3)} %  ${printable(label)}`;
      stream.write(`\r${text.slice(0, columns - 1)}\x1b[K`);
    },
    clear() {
      if (shownAt !== -Infinity) stream.write('\r\x1b[K');
    },
  };
}
