import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { cli, freelunch } from './testing/cli.js';

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'freelunch-process-')));
afterAll(() => rmSync(folder, { recursive: true }));

/** Whether a process handles Ctrl-C: known on Linux, where the mask of signals that it catches can be read. */
function handlesInterrupt(pid: number): boolean {
  const [, mask] = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return mask !== undefined && (BigInt(`0x${mask}`) & 2n) !== 0n;
}

/** Starts the command, sends a signal after so long at work, and waits for its end. */
async function interrupted(
  args: string[],
  workMs: number,
  signals: readonly NodeJS.Signals[] = ['SIGINT'],
): Promise<{ end: [number | null, string | null]; stderr: string; afterMs: number }> {
  const child = spawn(process.execPath, [cli, ...args], { stdio: 'pipe', cwd: folder });
  let stderr = '';
  child.stderr.on('data', (data) => (stderr += data));
  const ended = new Promise<[number | null, string | null]>((resolve) => {
    child.on('exit', (code, signal) => resolve([code, signal]));
  });
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  if (process.platform === 'linux')
    while (child.exitCode === null && !handlesInterrupt(child.pid!)) await pause(20);
  else await pause(2000);
  await pause(workMs);
  expect(child.exitCode).toBe(null); // still at work
  const since = performance.now();
  for (const signal of signals) {
    child.kill(signal);
    await pause(300);
  }
  return { end: await ended, stderr, afterMs: performance.now() - since };
}

it('ends with the exit code and the one line of its command', () => {
  const run = (...args: string[]) => spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8' });
  expect(run('table', '--T', '0')).toMatchObject({
    status: 2,
    stdout: '',
    stderr: "freelunch table: --T must be a whole number from 1 to 1099511627776, got '0'\n",
  });
  expect(run('--version')).toMatchObject({ status: 0, stderr: '' });
});

it('ends quietly when its reader has seen enough', () => {
  const args = `'${cli}' tasks export copy --count 100000`;
  const { stdout, stderr } = spawnSync('sh', ['-c', `'${process.execPath}' ${args} | head -c 9`], {
    encoding: 'utf8',
  });
  expect([stdout, stderr]).toEqual(['{"manifes', '']);
});

describe.skipIf(process.platform === 'win32')('stops at Ctrl-C with exit code 130', () => {
  it('and leaves no file', async () => {
    const out = join(folder, 'interrupted');
    const { end, stderr } = await interrupted(['copy', '--draws', '10000', '--out', out], 1000);
    expect([end, stderr]).toEqual([[130, null], 'Interrupted.\n']);
    expect(existsSync(out)).toBe(false);
  });

  it.each(['lines.jsonl', 'rows.safetensors'])('and the old %s stays as it was', async (name) => {
    const out = join(folder, 'old', name);
    const exporting = (count: string) => ['tasks', 'export', 'lcs', '--count', count, '--out', out];
    spawnSync(process.execPath, [cli, ...exporting('1')]);
    const old = readFileSync(out);
    const { end, stderr } = await interrupted(exporting('1000000000'), 1000);
    expect([end, stderr]).toEqual([[130, null], 'Interrupted.\n']);
    expect(readFileSync(out).equals(old)).toBe(true);
    expect(readdirSync(join(folder, 'old')).filter((file) => !/^(lines|rows)/.test(file))).toEqual([]);
  });

  it('while it measures', async () => {
    const { end } = await interrupted(['measure', '--passes', '1000'], 1000);
    expect(end).toEqual([130, null]);
  });

  it('or at once if it is asked twice', async () => {
    const args = ['tasks', 'export', 'lcs', '--count', '1000000000', '--out', join(folder, 'twice.jsonl')];
    const { end, afterMs } = await interrupted(args, 1000, ['SIGTERM', 'SIGTERM']);
    expect([
      [143, null],
      [null, 'SIGTERM'],
    ]).toContainEqual(end); // the first may have been enough
    expect(afterMs).toBeLessThan(10_000);
  });
});

