/** rows.jsonl: what an experiment has measured so far. Every finished piece is there, whatever ended the program. */
import { closeSync, constants, fdatasync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { FileError, show } from '@freelunch/errors';
import { InputError } from '../errors.js';
import type { Row } from '../experiments/experiment.js';
import { isThere, readBytes } from '../files/read.js';
import { isObject } from '../files/shape.js';
import { writeFiles } from '../files/write.js';

export const ROWS = 'rows.jsonl';

const LARGEST_BYTES = 256 * 2 ** 20;
/** A power cut takes the pieces of at most this long: to flush each by itself would cost more than many take. */
const FLUSH_MS = 500;

/**
 * Rows as lines of JSON. Each begins with its piece's key, `piece`, and with the number of the piece's rows, `rows`: a piece
 * is complete if all of them are there. A piece without rows has one line, of these two fields only.
 */
function lines(key: string, rows: readonly Row[]): string {
  if (rows.length === 0) return `${JSON.stringify({ piece: key, rows: 0 })}\n`;
  return rows.map((row) => `${JSON.stringify({ piece: key, rows: rows.length, ...row })}\n`).join('');
}

/**
 * Rows as they are once written and read again, so that a run that was interrupted gives what another gives.
 *
 * @throws Error if they are not plain JSON
 */
export function plainRows(result: Row | readonly Row[]): Row[] {
  const rows: readonly Row[] = Array.isArray(result) ? result : [result];
  return rows.map((row) => {
    for (const name of ['piece', 'rows'])
      if (Object.hasOwn(row, name))
        throw new Error(`a row must not have a field '${name}', which rows.jsonl has`);
    const text = JSON.stringify(row, (name, value: unknown) => {
      if (typeof value === 'number' && !Number.isFinite(value))
        throw new Error(`${name} of a row must be finite, got ${value}`);
      return value;
    });
    return JSON.parse(text) as Row;
  });
}

/** The file of a folder, read at first and then appended to. */
export class RowFile {
  /** The rows of every complete piece, by key. */
  readonly complete = new Map<string, Row[]>();
  readonly #folder: string;
  #file: number | undefined;
  #flushing: NodeJS.Timeout | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Opens it, and takes out of it what an interruption left incomplete.
   *
   * @param keys  the pieces there are; of others there must be none
   * @throws InputError if it is not such a file
   */
  static async open(folder: string, keys: readonly string[]): Promise<RowFile> {
    const rows = new RowFile(folder);
    if (await isThere(rows.#path)) {
      await rows.#read(keys);
      await rows.rewrite([...rows.complete.keys()]);
    }
    try {
      // Not through a link or into a pipe that somebody has put there since.
      const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT;
      rows.#file = openSync(
        rows.#path,
        flags | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0),
        0o666,
      );
    } catch (cause) {
      throw rows.#failure(cause);
    }
    return rows;
  }

  get #path(): string {
    return join(this.#folder, ROWS);
  }

  #failure(cause: unknown): FileError {
    return new FileError(`${this.#path}: cannot be written: ${(cause as Error).message}`, { cause });
  }

  async #read(keys: readonly string[]): Promise<void> {
    const path = this.#path;
    const text = new TextDecoder().decode(await readBytes(path, LARGEST_BYTES));
    const known = new Set(keys);
    const found = new Map<string, Row[]>();
    const counts = new Map<string, number>();
    // What follows the last end of a line was not written whole.
    const all = text.split('\n').slice(0, -1);
    // Nor was a last line with zeros, of which only the end reached the disk.
    if (all.at(-1)?.includes('\0')) all.pop();
    all.forEach((line, i) => {
      const { piece, rows: count, ...row } = parseLine(line, path, i);
      if (!known.has(piece))
        throw new InputError(
          `${path}, line ${i + 1}: ${show(piece)} is not a piece of this configuration; --restart starts over`,
        );
      counts.set(piece, count);
      const list = found.get(piece) ?? [];
      if (count > 0) list.push(row);
      found.set(piece, list);
    });
    for (const [key, list] of found) if (list.length === counts.get(key)) this.complete.set(key, list);
  }

  /** At once; on the disk half a second later. @throws FileError */
  append(key: string, list: Row[]): void {
    const file = this.#file!;
    const bytes = Buffer.from(lines(key, list));
    try {
      for (let written = 0; written < bytes.length;) written += writeSync(file, bytes, written);
    } catch (cause) {
      throw this.#failure(cause);
    }
    this.complete.set(key, list);
    this.#flushing ??= setTimeout(() => {
      this.#flushing = undefined;
      if (this.#file === file) fdatasync(file, () => {}); // what fails here fails again in `close`
    }, FLUSH_MS);
    this.#flushing.unref();
  }

  /** Writes it anew, the complete pieces in this order: old or new, never half. */
  async rewrite(keys: readonly string[]): Promise<void> {
    const text = keys
      .map((key) => (this.complete.has(key) ? lines(key, this.complete.get(key)!) : ''))
      .join('');
    this.close();
    await writeFiles(this.#folder, { [ROWS]: text });
  }

  /** @throws FileError if what was written cannot be flushed to the disk */
  close(): void {
    clearTimeout(this.#flushing);
    this.#flushing = undefined;
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    try {
      fdatasyncSync(file);
    } catch (cause) {
      throw this.#failure(cause);
    } finally {
      closeSync(file);
    }
  }
}

function parseLine(line: string, path: string, index: number): Row & { piece: string; rows: number } {
  const row = (() => {
    try {
      return JSON.parse(line) as unknown;
    } catch {
      return undefined;
    }
  })();
  if (
    !isObject(row) ||
    typeof row.piece !== 'string' ||
    !Number.isSafeInteger(row.rows) ||
    (row.rows as number) < 0
  )
    throw new InputError(`${path}, line ${index + 1} is not a row of an experiment; --restart starts over`);
  return row as Row & { piece: string; rows: number };
}
