export {
  ArgumentError,
  DisposedError,
  DTypeError,
  FormatError,
  FreelunchError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedError,
} from '@freelunch/errors';
