import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('prints what the example in the README says', () => {
  const folder = fileURLToPath(new URL('..', import.meta.url));
  const [, code] = /```js\n(.*?)```/s.exec(readFileSync(`${folder}README.md`, 'utf8'))!;
  const wanted = [...code.matchAll(/console\.log.*\/\/ (.*)/g)].map(([, line]) => line);
  const printed = execFileSync(process.execPath, ['--input-type=module', '-e', code], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect(wanted).toHaveLength(2);
  expect(printed.trim().split('\n')).toEqual(wanted);
});
