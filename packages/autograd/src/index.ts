export { createTape } from './tape.js';
export type { Tape } from './tape.js';
export { rules } from './rules.js';
export type { Differentiable, Rule } from './rules.js';
