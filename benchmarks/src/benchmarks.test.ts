import { expect, it } from 'vitest';
import { loadKernels } from '@freelunch/kernels';
import { benchmarks } from './benchmarks.js';

const titles = benchmarks.map(({ op, pass, shape }) => `${op} ${pass} ${shape}`);

it('gives each benchmark its own title', () => {
  expect(new Set(titles).size).toBe(titles.length);
});

it.each(benchmarks.map((benchmark, i) => [titles[i], benchmark] as const))(
  'runs twice and keeps nothing: %s',
  async (_, { prepare }) => {
    const k = await loadKernels();
    const held: number[] = [];
    k.scope(() => {
      const call = prepare(k);
      for (let i = 0; i < 2; i++) {
        call();
        held.push(k.memory.usedBytes);
      }
    });
    expect(held[1]).toBe(held[0]);
  },
);
