/** Work goes on for this long before others get a turn. */
const TURN_MS = 12;

type Immediate = { setImmediate?: (callback: () => void) => unknown };

/** Resolves after all that waits in the event loop: timers, messages, signals. */
function nextTask(): Promise<void> {
  const { setImmediate } = globalThis as Immediate;
  return new Promise((resolve) => {
    if (setImmediate !== undefined) {
      setImmediate(resolve);
      return;
    }
    // Browsers delay nested timers by 4 ms; a message comes at once.
    const { port1, port2 } = new MessageChannel();
    port1.addEventListener('message', () => {
      port1.close();
      resolve();
    });
    port1.start();
    port2.postMessage(undefined);
  });
}

/** @returns a function to be awaited now and then in long work: lets the event loop run if it is its turn */
export function createPacer(): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < TURN_MS) return;
    await nextTask();
    last = performance.now();
  };
}
