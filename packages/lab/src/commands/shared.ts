/** What commands have in common: their options, and how an experiment is run under a progress bar. */
import { availableParallelism } from 'node:os';
import { InputError } from '../errors.js';
import { addressOf } from '../queue/address.js';
import { queueCarrier } from '../queue/carrier.js';
import { grouped } from '../report/format.js';
import type { Carrier, RunOptions } from '../running/runner.js';
import { wholeNumber } from './arguments.js';
import type { Terminal } from './terminal.js';

/** Where experiments are put, and looked for. */
export const OUT = 'freelunch-out';

export const flag = { type: 'boolean', default: false } as const;
export const text = { type: 'string' } as const;
export const helpOption = { help: { ...flag, short: 'h' } } as const;

/** What all commands take that run experiments. */
export const runOptions = { out: text, workers: text, threads: text, restart: flag, ...helpOption } as const;

export const redisOption = { redis: text } as const;

export const redisHelp = `  --redis URL             have the pieces run by freelunch worker, on any machines;
                          URL is redis://HOST:PORT/DATABASE, rediss:// for TLS, or
                          env: from FREELUNCH_REDIS, where the password belongs
`;

export const runOptionsHelp = `  --workers N             pieces at a time (default: one for each core and --threads,
                          here ${availableParallelism()})
  --threads N             threads of each piece (default: the cores that pieces leave
                          idle; 1 where times are measured); no result depends on it
  --restart               forget what DIR holds of an earlier run
`;

export const EXIT_CODES = 'Exit codes: 0 done, 2 bad input, 130 interrupted, 1 anything else.';

/** Threads for the kernels of a command. @param absent  what to take if they are not given @throws InputError */
export const threadsOf = <Absent>(given: string | undefined, absent: Absent): number | Absent =>
  given === undefined ? absent : wholeNumber('--threads', given, 1, 256);

/** How a run shares the cores: never more than there are, unless both are given. */
export interface Sharing {
  workers: number;
  threads: number | 'auto';
}

/** @throws InputError */
export function sharingOf(given: { workers?: string; threads?: string }): Sharing {
  const threads = threadsOf(given.threads, 'auto' as const);
  const each = threads === 'auto' ? 1 : threads;
  const workers =
    given.workers === undefined
      ? Math.max(1, Math.floor(availableParallelism() / each))
      : wholeNumber('--workers', given.workers, 1, 1024);
  return { workers, threads };
}

/** What runs the pieces if it is not this process. @throws InputError */
export function carrierOf(
  given: { redis?: string; workers?: string; threads?: string },
  { note }: Terminal,
): Carrier | undefined {
  if (given.redis === undefined) return undefined;
  for (const name of ['workers', 'threads'] as const)
    if (given[name] !== undefined)
      throw new InputError(`with --redis, freelunch worker takes --${name}, not this command`);
  const address = addressOf(given.redis, process.env);
  return queueCarrier({ address, note: (message) => note(`${message}\n`) });
}

/** The one argument that a command takes. @param action  of the command, if it has several @throws InputError */
export function onlyOne(what: string, positionals: readonly string[], action?: string): string {
  if (positionals.length !== 1)
    throw new InputError(
      `${action === undefined ? '' : `${action} `}takes one ${what}, got ${positionals.length === 0 ? 'none' : `${positionals.length}: ${positionals.join(' ')}`}`,
    );
  if (positionals[0] === '') throw new InputError(`the name of the ${what} is empty`);
  return positionals[0];
}

/** The one argument that a command may get. @throws InputError if there are more */
export function atMostOne(what: string, positionals: readonly string[]): string | undefined {
  return positionals.length === 0 ? undefined : onlyOne(what, positionals);
}

/** `1 token`, `1,024 tokens`. */
export const plural = (count: number, of: string) => `${grouped(count)} ${of}${count === 1 ? '' : 's'}`;

/** Runs an experiment in a folder, with progress; says how to go on if it ends early. */
export async function underProgress<T>(
  { bar, signal, note }: Terminal,
  folder: string,
  { workers, threads, restart, carrier }: Sharing & { restart: boolean; carrier?: Carrier },
  run: (options: RunOptions) => Promise<T>,
): Promise<T> {
  let begun = false;
  let shares = '';
  try {
    return await run({
      folder,
      workers,
      threads,
      ownThread: true,
      restart,
      carrier,
      signal,
      onStart(count, each) {
        shares = `${plural(count, 'worker')} with ${plural(each, 'thread')}: `;
      },
      onProgress(done, label = '') {
        begun = true;
        bar.show({ done, label: shares + label });
      },
    });
  } catch (cause) {
    bar.clear();
    if (begun) note(`What is done is kept in ${folder}: the same command continues.\n`);
    throw cause;
  } finally {
    bar.clear();
  }
}
