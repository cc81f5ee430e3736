/**
 * Embedding look-up.
 *
 *   y[i] = weight[ids[i]]
 *
 *   y  [count, dModel]   ids  [count], int32, each from 0 to vocabSize - 1   weight  [vocabSize, dModel]
 */
import { loadTail, storeTail } from './simd';

export function embeddingForward(y: usize, ids: usize, weight: usize, count: i32, dModel: i32): void {
  const row = (<usize>dModel) << 2;
  for (; count > 0; count--, ids += 4, y += row) {
    const source = weight + <usize>load<i32>(ids) * row;
    let i: usize = 0;
    for (; i + 16 <= row; i += 16) v128.store(y + i, v128.load(source + i));
    const rest = <i32>((row - i) >> 2);
    storeTail(y + i, loadTail(source + i, rest), rest);
  }
}

const COLUMNS: i32 = 16; // a cache line

/**
 * dweight[id] += sum of dy over all places that have this id, of the columns 16 first <= i < 16 (first + units):
 * whichever ids there are, columns are the same work.
 */
// prettier-ignore
export function embeddingBackward(
  dweight: usize, ids: usize, dy: usize,
  count: i32, dModel: i32, first: i32, units: i32,
): void {
  const row = (<usize>dModel) << 2;
  const from = first * COLUMNS;
  const columns = min(dModel - from, units * COLUMNS);
  const whole = <usize>(columns & ~3) << 2;
  const rest = columns & 3;
  dweight += <usize>from << 2;
  dy += <usize>from << 2;
  for (; count > 0; count--, ids += 4, dy += row) {
    const target = dweight + <usize>load<i32>(ids) * row;
    for (let i: usize = 0; i < whole; i += 16) {
      v128.store(target + i, f32x4.add(v128.load(target + i), v128.load(dy + i)));
    }
    storeTail(target + whole, f32x4.add(loadTail(target + whole, rest), loadTail(dy + whole, rest)), rest);
  }
}
