/**
 * A piece as it lies in the queue: names only. The worker makes the piece itself, from a configuration that it checks as if
 * a user had typed it: whoever writes into Redis can ask for nothing that the command line would refuse.
 */
import { createHash } from 'node:crypto';
import { show } from '@freelunch/errors';
import { InputError } from '../errors.js';
import type { AnyExperiment, Piece, Row } from '../experiments/experiment.js';
import { isObject, object, oneOf, type Shape, text } from '../files/shape.js';
import { completeConfig } from '../running/config.js';

/** What a job of BullMQ holds. */
export interface QueuedPiece {
  format: 1;
  /** Of the sweep, see `buildOf`. */
  build: string;
  /** Digest of what the sweep is, which names everything of it in Redis. */
  run: string;
  experiment: string;
  /** Digest of the configuration, which is stored once for all pieces that have it. */
  config: string;
  /** As the experiment names it. */
  piece: string;
  /** Its name in the sweep, which has pieces of many configurations. */
  key: string;
}

/** A piece is given up after so many failures. */
export const ATTEMPTS = 3;

/** Of every job of BullMQ: what is over is kept by this program's own store only. */
export const jobOptions = {
  attempts: ATTEMPTS,
  backoff: { type: 'exponential', delay: 250 },
  removeOnComplete: true,
  removeOnFail: true,
} as const;

/** Of a job's data, as text. */
export const LARGEST_JOB = 2 ** 16;
/** Of a configuration, as text. */
export const LARGEST_CONFIG = 2 ** 20;
const LONGEST_NAME = 4000;

const named: Shape<string> = (value, path) => {
  const name = text(value, path);
  if (name === '' || name.length > LONGEST_NAME)
    throw new InputError(`${path} must be text of 1 to ${LONGEST_NAME} characters, got ${show(name)}`);
  return name;
};

const digest: Shape<string> = (value, path) => {
  if (typeof value !== 'string' || !/^[0-9a-f]{20}$/.test(value))
    throw new InputError(`${path} must be a digest of 20 hexadecimal digits, got ${show(value)}`);
  return value;
};

export const queuedPiece: Shape<QueuedPiece> = object({
  format: oneOf([1]),
  build: named,
  run: digest,
  experiment: named,
  config: digest,
  piece: named,
  key: named,
});

/** Short enough for a name in Redis. */
export const digestOf = (data: string): string =>
  createHash('sha256').update(data).digest('hex').slice(0, 20);

/** What is the same for the same sweep, wherever it is started from. */
export const runIdOf = (build: string, kind: string, description: object): string =>
  digestOf(JSON.stringify([build, kind, description]));

/** The pieces of a configuration that came from Redis, by key. @throws InputError that names what is wrong with it */
export function piecesOf(experiment: AnyExperiment, json: string, wanted: string): Map<string, Piece> {
  if (digestOf(json) !== wanted)
    throw new InputError(`the configuration of ${experiment.name} in Redis is not the one that was queued`);
  const parsed = parseJson(json, `the configuration of ${experiment.name}`);
  const config = completeConfig(experiment, 'quick', parsed);
  return new Map(experiment.pieces(config).map((piece) => [piece.key, piece]));
}

function parseJson(json: string, what: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch (cause) {
    throw new InputError(`${what} is not JSON`, { cause });
  }
}

/** Of the rows of a piece, as text. */
export const LARGEST_ROWS = 16 * 2 ** 20;
const DEEPEST = 32;
/** A row is written into rows.jsonl with these before its own fields. */
const RESERVED = ['piece', 'rows'];

/** The rows that a worker returned. @throws InputError unless they are what an experiment can have given */
export function rowsOf(json: string): Row[] {
  const parsed = parseJson(json, 'what a worker returned');
  if (!Array.isArray(parsed)) throw new InputError(`rows must be a list, got ${show(parsed)}`);
  parsed.forEach((row: unknown, i) => {
    if (!isObject(row)) throw new InputError(`rows[${i}] must be an object, got ${show(row)}`);
    for (const name of RESERVED)
      if (Object.hasOwn(row, name)) throw new InputError(`rows[${i}] must not have a field '${name}'`);
    checkPlain(row, `rows[${i}]`);
  });
  return parsed as Row[];
}

/** Level by level: JSON can be nested more deeply than functions can call one another. */
function checkPlain(row: Row, path: string): void {
  let level: unknown[] = [row];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEEPEST) throw new InputError(`${path} must be nested at most ${DEEPEST} levels deep`);
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value === 'number' && !Number.isFinite(value))
        throw new InputError(`${path} must hold finite numbers, got ${value}`);
      if (typeof value !== 'object' || value === null) continue;
      if (Object.hasOwn(value, '__proto__'))
        throw new InputError(`${path} must not have a field '__proto__'`);
      for (const inner of Object.values(value)) next.push(inner);
    }
    level = next;
  }
}
