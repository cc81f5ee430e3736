/**
 * Judges mutants, one after another: compiles, and runs the tests until one fails. It is started by run.mjs, which ends
 * it when it falls silent: a kernel that never returns cannot be stopped from within.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { main as compile } from 'assemblyscript/asc';
import { runnerImport } from 'vite';
import { createVitest } from 'vitest/node';
import { applied } from './mutations.mjs';
import { doorsOf, kernelTests, readFamilies } from './sandbox.mjs';

const CASE_TESTS = ['reference.test.ts', 'memory.test.ts', 'gradient.test.ts'];

/** Where `relaxed-simd` runs, too, it is not the binary that is changed. */
const OF_SIMD = '^(?!.*\\brelaxed-simd )';

let sandbox;
let sources;
let original; // the unchanged binary, as compiled
let optimised; // and optimised
let vitest;
let failure;
let tests;
let families;
const titles = new Map(); // of each family's cases, once read

process.on('message', async (message) => {
  try {
    if (message.start) await start(message.start);
    else process.send({ done: await judge(message.mutant) });
  } catch (error) {
    process.send({ error: error.stack });
  }
});
process.on('disconnect', () => process.exit());

async function start(given) {
  ({ sandbox, sources } = given);
  vitest = await createVitest('test', {
    config: false,
    root: join(sandbox, 'tests'),
    watch: false,
    pool: 'threads',
    maxWorkers: 1,
    bail: 1,
    testTimeout: 120_000,
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
  await vitest.standalone();
  tests = kernelTests(sandbox).filter((test) => !CASE_TESTS.includes(test));
  families = readFamilies(sandbox);
  original = await binaryOf(sources, '-O0');
  process.send({ ready: true });
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

let lastBeat = 0;
function beat() {
  if (Date.now() - lastBeat < 500) return;
  lastBeat = Date.now();
  process.send({ beat: true });
}

/** What becomes of a mutant; `undefined` is the unchanged source, of which every test runs. */
async function judge(mutant) {
  const changed = mutant && { ...sources, [mutant.file]: applied(sources[mutant.file], mutant) };
  const binary = mutant ? await binaryOf(changed, '-O0') : original;
  if (binary === undefined) return { result: 'does not compile' };
  if (mutant && binary.equals(original)) return { result: 'no change' };
  writeFileSync(join(sandbox, 'packages/kernels/dist/simd.wasm'), binary);

  for (const [files, pattern] of mutant ? await stagesOf(mutant.file) : everything()) {
    const by = await firstFailure(files, pattern);
    if (by !== undefined) return { result: 'noticed', by };
  }
  if (!mutant) return { result: 'survived' };
  optimised ??= await binaryOf(sources, '-O1');
  const same = (await binaryOf(changed, '-O1')).equals(optimised);
  return { result: same ? 'no change' : 'survived' };
}

const everything = () => [
  [CASE_TESTS, OF_SIMD],
  [tests, OF_SIMD],
];

/** What to run for a change of a file: its families' cases, their own tests, then those of no one family. */
async function stagesOf(file) {
  const familyOf = (name) => families.find((family) => name === family || name.startsWith(`${family}-`));
  const found = doorsOf(file, sources).map(familyOf);
  // A door without cases of its name: any of the families may be behind it.
  const reached = found.includes(undefined) ? families : [...new Set(found)];
  // The file's own family first: it is most likely to notice.
  const nearest = [...reached].sort((a, b) => Number(file.startsWith(b)) - Number(file.startsWith(a)));
  const own = nearest.map((family) => `${family}.test.ts`).filter((test) => tests.includes(test));
  const others = tests.filter((test) => !families.some((family) => test === `${family}.test.ts`));
  return [
    [CASE_TESTS, await patternOf(nearest)],
    [[...own, ...others], OF_SIMD],
  ];
}

async function firstFailure(files, pattern) {
  failure = undefined;
  vitest.setGlobalTestNamePattern(new RegExp(pattern));
  const [project] = vitest.projects;
  // The tests of cases share one thread, to save its start: they leave nothing behind in it. Others count on a new one.
  project.config.isolate = files !== CASE_TESTS;
  const specifications = files.map((file) => project.createSpecification(join(sandbox, 'tests', file)));
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications(specifications);
  if (unhandledErrors.length > 0) failure ??= unhandledErrors[0].message;
  if (testModules.length === 0) throw new Error(`no tests in ${files.join(', ')}`);
  return failure;
}

/** Names of the tests of these families' cases. */
async function patternOf(wanted) {
  const all = (await Promise.all(wanted.map(titlesOf))).flat();
  const escaped = all.map((title) => title.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return `${OF_SIMD}.*\\bsimd (?:${escaped.join('|')}) (?:matches|has|writes) `;
}

async function titlesOf(family) {
  if (!titles.has(family)) titles.set(family, readTitles(family));
  return titles.get(family);
}

async function readTitles(family) {
  const { module } = await runnerImport(join(sandbox, 'tests/cases', `${family}.ts`));
  const cases = Object.values(module).filter(Array.isArray).flat();
  return cases.flatMap(({ op, title }) => (op === undefined ? [] : [title ?? op]));
}

/**
 * Compiles the `simd` binary from sources in memory. Without optimisation it takes a twentieth of the real build's time,
 * and computes the same.
 */
async function binaryOf(files, level) {
  let binary;
  const { error } = await compile(
    // prettier-ignore
    ['src/index.ts', '--outFile', 'mutant.wasm', '--runtime', 'stub', '--importMemory', '--noExportMemory', '--noAssert', level, '--enable', 'simd'],
    {
      readFile: (name) => files[name.replace(/^.*?src\//, '')] ?? null,
      writeFile: (_name, contents) => (binary = contents),
      listFiles: () => [],
      stderr: { write: () => true },
    },
  );
  beat();
  return error ? undefined : Buffer.from(binary);
}
