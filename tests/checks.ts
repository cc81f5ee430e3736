import type { Kernels } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import {
  argsOf,
  type Case,
  gradientName,
  type HostArgs,
  type HostTensor,
  run,
  runReference,
  type Size,
  titleOf,
  upstream,
} from './cases/case.ts';
import { cases } from './cases/index.ts';
import { expectClose } from './compare.ts';
import { slope } from './finite-differences.ts';

// What kernels must pass at a size of a case. Each throws an error that says what differs. The reference is asked once:
// mutants of the kernels are checked against the same answers again and again.

const SAMPLES = 24;
const known = new Map<string, unknown>();

function once<T>(c: Case, size: Size, what: string, make: () => T): T {
  const key = JSON.stringify([titleOf(c), size, what]);
  if (!known.has(key)) known.set(key, make());
  return known.get(key) as T;
}

const wanted = (c: Case, size: Size, args: HostArgs) =>
  once(c, size, 'outputs', () => runReference(c.op, args));

/** Outputs equal those of the definition. */
export function checkReference(k: Kernels, c: Case, size: Size, tolerance = c.tolerance): void {
  const args = argsOf(c, size);
  const got = run(k, c.op, args, c.updates);
  const want = wanted(c, size, args);
  expectNames(Object.keys(got), Object.keys(want));
  for (const name of Object.keys(want)) expectClose(name, got[name], want[name], tolerance);
}

/**
 * Gradients equal the slopes of the definition: along one direction in which all elements move, and, if asked for, by
 * elements alone.
 */
export function checkGradient(
  k: Kernels,
  c: Case,
  size: Size,
  { elements = true, leastScale = 1e-6 } = {},
): void {
  const args = argsOf(c, size);
  const { inputs, tolerance } = c.backward!;
  const up = upstream(c, size, wanted(c, size, args));
  const got = run(k, `${c.op}Backward`, { ...args, ...up });
  const given = inputs.filter((name) => args[name] !== undefined);
  expectNames(Object.keys(got), given.map(gradientName));
  for (const name of given) {
    const gradient = got[gradientName(name)];
    const { shape } = args[name] as HostTensor;
    if (gradient.shape.join() !== shape.join())
      throw new Error(
        `${gradientName(name)} must be [${shape.join(', ')}], got [${gradient.shape.join(', ')}]`,
      );
    const values = gradient.data as Float32Array;
    if (!values.every(Number.isFinite)) throw new Error(`${gradientName(name)} is not finite`);
    const scale = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const rng = random(2).split(name);
    const { length } = values;

    const direction = Float64Array.from({ length }, () => (rng.integer(2) === 0 ? -1 : 1));
    const along = values.reduce((total, value, i) => total + value * direction[i], 0);
    const want = once(c, size, `slope of ${name}`, () => slope(c, args, up, name, direction));
    const bound = tolerance * Math.max(scale, leastScale) * Math.sqrt(length);
    expectNear(`${gradientName(name)} along a direction`, along, want, 2 * bound + 1e-9);
    if (!elements) continue;

    const chosen =
      length <= SAMPLES ? [...values.keys()] : Array.from({ length: SAMPLES }, () => rng.integer(length));
    const slopes = once(c, size, `slopes of ${name}`, () =>
      chosen.map((i) => {
        const unit = new Float64Array(length);
        unit[i] = 1;
        return slope(c, args, up, name, unit);
      }),
    );
    chosen.forEach((i, at) =>
      expectNear(
        `${gradientName(name)}[${i}]`,
        values[i],
        slopes[at],
        tolerance * Math.max(scale, Math.abs(slopes[at])) + 1e-8,
      ),
    );
  }
}

/** Two kernels whose gradients are near enough to the slopes have gradients as near to each other, in every element. */
export function checkGradientsAgree(k: Kernels, other: Kernels, c: Case, size: Size): void {
  const args = argsOf(c, size);
  const up = upstream(c, size, wanted(c, size, args));
  const [got, want] = [k, other].map((kernels) => run(kernels, `${c.op}Backward`, { ...args, ...up }));
  for (const [name, { data }] of Object.entries(want)) {
    const scale = (data as Float32Array).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const bound = 2 * (c.backward!.tolerance * scale + 1e-8);
    data.forEach((value, i) => expectNear(`${name}[${i}]`, got[name].data[i], value, bound));
  }
}

/**
 * All outputs are written, and nothing else: `guarded` kernels fill new buffers with NaN, so that an element that is not
 * written stays NaN, and `run` finds writes outside. No memory is kept. The backward pass is run at sizes, too, at which
 * no finite differences are taken.
 */
export function checkMemory(k: Kernels, c: Case, size: Size): void {
  const before = k.memory;
  const args = argsOf(c, size);
  const outputs = Object.entries(run(k, c.op, args, c.updates));
  const { backward } =
    (c.forwardOnly ? undefined : cases.find((other) => other.op === c.op && other.backward !== undefined)) ??
    {};
  if (backward !== undefined) {
    const up = upstream({ ...c, backward: c.backward ?? backward }, size, wanted(c, size, args));
    outputs.push(...Object.entries(run(k, `${c.op}Backward`, { ...args, ...up })));
  }
  for (const [name, { data }] of outputs) {
    const at = data.findIndex(Number.isNaN);
    if (at !== -1) throw new Error(`${name} holds NaN at ${at}`);
  }
  const { usedBytes, tensors } = k.memory;
  if (usedBytes !== before.usedBytes || tensors !== before.tensors)
    throw new Error(
      `${usedBytes - before.usedBytes} bytes and ${tensors - before.tensors} tensors are kept, none may be`,
    );
}

function expectNames(got: string[], want: string[]): void {
  const [gotList, wantList] = [got, want].map((names) => names.toSorted().join(', '));
  if (gotList !== wantList) throw new Error(`outputs must be ${wantList}, got ${gotList}`);
}

function expectNear(what: string, got: number, want: number, bound: number): void {
  const error = Math.abs(got - want);
  if (!(error <= bound))
    throw new Error(`${what} is off by ${error}, at most ${bound}: wanted ${want}, got ${got}`);
}
