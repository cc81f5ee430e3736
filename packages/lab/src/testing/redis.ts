/** For tests: a real Redis, at FREELUNCH_REDIS or a server that this process starts and ends. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { connect as connectTo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

const names = ['redis-server', 'valkey-server'];

function runnable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function find(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const known = [
    process.env.FREELUNCH_REDIS_SERVER ?? '',
    ...folders.flatMap((folder) => names.map((name) => join(folder, name))),
  ];
  return known.find((path) => path !== '' && runnable(path));
}

/** The distribution's package, as Chromium is installed; none of its services is started. */
const installers: [string, string[]][] = [
  ['apt-get', ['update']],
  ['apt-get', ['install', '-y', '--no-install-recommends', 'redis-server']],
];

/** The path of a server: FREELUNCH_REDIS_SERVER, one on the PATH, or one installed now; undefined if there is none. */
export function redisServer(): string | undefined {
  const there = find();
  if (there !== undefined || process.platform !== 'linux') return there;
  for (const [command, args] of installers) {
    process.stderr.write(`No Redis found; trying: ${command} ${args.join(' ')}\n`);
    try {
      const env = { ...process.env, RUNLEVEL: '1', DEBIAN_FRONTEND: 'noninteractive' };
      execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'], timeout: 300_000, env });
    } catch {
      continue; // without rights, or another system: the caller says that there is none
    }
  }
  return find();
}

export const WITHOUT_REDIS =
  'no Redis can be had: install redis-server or valkey-server, or set FREELUNCH_REDIS to the URL of one';

export interface OwnRedis {
  port: number;
  /** Without a password. */
  url: string;
  /** At once, as a power cut would; what it has written stays. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Ends it and removes its folder. */
  remove(): Promise<void>;
}

/** Starts a server in a folder of its own on a free port. @param args  further options of redis-server */
export async function ownRedis(server: string, args: readonly string[] = []): Promise<OwnRedis> {
  const folder = mkdtempSync(join(tmpdir(), 'freelunch-redis-'));
  const port = await freePort();
  let child: ChildProcess | undefined;
  async function start(): Promise<void> {
    const started = spawn(
      server,
      ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', ...args],
      { stdio: 'ignore' },
    );
    child = started;
    const tlsPort = args[args.indexOf('--tls-port') + 1];
    const at = args.includes('--tls-port') ? Number(tlsPort) : port;
    for (const until = Date.now() + 20_000; ; await wait(20)) {
      if (started.exitCode !== null || Date.now() > until) throw new Error('redis-server does not start');
      if (await answers(at)) return;
    }
  }
  async function kill(): Promise<void> {
    const ended = child;
    child = undefined;
    if (ended === undefined || ended.exitCode !== null || ended.signalCode !== null) return;
    const gone = new Promise((resolve) => ended.once('exit', resolve));
    ended.kill('SIGKILL');
    await gone;
  }
  // Also if a test ends the process before it comes to `remove`.
  process.once('exit', () => child?.kill('SIGKILL'));
  await start();
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    start,
    kill,
    async remove() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

const answers = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connectTo(port, '127.0.0.1');
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => socket.destroy());
    socket.once('connect', () => socket.destroy());
  });
