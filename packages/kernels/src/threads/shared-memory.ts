import { FormatError } from '@freelunch/errors';

const IMPORTS = 2; // number of the section
const MEMORY = 2; // kind of an import
const SHARED_WITH_MAXIMUM = 3; // limits of a memory: flags
const PREAMBLE_BYTES = 8; // magic number and version
/** Pages of the largest memory: what a module that imports shared memory accepts at most. */
export const MOST_SHARED_PAGES = 65536;

/**
 * The same module with shared memory: in a binary it differs by the limits of the memory that it imports, three bytes,
 * and by nothing else. So one binary serves both, and no second one has to be shipped.
 *
 * @param binary  a module whose only import is a memory
 * @returns a new array; the same bytes if the memory is shared already
 * @throws FormatError if the binary is not such a module
 */
export function withSharedMemory(binary: Uint8Array): Uint8Array<ArrayBuffer> {
  let at = PREAMBLE_BYTES;
  const number = (): number => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = binary[at++];
      if (byte === undefined) break;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw new FormatError('loadKernels: source must be a binary of these kernels, got one that is cut off');
  };
  const skip = (bytes: number) => (at += bytes);
  while (at < binary.length) {
    const start = at;
    const kind = number();
    const bytes = number();
    const body = at;
    if (kind !== IMPORTS) {
      at = body + bytes;
      continue;
    }
    const count = number();
    for (let name = 0; name < 2; name++) skip(number()); // of the module, of the field
    if (count !== 1 || binary[at] !== MEMORY) break;
    at++;
    const limits = at;
    const flags = number();
    const initial = number();
    if (flags === SHARED_WITH_MAXIMUM) return binary.slice();
    if (flags !== 0) break;
    const imports = [
      ...binary.subarray(body, limits),
      SHARED_WITH_MAXIMUM,
      ...leb128(initial),
      ...leb128(MOST_SHARED_PAGES),
    ];
    const section = [IMPORTS, ...leb128(imports.length), ...imports];
    const result = new Uint8Array(start + section.length + binary.length - (body + bytes));
    result.set(binary.subarray(0, start));
    result.set(section, start);
    result.set(binary.subarray(body + bytes), start + section.length);
    return result;
  }
  throw new FormatError(
    'loadKernels: source must be a binary of these kernels, got a module that does not import its memory',
  );
}

/** A whole number as WebAssembly writes it: seven bits per byte, the lowest first. */
function leb128(value: number): number[] {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return [...bytes, value];
}