describe('the file that npm links', () => {
  const launcher = fileURLToPath(new URL('../bin/freelunch.js', import.meta.url));
  // Node warns on stderr if both variables of colours are set, as nx and whoever starts it may do.
  const env = { ...process.env, NO_COLOR: undefined, FORCE_COLOR: undefined };
  const run = (file: string) => spawnSync(process.execPath, [file, '--version'], { encoding: 'utf8', env });

  /** A copy of it where nothing is built. @param files  beside the packages, with their content */
  function unbuilt(name: string, files: Record<string, string>): { root: string; file: string } {
    const root = join(folder, name);
    const lab = join(root, 'packages/lab');
    mkdirSync(join(lab, 'bin'), { recursive: true });
    writeFileSync(join(lab, 'package.json'), '{"type":"module"}');
    copyFileSync(launcher, join(lab, 'bin/freelunch.js'));
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), content);
    }
    return { root, file: join(lab, 'bin/freelunch.js') };
  }
  const clone = { 'nx.json': '{}', 'assembly/package.json': '{}' };
  const nx = 'node_modules/nx/dist/bin/nx.js';

  it.skipIf(process.platform === 'win32')('can be executed, and starts what is built', () => {
    expect(statSync(launcher).mode & 0o111).toBe(0o111);
    const { stdout, stderr, status } = spawnSync(launcher, ['--version'], { encoding: 'utf8' });
    expect([stdout.trim(), stderr, status]).toEqual([expect.stringMatching(/^\d+\.\d+\.\d+$/), '', 0]);
  });

  it('builds a clone that is not built, and says so', () => {
    const build = `
      const { mkdirSync, writeFileSync } = require('node:fs');
      for (const folder of ['dist', 'build']) mkdirSync('packages/lab/' + folder);
      writeFileSync('packages/lab/dist/cli.js', 'console.log(process.argv[2])');
      writeFileSync('packages/lab/build/counting.wasm', '');
      console.log('much that nobody reads');`;
    const { file } = unbuilt('clone', { ...clone, [nx]: build });
    const said = 'freelunch: building freelunch, about a minute, once\n';
    expect(run(file)).toMatchObject({ stdout: '--version\n', stderr: said, status: 0 });
    expect(run(file)).toMatchObject({ stdout: '--version\n', stderr: '', status: 0 });
  });

  it('says what is wrong where it cannot start', () => {
    const bare = unbuilt('bare', clone);
    expect(run(bare.file)).toMatchObject({
      status: 1,
      stderr: `freelunch: is not built; run npm ci in ${bare.root} first\n`,
    });
    const broken = unbuilt('broken', { ...clone, [nx]: "console.error('why'); process.exit(3)" });
    expect(run(broken.file).stderr).toMatch(/why\nfreelunch: the build failed; npm run build in/);
    const installed = unbuilt('installed', {});
    expect(run(installed.file).stderr).toMatch(/packages\/lab is incomplete; install @freelunch\/lab again/);
  });
});

describe.skipIf(process.platform === 'win32')('what is no file', () => {
  it('is refused at once, a pipe too', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const text = join(folder, 'text.txt');
    writeFileSync(text, 'some text');
    for (const args of [
      ['copy', pipe],
      ['cost', pipe],
      ['sweep', pipe],
      ['run', 'copy-capacity', '--config', pipe],
      ['tasks', 'verify', pipe],
      ['tasks', 'export', '--from', pipe],
      ['copy', text, '--out', pipe],
      ['tasks', 'export', 'copy', '--out', pipe],
    ]) {
      const { status, stderr } = await freelunch(args);
      expect(stderr, args.join(' ')).toMatch(/^freelunch \w+: [^\n]*pipe[^\n]*\n$/);
      expect(status, args.join(' ')).toBe(2);
    }
  });
});
