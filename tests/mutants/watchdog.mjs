/**
 * Ends its process if it computes for `limit` seconds without a beat: a kernel that never returns cannot be stopped
 * otherwise. Time of the processor, not of the clock: what waits for a busy machine is not stuck.
 */
import { workerData } from 'node:worker_threads';

const { beats, limit } = workerData;
const computed = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
let heard = -1;
let since = 0;
setInterval(() => {
  const now = Atomics.load(beats, 0);
  if (now !== heard) {
    heard = now;
    since = computed();
  } else if (computed() - since > limit) {
    process.kill(process.pid, 'SIGALRM');
  }
}, 250);
