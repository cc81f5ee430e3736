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

/** dweight[id] = sum of dy over all places that have this id. */
// prettier-ignore
export function embeddingBackward(
  dweight: usize, ids: usize, dy: usize,
  count: i32, vocabSize: i32, dModel: i32,
): void {
  const row = (<usize>dModel) << 2;
  memory.fill(dweight, 0, <usize>vocabSize * row);
  for (; count > 0; count--, ids += 4, dy += row) {
    const target = dweight + <usize>load<i32>(ids) * row;
    let i: usize = 0;
    for (; i + 16 <= row; i += 16) v128.store(target + i, f32x4.add(v128.load(target + i), v128.load(dy + i)));
    const rest = <i32>((row - i) >> 2);
    storeTail(target + i, f32x4.add(loadTail(target + i, rest), loadTail(dy + i, rest)), rest);
  }
}
