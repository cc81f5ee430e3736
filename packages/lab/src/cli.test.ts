import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { cli } from './testing/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'freelunch-process-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Starts the command, sends a signal once `ready` says so, and waits for its end. */
async function interrupted(
  args: string[],
  ready: () => boolean,
  signals: readonly NodeJS.Signals[] = ['SIGINT'],
): Promise<{ end: [number | null, string | null]; stderr: string; afterMs: number }> {
  const child = spawn(process.execPath, [cli, ...args], { stdio: 'pipe', cwd: folder });
  let stderr = '';
  child.stderr.on('data', (data) => (stderr += data));
  const ended = new Promise<[number | null, string | null]>((resolve) => {
    child.on('exit', (code, signal) => resolve([code, signal]));
  });
  while (!ready() && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(child.exitCode).toBe(null); // still at work
  const since = performance.now();
  for (const signal of signals) {
    child.kill(signal);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  return { end: await ended, stderr, afterMs: performance.now() - since };
}

const after = (ms: number) => {
  const since = performance.now();
  return () => performance.now() - since > ms;
};

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
    const { end, stderr } = await interrupted(['copy', '--draws', '10000', '--out', out], after(1500));
    expect([end, stderr]).toEqual([[130, null], 'Interrupted.\n']);
    expect(existsSync(out)).toBe(false);
  });

  it.each(['lines.jsonl', 'rows.safetensors'])('and the old %s stays as it was', async (name) => {
    const out = join(folder, 'old', name);
    const exporting = (count: string) => ['tasks', 'export', 'lcs', '--count', count, '--out', out];
    spawnSync(process.execPath, [cli, ...exporting('1')]);
    const old = readFileSync(out);
    const { end, stderr } = await interrupted(exporting('1000000000'), after(1500));
    expect([end, stderr]).toEqual([[130, null], 'Interrupted.\n']);
    expect(readFileSync(out).equals(old)).toBe(true);
    expect(readdirSync(join(folder, 'old')).filter((file) => !/^(lines|rows)/.test(file))).toEqual([]);
  });

  it('while it measures', async () => {
    const { end } = await interrupted(['measure', '--passes', '1000'], after(1500));
    expect(end).toEqual([130, null]);
  });
});

describe.skipIf(process.platform === 'win32')('what is no file', () => {
  it('is refused at once, a pipe too', () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    writeFileSync(join(folder, 'text.txt'), 'some text');
    for (const args of [
      ['copy', pipe],
      ['cost', pipe],
      ['sweep', pipe],
      ['run', 'copy-capacity', '--config', pipe],
      ['tasks', 'verify', pipe],
      ['tasks', 'export', '--from', pipe],
      ['copy', 'text.txt', '--out', pipe],
      ['tasks', 'export', 'copy', '--out', pipe],
    ]) {
      const { status, stderr } = spawnSync(process.execPath, [cli, ...args], {
        encoding: 'utf8',
        cwd: folder,
        timeout: 20_000,
      });
      expect(stderr, args.join(' ')).toMatch(/^freelunch \w+: [^\n]*pipe[^\n]*\n$/);
      expect(status, args.join(' ')).toBe(2);
    }
  });
});
