/** The connection to Redis, and BullMQ, which is loaded here only: who runs on one machine needs neither. */
import { createHash } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import type { ConnectionOptions, Job, Queue, Worker } from 'bullmq';
import { InputError, QueueError } from '../errors.js';
import type { Address } from './address.js';

/** Redis, a command at a time. Commands wait while it cannot be reached. */
export interface Redis {
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
}

const digests = new Map<string, string>();

/** Runs a script of Redis by its digest; sends it where Redis does not know it yet. */
export async function runScript(
  redis: Redis,
  script: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  const digest = digests.get(script) ?? createHash('sha1').update(script).digest('hex');
  digests.set(script, digest);
  try {
    return await redis.call('EVALSHA', digest, keys.length, ...keys, ...args);
  } catch (cause) {
    if (!(cause as Error).message.startsWith('NOSCRIPT')) throw cause;
    return redis.call('EVAL', script, keys.length, ...keys, ...args);
  }
}

/** The client that BullMQ brings; connections of its own could not be watched from their beginning. */
interface Client extends Redis, EventEmitter {
  connect(): Promise<void>;
  disconnect(): void;
}

/** The parts of BullMQ that are used. */
export interface BullMQ {
  Queue: typeof Queue;
  Worker: typeof Worker;
  Job: typeof Job;
  UnrecoverableError: new (message: string) => Error;
  WaitingError: new () => Error;
}

