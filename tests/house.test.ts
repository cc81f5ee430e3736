/** Rules that keep the repository as docs/architecture.md describes it. Import cycles are the linter's (import/no-cycle). */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rules } from '@freelunch/autograd';
import { loadKernels } from '@freelunch/kernels';
import * as references from '@freelunch/kernels/reference';
import { beforeAll, describe, expect, it } from 'vitest';
import { benchmarks } from '../benchmarks/src/benchmarks.ts';
import { cases } from './cases/index.ts';
import { callsOf } from './complexity/kernels.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8');

/** Files below a folder, as paths from the root. */
const filesBelow = (folder: string): string[] =>
  readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .filter((path) => !/(^|\/)(node_modules|dist|build)\//.test(path));

const sources = (folder: string): string[] =>
  filesBelow(folder).filter((path) => /\.(ts|mjs)$/.test(path) && !/\.test\.ts$|\.d\.ts$/.test(path));

describe('packages', () => {
  /** What each may import; a package stands below those that name it. */
  const mayImport: Record<string, readonly string[]> = {
    errors: [],
    random: ['errors'],
    config: ['errors'],
    kernels: ['errors'],
    tasks: ['errors', 'random'],
    autograd: ['errors', 'kernels'],
    complexity: ['errors', 'config'],
    models: ['errors', 'random', 'config', 'kernels', 'autograd'],
    constructions: ['errors', 'random', 'config', 'kernels', 'autograd', 'models', 'tasks'],
    lab: [
      'errors',
      'random',
      'config',
      'kernels',
      'autograd',
      'models',
      'tasks',
      'complexity',
      'constructions',
    ],
    freelunch: ['kernels', 'autograd', 'models', 'tasks', 'complexity', 'constructions', 'lab'],
  };
  const importedBy = (path: string): string[] =>
    [...read(path).matchAll(/(?:from|import\()\s*'@freelunch\/([a-z-]+)/g)].map(([, name]) => name);

  it('are all in the list', () => {
    expect(readdirSync(`${root}packages`).sort()).toEqual(Object.keys(mayImport).sort());
  });

  it.each(Object.keys(mayImport))(
    '%s imports only what lies below it, and says so in its package.json',
    (name) => {
      const imported = new Set(sources(`packages/${name}/src`).flatMap(importedBy));
      imported.delete(name); // examples in docstrings
      expect([...imported].filter((other) => !mayImport[name].includes(other))).toEqual([]);
      const { dependencies = {} } = JSON.parse(read(`packages/${name}/package.json`)) as {
        dependencies?: Record<string, string>;
      };
      const declared = Object.keys(dependencies)
        .filter((dependency) => dependency.startsWith('@freelunch/'))
        .map((dependency) => dependency.slice('@freelunch/'.length));
      expect(declared.sort()).toEqual([...imported].sort());
    },
  );
});

describe('ops', () => {
  /** Functions of `k` that compute no op: they manage tensors or describe others. */
  const notOps = new Set([
    'tensor',
    'quantizedTensor',
    'zeros',
    'empty',
    'scope',
    'alongside',
    'resetPeak',
    'checkGuards',
    'dispose',
    'effectiveAttention',
    'alibiSlopes',
  ]);
  /** Ops without a backward, and why. */
  const withoutBackward: Record<string, string> = {
    accumulate: 'adds up gradients in place',
    concat: 'its gradient is split, which the tape calls',
    split: 'its gradient is concat, which the tape calls',
    adamW: 'an optimiser',
    sgd: 'an optimiser',
    quantize: 'rounds, once, when weights are loaded',
    dequantize: 'of weights that do not learn',
    clipGradNorm: 'scales gradients in place',
    globalNorm: 'measures gradients',
  };
  /** Ops whose definition is part of another's test, and whose. */
  const withoutCase: Record<string, string> = {
    concat: 'tests/layout.test.ts: it undoes split',
    clipGradNorm: 'tests/sgd.test.ts: the globalNorm of gradients, and a multiplication',
    globalNorm: 'tests/sgd.test.ts',
  };
  const withoutCost: Record<string, string> = {
    concat: 'copies',
    sgd: 'models are trained with adamW here',
    quantize: 'once, when weights are loaded',
    dequantize: 'no layer calls it',
    clipGradNorm: 'below a thousandth of a training step',
    globalNorm: 'below a thousandth of a training step',
  };
  const withoutBenchmark: Record<string, string> = {
    concat: 'copies',
    split: 'copies',
    quantize: 'once, when weights are loaded',
    dequantize: 'no layer calls it',
    accumulate: 'timed with the training steps',
    clipGradNorm: 'timed with the training steps',
    globalNorm: 'timed with the training steps',
  };

  let all: string[] = [];
  let ops: string[] = [];
  let counted: Set<string>;
  beforeAll(async () => {
    const k = await loadKernels({ variant: 'simd' });
    all = Object.keys(k).filter((name) => typeof k[name as keyof typeof k] === 'function');
    ops = all.filter((name) => !/(Backward|Step)$/.test(name) && !notOps.has(name));
    counted = new Set(callsOf(k).map(({ name }) => name.split(' ')[0]));
  });

  const missing = (has: (op: string) => boolean, excused: Record<string, string>) => {
    expect(ops.length).toBeGreaterThan(30);
    expect(ops.filter((op) => !has(op))).toEqual(
      Object.keys(excused)
        .filter((op) => ops.includes(op))
        .sort(inOrder),
    );
    expect(Object.keys(excused).filter((op) => !ops.includes(op))).toEqual([]);
  };
  const inOrder = (a: string, b: string) => ops.indexOf(a) - ops.indexOf(b);

  it('each have a definition and a case', () => {
    const cased = new Set(cases.map(({ op }) => op));
    missing((op) => op in references && cased.has(op), withoutCase);
  });

  it('each have a gradient, and the tape knows it', () => {
    missing((op) => all.includes(`${op}Backward`) && op in rules, withoutBackward);
  });

  it('each have a cost that is compared with counted operations', () => {
    missing((op) => counted.has(op), withoutCost);
  });

  it('each have a benchmark', () => {
    const timed = new Set(benchmarks.map(({ op }) => op.replace(/(Backward|Step)$/, '')));
    missing((op) => timed.has(op), withoutBenchmark);
  });
});

describe('source files', () => {
  /** Files that may be longer, and why. */
  const mayBeLong: Record<string, string> = {
    'assembly/counting/instrument.mjs':
      'one pass over a binary: its instructions are read and counters put behind them',
  };

  it('have at most 400 lines', () => {
    const files = [
      ...sources('assembly'),
      ...sources('benchmarks/src'),
      ...readdirSync(`${root}packages`).flatMap((name) => sources(`packages/${name}/src`)),
    ];
    expect(files.length).toBeGreaterThan(200);
    const long = files.filter((path) => read(path).split('\n').length > 401);
    expect(long).toEqual(Object.keys(mayBeLong));
  });
});

describe('package-lock.json', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { link?: boolean; integrity?: string; resolved?: string }>;
  };

  it('has a digest of every package that is downloaded, and names no registry', () => {
    const downloaded = Object.entries(packages).filter(
      ([path, { link }]) => path.includes('node_modules/') && !link,
    );
    expect(downloaded.length).toBeGreaterThan(100);
    expect(downloaded.filter(([, entry]) => entry.integrity === undefined).map(([path]) => path)).toEqual([]);
    expect(downloaded.filter(([, entry]) => entry.resolved !== undefined).map(([path]) => path)).toEqual([]);
  });
});
