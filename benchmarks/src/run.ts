/**
 * `npm run bench`: every kernel family beside the plain TypeScript loop and beside the machine's limit, measured in
 * the same run. `--full` times all shapes, `--only TEXT` those whose title holds the text, `--variant` and `--out`
 * choose the binary and the JSON file.
 */
import { spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import Timer from 'benchmark';
import { type Kernels, loadKernels, supportedVariants, type Variant } from '@freelunch/kernels';
import type { Benchmark } from './benchmark.js';
import { benchmarks } from './benchmarks.js';
import { loadMachine, type Machine } from './machine.js';
import { measureScaling, scalingTable } from './scaling.js';
import { kernelsFor, measureSpeedUp, speedUpHead, speedUpRow, threadCounts } from './speed-up.js';

const options = {
  full: { type: 'boolean', default: false },
  only: { type: 'string' },
  variant: { type: 'string' },
  threads: { type: 'string' },
  out: { type: 'string', default: fileURLToPath(new URL('../results/bench.json', import.meta.url)) },
  help: { type: 'boolean', default: false },
} as const;

const usage = `npm run bench -- [--full] [--only TEXT] [--variant simd|relaxed-simd] [--threads LIST]
                     [--out FILE]

  --full     all shapes and both variants, and scaling up to 16,384 steps (about 20 minutes)
  --only     the benchmarks whose title holds TEXT, for instance 'selectiveScan'; 'scaling' for scaling alone
  --variant  one binary (default: simd; with --full every one that this runtime has)
  --threads  such as 1,2: how much faster each kernel is on as many threads as the second and
             further numbers say than on the first, turn about, instead of all else; 'auto': all cores
  --out      where the figures go as JSON (default: benchmarks/results/bench.json)`;

/** One benchmark's figures. Times in milliseconds; rates and ratios are of the best times, as the machine's limit is. */
interface Measured {
  title: string;
  op: string;
  pass: Benchmark['pass'];
  shape: string;
  variant: Variant;
  medianMs: number;
  bestMs: number;
  /** Half the width of the 95 % confidence interval of the mean, as a share of it. */
  spread: number;
  samples: number;
  nsPerElement?: number;
  gflops?: number;
  gbps?: number;
  /** Measured right before and after: of one noisy phase of the machine. */
  peakGflops: number;
  readGBps: number;
  shareOfPeak?: number;
  shareOfBandwidth?: number;
  plainMs?: number;
  timesFasterThanPlain?: number;
}

function time(
  run: () => void,
  maxTime: number,
): { medianMs: number; bestMs: number; spread: number; samples: number } {
  const timer = new Timer('', run, { maxTime, minSamples: 7, minTime: 0.02 });
  timer.run();
  const error = (timer as unknown as { error?: Error }).error;
  if (error !== undefined) throw error;
  const samples = timer.stats.sample.slice().sort((a, b) => a - b);
  return {
    medianMs: samples[samples.length >> 1] * 1e3,
    bestMs: samples[0] * 1e3,
    spread: timer.stats.rme / 100,
    samples: samples.length,
  };
}

function measure(benchmark: Benchmark, k: Kernels, machine: Machine, seconds: number): Measured {
  const { op, pass, shape } = benchmark;
  const title = `${op} ${pass} ${shape}`;
  const before = { peak: machine.peakGflops(), read: machine.readGBps() };
  const ours = k.scope(() => time(benchmark.prepare(k), seconds));
  const peakGflops = Math.max(before.peak, machine.peakGflops());
  const readGBps = Math.max(before.read, machine.readGBps());
  const measured: Measured = { title, op, pass, shape, variant: k.variant, ...ours, peakGflops, readGBps };
  if (benchmark.elements !== undefined) measured.nsPerElement = (ours.bestMs * 1e6) / benchmark.elements;
  if (benchmark.flops !== undefined) {
    measured.gflops = benchmark.flops / ours.bestMs / 1e6;
    measured.shareOfPeak = measured.gflops / peakGflops;
  }
  if (benchmark.bytes !== undefined) {
    measured.gbps = benchmark.bytes / ours.bestMs / 1e6;
    measured.shareOfBandwidth = measured.gbps / readGBps;
  }
  if (benchmark.plain !== undefined) {
    measured.plainMs = time(benchmark.plain(), seconds / 2).bestMs;
    measured.timesFasterThanPlain = measured.plainMs / ours.bestMs;
  }
  return measured;
}

const TITLE_WIDTH = 66;
const number = (value: number | undefined, digits = 1): string =>
  value === undefined ? '' : value.toFixed(digits);
const percent = (value: number | undefined): string =>
  value === undefined ? '' : `${(value * 100).toFixed(0)} %`;

function row(m: Measured): string {
  const time = (ms: number) => (ms < 1 ? `${number(ms * 1e3)} us` : `${number(ms, 2)} ms`);
  const rate =
    m.nsPerElement !== undefined
      ? `${number(m.nsPerElement, 2)} ns/el`
      : m.gflops !== undefined
        ? `${number(m.gflops)} GFLOP/s`
        : m.gbps !== undefined
          ? `${number(m.gbps)} GB/s`
          : '';
  const limit =
    m.shareOfPeak !== undefined
      ? `${percent(m.shareOfPeak)} of ${number(m.peakGflops, 0)} GFLOP/s`
      : m.shareOfBandwidth !== undefined
        ? `${percent(m.shareOfBandwidth)} of ${number(m.readGBps, 0)} GB/s`
        : '';
  const plain = m.timesFasterThanPlain === undefined ? '' : `${number(m.timesFasterThanPlain)} x`;
  return [
    m.title.padEnd(TITLE_WIDTH),
    time(m.bestMs).padStart(10),
    time(m.medianMs).padStart(10),
    `±${percent(m.spread)}`.padStart(7),
    rate.padStart(14),
    limit.padStart(20),
    plain.padStart(9),
  ].join(' ');
}

/** Backward passes over their forwards, and relaxed over plain: the ratios that one run can give. */
function ratios(all: Measured[]): string[] {
  const lines: string[] = [];
  const find = (m: Measured, change: Partial<Measured>) =>
    all.find((x) =>
      (['op', 'pass', 'shape', 'variant'] as const).every((key) => x[key] === (change[key] ?? m[key])),
    );
  for (const m of all) {
    const forward = m.pass === 'backward' ? find(m, { pass: 'forward' }) : undefined;
    if (forward !== undefined) {
      lines.push(`${m.title} (${m.variant}): ${number(m.bestMs / forward.bestMs, 2)} x its forward`);
    }
    const simd = m.variant === 'relaxed-simd' ? find(m, { variant: 'simd' }) : undefined;
    if (simd !== undefined)
      lines.push(`${m.title}: relaxed-simd is ${number(simd.bestMs / m.bestMs, 2)} x as fast as simd`);
  }
  return lines;
}

/** How long the kernels take to load in a process that has loaded them before (median of 9), and what they weigh. */
async function measureLoading(): Promise<{ variant: Variant; loadMs: number; gzipBytes: number }[]> {
  const found = [];
  for (const variant of supportedVariants()) {
    const times: number[] = [];
    for (let i = 0; i < 9; i++) {
      const start = performance.now();
      await loadKernels({ variant });
      times.push(performance.now() - start);
    }
    const bytes = await readFile(fileURLToPath(import.meta.resolve(`@freelunch/kernels/${variant}.wasm`)));
    found.push({ variant, loadMs: times.sort((a, b) => a - b)[4], gzipBytes: gzipSync(bytes).length });
  }
  return found;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options });
  if (values.help) {
    console.log(usage);
    return;
  }
  const supported = supportedVariants();
  if (values.variant !== undefined && !supported.includes(values.variant as Variant)) {
    throw new Error(
      `bench: --variant must be one of ${supported.join(', ')} in this runtime, got '${values.variant}'`,
    );
  }
  const simdFirst = supported.slice().sort((a, b) => (b.length - a.length === 0 ? 0 : a.length - b.length));
  const variants =
    values.variant !== undefined
      ? [values.variant as Variant]
      : values.full
        ? simdFirst
        : (['simd'] as Variant[]);
  const titleOf = (b: Benchmark) => `${b.op} ${b.pass} ${b.shape}`;
  const chosen = benchmarks.filter(
    (b) => (values.full || values.only !== undefined || b.quick) && titleOf(b).includes(values.only ?? ''),
  );
  const wantsScaling = values.only === undefined || values.only === 'scaling';
  if (chosen.length === 0 && !wantsScaling)
    throw new Error(`bench: --only must be part of a benchmark's title, got '${values.only}'`);

  if (values.threads !== undefined) {
    const all = await kernelsFor(threadCounts(values.threads), variants[0]);
    console.log(
      `${cpus()[0].model.trim()}, ${availableParallelism()} cores, Node ${process.version}, ${variants[0]}\n`,
    );
    console.log(speedUpHead(all));
    for (const benchmark of chosen) console.log(speedUpRow(measureSpeedUp(benchmark, all)));
    return;
  }
  const machineText = `${cpus()[0].model.trim()}, Node ${process.version}, one thread`;
  console.log(`${machineText}\n`);
  const loading = await measureLoading();
  for (const { variant, loadMs, gzipBytes } of loading) {
    console.log(`${variant}: loads in ${number(loadMs)} ms, ${number(gzipBytes / 1024)} KB gzip`);
  }
  const figures: Measured[] = [];
  for (const variant of variants) {
    const k = await loadKernels({ variant });
    const machine = await loadMachine(variant);
    console.log(
      `${variant}: madd peak ${number(machine.peakGflops())} GFLOP/s, memory ${number(machine.readGBps())} GB/s read`,
    );
    console.log(
      ['', 'best', 'median', '95 %', 'rate', 'of the limit', 'x plain']
        .map((head, i) => (i === 0 ? ''.padEnd(TITLE_WIDTH) : head.padStart([0, 10, 10, 7, 14, 20, 9][i])))
        .join(' '),
    );
    for (const benchmark of chosen) {
      const measured = measure(benchmark, k, machine, values.full ? 2 : 0.6);
      figures.push(measured);
      console.log(row(measured));
    }
    console.log('');
  }
  for (const line of ratios(figures)) console.log(line);

  const scaling = wantsScaling ? await measureScaling(values.full ? 16384 : 2048) : [];
  if (scaling.length > 0) console.log(`\n${scalingTable(scaling)}`);

  await mkdir(dirname(values.out), { recursive: true });
  await writeFile(
    values.out,
    JSON.stringify(
      { machine: machineText, date: new Date().toISOString(), loading, figures, scaling },
      undefined,
      1,
    ),
  );
  console.log(`\nWritten: ${values.out}`);
}

// Node 20 has relaxed SIMD behind a flag; later versions have it on, and no longer know the flag.
const flag = '--experimental-wasm-relaxed-simd';
if (process.version.startsWith('v20.') && !process.execArgv.includes(flag)) {
  const { status } = spawnSync(process.execPath, [flag, ...process.argv.slice(1)], { stdio: 'inherit' });
  process.exit(status ?? 1);
}
await main();