/** @throws InputError that says how to install it */
async function loadBullMQ(): Promise<{ bull: BullMQ; Client: new (options: object) => Client }> {
  try {
    const bull = (await import('bullmq')) as unknown as BullMQ;
    const { resolve } = createRequire(import.meta.url);
    const { Redis } = createRequire(resolve('bullmq'))('ioredis') as {
      Redis: new (options: object) => Client;
    };
    return { bull, Client: Redis };
  } catch (cause) {
    if (!['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes((cause as NodeJS.ErrnoException).code ?? ''))
      throw cause;
    throw new InputError('--redis needs the package bullmq, which is not installed: npm install bullmq@5', {
      cause,
    });
  }
}

/** Longest wait between two tries to connect. */
const LONGEST_RETRY_MS = 2000;
/** For the first connection. */
const CONNECT_MS = 10_000;
const CONNECT_TRIES = 3;

/** What goes wrong at the first connection and does not pass by waiting. */
const REFUSALS = /^(WRONGPASS|NOAUTH|NOPERM|ERR (AUTH|invalid|DB index|SELECT)|MISCONF)/;

export interface Connection {
  bull: BullMQ;
  redis: Redis;
  address: Address;
  /** Of everything of this program in Redis. */
  key(...parts: string[]): string;
  /** BullMQ's queue of a build. */
  queue(build: string): Queue;
  /** Of a queue or a worker of BullMQ. */
  options: { connection: ConnectionOptions; prefix: string; skipVersionCheck: true };
  /** Called whenever the connection is there again after it was lost. */
  onReconnect(listener: () => void): void;
  close(): Promise<void>;
}

/** Names of queues must not hold a colon; a plus sign is for versions. */
export const queueName = (build: string) => `pieces-${build.replace('+', '-')}`;

/**
 * Connects, or says why not. Once connected, a lost connection is taken up again for as long as it takes.
 *
 * @param onTrouble  told when the connection is lost and when it is there again
 * @throws InputError if there is no Redis, or if it refuses the password
 */
export async function connect(
  address: Address,
  signal: AbortSignal,
  onTrouble: (message: string) => void = () => {},
): Promise<Connection> {
  const { bull, Client } = await loadBullMQ();
  signal.throwIfAborted();
  const { host, port, db, username, password, tls, prefix, shown } = address;
  let connected = false;
  const client = new Client({
    host,
    port,
    db,
    username,
    password,
    ...(tls ? { tls: { servername: host } } : {}),
    lazyConnect: true,
    connectTimeout: CONNECT_MS,
    maxRetriesPerRequest: null,
    // A first connection is tried a few times only.
    retryStrategy: (times: number) =>
      !connected && times > CONNECT_TRIES ? null : Math.min(100 * 2 ** times, LONGEST_RETRY_MS),
  });
  const listeners: (() => void)[] = [];
  const queues = new Map<string, Queue>();
  const options = {
    connection: client as unknown as ConnectionOptions,
    prefix,
    skipVersionCheck: true,
  } as const;
  const open = (build: string) => {
    const queue = new bull.Queue(queueName(build), options);
    queue.on('error', () => {}); // told by the connection
    queues.set(build, queue);
    return queue;
  };
  const close = async () => {
    connected = false;
    // Commands that wait for Redis are not waited for.
    client.disconnect();
    await Promise.all([...queues.values()].map((queue) => queue.close().catch(() => {})));
  };
  try {
    await firstConnection(client, signal, shown);
    connected = true;
    let lost = false;
    client.on('close', () => {
      if (!connected || lost) return;
      lost = true;
      onTrouble(`The connection to ${shown} is lost: trying again until it is back.`);
    });
    client.on('ready', () => {
      if (!lost) return;
      lost = false;
      onTrouble(`The connection to ${shown} is back.`);
      for (const listener of listeners) listener();
    });
    await checkServer(client, shown, onTrouble);
    return {
      bull,
      redis: client,
      address,
      options,
      key: (...parts) => [prefix, ...parts].join(':'),
      queue: (build) => queues.get(build) ?? open(build),
      onReconnect: (listener) => void listeners.push(listener),
      close,
    };
  } catch (cause) {
    await close();
    throw cause;
  }
}

/** @throws InputError, or the signal's reason */
async function firstConnection(client: Client, signal: AbortSignal, shown: string): Promise<void> {
  let last: Error | undefined;
  /** Only what is said: an error of the client can hold the command, with the password. */
  const why = (error: Error) => {
    const { message, code } = error as NodeJS.ErrnoException;
    return new InputError(
      `cannot use Redis at ${shown}: ${message === '' ? (code ?? 'no connection') : message}`,
    );
  };
  let timer: NodeJS.Timeout | undefined;
  let stop = () => {};
  try {
    await Promise.race([
      client.connect().catch((cause: Error) => {
        throw why(last ?? cause);
      }),
      new Promise<never>((_, reject) => {
        stop = () => reject(signal.reason as Error);
        signal.addEventListener('abort', stop);
        client.on('error', (error: Error) => {
          last = error;
          if (REFUSALS.test(error.message)) reject(why(error));
        });
        timer = setTimeout(() => reject(why(last ?? new Error('it does not answer'))), 2 * CONNECT_MS);
      }),
    ]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

/** What Redis refuses in the middle of the work, in one sentence; anything else as it is. */
export function plainly(cause: unknown, { shown }: Address): unknown {
  if (!(cause instanceof Error) || cause.name !== 'ReplyError') return cause;
  return new QueueError(`Redis at ${shown} refuses: ${cause.message}`);
}

const LEAST_VERSION = [6, 2] as const;

async function checkServer(redis: Redis, shown: string, onTrouble: (message: string) => void): Promise<void> {
  const info = String(
    await redis.call('INFO').catch((cause: Error) => {
      throw new InputError(`cannot use Redis at ${shown}: ${cause.message}`, { cause });
    }),
  );
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
  const [major = 0, minor = 0] = field('redis_version').split('.').map(Number);
  if (major < LEAST_VERSION[0] || (major === LEAST_VERSION[0] && minor < LEAST_VERSION[1]))
    throw new InputError(
      `Redis at ${shown} must be of version ${LEAST_VERSION.join('.')} or newer, got '${field('redis_version')}'`,
    );
  const policy = field('maxmemory_policy');
  if (policy !== 'noeviction' && policy !== '')
    onTrouble(
      `Redis at ${shown} may throw away pieces and results when its memory is full: set its maxmemory-policy to noeviction (it is ${policy}).`,
    );
}
