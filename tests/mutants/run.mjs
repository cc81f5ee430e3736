/**
 * Mutants of the kernels: changes one operator in assembly/src at random, again and again, and says whether a test
 * notices. What no test notices is either shown to change nothing (equivalents.json) or wants a test.
 *
 *   npm run mutants -- --count 50 --seed 1 [--file loss] [--jobs 2] [--limit 15] [--retry]
 *
 * --limit is in seconds of the processor without a finished test, after which a mutant is taken to run for ever.
 * A second run with the same seed goes on where the first one stopped; --retry judges again what survived or timed out.
 */
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { random } from '@freelunch/random';
import { keyOf, mutantsOf } from './mutations.mjs';
import { fillSandbox, readSources } from './sandbox.mjs';

/** Signals that come from outside: a worker that they end says nothing about its mutant. */
const FROM_OUTSIDE = new Set(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL']);
const COUNTED = new Set(['noticed', 'survived', 'timed out', 'known to change nothing']);

const { values: options } = parseArgs({
  options: {
    count: { type: 'string', default: '20' },
    seed: { type: 'string', default: '0' },
    file: { type: 'string', default: '' },
    jobs: { type: 'string', default: '1' },
    limit: { type: 'string', default: '15' },
    retry: { type: 'boolean', default: false },
  },
});
const count = wholeNumber('count', 1);
const seed = wholeNumber('seed', 0);
const jobs = wholeNumber('jobs', 1);
const limit = wholeNumber('limit', 1);

const sources = readSources();
const files = Object.keys(sources).filter((file) => file.includes(options.file));
if (files.length === 0) fail(`--file must be part of a path below assembly/src, got '${options.file}'`);

const equivalents = new Map(
  JSON.parse(readFileSync(join(import.meta.dirname, 'equivalents.json'), 'utf8')).map((entry) => [
    keyOf(entry),
    entry.why,
  ]),
);

// Results belong to these sources: those of others do not say anything.
const digest = createHash('sha256').update(JSON.stringify(sources)).digest('hex').slice(0, 8);
const folder = join(import.meta.dirname, 'build');
const resultsFile = join(folder, `seed-${seed}-${digest}.jsonl`);
mkdirSync(folder, { recursive: true });
const finished = readResults();
console.log(`Results: ${relative(process.cwd(), resultsFile)} (${finished.size} from earlier runs)`);

const rows = [];
const draws = drawMutants();
let pending = 0;
const started = Date.now();
const workers = new Set();
const sandboxes = new Set();
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
])
  process.on(signal, () => process.exit(code));
process.on('exit', () => {
  for (const worker of workers) worker.kill('SIGKILL');
  for (const sandbox of sandboxes) rmSync(sandbox, { recursive: true, force: true });
});

await Promise.all(Array.from({ length: Math.min(jobs, count) }, (_, job) => work(job === 0)));
summarise();

/** Takes one mutant after another until enough are judged. */
async function work(verifies) {
  const sandbox = mkdtempSync(join(realpathSync(tmpdir()), 'freelunch-mutants-'));
  sandboxes.add(sandbox);
  fillSandbox(sandbox);
  let worker;
  if (verifies) {
    worker = await startWorker(sandbox);
    const outcome = await worker.ask({});
    if (outcome.result !== 'survived')
      fail(`the unchanged kernels must pass all tests, got ${outcome.result}: ${outcome.by}`);
    console.log(`The unchanged kernels pass (${seconds(Date.now() - started)} s).`);
  }
  for (;;) {
    if (rows.filter(({ result }) => COUNTED.has(result)).length + pending >= count) {
      if (pending === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 200)); // another's mutant may not count
      continue;
    }
    const { value: mutant, done } = draws.next();
    if (done) break;
    const id = `${mutant.file} ${keyOf(mutant)}`;
    const before = finished.get(id);
    if (equivalents.has(keyOf(mutant))) {
      rows.push({ id, result: 'known to change nothing' });
      continue;
    }
    if (before && !(options.retry && (before.result === 'survived' || before.result === 'timed out'))) {
      rows.push(before);
      continue;
    }
    pending++;
    worker ??= await startWorker(sandbox);
    const from = Date.now();
    const outcome = await worker.ask({ mutant });
    if (!worker.alive) worker = undefined;
    pending--;
    const { file, line, in: name, was, becomes, occurrence } = mutant;
    const row = { id, ...outcome, ms: Date.now() - from, file, line, in: name, was, becomes, occurrence };
    appendFileSync(resultsFile, `${JSON.stringify(row)}\n`);
    rows.push(row);
    report(row);
  }
  worker?.stop();
}

