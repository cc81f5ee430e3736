/** What commands have in common: their options, and how an experiment is run under a progress bar. */
import { availableParallelism } from 'node:os';
import { InputError } from '../errors.js';
import type { RunOptions } from '../running/runner.js';
import { wholeNumber } from './arguments.js';
import type { Terminal } from './terminal.js';

/** Where experiments are put, and looked for. */
export const OUT = 'freelunch-out';

export const flag = { type: 'boolean', default: false } as const;
export const text = { type: 'string' } as const;
export const helpOption = { help: { ...flag, short: 'h' } } as const;

/** What all commands take that run experiments. */
export const runOptions = { out: text, workers: text, restart: flag, ...helpOption } as const;

export const runOptionsHelp = `  --workers N             pieces at a time (default: all cores, here ${availableParallelism()})
  --restart               forget what DIR holds of an earlier run
`;

export const EXIT_CODES = 'Exit codes: 0 done, 2 bad input, 130 interrupted, 1 anything else.';

/** @throws InputError */
export const workersOf = (given: string | undefined): number =>
  given === undefined ? availableParallelism() : wholeNumber('--workers', given, 1, 1024);

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

/** Runs an experiment in a folder, with progress; says how to go on if it ends early. */
export async function underProgress<T>(
  { bar, signal, note }: Terminal,
  folder: string,
  { workers, restart }: { workers: number; restart: boolean },
  run: (options: RunOptions) => Promise<T>,
): Promise<T> {
  let begun = false;
  try {
    return await run({
      folder,
      workers,
      ownThread: true,
      restart,
      signal,
      onProgress(done, label = '') {
        begun = true;
        bar.show({ done, label });
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
