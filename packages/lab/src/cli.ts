#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { InputError } from './errors.js';

const help = `Usage: freelunch <command> [options]

Experiments on what Mamba, linear attention and softmax attention can keep in
mind, at which size and at which price; and tasks to try models on.

  freelunch story [file]   all of it in a few minutes, and a report
  freelunch copy [file]    store a text, read it back, see what is forgotten
  freelunch tasks          list, show, export and verify synthetic tasks
  freelunch cost CONFIG    what a model costs, by layer and op
  freelunch compare A B    a figure of several models at several lengths
  freelunch crossover A B  from where on one of two models is cheaper
  freelunch table          what COPY and dynamic programs take, mixer by mixer
  freelunch measure        time models, beside what formulas predict
  freelunch run EXPERIMENT measure what the theory claims, and continue after Ctrl-C
  freelunch sweep FILE     an experiment over a grid of configurations
  freelunch report         one page of all experiments: theory says, we measured

  freelunch <command> --help    options of a command
  freelunch --version           version
`;

type Command = (args: string[], signal: AbortSignal) => Promise<void>;

/** Each is loaded when it is asked for: until then there is little that could miss a signal. */
const commands: Record<string, () => Promise<Command>> = {
  story: async () => (await import('./commands/story.js')).storyCommand,
  copy: async () => (await import('./commands/copy.js')).copyCommand,
  tasks: async () => (await import('./commands/tasks.js')).tasksCommand,
  cost: async () => (await import('./commands/cost.js')).costCommand,
  compare: async () => (await import('./commands/cost.js')).compareCommand,
  crossover: async () => (await import('./commands/cost.js')).crossoverCommand,
  table: async () => (await import('./commands/cost.js')).tableCommand,
  measure: async () => (await import('./commands/measure.js')).measureCommand,
  run: async () => (await import('./commands/run.js')).runCommand,
  sweep: async () => (await import('./commands/sweep.js')).sweepCommand,
  report: async () => (await import('./commands/report.js')).reportCommand,
};

function version(): string {
  const manifest = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

async function main([name, ...args]: string[], signal: AbortSignal): Promise<void> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') process.stdout.write(help);
  else if (name === '--version' || name === '-v') process.stdout.write(`${version()}\n`);
  else if (Object.hasOwn(commands, name)) await (await commands[name]())(args, signal);
  else throw new InputError(`${name} is no command; see freelunch --help`);
}

const interrupt = new AbortController();
for (const [event, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.on(event, () => {
    if (interrupt.signal.aborted) process.exit(code); // asked twice: no waiting
    process.exitCode = code;
    interrupt.abort();
  });
}
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0); // the reader, such as head, has seen enough
  throw error;
});

const argv = process.argv.slice(2);
try {
  await main(argv, interrupt.signal);
} catch (error) {
  if (interrupt.signal.aborted) process.stderr.write('Interrupted.\n');
  else {
    const command =
      argv[0] !== undefined && Object.hasOwn(commands, argv[0]) ? `freelunch ${argv[0]}` : 'freelunch';
    process.exitCode = error instanceof InputError ? 2 : 1;
    const message =
      error instanceof Error
        ? error instanceof InputError
          ? error.message
          : (error.stack ?? error.message)
        : String(error);
    process.stderr.write(`${command}: ${message}\n`);
  }
}
