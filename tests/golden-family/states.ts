import type { ModelState } from '@freelunch/models';
import { expect } from 'vitest';
import { expectGolden } from '../golden-models/checkpoint.ts';
import { type GoldenCase, permute } from '../golden/golden.ts';

/** What the golden files call a state, and we; a mixer of several parts puts a part's name before it. */
const kinds: Readonly<Record<string, string>> = {
  ssm_state: 'scan',
  recurrent_state: 'state',
  angle_state: 'angle',
  k_state: 'k',
  v_state: 'v',
  conv_state: 'conv',
  k_cache: 'k',
  v_cache: 'v',
};

/** Theirs keeps as many columns as the convolution is wide, ours one less: no later step looks at the oldest. */
function columns(
  theirs: { shape: number[]; data: ArrayLike<number> },
  conv: { shape: readonly number[]; data: Float32Array },
): number[] {
  const { shape: ours, data: kept } = permute({ shape: conv.shape, data: conv.data }, [0, 2, 1]);
  const { shape, data } = theirs;
  const [, , width] = shape;
  expect(ours).toEqual([shape[0], shape[1], width - 1]);
  return Array.from(data, (value, i) =>
    i % width === 0 ? value : kept[Math.floor(i / width) * (width - 1) + (i % width) - 1],
  );
}

/** `[batch, width, channels]` each, side by side. */
function joined(parts: readonly { shape: readonly number[]; data: Float32Array }[]) {
  const [batch, width] = parts[0].shape;
  const rows = Array.from({ length: batch * width }, (_, row) =>
    parts.flatMap(({ shape, data }) => Array.from(data.subarray(row * shape[2], (row + 1) * shape[2]))),
  );
  return { shape: [batch, width, rows[0].length], data: Float32Array.from(rows.flat()) };
}

/** The entries in use of a cache of keys or values. */
function entries({ shape, data }: { shape: readonly number[]; data: Float32Array }, held: number): number[] {
  const [batch, capacity, heads, width] = shape;
  return Array.from({ length: batch }, (_, b) => {
    const from = b * capacity * heads * width;
    return Array.from(data.subarray(from, from + held * heads * width));
  }).flat();
}

/** Angles, those wanted plus whole turns: ours are kept within one. */
function unwound(angles: Float32Array, wanted: ArrayLike<number>): number[] {
  const turn = 2 * Math.PI;
  return Array.from(angles, (angle, i) => angle + turn * Math.round((wanted[i] - angle) / turn));
}

/** Compares each state that the case has with ours. */
export function expectStates(golden: GoldenCase, state: ModelState): void {
  const names = Object.keys(golden.tensors).filter((name) => /^out\.\w+_(state|cache)\.\d+$/.test(name));
  expect(names.length).toBeGreaterThan(0);
  for (const name of names) {
    const [, kind, layer] = name.split('.');
    const { tensors, held } = state.layers[Number(layer)];
    const theirs = golden.tensors[name];
    const called = (key: string) => Object.entries(tensors).filter(([one]) => one.split('.').at(-1) === key);
    if (kind === 'conv_state' && called('q_conv').length > 0) {
      // One convolution of queries, keys and values there, three here.
      const parts = ['q_conv', 'k_conv', 'v_conv'].map((key) => called(key)[0][1]);
      expectGolden(golden, name, columns(theirs, joined(parts)));
      continue;
    }
    const found = called(kinds[kind]);
    expect(found.length, `tensors of ${name}`).toBe(1);
    const [[, tensor]] = found;
    if (kind === 'conv_state') expectGolden(golden, name, columns(theirs, tensor));
    else if (kind.endsWith('_cache')) expectGolden(golden, name, entries(tensor, held!));
    else if (kind === 'angle_state') expectGolden(golden, name, unwound(tensor.data, theirs.data));
    else expectGolden(golden, name, tensor.data);
  }
}
