/** For tests, measurements and loaders: what lies behind a set of kernels. No part of what the package promises. */
export { internalsOf } from './kernels.js';
export { QuantizedRows, readRows } from './quantized-rows.js';