/** A line is drawn, then one of the changes in it: dense lines would be drawn too often otherwise. */
function* drawMutants() {
  const rng = random(seed).split('mutants');
  const byLine = new Map();
  for (const file of files) {
    for (const mutant of mutantsOf(file, sources[file])) {
      const key = `${file}:${mutant.line}`;
      byLine.set(key, [...(byLine.get(key) ?? []), mutant]);
    }
  }
  const open = [...byLine.values()];
  while (open.length > 0) {
    const at = rng.integer(open.length);
    const mutants = open[at];
    yield mutants.splice(rng.integer(mutants.length), 1)[0];
    if (mutants.length === 0) open.splice(at, 1);
  }
}

/** A child process, and one question at a time to it. It ends itself when a kernel does not return. */
async function startWorker(sandbox) {
  // A changed size of scratch memory must not ask for all that the machine has.
  const child = fork(join(import.meta.dirname, 'worker.mjs'), [], {
    execArgv: ['--wasm-max-mem-pages=16384'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  workers.add(child);
  let answer;
  let errors = '';
  child.stderr.on('data', (text) => (errors = `${errors}${text}`.slice(-2000)));
  child.on('message', (message) => {
    if (message.error) fail(message.error);
    answer(message.done ?? message);
  });
  child.on('exit', (code, signal) => {
    worker.alive = false;
    workers.delete(child);
    // A mutant can trap or run for ever; a worker that ends by itself says nothing about it.
    if (worker.stopped) return;
    if (code !== null) fail(`a worker ended with code ${code}: ${errors}`);
    if (FROM_OUTSIDE.has(signal)) fail(`a worker was ended by ${signal}`);
    answer?.(
      signal === 'SIGALRM'
        ? { result: 'timed out' }
        : { result: 'noticed', by: `the process ended with ${signal}` },
    );
  });
  const ask = (message) =>
    new Promise((resolve) => {
      answer = resolve;
      child.send(message);
    });
  const worker = {
    alive: true,
    stopped: false,
    ask,
    stop() {
      worker.stopped = true;
      child.kill('SIGKILL');
    },
  };
  const outcome = await ask({ start: { sandbox, sources, limit } });
  if (!outcome.ready) fail(`the tests do not start: ${outcome.by ?? outcome.result}\n${errors}`);
  return worker;
}

function readResults() {
  let text;
  try {
    text = readFileSync(resultsFile, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return new Map();
    throw error;
  }
  // A line that a killed run left half written is not a result. The last one of a mutant holds.
  const lines = text.split('\n').filter((line) => line.startsWith('{') && line.endsWith('}'));
  return new Map(lines.map((line) => JSON.parse(line)).map((row) => [row.id, row]));
}

function report({ result, file, line, in: name, was, becomes, by, ms }) {
  const judged = rows.filter((row) => COUNTED.has(row.result)).length;
  console.log(`[${judged}/${count}] ${result.padEnd(9)} ${file}:${line} ${name} (${seconds(ms)} s)`);
  if (result !== 'does not compile' && result !== 'no change')
    console.log(`  - ${was}\n  + ${becomes}${by ? `\n  by ${by}` : ''}`);
}

function summarise() {
  const results = [...COUNTED, 'no change', 'does not compile'];
  const counts = Object.fromEntries(results.map((name) => [name, 0]));
  for (const { result } of rows) counts[result]++;
  console.log(`\nSeed ${seed}, ${Math.round((Date.now() - started) / 1000)} s:`);
  for (const [result, number] of Object.entries(counts)) console.log(`  ${result.padEnd(24)}${number}`);
  const survivors = rows.filter(({ result }) => result === 'survived');
  if (survivors.length > 0) console.log('\nSurvivors that equivalents.json does not explain:');
  for (const { file, line, in: name, was, becomes } of survivors)
    console.log(`${file}:${line} ${name}\n  - ${was}\n  + ${becomes}`);
  process.exitCode = survivors.length > 0 ? 1 : 0;
}

function seconds(ms) {
  return (ms / 1000).toFixed(1);
}

function wholeNumber(name, least) {
  const value = Number(options[name]);
  if (!Number.isSafeInteger(value) || value < least)
    fail(`--${name} must be a whole number from ${least} up, got '${options[name]}'`);
  return value;
}

function fail(message) {
  console.error(`mutants: ${message}`);
  process.exit(2);
}
