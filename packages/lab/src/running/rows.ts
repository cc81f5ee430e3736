/** rows.jsonl: what an experiment has measured so far. Every finished piece is there, whatever ended the program. */
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../errors.js';
import type { Row } from '../experiments/experiment.js';
import { writeFiles } from '../files/write.js';

const NAME = 'rows.jsonl';

/**
 * Rows as lines of JSON. Each begins with its piece's key, `piece`, and with the number of the piece's rows, `rows`: a piece
 * is complete if so many lines are there. A piece without rows has one line, of these two fields only.
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
    const path = join(folder, NAME);
    if (existsSync(path)) {
      const text = readFileSync(path, 'utf8');
      const known = new Set(keys);
      const found = new Map<string, Row[]>();
      const counts = new Map<string, number>();
      // What follows the last end of a line was not written whole.
      text
        .split('\n')
        .slice(0, -1)
        .forEach((line, i) => {
          const { piece, rows: count, ...row } = parseLine(line, path, i);
          if (!known.has(piece))
            throw new InputError(
              `${path}, line ${i + 1}: '${piece}' is no piece of this configuration; --restart starts anew`,
            );
          counts.set(piece, count);
          const list = found.get(piece) ?? [];
          if (count > 0) list.push(row);
          found.set(piece, list);
        });
      for (const [key, list] of found) if (list.length === counts.get(key)) rows.complete.set(key, list);
      await rows.rewrite([...rows.complete.keys()]);
    }
    rows.#file = openSync(path, 'a');
    return rows;
  }

  /** At once, in one call to the system. */
  append(key: string, list: Row[]): void {
    writeSync(this.#file!, lines(key, list));
    this.complete.set(key, list);
  }

  /** Writes it anew, the complete pieces in this order: old or new, never half. */
  async rewrite(keys: readonly string[]): Promise<void> {
    const text = keys
      .map((key) => (this.complete.has(key) ? lines(key, this.complete.get(key)!) : ''))
      .join('');
    this.close();
    await writeFiles(this.#folder, { [NAME]: text });
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}

function parseLine(line: string, path: string, index: number): Row & { piece: string; rows: number } {
  const parsed = (() => {
    try {
      return JSON.parse(line) as unknown;
    } catch {
      return undefined;
    }
  })();
  const row = parsed as { piece?: unknown; rows?: unknown } | null | undefined;
  if (
    typeof row !== 'object' ||
    row === null ||
    typeof row.piece !== 'string' ||
    typeof row.rows !== 'number'
  )
    throw new InputError(`${path}, line ${index + 1} is no row of an experiment; --restart starts anew`);
  return row as Row & { piece: string; rows: number };
}
