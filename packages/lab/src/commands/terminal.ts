/** Where a command writes to, and how wide and colourful that is: one rule for all commands. */
import { once } from 'node:events';
import { printable } from '@freelunch/errors';
import { InputError } from '../errors.js';
import { fitted } from '../report/help.js';
import { type Output, type ProgressBar, progressBar } from './progress.js';

export interface Terminal {
  /** Aborted by Ctrl-C, and when the process is asked to end. */
  signal: AbortSignal;
  /** For tables. */
  columns: number;
  /** For sentences, which are hard to read in long lines. */
  width: number;
  colour: boolean;
  /** Whether somebody sees what is written as it comes. */
  interactive: boolean;
  bar: ProgressBar;
  /** Text for people: control characters in it, of a file's name for instance, are shown, not sent. */
  say(text: string): void;
  /** A help text, whose lines are broken anew where the terminal is narrower. */
  help(text: string): void;
  /** Like `say`, on the standard error. */
  note(text: string): void;
  /** One line of JSON. @param indent  several lines */
  json(data: unknown, indent?: number): void;
  /** Bytes for other programs, as they are. @throws the signal's reason if it is aborted while the reader is slow */
  data(bytes: Uint8Array): Promise<void>;
  /**
   * A piece of a text that may say anything: exactly as it is for other programs; on a terminal, of control characters
   * only tabs and ends of lines.
   */
  stream(piece: string): Promise<void>;
  /**
   * All of the standard input; undefined if that is a terminal, where nobody would know that it is waited for.
   *
   * @throws InputError if there are more than `largest` bytes, the signal's reason
   */
  input(largest: number): Promise<Uint8Array | undefined>;
}

/** What a command needs of the standard input. */
export interface Input extends AsyncIterable<Uint8Array> {
  isTTY?: boolean;
  destroy(): unknown;
}

const NARROWEST = 30;
const WIDEST_TEXT = 100;

export function terminalOf(
  stdout: Output,
  stderr: Output,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
  stdin: () => Input | undefined = () => undefined,
): Terminal {
  const columns = columnsOf(stdout, env);
  const colour = stdout.isTTY === true && stdout.hasColors?.() === true;
  return {
    signal,
    columns,
    width: Math.min(columns, WIDEST_TEXT),
    colour,
    interactive: stdout.isTTY === true,
    bar: progressBar(stderr),
    say: (text) => void stdout.write(shown(text, colour)),
    help: (text) => void stdout.write(shown(fitted(text, columns), false)),
    note: (text) => void stderr.write(shown(text, false)),
    json: (data, indent) => void stdout.write(`${escaped(JSON.stringify(data, undefined, indent))}\n`),
    async data(bytes) {
      if (!stdout.write(bytes)) await once(stdout, 'drain', { signal });
      signal.throwIfAborted();
    },
    async stream(piece) {
      const text =
        stdout.isTTY === true
          ? piece
              .split('\t')
              .map((part) => shown(part, false))
              .join('\t')
          : piece;
      if (text !== '' && !stdout.write(text) && !signal.aborted) await once(stdout, 'drain', { signal });
    },
    async input(largest) {
      const source = stdin();
      return source === undefined || source.isTTY === true ? undefined : readAll(source, largest, signal);
    },
  };
}

async function readAll(source: Input, largest: number, signal: AbortSignal): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const read = async () => {
    for await (const part of source) {
      length += part.length;
      if (length > largest)
        throw new InputError(`the standard input may have up to ${largest} bytes, got more`);
      parts.push(part);
    }
  };
  const reading = read();
  const over = new AbortController();
  try {
    await Promise.race([reading, once(signal, 'abort', { signal: over.signal })]);
    signal.throwIfAborted();
  } finally {
    over.abort();
    source.destroy();
    reading.catch(() => {}); // of a reading that was given up, it is no news that it ended
  }
  return Buffer.concat(parts);
}

/** Of the terminal; where the output is none, what the shell says of it; 80 if nobody says. */
function columnsOf({ columns }: Output, env: Readonly<Record<string, string | undefined>>): number {
  const said = /^\d{1,4}$/.test(env.COLUMNS ?? '') ? Number(env.COLUMNS) : 0;
  return Math.max(NARROWEST, columns || said || 80);
}

const ESCAPE = String.fromCharCode(27);
/** Starts of what this program itself paints with. */
const COLOURS = ['0m', '1m', '2m', '31m', '32m', '33m', '31;4m'].map((code) => `[${code}`);

/** Ends of lines stay, and the colours that this program itself uses. */
function shown(text: string, colour: boolean): string {
  const lines = text.split('\n');
  if (!colour) return lines.map(printable).join('\n');
  const painted = (line: string) =>
    line
      .split(ESCAPE)
      .map((part, i) => {
        const code = i === 0 ? undefined : COLOURS.find((start) => part.startsWith(start));
        if (code !== undefined) return `${ESCAPE}${code}${printable(part.slice(code.length))}`;
        return printable(i === 0 ? part : `${ESCAPE}${part}`);
      })
      .join('');
  return lines.map(painted).join('\n');
}

/** JSON escapes most control characters itself; what is left stands in texts, where an escape means the same. */
const escaped = (json: string) => json.split('\n').map(printable).join('\n');

/** A message on one line that is not endless. */
export function oneLine(message: string): string {
  const line = printable(message);
  return line.length > 1000 ? `${line.slice(0, 600)} ... ${line.slice(-300)}` : line;
}
