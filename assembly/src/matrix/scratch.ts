/**
 * Working memory, handed out piece by piece from the address that a call is given. Sizes and ends are f64: they are
 * true where they go past 2^32, so that the size of all pieces can be asked for before there is such memory.
 */
let end: f64 = 0;

/** @param header bytes that come first, up to the next cache line */
export function startScratch(address: usize, header: usize): void {
  end = <f64>address + <f64>((header + 63) & ~63);
}

/** @returns the address of so many floats */
export function takeFloats(count: f64): usize {
  const address = end;
  end += 4 * count;
  return <usize>address;
}

/** The end of what has been taken. */
export function scratchEnd(): f64 {
  return end;
}
