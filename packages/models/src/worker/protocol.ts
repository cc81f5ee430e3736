/** What a page and its worker say to each other. Everything is plain data that `postMessage` takes. */
import {
  ArgumentError,
  DisposedError,
  DTypeError,
  FileError,
  FormatError,
  FreelunchError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedError,
} from '@freelunch/errors';
import type { TrainingBatch } from '../training/batches.js';

/** To the worker. `id` is of a call; a stream is a call that is asked for its next value as often as it is wanted. */
export type Request =
  | { id: number; type: 'call'; method: string; model?: number; args: readonly unknown[] }
  | { id: number; type: 'next' | 'return' | 'abort' }
  | { id: number; type: 'batch'; batch?: TrainingBatch; state?: unknown; error?: SentError };

/** From the worker. */
export type Reply =
  | { id: number; type: 'value'; value?: unknown; done?: boolean }
  | { id: number; type: 'error'; error: SentError }
  | { id: number; type: 'event'; name: 'progress' | 'warning'; value: unknown }
  /** Asks for the next batch: of a stream opened at `state` if `open` is true. */
  | { id: number; type: 'batch'; open: boolean; state?: unknown };

export interface SentError {
  name: string;
  message: string;
}

const kinds = {
  ArgumentError,
  DisposedError,
  DTypeError,
  FileError,
  FormatError,
  FreelunchError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedError,
};

export const sent = (error: unknown): SentError =>
  error instanceof Error
    ? { name: error.name, message: error.message }
    : { name: 'FreelunchError', message: String(error) };

/** An error of the same kind; one of a kind that is not ours keeps its name in the message. */
export function received({ name, message }: SentError): FreelunchError {
  const Kind = kinds[name as keyof typeof kinds];
  return Kind === undefined ? new FreelunchError(`${name}: ${message}`) : new Kind(message);
}

/** One side of a channel. */
export interface Endpoint<Out, In> {
  post(message: Out, transfer?: Transferable[]): void;
  listen(receive: (message: In) => void): void;
}
