/**
 * `npm run fuzz -- [--count N] [--seconds S] [--seed N]`: the fuzzers of this folder with more inputs than `npm test`
 * gives them. Each target stops after `--seconds` (60 if absent) or `--count` inputs (1,000,000 if absent).
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
  },
});
for (const [name, value] of Object.entries(values)) {
  if (!/^\d{1,12}$/.test(value)) {
    console.error(`fuzz: --${name} must be a whole number, got '${value}'`);
    process.exit(2);
  }
}
console.log(`seeds from ${values.seed} on`);
const { status } = spawnSync(
  process.execPath,
  [
    fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url)),
    'run',
    '--project',
    'node',
    'hostile/',
    '--testTimeout=0',
    '--reporter=verbose',
  ],
  {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: 'inherit',
    env: {
      ...process.env,
      FREELUNCH_FUZZ: values.count,
      FREELUNCH_FUZZ_SECONDS: values.seconds,
      FREELUNCH_FUZZ_SEED: values.seed,
    },
  },
);
process.exit(status ?? 1);
