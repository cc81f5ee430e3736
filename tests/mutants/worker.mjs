/**
 * Judges mutants, one after another: compiles, and runs tests until one fails. What every case must pass runs here, on
 * answers of the reference that are worked out once; what is left goes through vitest. Started by run.mjs.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { main as compile } from 'assemblyscript/asc';
import { runnerImport } from 'vite';
import { createVitest } from 'vitest/node';
import { kindOf } from '../../assembly/counting/functions.mjs';
import { instrument } from '../../assembly/counting/instrument.mjs';
import { common } from '../../assembly/options.mjs';
import { applied } from './mutations.mjs';
import { doorsOf, kernelTests, readFamilies } from './sandbox.mjs';

/** These are run here. */
const CASE_TESTS = new Set(['reference.test.ts', 'memory.test.ts', 'gradient.test.ts']);
/** What kernels compute and move, counted: finds work that leaves the results as they are. */
const COST_TEST = 'complexity/kernels.test.ts';
const TRANSFORM = join(import.meta.dirname, '../../assembly/counting/transform.mjs');
/** Where `relaxed-simd` runs, too, it is not the binary that is changed. */
const OF_SIMD = '^(?!.*\\brelaxed-simd )';

let sandbox;
let sources;
let loadKernels;
let checks; // tests/checks.ts
let families; // name -> its cases
let tests;
let doors;
let vitest;
let failure;
const unchanged = new Map(); // binaries, by how they were compiled

const beats = new Int32Array(new SharedArrayBuffer(4));
const beat = () => Atomics.add(beats, 0, 1);

process.on('message', async (message) => {
  try {
    beat();
    if (message.start) await start(message.start);
    process.send(message.start ? { ready: true } : { done: await judge(message.mutant) });
  } catch (error) {
    process.send({ error: error.stack });
  }
});
process.on('disconnect', () => process.exit());

async function start(given) {
  ({ sandbox, sources } = given);
  const watchdog = new Worker(new URL('watchdog.mjs', import.meta.url), {
    workerData: { beats, limit: given.limit },
  });
  watchdog.unref();
  ({ loadKernels } = await import(pathToFileURL(join(sandbox, 'packages/kernels/dist/index.js'))));
  ({ module: checks } = await runnerImport(join(sandbox, 'tests/checks.ts')));
  families = new Map();
  for (const name of readFamilies(sandbox)) {
    const { module } = await runnerImport(join(sandbox, 'tests/cases', `${name}.ts`));
    const found = Object.values(module).filter(Array.isArray).flat();
    families.set(
      name,
      found.filter(({ op }) => op !== undefined),
    );
  }
  tests = kernelTests(sandbox).filter((test) => !CASE_TESTS.has(test));
  doors = doorsOf('index.ts', sources);
}

/** What becomes of a mutant; `undefined` is the unchanged source, of which every test runs. */
async function judge(mutant) {
  if (!mutant) {
    let by = await firstFailure(await binaryOf(sources, doors, '-O0'), [...families.keys()], tests, OF_SIMD);
    by ??= await firstFailedCount(sources);
    return by === undefined ? { result: 'survived' } : { result: 'noticed', by };
  }
  const changed = { ...sources, [mutant.file]: applied(sources[mutant.file], mutant) };
  const names = [...families.keys()];
  // A door without cases of its name: any of the families may be behind it.
  const found = doorsOf(mutant.file, sources).map((door) => names.find((name) => name === familyOf(door)));
  const concerned = found.includes(undefined) ? names : [...new Set(found)];
  const reached = doors.filter((door) => concerned.includes(familyOf(door)));
  const binary = await binaryOf(changed, reached, '-O0');
  if (binary === undefined) return { result: 'does not compile' };
  if (binary.equals(await unchangedOf(reached, '-O0'))) return { result: 'no change' };

  // The file's own family first: it is most likely to notice.
  concerned.sort((a, b) => Number(mutant.file.startsWith(b)) - Number(mutant.file.startsWith(a)));
  const own = concerned.map((name) => `${name}.test.ts`).filter((test) => tests.includes(test));
  const others = tests.filter((test) => !names.some((name) => test === `${name}.test.ts`));
  let by = await firstFailedCheck(binary, concerned);
  if (by === undefined) {
    const whole = await binaryOf(changed, doors, '-O0');
    by = await firstFailure(whole, [], [...own, ...others], patternOf(concerned));
  }
  if (by !== undefined) return { result: 'noticed', by };
  const optimised = await binaryOf(changed, doors, '-O1');
  if (optimised.equals(await unchangedOf(doors, '-O1'))) return { result: 'no change' };
  by = await firstFailedCount(changed);
  return by === undefined ? { result: 'survived' } : { result: 'noticed', by };
}

