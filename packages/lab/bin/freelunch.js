#!/usr/bin/env node
// The `freelunch` command. In a clone it builds first what is not built yet; npm links this file when it installs, before
// anything is built. Plain JavaScript that old versions of Node read, so that they can be told what is needed.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const lab = join(dirname(fileURLToPath(import.meta.url)), '..');
const root = join(lab, '..', '..');
const command = join(lab, 'dist', 'cli.js');

/** Says why the command cannot start, and ends. */
function fail(message) {
  process.stderr.write(`freelunch: ${message}\n`);
  process.exit(1);
}

/** Both come from the last two steps of the last package that is built. */
const isBuilt = existsSync(command) && existsSync(join(lab, 'build', 'counting.wasm'));

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19))
  fail(`needs Node 20.19 or newer, this is ${process.versions.node}`);

const inClone = existsSync(join(root, 'nx.json')) && existsSync(join(root, 'assembly'));
if (!inClone && !isBuilt) fail(`${lab} is incomplete; install @freelunch/lab again`);
if (inClone && !isBuilt) {
  const nx = join(root, 'node_modules', 'nx', 'dist', 'bin', 'nx.js');
  if (!existsSync(nx)) fail(`is not built; run npm ci in ${root} first`);
  process.stderr.write('freelunch: building freelunch, about a minute, once\n');
  const args = [nx, 'run', '@freelunch/lab:build', '--output-style=static', '--skip-sync'];
  const { status, stdout, stderr, signal } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, NX_TUI: 'false' },
    maxBuffer: 2 ** 26,
  });
  if (signal !== null) process.kill(process.pid, signal);
  if (status !== 0) {
    process.stderr.write(`${stdout}${stderr}`);
    fail(`the build failed; npm run build in ${root} shows the same`);
  }
}
await import('../dist/cli.js');
