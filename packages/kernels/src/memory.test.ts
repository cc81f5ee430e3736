import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { FreelunchError, OutOfMemoryError } from '@freelunch/errors';
import { Allocator } from './memory.js';

const HEAP = 1312;
const make = (options: { guard?: boolean; maximumBytes?: number } = {}) =>
  new Allocator(new WebAssembly.Memory({ initial: 2 }), HEAP, options);

describe('Allocator', () => {
  it('gives blocks that start on cache lines, above the static data, and do not overlap', () => {
    const allocator = make();
    const rng = random(0);
    const blocks: { start: number; end: number }[] = [];
    for (let i = 0; i < 200; i++) {
      const bytes = rng.integer(5000);
      const start = allocator.allocate(bytes);
      expect(start % 64).toBe(0);
      expect(start).toBeGreaterThanOrEqual(HEAP);
      blocks.push({ start, end: start + bytes });
    }
    blocks.sort((a, b) => a.start - b.start);
    for (let i = 1; i < blocks.length; i++) expect(blocks[i].start).toBeGreaterThanOrEqual(blocks[i - 1].end);
    expect(blocks.at(-1)!.end).toBeLessThanOrEqual(allocator.memory.buffer.byteLength);
  });

  it('joins what is freed: after any order of frees one free span is left and nothing is in use', () => {
    const allocator = make();
    const rng = random(1);
    const live: number[] = [];
    for (let i = 0; i < 3000; i++) {
      if (live.length > 0 && rng.integer(2) === 0)
        allocator.release(live.splice(rng.integer(live.length), 1)[0]);
      else live.push(allocator.allocate(1 + rng.integer(3000)));
    }
    for (const address of rng.shuffle(live)) allocator.release(address);
    expect(allocator.usedBytes).toBe(0);
    expect(allocator.blocks).toBe(0);
    expect(allocator.freeSpans).toBe(1);
  });

  it('does not grow in a loop that frees what it makes, whatever the sizes', () => {
    const allocator = make();
    const rng = random(2);
    const round = () => {
      const addresses = Array.from({ length: 20 }, () => allocator.allocate(1 + rng.integer(40000)));
      for (const address of rng.shuffle(addresses)) allocator.release(address);
    };
    const largest = allocator.allocate(20 * 40064);
    allocator.release(largest);
    const before = allocator.memory.buffer.byteLength;
    for (let i = 0; i < 2000; i++) round();
    expect(allocator.memory.buffer.byteLength).toBe(before);
  });

  it('knows the most that was in use at once', () => {
    const allocator = make();
    const first = allocator.allocate(1000);
    const second = allocator.allocate(64);
    allocator.release(first);
    expect(allocator.peakBytes).toBe(1024 + 64);
    allocator.resetPeak();
    expect(allocator.peakBytes).toBe(64);
    allocator.release(second);
  });

  it('says what was wanted when memory cannot grow, and goes on working', () => {
    const allocator = make({ maximumBytes: 4 * 65536 });
    expect(() => allocator.allocate(5 * 65536)).toThrow(OutOfMemoryError);
    expect(() => allocator.allocate(5 * 65536)).toThrow(/allocate: 327680 bytes wanted, 0 in use/);
    const address = allocator.allocate(3 * 65536);
    allocator.release(address);
    expect(allocator.memory.buffer.byteLength).toBe(4 * 65536);
  });

  it('refuses to free a block twice', () => {
    const allocator = make();
    const address = allocator.allocate(10);
    allocator.release(address);
    expect(() => allocator.release(address)).toThrow(FreelunchError);
  });

  it.each([-64, -1, 100, 101, 127, 128, 191])(
    'finds a byte that was written at offset %d of a guarded block of 100 bytes, and only outside',
    (offset) => {
      const allocator = make({ guard: true });
      const address = allocator.allocate(100);
      expect(() => allocator.checkGuards()).not.toThrow();
      new Uint8Array(allocator.memory.buffer)[address + 99] = 1;
      expect(() => allocator.checkGuards()).not.toThrow();
      new Uint8Array(allocator.memory.buffer)[address + offset] ^= 1;
      expect(() => allocator.checkGuards()).toThrow(/wrote outside the block of 100 bytes/);
      expect(() => allocator.release(address)).toThrow(/wrote outside/);
    },
  );

  it('fills guarded blocks with NaN', () => {
    const allocator = make({ guard: true });
    const address = allocator.allocate(64);
    expect(new Float32Array(allocator.memory.buffer, address, 16).every(Number.isNaN)).toBe(true);
  });

  it('finds a byte that was written where an absent argument would lie, which reads as NaN', () => {
    const allocator = make({ guard: true });
    const { buffer } = allocator.memory;
    expect(new Float32Array(buffer, 0, 256).every(Number.isNaN)).toBe(true);
    expect(() => allocator.checkGuards()).not.toThrow();
    new Uint8Array(buffer)[1023] ^= 1;
    expect(() => allocator.checkGuards()).toThrow(/wrote to address 1020/);
  });
});
