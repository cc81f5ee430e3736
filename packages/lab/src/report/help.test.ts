import { expect, it } from 'vitest';
import { fitted } from './help.js';

const help = `Usage: freelunch x [options]

A paragraph of two lines, the first one longer
and the second.

  --long LIST    numbers of tokens to store, from
                 the start (default 1,2)
  --json         data

End.
`;

it('leaves a text as it is where it fits', () => {
  expect(fitted(help, 80)).toBe(help);
});

it('breaks paragraphs and options anew where it does not', () => {
  expect(fitted(help, 36)).toBe(`Usage: freelunch x [options]

A paragraph of two lines, the first
one longer and the second.

  --long LIST    numbers of tokens
                 to store, from the
                 start (default 1,2)
  --json         data

End.
`);
});
