/** `freelunch worker`: runs pieces that others have queued at a Redis. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { InputError } from '../errors.js';
import { addressOf } from '../queue/address.js';
import { buildOf } from '../queue/build.js';
import { connect } from '../queue/connection.js';
import { openWorkerFolder } from '../queue/scratch.js';
import { serve } from '../queue/serve.js';
import { threadSlots } from '../queue/slots.js';
import { grouped } from '../report/format.js';
import { wholeNumber, parseOptions } from './arguments.js';
import { EXIT_CODES, helpOption, OUT, sharingOf, text } from './shared.js';
import type { Terminal } from './terminal.js';

const workerHelp = `Usage: freelunch worker [options]

Runs pieces of experiments that freelunch run and freelunch sweep have put into a
queue with --redis, until it is stopped. Any number of workers on any number of
machines share the work; they may come and go. Every worker must be of the same
build of freelunch as the sweep: it refuses the pieces of others by name.

  --redis URL             redis://HOST:PORT/DATABASE, or rediss:// for TLS (default:
                          from the variable FREELUNCH_REDIS, where a password belongs)
  --workers N             pieces at a time (default: one for each core and --threads,
                          here ${availableParallelism()})
  --threads N             threads of each piece (default: the cores that pieces leave
                          idle); no result depends on it
  --out DIR               a new or empty folder, or one of other workers, for
                          checkpoints of pieces at work: where workers share it, one
                          continues what another has begun (default ${OUT}/worker)
  --lost-after SECONDS    when this worker is not heard of for so long, its pieces go
                          to others (default 20)
  -h, --help              this help

${EXIT_CODES}
`;

/** Runs the command until it is stopped. @throws InputError, and the signal's reason at the end */
export async function workerCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('worker', args, {
    redis: text,
    workers: text,
    threads: text,
    out: text,
    'lost-after': text,
    ...helpOption,
  });
  if (values.help) return terminal.help(workerHelp);
  if (positionals.length > 0)
    throw new InputError(`takes no argument, got ${positionals.length}: ${positionals.join(' ')}`);
  const { workers, threads } = sharingOf(values);
  const each = threads === 'auto' ? Math.max(1, Math.floor(availableParallelism() / workers)) : threads;
  const lostAfter = wholeNumber('--lost-after', values['lost-after'] ?? '20', 1, 3600);
  const folder = values.out ?? join(OUT, 'worker');
  const address = addressOf(values.redis, process.env);
  const { signal, bar } = terminal;
  const note = (message: string) => {
    bar.clear();
    terminal.note(`${message}\n`);
  };

  const connection = await connect(address, signal, note);
  const slots = threadSlots(each);
  let done = 0;
  try {
    await openWorkerFolder(folder);
    const build = buildOf();
    note(
      `freelunch ${build} takes ${pieces(workers)} at a time, ${each} ${each === 1 ? 'thread' : 'threads'} each, from ${address.shown}; Ctrl-C stops it.`,
    );
    done = await serve({
      connection,
      build,
      slots,
      count: workers,
      lostAfterMs: lostAfter * 1000,
      folder,
      signal,
      note,
      onProgress: (finished, busy, progress) =>
        bar.show({
          done: busy === 0 ? 0 : progress / busy,
          label: `${pieces(busy)} at work, ${grouped(finished)} done`,
        }),
    });
  } finally {
    bar.clear();
    await slots.end();
    await connection.close();
  }
  note(`${pieces(done)} done; what was at work is given back.`);
  signal.throwIfAborted();
}

const pieces = (count: number) => `${grouped(count)} ${count === 1 ? 'piece' : 'pieces'}`;
