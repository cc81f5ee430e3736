/** For tests and measurements: what lies behind a set of kernels. No part of what the package promises. */
export { internalsOf } from './kernels.js';
