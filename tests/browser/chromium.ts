import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

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
    process.env.FREELUNCH_CHROMIUM ?? '',
    ...folders.flatMap((folder) => names.map((name) => join(folder, name))),
  ];
  return [...known, chromium.executablePath()].find((path) => path !== '' && runnable(path));
}

/** Ways to get a browser, tried in turn: the distribution's package, then Playwright's own build. */
const installers: [string, string[]][] = [
  ['apt-get', ['update']],
  ['apt-get', ['install', '-y', '--no-install-recommends', 'chromium']],
  ['npx', ['playwright', 'install', '--with-deps', 'chromium']],
];

/** The path of a Chromium: FREELUNCH_CHROMIUM, one on the PATH, Playwright's, or one installed now. */
export function findChromium(): string {
  for (const [command, args] of [undefined, ...installers].map((step) => step ?? [])) {
    if (command !== undefined && args !== undefined) {
      process.stderr.write(`No Chromium found; trying: ${command} ${args.join(' ')}\n`);
      try {
        execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'], timeout: 300_000 });
      } catch {
        continue; // the next way may work; if none does, the error below says what to do
      }
    }
    const path = find();
    if (path !== undefined) return path;
  }
  throw new Error(
    'The browser tests need Chromium: install it (Debian: apt-get install chromium; elsewhere: npx playwright install chromium) or set FREELUNCH_CHROMIUM to its path.',
  );
}

export const chromiumFlags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];
