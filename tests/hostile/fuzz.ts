/**
 * Bounded fuzzing: inputs made from good ones by seeded mutations. Each must be taken or refused with a FreelunchError,
 * soon, whatever it is. `FREELUNCH_FUZZ` is the number of inputs per target (2,500 if absent, `.ci/run` asks for 10,000), `FREELUNCH_FUZZ_SECONDS`
 * the most time for each target, `FREELUNCH_FUZZ_SEED` where the seeds begin. A seed that fails is printed: keep what it
 * found as a case of the target.
 */
import { Worker } from 'node:worker_threads';
import { FreelunchError } from '@freelunch/errors';
import { random, type Random } from '@freelunch/random';

const COUNT = Number(process.env.FREELUNCH_FUZZ ?? 2500);
const SECONDS = Number(process.env.FREELUNCH_FUZZ_SECONDS ?? Infinity);
const FIRST_SEED = Number(process.env.FREELUNCH_FUZZ_SEED ?? 0);
/**
 * An input that takes more than this, in milliseconds of the processor and of the clock, fails; one that never ends is
 * killed after STUCK. What waits for a busy machine is not slow.
 */
const SLOW = 20_000; // the largest sizes that tasks and models take need some seconds
const STUCK = 60_000;

export interface Target<Input> {
  name: string;
  /** Inputs that were found to break something once, and must not again. */
  cases?: readonly Input[];
  make(rng: Random): Input;
  run(input: Input): unknown;
  /** Share of COUNT that is tried, where an input costs more than others; 1 if absent. */
  share?: number;
  show?(input: Input): string;
}

export interface Tried {
  inputs: number;
  /** Inputs that were taken: some must be, or the mutations are too wild to reach what lies behind the first check. */
  taken: number;
  refused: number;
}

/** @throws Error naming the seed of the first input that ends otherwise than it may */
export async function fuzz<Input>(target: Target<Input>): Promise<Tried> {
  const tried = { inputs: 0, taken: 0, refused: 0 };
  const watch = watchdog(target.name);
  const attempt = async (input: Input, label: string) => {
    const start = performance.now();
    const computedBefore = computedMs();
    watch.next();
    try {
      await target.run(input);
      tried.taken++;
    } catch (error) {
      if (!(error instanceof FreelunchError))
        throw new Error(
          `${target.name}, ${label}: ${String((error as Error)?.stack ?? error)}\ninput: ${describe(target, input)}`,
          { cause: error },
        );
      tried.refused++;
    }
    tried.inputs++;
    const elapsedMs = Math.min(performance.now() - start, computedMs() - computedBefore);
    if (elapsedMs > SLOW)
      throw new Error(
        `${target.name}, ${label}: took ${Math.round(elapsedMs)} ms: ${describe(target, input)}`,
      );
  };
  try {
    for (const [i, input] of (target.cases ?? []).entries()) await attempt(input, `case ${i}`);
    const end = performance.now() + SECONDS * 1000;
    const count = Math.ceil(COUNT * (target.share ?? 1));
    for (let i = 0; i < count && performance.now() < end; i++) {
      const seed = FIRST_SEED + i;
      watch.seed(seed);
      await attempt(target.make(random(seed).split(target.name)), `seed ${seed}`);
    }
  } finally {
    await watch.stop();
  }
  return tried;
}

/** Time of the processor that this process has used. */
function computedMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const describe = <Input>(target: Target<Input>, input: Input): string =>
  (target.show?.(input) ?? String(input)).slice(0, 2000);

/** Ends the process, and says where it was, if an input never ends: nothing else can interrupt a loop. */
function watchdog(name: string) {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(
    `const { workerData: { shared, name, stuck } } = require('node:worker_threads');
     let last = -1;
     let since = Date.now();
     setInterval(() => {
       if (shared[0] !== last) { last = shared[0]; since = Date.now(); return; }
       if (Date.now() - since < stuck) return;
       require('node:fs').writeSync(2, name + ', seed ' + shared[1] + ': never ends\\n');
       process.kill(process.pid, 'SIGKILL');
     }, 1000);`,
    { eval: true, workerData: { shared, name, stuck: STUCK } },
  );
  worker.unref();
  return {
    next: () => void shared[0]++,
    seed: (seed: number) => void (shared[1] = seed),
    stop: () => worker.terminate(),
  };
}
