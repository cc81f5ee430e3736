import { readFileSync } from 'node:fs';
import { expect, it, vi } from 'vitest';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code);

it.each(blocks.map((code, i) => [i, code] as const))(
  'runs block %d of the README as it stands',
  async (_, code) => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => {});
    const source = code.replace(
      "'@freelunch/tasks'",
      `'${new URL('../dist/index.js', import.meta.url).href}'`,
    );
    const printed = [...code.matchAll(/^console\.log\(.*\); \/\/ (.*)$/gm)].map(([, comment]) => comment);
    await import(/* @vite-ignore */ `data:text/javascript,${encodeURIComponent(source)}`);
    const shown = log.mock.calls.map(([value]) =>
      typeof value === 'object'
        ? `{ ${Object.entries(value as object)
            .map((pair) => pair.join(': '))
            .join(', ')} }`
        : String(value),
    );
    log.mockRestore();
    expect(shown).toHaveLength(printed.length);
    printed.forEach((comment, i) => {
      if (comment.startsWith('a worked example')) expect(shown[i]).toMatch(/\ntokens .*\nscored /);
      else expect(shown[i]).toBe(comment);
    });
  },
);
