/** `freelunch queue`: what lies at a Redis, and how it is cleared. */
import { InputError, unknownName } from '../errors.js';
import { addressOf } from '../queue/address.js';
import { connect, plainly } from '../queue/connection.js';
import { drainRuns, type Status, statusOf } from '../queue/status.js';
import { grouped } from '../report/format.js';
import { textTable } from '../report/text-table.js';
import { parseOptions } from './arguments.js';
import { EXIT_CODES, flag, helpOption, text } from './shared.js';
import type { Terminal } from './terminal.js';

const queueHelp = `Usage: freelunch queue status [options]
       freelunch queue drain [ID...] [options]

status shows runs and sweeps at a Redis, what of them is done, and the workers.
drain removes them, or those named, with what waits and with the rows that Redis
keeps of them; a sweep that waits for one ends, and keeps what it has.

  --redis URL             redis://HOST:PORT/DATABASE, or rediss:// for TLS (default:
                          from the variable FREELUNCH_REDIS, where a password belongs)
  --json                  the same as JSON, nothing else
  -h, --help              this help

${EXIT_CODES}
`;

const ACTIONS = ['status', 'drain'] as const;

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function queueCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('queue', args, { redis: text, json: flag, ...helpOption });
  if (values.help) return terminal.help(queueHelp);
  const [action, ...ids] = positionals;
  if (action === undefined) throw new InputError(`needs an action: ${ACTIONS.join(' or ')}`);
  if (!ACTIONS.some((one) => one === action)) throw unknownName('action', action, ACTIONS);
  if (action === 'status' && ids.length > 0)
    throw new InputError(`status takes no argument, got ${ids.length}: ${ids.join(' ')}`);
  const address = addressOf(values.redis, process.env);
  const { signal } = terminal;
  const connection = await connect(address, signal, (message) => terminal.note(`${message}\n`));
  try {
    const status = await statusOf(connection);
    if (action === 'status') return values.json ? terminal.json(status) : showStatus(status, terminal);
    const known = status.runs.map(({ id }) => id);
    for (const id of ids) if (!known.includes(id)) throw unknownName('run', id, known);
    const chosen = ids.length === 0 ? status.runs : status.runs.filter(({ id }) => ids.includes(id));
    const drained = await drainRuns(connection, chosen, signal);
    if (values.json) return terminal.json(drained);
    if (drained.length === 0) return terminal.say(`Nothing is queued at ${address.shown}.\n`);
    for (const { run, waited } of drained)
      terminal.say(
        `Removed ${run.id}, a ${run.kind} of ${run.experiment}: ${grouped(waited)} pieces waited, ${grouped(run.done)} were done.\n`,
      );
  } catch (cause) {
    throw plainly(cause, address);
  } finally {
    await connection.close();
  }
}

function showStatus({ address, runs, queues, workers }: Status, { say, columns }: Terminal): void {
  if (runs.length === 0 && workers.length === 0) return say(`Nothing is queued at ${address}.\n`);
  const number = (value: number) => grouped(Math.max(0, Math.round(value)));
  const tables = [
    {
      title: `Runs and sweeps at ${address}`,
      header: ['id', 'what', 'freelunch', 'pieces', 'done', 'failed', 'left'],
      rows: runs.map(({ id, kind, experiment, build, pieces, done, failed }) => [
        id,
        `${kind} of ${experiment}`,
        build,
        ...[pieces, done, failed, pieces - done - failed].map(number),
      ]),
    },
    {
      title: 'Pieces in queues',
      header: ['freelunch', 'waiting', 'at work', 'to be tried again'],
      rows: queues.map(({ build, waiting, working, retrying }) => [
        build,
        ...[waiting, working, retrying].map(number),
      ]),
    },
    {
      title: 'Workers',
      header: ['worker', 'freelunch', 'at a time', 'at work'],
      rows: workers.map(({ id, build, slots, running }) => [
        id,
        build,
        number(slots),
        number(Object.values(running).reduce((total, { pieces }) => total + pieces, 0)),
      ]),
    },
  ];
  say(
    tables
      .filter(({ rows }) => rows.length > 0)
      .map(({ title, header, rows }) => `${title}\n${textTable(header, rows, columns)}`)
      .join('\n'),
  );
}
