/** The command line: which command is meant, and what its end is in an exit code. */
import { readFileSync } from 'node:fs';
import { FileError, FreelunchError, printable } from '@freelunch/errors';
import { InputError, unknownName } from '../errors.js';
import { oneLine, type Terminal } from './terminal.js';

const help = `Usage: freelunch <command> [options]

What Mamba, linear attention and softmax attention can remember, how large their
state must be for it, and what that costs.

  freelunch story [FILE]   the main results in a few minutes, and a report
  freelunch copy [FILE]    store a text, read it back, see what is forgotten
  freelunch run NAME       run an experiment; the same command continues it
  freelunch sweep FILE     run an experiment over a grid of configurations
  freelunch worker         run pieces of sweeps and runs with --redis
  freelunch queue          what waits at a Redis; clear it
  freelunch report         one page of all experiments: theory and measurement
  freelunch generate MODEL continue a prompt with a checkpoint's model
  freelunch inspect MODEL  what a checkpoint holds, and what its model costs
  freelunch tasks          list, show, export and verify synthetic tasks
  freelunch models         published models by name
  freelunch cost CONFIG    what a model costs, per layer and per op
  freelunch compare A B    costs of several models at several lengths
  freelunch crossover A [B] from which length on one of two models is cheaper
  freelunch table          what COPY and dynamic programs need, per mixer
  freelunch measure        time models and compare with predicted times

  freelunch COMMAND --help   options of a command
  freelunch --version        version
`;

/** @returns an exit code; 0 if nothing */
export type Command = (args: string[], terminal: Terminal) => Promise<number | void>;

/** Each is loaded when it is asked for: until then there is little that could miss a signal. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  story: async () => (await import('./story.js')).storyCommand,
  copy: async () => (await import('./copy.js')).copyCommand,
  run: async () => (await import('./run.js')).runCommand,
  sweep: async () => (await import('./sweep.js')).sweepCommand,
  worker: async () => (await import('./worker.js')).workerCommand,
  queue: async () => (await import('./queue.js')).queueCommand,
  report: async () => (await import('./report.js')).reportCommand,
  generate: async () => (await import('./generate.js')).generateCommand,
  inspect: async () => (await import('./inspect.js')).inspectCommand,
  tasks: async () => (await import('./tasks.js')).tasksCommand,
  models: async () => (await import('./models.js')).modelsCommand,
  cost: async () => (await import('./cost.js')).costCommand,
  compare: async () => (await import('./compare.js')).compareCommand,
  crossover: async () => (await import('./compare.js')).crossoverCommand,
  table: async () => (await import('./table.js')).tableCommand,
  measure: async () => (await import('./measure.js')).measureCommand,
};

export const commandNames: readonly string[] = Object.keys(commands);

function version(): string {
  const manifest = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

async function perform([name, ...args]: readonly string[], terminal: Terminal): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') terminal.help(help);
  else if (name === '--version' || name === '-v') terminal.say(`${version()}\n`);
  else if (!Object.hasOwn(commands, name)) throw unknownName('command', name, commandNames);
  else return (await (await commands[name]())(args, terminal)) ?? 0;
  return 0;
}

/**
 * Runs a command. Every end is an exit code: 0 done, 2 if the user can fix it, in one line; 1 anything else; undefined if
 * it was interrupted. Never throws.
 */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number | undefined> {
  try {
    return await perform(argv, terminal);
  } catch (error) {
    if (terminal.signal.aborted) {
      terminal.note('Interrupted.\n');
      return undefined;
    }
    const [name] = argv;
    const command = name !== undefined && Object.hasOwn(commands, name) ? `freelunch ${name}` : 'freelunch';
    terminal.note(`${command}: ${messageOf(error)}\n`);
    return error instanceof InputError || error instanceof FileError ? 2 : 1;
  }
}

/** What this project itself says is enough; of anything else one wants to know where it came from. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return oneLine(String(error));
  if (error instanceof FreelunchError) return oneLine(error.message);
  return (error.stack ?? error.message).split('\n').map(printable).join('\n');
}
