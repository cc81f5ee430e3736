export { madd, maddWhere, nmadd } from './madd';
export { sum, largest, loadTail, storeTail, storeTransposed } from './lanes';
export { exp, expNegative, exp2, exp2Constants, log1pUnit, softplus, sigmoid, finite, finiteBelow, silu, siluSlope } from './exp';
export { cosinesAndSines, toRadians } from './angle';
export { tanh } from './tanh';
