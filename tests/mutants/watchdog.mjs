/**
 * Ends its process if it computes for `limit` seconds without a beat: a kernel that never returns cannot be stopped
 * otherwise. Time of the processor, not of the clock: what waits for a busy machine is not stuck. It is if it computes
 * next to nothing for ten times as long: then a thread waits for another that has ended.
 */
import { workerData } from 'node:worker_threads';

const { beats, limit } = workerData;
const computed = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
let heard = -1;
let since = 0;
let clockSince = 0;
setInterval(() => {
  const now = Atomics.load(beats, 0);
  if (now !== heard) {
    heard = now;
    since = computed();
    clockSince = performance.now();
  } else if (computed() - since > limit || standsStill()) {
    process.kill(process.pid, 'SIGALRM');
  }
}, 250);

function standsStill() {
  const seconds = (performance.now() - clockSince) / 1000;
  return seconds > 10 * limit && computed() - since < limit / 10;
}
