import { random } from '@freelunch/random';
import { expect, it } from 'vitest';
import { decodeBlocks, randomBlocks } from '../../../tests/gguf-blocks.js';
import { type TypeName, types } from '../../../tests/gguf-writer.js';
import { ggmlTypes } from './types.js';
import { unpack, unpackable } from './unpack.js';

const names = Object.keys(types) as TypeName[];

it('takes the types that tests know, of the widths they know', () => {
  expect([...unpackable].toSorted()).toEqual(names.toSorted());
  for (const name of names) {
    const [number, block, bytes] = types[name];
    expect(ggmlTypes.get(number)).toEqual({ name, block, bytes });
  }
});

it.each(names)('%s becomes what llama.cpp makes of it', (name) => {
  const [number, block] = types[name];
  const count = 2560;
  const bytes = randomBlocks(name, count, 1, random(number));
  const want = decodeBlocks(name, bytes);
  const out = new Float32Array(count);
  unpack(ggmlTypes.get(number)!, bytes, out);
  // llama.cpp rounds each product to float32, which may differ in the last bit.
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  for (let i = 0; i < count; i++) expect(Math.abs(out[i] - want[i])).toBeLessThanOrEqual(3e-7 * largest);
  expect(new Set(want).size).toBeGreaterThan(block);
});
