/** Firefox and WebKit: opens a page in each, which tells what it computes. No driver is needed for that. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { servePages } from './page-server.mjs';

const PATIENCE_MS = 400_000;

/** With Debian's packages; MiniBrowser is the WebKit project's own browser, and needs a display. */
export const browsers = [
  {
    name: 'Firefox',
    packages: ['firefox-esr'],
    commands: ['firefox-esr', 'firefox'],
    start: (command, profile, url) => [command, '--headless', '--no-remote', '--profile', profile, url],
  },
  {
    name: 'WebKit',
    packages: ['webkit2gtk-driver', 'xvfb', 'xauth'],
    commands: ['x86_64', 'aarch64'].map((cpu) => `/usr/lib/${cpu}-linux-gnu/webkit2gtk-4.1/MiniBrowser`),
    start: (command, _profile, url) => ['xvfb-run', '-a', command, '--private', url],
    // Shared memory is off by default in this port of WebKit, also where a page is cross-origin isolated.
    env: { JSC_useSharedArrayBuffer: '1' },
  },
];

/** @returns the first of the commands that there is; undefined if there is none and none can be installed */
export function findBrowser({ name, packages, commands }) {
  const found = commands.find(isCommand);
  if (found !== undefined) return found;
  process.stderr.write(`No ${name} found; trying: apt-get install ${packages.join(' ')}\n`);
  const options = { stdio: ['ignore', 'ignore', 'inherit'], timeout: 300_000 };
  try {
    execFileSync('apt-get', ['update'], options);
    execFileSync('apt-get', ['install', '-y', '--no-install-recommends', ...packages], options);
  } catch {
    return undefined;
  }
  return commands.find(isCommand);
}

function isCommand(command) {
  try {
    execFileSync('sh', ['-c', 'command -v "$0"', command], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** What the page of digests tells of a browser. */
export async function askBrowser({ start, env }, command) {
  const profile = mkdtempSync(join(tmpdir(), 'freelunch-browser-'));
  const pages = await servePages();
  const [file, ...args] = start(command, profile, pages.urlOf('page.html'));
  const browser = spawn(file, args, {
    stdio: 'ignore',
    detached: true, // so that it can be ended with all its processes
    env: { ...process.env, ...env, HOME: profile, MOZ_CRASHREPORTER_DISABLE: '1' },
  });
  const failed = new Promise((_, reject) => browser.on('error', reject));
  try {
    return await Promise.race([pages.answer(PATIENCE_MS), failed]);
  } finally {
    try {
      process.kill(-browser.pid, 'SIGTERM');
    } catch {
      // it has ended by itself
    }
    await pages.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}
