export { philox, Random, random, type RandomState } from './random.js';
export { exp, ln, power } from './real.js';
