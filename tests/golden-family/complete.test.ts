import { readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import { cases } from './cases.ts';

it('has a line for every golden model', () => {
  const files = readdirSync(new URL('./data/', import.meta.url)).map((name) => name.replace(/\.bin$/, ''));
  expect(Object.keys(cases).sort()).toEqual(files.sort());
});
