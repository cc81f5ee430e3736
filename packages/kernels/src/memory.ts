import { ArgumentError, FreelunchError, OutOfMemoryError } from '@freelunch/errors';

export const PAGE_BYTES = 65536;
/**
 * 4 GiB, all that 32-bit addresses reach, less one page. Kernels compute the end of a block as `address + bytes` and look
 * a few cache lines ahead of where they read: at 2^32 both would wrap to small numbers, and their loops would run on
 * over all of the memory. Nothing that ends at or before 2^32 - 65536 comes near.
 */
const MOST_PAGES = 65535;
const ALIGNMENT = 64; // a cache line
const GUARD_BYTES = 64;
/** Static data starts here (assembly/options.mjs): nothing lies below, and an absent argument of a kernel is address 0. */
const NULL_BYTES = 1024;
const GUARD_WORD = 0x5afe5afe;
const NAN_WORD = 0x7fc0beef; // a NaN that no kernel makes

const alignUp = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Where a block lies and how long it is, in bytes. */
export interface Span {
  start: number;
  bytes: number;
}

/**
 * The allocator of WASM memory. It runs in JavaScript, outside the memory that it manages: kernels never allocate.
 *
 * Best fit over a list of free spans that is ordered by address; neighbours are joined when a block is freed, so a
 * loop that frees what it makes needs no more memory in its last round than in its first. Blocks start on cache
 * lines. Memory grows by a quarter at least, and never shrinks.
 *
 * With `guard`, each block has 64 bytes of known words on both sides, and starts as NaN: `checkGuards` finds a
 * kernel that wrote outside its buffers, and an output that was not written stays NaN. The first bytes of memory are NaN,
 * too, and must stay so: a kernel that uses an absent argument, address 0, reads NaN or is found.
 */
export class Allocator {
  readonly memory: WebAssembly.Memory;
  readonly guard: boolean;
  readonly #maximumBytes: number;
  readonly #free: Span[] = [];
  readonly #blocks = new Map<number, number>(); // address -> bytes asked for
  #end: number; // of the managed memory
  #usedBytes = 0;
  #peakBytes = 0;
  #kept: KeptBlocks | undefined;

