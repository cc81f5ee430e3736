/**
 * The base of all errors that freelunch throws. Each message names the function, the argument, what was expected and
 * what came: `selectiveScan: D must be [dInner] = [5], got [5, 8]`.
 */
export class FreelunchError extends Error {
  override name = 'FreelunchError';
}

/** A tensor has the wrong shape. */
export class ShapeError extends FreelunchError {
  override name = 'ShapeError';
}

/** A tensor or array has the wrong element type, for instance float32 where int32 is expected. */
export class DTypeError extends FreelunchError {
  override name = 'DTypeError';
}

/** A number or option is invalid: out of range, NaN, an unknown name. */
export class ArgumentError extends FreelunchError {
  override name = 'ArgumentError';
}

/** A tensor was used after it had been disposed. */
export class DisposedError extends FreelunchError {
  override name = 'DisposedError';
}

/** WASM memory cannot grow as far as needed. */
export class OutOfMemoryError extends FreelunchError {
  override name = 'OutOfMemoryError';
}

/** This runtime, or this combination of options, cannot do what was asked. */
export class UnsupportedError extends FreelunchError {
  override name = 'UnsupportedError';
}

/** A file or byte sequence is not in the expected format. */
export class FormatError extends FreelunchError {
  override name = 'FormatError';
}

/** The file system or a server refuses: absent, not permitted, not of the expected kind, in use, or silent for too long. */
export class FileError extends FreelunchError {
  override name = 'FileError';

  /** What the file system calls it, for instance `ENOENT`; undefined if the refusal is not its own. */
  get code(): string | undefined {
    const { code } = (this.cause ?? {}) as { code?: unknown };
    return typeof code === 'string' ? code : undefined;
  }
}
