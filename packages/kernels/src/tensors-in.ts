import { isQuantized, type QuantizedTensor } from './quantized-tensor.js';
import { isTensor, type Tensor } from './tensor.js';

/** What scopes free. */
export type AnyTensor = Tensor | QuantizedTensor;

/** All tensors within nested arrays, maps, sets and plain objects. */
export function tensorsIn(value: unknown): Set<AnyTensor> {
  const found = new Set<AnyTensor>();
  if (typeof value !== 'object' || value === null) return found;
  if (isTensor(value) || isQuantized(value)) return found.add(value);
  const seen = new Set<object>([value]);
  const open: object[] = [value];
  const visit = (item: unknown) => {
    if (typeof item !== 'object' || item === null || seen.has(item)) return;
    seen.add(item);
    if (isTensor(item) || isQuantized(item)) found.add(item);
    else open.push(item);
  };
  for (let item = open.pop(); item !== undefined; item = open.pop()) {
    if (item instanceof Map || item instanceof Set) for (const inner of item.values()) visit(inner);
    else if (!ArrayBuffer.isView(item)) for (const inner of Object.values(item) as unknown[]) visit(inner);
  }
  return found;
}