  constructor(
    memory: WebAssembly.Memory,
    heapBase: number,
    options: { guard?: boolean; maximumBytes?: number } = {},
  ) {
    this.memory = memory;
    this.guard = options.guard ?? false;
    this.#maximumBytes = Math.min(options.maximumBytes ?? Infinity, MOST_PAGES * PAGE_BYTES);
    const start = alignUp(heapBase);
    this.#end = Math.min(memory.buffer.byteLength, MOST_PAGES * PAGE_BYTES);
    if (this.#end > start) this.#free.push({ start, bytes: this.#end - start });
    if (this.guard) this.#nullWords().fill(NAN_WORD);
  }

  /** Bytes in blocks that are now in use, rounded up to cache lines. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** The most bytes that were in use at once since the last `resetPeak`. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Starts to watch for a new peak, from what is in use now. */
  resetPeak(): void {
    this.#peakBytes = this.#usedBytes;
  }

  /** Number of blocks now in use. */
  get blocks(): number {
    return this.#blocks.size;
  }

  /** Number of separate free spans: a measure of fragmentation. */
  get freeSpans(): number {
    return this.#free.length;
  }

  /**
   * @returns the address of a new block of at least `bytes`, a multiple of 64
   * @throws OutOfMemoryError if there is no room for as many, ArgumentError for what is no number of bytes
   */
  allocate(bytes: number): number {
    const whole = Number.isInteger(bytes) || bytes === Infinity;
    if (!whole || bytes < 0) throw new ArgumentError(`allocate: bytes must be a whole number, got ${bytes}`);
    if (bytes > Number.MAX_SAFE_INTEGER) this.#refuse(bytes); // sums with it would be wrong
    const again = this.#kept?.take(bytes);
    if (again !== undefined) {
      if (this.guard) this.#paint(again, bytes);
      return again;
    }
    const edge = this.guard ? GUARD_BYTES : 0;
    const wanted = alignUp(Math.max(bytes, 1)) + 2 * edge;
    const span = this.#bestFit(wanted) ?? this.#grow(wanted);
    const start = span.start;
    span.start += wanted;
    span.bytes -= wanted;
    if (span.bytes === 0) this.#free.splice(this.#free.indexOf(span), 1);
    this.#usedBytes += wanted;
    if (this.#usedBytes > this.#peakBytes) this.#peakBytes = this.#usedBytes;
    const address = start + edge;
    this.#blocks.set(address, bytes);
    if (this.guard) this.#paint(address, bytes);
    this.#kept?.onCreate(address);
    return address;
  }

  /** Gives a block back. `address` is one that `allocate` returned. */
  release(address: number): void {
    const bytes = this.#blocks.get(address);
    if (bytes === undefined) throw new FreelunchError(`release: no block at address ${address}`);
    if (this.guard) this.#check(address, bytes);
    if (this.#kept !== undefined) return this.#kept.give(address, bytes);
    this.#blocks.delete(address);
    const edge = this.guard ? GUARD_BYTES : 0;
    const span = { start: address - edge, bytes: alignUp(Math.max(bytes, 1)) + 2 * edge };
    this.#usedBytes -= span.bytes;
    this.#insert(span);
  }

  /** Until `stopKeeping`, blocks that are given back stay in use, and serve those who ask for as many bytes. */
  startKeeping(): void {
    this.#kept = new KeptBlocks();
  }

  /** @returns the blocks that were given back in between, to be released */
  stopKeeping(): Span[] {
    const spans = this.#kept?.spans() ?? [];
    this.#kept = undefined;
    return spans;
  }

  /** Runs `fn`, whose blocks serve nobody else while blocks are kept. */
  withoutReuse<T>(fn: () => T): T {
    return this.#kept === undefined ? fn() : this.#kept.withoutReuse(fn);
  }

  /** Throws if a kernel wrote outside a block that is in use. Needs `guard`. */
  checkGuards(): void {
    if (!this.guard) throw new FreelunchError('checkGuards: the kernels were loaded without guard: true');
    for (const [address, bytes] of this.#blocks) this.#check(address, bytes);
    const at = this.#nullWords().findIndex((word) => word !== NAN_WORD);
    if (at !== -1)
      throw new FreelunchError(
        `checkGuards: a kernel wrote to address ${4 * at}, where an absent argument would lie`,
      );
  }

  #nullWords(): Uint32Array {
    return new Uint32Array(this.memory.buffer, 0, NULL_BYTES / 4);
  }

  #bestFit(bytes: number): Span | undefined {
    let best: Span | undefined;
    for (const span of this.#free) {
      if (span.bytes < bytes) continue;
      if (span.bytes === bytes) return span;
      if (best === undefined || span.bytes < best.bytes) best = span;
    }
    return best;
  }

  #grow(bytes: number): Span {
    const last = this.#free.at(-1);
    const open = last !== undefined && last.start + last.bytes === this.#end ? last.bytes : 0;
    const missing = Math.ceil((bytes - open) / PAGE_BYTES);
    const room = Math.floor((this.#maximumBytes - this.#end) / PAGE_BYTES);
    const generous = Math.min(Math.max(missing, Math.ceil(this.#end / PAGE_BYTES / 4)), room);
    const grown = missing <= room && (this.#tryGrow(generous) ?? this.#tryGrow(missing));
    if (!grown) this.#refuse(bytes);
    return this.#insert({ start: this.#end - grown * PAGE_BYTES, bytes: grown * PAGE_BYTES });
  }

  #refuse(bytes: number): never {
    throw new OutOfMemoryError(
      `allocate: ${bytes} bytes wanted, ${this.#usedBytes} in use, memory is ${this.#end} bytes and may grow to ${this.#maximumBytes}`,
    );
  }

  #tryGrow(pages: number): number | undefined {
    try {
      this.memory.grow(pages);
    } catch {
      return undefined; // the runtime has no more; the caller tries less, then reports
    }
    this.#end += pages * PAGE_BYTES;
    return pages;
  }

  /** Puts a span into the list, joined with its neighbours. */
  #insert(span: Span): Span {
    const free = this.#free;
    let low = 0;
    let high = free.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (free[middle].start < span.start) low = middle + 1;
      else high = middle;
    }
    const before = free[low - 1];
    const after = free[low];
    const joinsBefore = before !== undefined && before.start + before.bytes === span.start;
    const joinsAfter = after !== undefined && span.start + span.bytes === after.start;
    if (joinsBefore) {
      before.bytes += span.bytes;
      if (joinsAfter) {
        before.bytes += after.bytes;
        free.splice(low, 1);
      }
      return before;
    }
    if (joinsAfter) {
      after.start = span.start;
      after.bytes += span.bytes;
      return after;
    }
    free.splice(low, 0, span);
    return span;
  }

  #paint(address: number, bytes: number): void {
    const end = address + alignUp(Math.max(bytes, 1));
    const words = (from: number, to: number) => new Uint32Array(this.memory.buffer, from, (to - from) >>> 2);
    words(address - GUARD_BYTES, address).fill(GUARD_WORD);
    words(address, end).fill(NAN_WORD);
    words(end, end + GUARD_BYTES).fill(GUARD_WORD);
  }

  #check(address: number, bytes: number): void {
    const words = (from: number, to: number) => new Uint32Array(this.memory.buffer, from, (to - from) >>> 2);
    const end = address + alignUp(Math.max(bytes, 1));
    // The rest of the last cache line belongs to the block but to none of its elements: it must still be as painted.
    const tail = words(address + Math.ceil(bytes / 4) * 4, end);
    const sides = [words(address - GUARD_BYTES, address), words(end, end + GUARD_BYTES)];
    if (
      tail.every((word) => word === NAN_WORD) &&
      sides.every((side) => side.every((word) => word === GUARD_WORD))
    )
      return;
    throw new FreelunchError(
      `checkGuards: a kernel wrote outside the block of ${bytes} bytes at address ${address}`,
    );
  }
}

/** Blocks that were given back and stay in use. */
class KeptBlocks {
  /** Addresses by size: those that may be used again, and the others. */
  readonly #reusable = new Map<number, number[]>();
  readonly #others: Span[] = [];
  readonly #single = new Set<number>();
  #reuses = true;

  take(bytes: number): number | undefined {
    return this.#reuses ? this.#reusable.get(bytes)?.pop() : undefined;
  }

  onCreate(address: number): void {
    if (!this.#reuses) this.#single.add(address);
  }

  give(address: number, bytes: number): void {
    const same = this.#reusable.get(bytes);
    if (this.#single.has(address)) this.#others.push({ start: address, bytes });
    else if (same === undefined) this.#reusable.set(bytes, [address]);
    else same.push(address);
  }

  withoutReuse<T>(fn: () => T): T {
    const before = this.#reuses;
    this.#reuses = false;
    try {
      return fn();
    } finally {
      this.#reuses = before;
    }
  }

  spans(): Span[] {
    const reusable = [...this.#reusable].flatMap(([bytes, addresses]) =>
      addresses.map((start) => ({ start, bytes })),
    );
    return [...this.#others, ...reusable];
  }
}