/** The family of a door: what `selective-scan` and `selective-scan/step` have in common. */
const familyOf = (door) => door.split('/')[0];

/** @returns what failed first: a check of the families' cases, or a test in the files */
async function firstFailure(binary, names, files, pattern) {
  return (await firstFailedCheck(binary, names)) ?? firstFailedTest(binary, files, pattern);
}

async function firstFailedCheck(source, names) {
  const cases = names.flatMap((name) => families.get(name));
  const k = await loadKernels({ variant: 'simd', source, guard: true });
  const differentiable = cases.filter((c) => c.backward !== undefined);
  for (const [check, of] of [
    ['checkReference', cases],
    ['checkMemory', cases],
    ['checkGradient', differentiable],
  ]) {
    for (const c of of) {
      for (const size of c.sizes) {
        beat();
        try {
          checks[check](k, c, size);
        } catch (error) {
          if (error instanceof TypeError) throw error; // an export is missing: a fault of ours, not of the mutant
          return `${check}: ${c.title ?? c.op} at ${JSON.stringify(size)}: ${error.message}`;
        }
      }
    }
  }
  return undefined;
}

/** @returns what failed first of the test that counts what kernels do */
async function firstFailedCount(files) {
  const folder = join(sandbox, 'assembly/build');
  mkdirSync(folder, { recursive: true });
  const binary = await binaryOf(files, doors, '--debug', '--transform', TRANSFORM);
  writeFileSync(join(folder, 'counting.wasm'), instrument(binary, kindOf));
  return firstFailedTest(await binaryOf(files, doors, '-O0'), [COST_TEST], OF_SIMD);
}

async function firstFailedTest(binary, files, pattern) {
  writeFileSync(join(sandbox, 'packages/kernels/dist/simd.wasm'), binary);
  vitest ??= await startVitest();
  failure = undefined;
  vitest.setGlobalTestNamePattern(new RegExp(pattern));
  const [project] = vitest.projects;
  const specifications = files.map((file) => project.createSpecification(join(sandbox, 'tests', file)));
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications(specifications);
  if (testModules.length === 0) throw new Error(`no tests in ${files.join(', ')}`);
  if (unhandledErrors.length > 0) failure ??= unhandledErrors[0].message;
  return failure;
}

async function startVitest() {
  const started = await createVitest('test', {
    config: false,
    root: join(sandbox, 'tests'),
    watch: false,
    pool: 'threads',
    maxWorkers: 1,
    bail: 1,
    testTimeout: 0, // the watchdog's to judge
    include: ['**/*.test.ts'],
    sequence: { sequencer: AsGiven },
    reporters: [
      {
        onTestModuleCollected: beat,
        onTestModuleEnd(module) {
          const [error] = module.errors();
          if (error) failure ??= `${module.relativeModuleId}: ${error.message}`;
        },
        onTestCaseResult(test) {
          beat();
          const { state, errors } = test.result();
          if (state === 'failed')
            failure ??= `${test.module.relativeModuleId}: ${test.fullName}: ${errors[0].message.split('\n')[0]}`;
        },
      },
    ],
  });
  await started.standalone();
  return started;
}

/** Keeps the order in which files were given. */
class AsGiven {
  sort(files) {
    return files;
  }
  shard(files) {
    return files;
  }
}

/** Tests but for those named after a case of other families. */
function patternOf(concerned) {
  const others = [...families].filter(([name]) => !concerned.includes(name)).flatMap(([, cases]) => cases);
  const titles = others.map(({ op, title }) => (title ?? op).replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return titles.length === 0 ? OF_SIMD : `${OF_SIMD}(?!.*\\bsimd (?:${titles.join('|')}) at every )`;
}

async function unchangedOf(entries, level) {
  const key = `${entries} ${level}`;
  if (!unchanged.has(key)) unchanged.set(key, await binaryOf(sources, entries, level));
  return unchanged.get(key);
}

/**
 * Compiles the `simd` binary with the exports of some doors, from sources in memory. Unoptimised, it takes a twentieth of
 * the real build's time and computes the same.
 */
async function binaryOf(files, entries, ...options) {
  const index = files['index.ts'].replaceAll(/^export \* from '\.\/([^']+)';$/gm, (line, door) =>
    entries.includes(door) ? line : '',
  );
  const given = { ...files, 'index.ts': index };
  let binary;
  const { error } = await compile(
    ['src/index.ts', '--outFile', 'mutant.wasm', ...common, '--enable', 'simd', ...options],
    {
      readFile: (name) => given[name.replace(/^.*?src\//, '')] ?? null,
      writeFile: (name, contents) => {
        if (name.endsWith('.wasm')) binary = contents;
      },
      listFiles: () => [],
      stderr: { write: () => true },
    },
  );
  beat();
  return error ? undefined : Buffer.from(binary);
}
