/** The same number, again and again. */
export function filled(length: number, value: number): number[] {
  const list: number[] = [];
  for (let i = 0; i < length; i++) list.push(value);
  return list;
}

/** 0, 1, .., end - 1. */
export function upTo(end: number): number[] {
  const list: number[] = [];
  for (let i = 0; i < end; i++) list.push(i);
  return list;
}
