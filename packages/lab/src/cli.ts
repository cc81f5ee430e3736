#!/usr/bin/env node
/** The process: signals, pipes that close, the exit code. What it does is in `commands/main.ts`. */
const ENDS_WITHIN_MS = 10_000;
const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type Signal = keyof typeof codes;

const interrupt = new AbortController();
let code: number | undefined;

/** At once: `process.exit` would wait for threads that may be blocked in a call to the system. */
function end(signal: Signal): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

for (const signal of Object.keys(codes) as Signal[]) {
  process.on(signal, () => {
    if (interrupt.signal.aborted) return end(signal); // asked twice: no waiting
    code = codes[signal];
    process.exitCode = code;
    interrupt.abort();
    // The work stops between two of its parts; one that takes longer, or waits for a file, is not waited for.
    setTimeout(() => end(signal), ENDS_WITHIN_MS).unref();
  });
}
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0); // the reader, such as head, has seen enough
  throw error;
});

const { main } = await import('./commands/main.js');
const { terminalOf } = await import('./commands/terminal.js');
const terminal = terminalOf(
  process.stdout,
  process.stderr,
  process.env,
  interrupt.signal,
  () => process.stdin,
);
const ended = await main(process.argv.slice(2), terminal);
process.exitCode = code ?? ended ?? 1;
