import { loadKernels, OutOfMemoryError } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { expect, it } from 'vitest';
import { createParameters, ones, ParameterList } from './parameters.js';

it('draws no number for parameters that do not fit together, and leaves nothing of them', async () => {
  const k = await loadKernels({ variant: 'simd', maximumBytes: 2 ** 20 });
  const list = new ParameterList((path) => path);
  let filled = 0;
  const count = (data: Float32Array) => void (filled += data.length);
  list.weight('small', [3, 5], count);
  list.other('large', [2 ** 18], count);
  expect(() => createParameters(k, list.specs, random(0))).toThrow(OutOfMemoryError);
  expect(filled).toBe(0);
  expect(k.memory.tensors).toBe(0);

  list.specs.pop();
  list.other('ones', [2], ones);
  const parameters = createParameters(k, list.specs, random(0));
  expect([...parameters.keys()]).toEqual(['small', 'ones']);
  expect(filled).toBe(15);
  expect([...parameters.get('ones')!.data]).toEqual([1, 1]);
});
