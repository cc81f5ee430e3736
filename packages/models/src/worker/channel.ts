/** Calls and streams over a channel: the side of the page. */
import { ArgumentError, DisposedError, FreelunchError } from '@freelunch/errors';
import { type Endpoint, received, type Reply, type Request, sent } from './protocol.js';
import type { Batches, BatchSource, TrainingBatch } from '../training/batches.js';

export interface CallOptions {
  model?: number;
  signal?: AbortSignal;
  onProgress?: (value: never) => void;
  onWarning?: (message: string) => void;
  /** What `train` learns from. */
  batches?: BatchSource<unknown>;
}

interface Pending {
  options: CallOptions;
  /** Answered in the order of asking. */
  waiting: { resolve: (reply: Reply & { type: 'value' }) => void; reject: (error: unknown) => void }[];
  iterator?: Iterator<TrainingBatch> | AsyncIterator<TrainingBatch>;
  /** What the batches threw, on this side. */
  failure?: unknown;
}

export class Channel {
  readonly #endpoint: Endpoint<Request, Reply>;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #ended: FreelunchError | undefined;

  constructor(endpoint: Endpoint<Request, Reply>) {
    this.#endpoint = endpoint;
    endpoint.listen((reply) => this.#receive(reply));
  }

  /** Whatever waits, and whatever is asked from now on, fails. */
  end(why: string): void {
    this.#ended ??= new DisposedError(why);
    for (const { waiting } of this.#pending.values())
      for (const { reject } of waiting.splice(0)) reject(this.#ended);
    this.#pending.clear();
  }

  /** @throws what the worker threw; the signal's reason once it is aborted */
  async call<T>(method: string, args: readonly unknown[], options: CallOptions = {}): Promise<T> {
    const { id, first, release } = this.#open(method, args, options);
    try {
      return (await first).value as T;
    } finally {
      release();
      this.#pending.delete(id);
    }
  }

  /** A stream that the worker runs as its values are asked for. */
  stream<T>(
    method: string,
    args: readonly unknown[],
    options: CallOptions,
  ): AsyncGenerator<T, void, undefined> {
    const { signal } = options;
    const run = async function* (channel: Channel): AsyncGenerator<T, void, undefined> {
      signal?.throwIfAborted();
      const { id, first, release } = channel.#open(method, args, options);
      let isOver = false;
      try {
        await first;
        for (;;) {
          const { done, value } = await channel.#ask(id, { id, type: 'next' });
          if (done === true) {
            isOver = true;
            return;
          }
          yield value as T;
        }
      } catch (error) {
        isOver = true;
        throw error;
      } finally {
        release();
        if (!isOver) await channel.#ask(id, { id, type: 'return' }).catch(() => {}); // it ends either way
        await channel.#pending.get(id)?.iterator?.return?.();
        channel.#pending.delete(id);
      }
    };
    return run(this);
  }

  #open(method: string, args: readonly unknown[], options: CallOptions) {
    if (this.#ended !== undefined) throw this.#ended;
    const { signal, model } = options;
    const id = this.#nextId++;
    this.#pending.set(id, { options, waiting: [] });
    const first = this.#ask(id, { id, type: 'call', method, model, args });
    const abort = () => this.#endpoint.post({ id, type: 'abort' });
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    return { id, first, release: () => signal?.removeEventListener('abort', abort) };
  }

  #ask(id: number, request: Request): Promise<Reply & { type: 'value' }> {
    return new Promise((resolve, reject) => {
      const pending = this.#pending.get(id);
      if (pending === undefined)
        return reject(this.#ended ?? new DisposedError('worker: the call has ended'));
      pending.waiting.push({ resolve, reject });
      try {
        this.#endpoint.post(request);
      } catch (cause) {
        pending.waiting.pop();
        const { message } = cause as Error;
        reject(new ArgumentError(`worker: arguments must be data that can be sent: ${message}`, { cause }));
      }
    });
  }

  #receive(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return; // nobody waits any more
    const { options, waiting } = pending;
    switch (reply.type) {
      case 'value':
        return waiting.shift()?.resolve(reply);
      case 'error': {
        const { signal } = options;
        const error: unknown =
          signal?.aborted === true ? signal.reason : (pending.failure ?? received(reply.error));
        return waiting.shift()?.reject(error);
      }
      case 'event':
        if (reply.name === 'progress') options.onProgress?.(reply.value as never);
        else options.onWarning?.(String(reply.value));
        return;
      case 'batch':
        void this.#sendBatch(reply.id, pending, reply);
    }
  }

  async #sendBatch(id: number, pending: Pending, { open, state }: Reply & { type: 'batch' }): Promise<void> {
    try {
      if (open) {
        const { batches } = pending.options;
        const stream: Batches = typeof batches === 'function' ? batches(state) : batches!;
        pending.iterator =
          Symbol.asyncIterator in stream ? stream[Symbol.asyncIterator]() : stream[Symbol.iterator]();
      }
      const { done, value } = await pending.iterator!.next();
      const position = (pending.iterator as { state?: unknown }).state;
      if (done === true) return this.#endpoint.post({ id, type: 'batch', state: position });
      const { inputs, targets, lossMask, batchSize, seqLen } = value;
      const batch = { inputs, targets, lossMask, batchSize, seqLen };
      this.#endpoint.post({ id, type: 'batch', batch, state: position });
    } catch (error) {
      pending.failure = error;
      this.#endpoint.post({ id, type: 'batch', error: sent(error) });
    }
  }
}
