import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { random } from '@freelunch/random';
import { afterAll, expect, it } from 'vitest';

const child = fileURLToPath(new URL('kill-child.mjs', import.meta.url));
const parent = await mkdtemp(join(tmpdir(), 'freelunch-'));
afterAll(() => rm(parent, { recursive: true, force: true }));

/**
 * Trains in a process of its own.
 *
 * @param killAfterMs  from its first sign of life; never if absent
 * @returns the steps that it reported
 */
function run(
  folder: string,
  result: string,
  killAfterMs?: number,
): Promise<{ killed: boolean; steps: number[] }> {
  return new Promise((resolve, reject) => {
    const process = spawn(globalThis.process.execPath, [child, folder, result]);
    let output = '';
    let errors = '';
    process.stderr.on('data', (data: Buffer) => (errors += data.toString()));
    process.stdout.on('data', (data: Buffer) => {
      if (output === '' && killAfterMs !== undefined) setTimeout(() => process.kill('SIGKILL'), killAfterMs);
      output += data.toString();
    });
    process.on('error', reject);
    process.on('close', (code, signal) => {
      const steps = output.split('\n').map(Number).filter(Boolean);
      if (code === 0 || signal === 'SIGKILL') resolve({ killed: signal !== null, steps });
      else reject(new Error(errors));
    });
  });
}

it('resumes a run that is killed at any moment to the bits of one that never was', async () => {
  const whole = join(parent, 'whole.txt');
  const { steps } = await run(join(parent, 'whole'), whole);
  expect(steps).toEqual(Array.from({ length: 60 }, (_step, i) => i + 1));

  const parts = join(parent, 'parts.txt');
  const folder = join(parent, 'parts');
  const rng = random(Date.now()); // another moment each time
  const first: number[] = [];
  let kills = 0;
  for (let life = 0; life < 8; life++) {
    const one = await run(folder, parts, 2 + rng.integer(120));
    if (one.steps.length > 0) first.push(one.steps[0]);
    if (!one.killed) break;
    kills++;
  }
  const { steps: rest } = await run(folder, parts);
  expect(kills).toBeGreaterThan(0);
  expect([...first, ...rest.slice(0, 1)].every((step, i, all) => i === 0 || step > all[i - 1])).toBe(true);
  expect(await readFile(parts, 'utf8')).toBe(await readFile(whole, 'utf8'));
});
