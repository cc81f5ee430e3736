/**
 * The memory through which the calling thread hands out work, separate from that of the kernels: 32-bit words, each on
 * a cache line of its own, then the job. Both sides read it through these numbers, so neither knows the other's code.
 *
 * A job is one call of a kernel on some units, such as rows or heads. It is cut into parts of `grain` units, and whoever
 * is free takes the next part. The kernel is told which: by two more arguments, `first` and `count`, or, if it knows
 * nothing of parts, by addresses that are `first` steps further on and a smaller number of units. The caller opens the job, takes parts like
 * the others, and when none is left closes it and waits until every worker has left. A worker enters before it looks
 * whether the job is open; so none can be reading a job while the caller writes the next one.
 */
const line = (number: number) => number * 16; // words in a cache line
export const control = {
  /** Words, by index. */
  jobs: line(0), // how many jobs there have been; workers sleep on it
  open: line(1), // 1 while parts of the job may be taken
  next: line(2), // the part to be taken next
  inside: line(3), // workers that entered and have not left; the caller sleeps on it
  sleepers: line(4), // workers asleep, or about to be
  stop: line(5), // 1 when workers are to end
  failed: line(6), // length of the message of a worker that failed, 0 if none did
  waiting: line(7), // 1 while the caller sleeps
  /** Numbers (float64), by index: the job. */
  fn: 64, // index among the kernels
  parts: 65,
  units: 66,
  grain: 67,
  scratch: 68, // address of the working memory of thread 0, or -1 without one
  scratchBytes: 69, // from one thread's working memory to the next
  argCount: 70,
  countAt: 71, // which argument is the number of units, or -1 if the kernel takes `first` and `count`
  args: 72,
  mostArgs: 64,
  steps: 136, // how much each argument grows with each unit
  /** Characters (16 bits), by index: the message. */
  message: 1024,
  longestMessage: 512,
  bytes: 4096,
} as const;

export type ControlPlaces = typeof control;

/** What a worker is told when it starts. */
export interface WorkerStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  control: SharedArrayBuffer;
  places: ControlPlaces;
  /** Names of the kernels, in the order in which jobs number them. */
  names: readonly string[];
  /** From 1 up; the caller is 0. */
  thread: number;
  spinMs: number;
}
