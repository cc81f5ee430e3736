export {
  ArgumentError,
  DisposedError,
  DTypeError,
  FileError,
  FormatError,
  FreelunchError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedError,
} from './errors.js';
export { nearest } from './nearest.js';
export { checkOptions } from './options.js';
export { printable, show } from './show.js';
