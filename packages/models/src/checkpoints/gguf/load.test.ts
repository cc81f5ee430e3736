import { expect, it } from 'vitest';
import { k } from '../../../tests/checkpoint-samples.js';
import { architectures, configOf, sampleOf } from '../../../tests/gguf-samples.js';
import { writeGguf } from '../../../tests/gguf-writer.js';
import { bytesSource } from '../byte-source.js';
import { loadGguf } from './load.js';

const cases = [
  ...architectures.flatMap((architecture) =>
    (['F32', 'F16', 'Q8_0', 'Q5_1'] as const).map((type) => [architecture, type, 32] as const),
  ),
  ['llama', 'Q4_K', 256],
  ['mamba', 'Q6_K', 256],
] as const;

it.each(cases)(
  'loads %s of %s as the weights by the names of Hugging Face',
  async (architecture, type, dModel) => {
    const { model: sample, ...file } = sampleOf(k, architecture, type, configOf(architecture, dModel));
    using model = await loadGguf(k, bytesSource(writeGguf(file)), { dtype: 'float32' });
    expect({ ...model.config, seed: 0 }).toEqual({ ...sample.config, seed: 0 });
    expect([...model.parameters().keys()]).toEqual([...sample.parameters().keys()]);
    for (const [name, tensor] of sample.parameters()) {
      const got = model.parameters().get(name)!.toArray();
      const want = tensor.toArray();
      const off = got.findIndex(
        (value, i) => Math.abs(value - want[i]) > 3e-7 * Math.max(1, Math.abs(want[i])),
      );
      expect(off, `${name} differs`).toBe(-1);
    }
    const tokens = [[1, 7, 0, 39, 12, 5, 5, 30]];
    k.scope(() => {
      const want = sample.forward(tokens).toArray();
      const got = model.forward(tokens).toArray();
      expect(Math.max(...got.map((value, i) => Math.abs(value - want[i])))).toBeLessThan(1e-4);
    });
    sample.dispose();
  },
);
