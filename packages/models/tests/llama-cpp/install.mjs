/**
 * Installs llama.cpp, compiled, as node-llama-cpp ships it (some 100 MB), into a folder of its own beside this file:
 * `npm run llama-cpp`. Tests that compare with it are skipped where it is not there.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const VERSION = '3.22.1';
const system = { darwin: 'mac', win32: 'win' }[process.platform] ?? process.platform;
const binary = `${system}-${process.arch}${system === 'mac' && process.arch === 'arm64' ? '-metal' : ''}`;
const packages = ['node-llama-cpp', `@node-llama-cpp/${binary}`].map((name) => `${name}@${VERSION}`);
// Without the binaries for graphics cards and other machines, which are 700 MB.
const options = [
  '--no-save',
  '--no-package-lock',
  '--ignore-scripts',
  '--omit=optional',
  '--no-audit',
  '--no-fund',
];
const { status } = spawnSync('npm', ['install', ...options, '--prefix', '.', ...packages], {
  cwd: fileURLToPath(new URL('.', import.meta.url)),
  stdio: 'inherit',
  shell: process.platform === 'win32',
});
process.exitCode = status ?? 1;
