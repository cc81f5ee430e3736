export { madd, nmadd } from './madd';
export { sum, largest, loadTail, storeTail } from './lanes';
export { exp, expNegative, log1pUnit, softplus, sigmoid, silu } from './exp';
