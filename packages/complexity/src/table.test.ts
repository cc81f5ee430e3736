import { describe, expect, it } from 'vitest';
import { leastFloats, mechanisms, table, tasks } from './table.js';

const entries = table({ T: 4096, m: 64 });
const entry = (mechanism: string, task: string) =>
  entries.find((candidate) => candidate.mechanism === mechanism && candidate.task === task)!;

describe('table', () => {
  it('has every mixer and task, each with a theorem', () => {
    expect(entries.map(({ mechanism, task }) => `${task}: ${mechanism}`)).toEqual(
      tasks.flatMap((task) => mechanisms.map((mechanism) => `${task}: ${mechanism}`)),
    );
    for (const { theorem } of entries) expect(theorem).toMatch(/^[CD]\d/);
  });

  it.each([
    ['softmax', 'COPY', 'O(T log T)', 'O(T^2 log T)'],
    ['Mamba', 'COPY', 'O(T)', 'O(T^2)'],
    ['linear attention', 'COPY', 'O(T)', 'O(T^2)'],
    ['Mamba', 'arbitrary DP', 'O(T)', 'O(T^2)'],
    ['Mamba-2', 'arbitrary DP', 'O(T)', 'O(T^2)'],
    ['softmax', 'm-local DP', 'O(T log T)', 'O(T^2 log T)'],
    ['linear attention', 'm-local DP', 'O(T)', 'O(T^2)'],
    ['sliding window', 'm-local DP', 'O(m log m)', 'O(m T log m)'],
    ['Mamba', 'm-local DP', 'O(m)', 'O(m T)'],
    ['Mamba-2', 'm-local DP', 'O(m)', 'O(m T)'],
    ['hybrid', 'm-local DP', 'O(m)', 'O(m T)'],
  ])('%s on %s needs size %s and costs %s', (mechanism, task, size, total) => {
    expect(entry(mechanism, task).size.order).toBe(size);
    expect(entry(mechanism, task).total.order).toBe(total);
  });

  it('names what builds a model, and nothing where nothing does', () => {
    const built = (task: string) =>
      entries.filter((one) => one.task === task && one.construction).map(({ mechanism }) => mechanism);
    expect(built('COPY')).toEqual(['softmax', 'linear attention', 'Mamba', 'Mamba-2']);
    for (const task of ['arbitrary DP', 'm-local DP'])
      expect(built(task)).toEqual(['softmax', 'sliding window', 'linear attention', 'Mamba']);
  });

  it('counts projections, which differ a thousandfold', () => {
    for (const { total, totalWithProjections, params } of entries)
      expect(totalWithProjections.value).toBe(total.value + 2 * 4096 * params.value);
    const ratio = entry('Mamba', 'COPY').params.value / entry('softmax', 'COPY').params.value;
    expect(ratio).toBeGreaterThan(1000);
  });

  it('has numbers that grow as the orders say', () => {
    const doubled = table({ T: 8192, m: 64 });
    doubled.forEach((larger, i) => {
      const ratio = larger.total.value / entries[i].total.value;
      const quadratic = entries[i].total.order.includes('T^2');
      // Logarithms grow a little, and block-sparse patterns have a linear part.
      expect(ratio, `${larger.task}: ${larger.mechanism}`).toBeGreaterThan(quadratic ? 2.3 : 1.98);
      expect(ratio, `${larger.task}: ${larger.mechanism}`).toBeLessThan(quadratic ? 4.5 : 2.2);
    });
  });

  it('gives no mixer less than the information that it must hold', () => {
    // 16 floats stand for a symbol of 2^16 at most.
    for (const { task, sizeBytes } of entries) {
      if (task === 'COPY') expect(sizeBytes).toBeGreaterThanOrEqual(4 * leastFloats(4096, 2 ** 16));
    }
    expect(leastFloats(1024, 256, 32)).toBe(256);
  });

  it('counts bytes in the precision that is given', () => {
    const half = table({ T: 4096, m: 64, precision: 16 });
    half.forEach(({ sizeBytes }, i) => expect(sizeBytes).toBe(entries[i].sizeBytes / 2));
  });

  it.each([
    [{ T: 0, m: 1 }, 'T must be a whole number from 1 up, got 0'],
    [{ T: 4, m: 5 }, 'm must be at most T = 4, got 5'],
  ])('refuses %j', (options, message) => {
    expect(() => table(options)).toThrow(message);
  });
});
