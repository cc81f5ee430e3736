import { expect, it } from 'vitest';
import { applied, keyOf, mutantsOf } from './mutations.mjs';

const source = `import { sum } from './simd';

const BLOCK = 8;

export function total(x: usize, size: i32): f32 {
  let a = f32x4.splat(0.5); // size + 1
  for (; size > BLOCK; size -= 4, x += 16) a = f32x4.pmax(a, v128.load(x));
  if (size == 0) return abs(sum(a));
  if (x != 0) touch(x + 64, size * 4, x);
  touch(x, size * 4, x);
  return sum(a);
}
`;
const mutants = mutantsOf('total.ts', source);
const changes = mutants.map(({ was, becomes }) => `${was} => ${becomes}`);

it('changes operators, methods, bounds, constants, conditions and calls', () => {
  const loop = 'for (; size > BLOCK; size -= 4, x += 16) a = f32x4.pmax(a, v128.load(x));';
  for (const becomes of [
    loop.replace('>', '>='),
    loop.replace('pmax', 'pmin'),
    loop.replace('BLOCK', '(BLOCK + 1)'),
    loop.replace('size > BLOCK', 'false'),
    loop.replace('-= 4', '+= 4'),
    loop.replace('16', '15'),
    loop.replace('a = f32x4.pmax(a, v128.load(x))', '{}'),
  ])
    expect(changes).toContain(`${loop} => ${becomes}`);
  expect(changes).toContain('const BLOCK = 8; => const BLOCK = 9;');
  expect(changes).toContain('let a = f32x4.splat(0.5); => let a = f32x4.splat(-0.5);');
  const last = 'if (size == 0) return abs(sum(a));';
  expect(changes).toContain(`${last} => if (true) return abs(sum(a));`);
  expect(changes).toContain(`${last} => if (size == 0) return (sum(a));`);
});

it('leaves imports, types and comments as they are', () => {
  for (const mutant of mutants) {
    const changed = applied(source, mutant);
    expect(changed).not.toBe(source);
    expect(changed).toContain("import { sum } from './simd';");
    expect(changed).toContain('total(x: usize, size: i32): f32');
    expect(changed).toContain('// size + 1');
  }
});

it('names each change once, the same wherever the function lies', () => {
  const keys = mutants.map(keyOf);
  expect(new Set(keys).size).toBe(keys.length);
  expect(keys).toContain('BLOCK: const BLOCK = 8; => const BLOCK = 9;');
  expect(mutantsOf('other.ts', `// above\n${source}`).map(keyOf)).toEqual(keys);
});

it('leaves out what only reads ahead', () => {
  expect(source).toContain('touch(');
  expect(changes.filter((change) => change.includes('touch('))).toEqual([]);
});
