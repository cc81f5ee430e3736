import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

it('decides no sample by functions that differ between engines', () => {
  for (const [folder, fewest] of [
    ['../src/', 30],
    ['../../random/src/', 2],
  ] as const) {
    const url = new URL(folder, import.meta.url);
    const names = readdirSync(url, { recursive: true, encoding: 'utf8' });
    const files = names.filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
    expect(files.length).toBeGreaterThan(fewest);
    for (const name of files) {
      const code = readFileSync(new URL(name, url), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
      const used = code.match(/Math\.\w+/g) ?? [];
      const exact = /^Math\.(abs|ceil|floor|imul|max|min|round|sqrt|LN2|SQRT2)$/;
      expect(used.filter((call) => !exact.test(call))).toEqual([]);
      expect(code).not.toMatch(/from 'node:|require\(|process\./);
    }
  }
});
