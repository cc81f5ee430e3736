/** Base of all errors that this project throws; each message names the function, the argument, what was wanted and what came. */
export class FreelunchError extends Error {
  override name = 'FreelunchError';
}

/** A tensor's shape does not fit. */
export class ShapeError extends FreelunchError {
  override name = 'ShapeError';
}

/** A tensor or array is of the wrong kind, for instance float32 where int32 is wanted. */
export class DTypeError extends FreelunchError {
  override name = 'DTypeError';
}

/** A number or option is outside its range: NaN, negative, unknown name. */
export class ArgumentError extends FreelunchError {
  override name = 'ArgumentError';
}

/** A tensor is used after it was disposed of. */
export class DisposedError extends FreelunchError {
  override name = 'DisposedError';
}

/** WASM memory cannot grow as far as needed. */
export class OutOfMemoryError extends FreelunchError {
  override name = 'OutOfMemoryError';
}

/** This runtime, or this combination of options, cannot do what is asked. */
export class UnsupportedError extends FreelunchError {
  override name = 'UnsupportedError';
}

/** A file or byte sequence is not what it should be. */
export class FormatError extends FreelunchError {
  override name = 'FormatError';
}
