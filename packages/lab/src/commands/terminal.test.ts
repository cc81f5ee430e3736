import { EventEmitter } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Output } from './progress.js';
import { oneLine, terminalOf } from './terminal.js';

function terminal({ columns = 0, isTTY = false, colours = false, env = {} as Record<string, string> } = {}) {
  const written: string[] = [];
  const output: Output = Object.assign(new EventEmitter(), {
    isTTY,
    columns,
    hasColors: () => colours,
    write: (data: string | Uint8Array) => written.push(String(data)) > 0,
  });
  return { written, ...terminalOf(output, output, env, new AbortController().signal) };
}

it.each([
  [{ columns: 120 }, 120, 100],
  [{ columns: 60, env: { COLUMNS: '90' } }, 60, 60],
  [{ env: { COLUMNS: '50' } }, 50, 50],
  [{ env: { COLUMNS: '5' } }, 30, 30],
  [{ env: { COLUMNS: 'wide' } }, 80, 80],
  [{ env: { COLUMNS: '9'.repeat(400) } }, 80, 80],
  [{}, 80, 80],
])('is as wide as %j says: %i columns, sentences of %i', (options, columns, width) => {
  expect(terminal(options)).toMatchObject({ columns, width });
});

it('is colourful if it is a terminal and takes colours', () => {
  expect(terminal({ isTTY: true, colours: true }).colour).toBe(true);
  expect(terminal({ isTTY: true }).colour).toBe(false);
  expect(terminal({ colours: true }).colour).toBe(false);
});

const attack = 'a\u001b[2J\u001b]0;title\u0007\u009b31m\r\u202eb\u001b[8m';
const harmless = 'a\\u001b[2J\\u001b]0;title\\u0007\\u009b31m\\u000d\\u202eb\\u001b[8m';

it('shows control characters that a text holds, and passes on ends of lines', () => {
  const { say, note, written } = terminal();
  say(`${attack}\n`);
  note(`${attack}\n`);
  say('\u001b[1mbold');
  expect(written).toEqual([`${harmless}\n`, `${harmless}\n`, '\\u001b[1mbold']);
});

it('passes on the colours that the program uses, and no other sequence', () => {
  const { say, written } = terminal({ isTTY: true, colours: true });
  const painted = '\u001b[1mtitle\u001b[0m \u001b[31;4mx\u001b[0m';
  say(`${painted}\n${attack}\n`);
  expect(written).toEqual([`${painted}\n${harmless}\n`]);
});

it('writes JSON that says the same without control characters', () => {
  const { json, written } = terminal();
  json({ [attack]: attack });
  expect(JSON.parse(written[0])).toEqual({ [attack]: attack });
  expect(written[0]).toMatch(/^[^\p{Cc}]+\n$/u);
});

it('has messages of one line that end', () => {
  expect(oneLine('a\nb')).toBe('a\\u000ab');
  expect(oneLine(`${'x'.repeat(5000)}: the end`)).toMatch(/^x{600} \.\.\. x+: the end$/);
});

describe('the standard input', () => {
  const output: Output = Object.assign(new EventEmitter(), { write: () => true });
  const reading = (stdin: Readable | undefined, signal = new AbortController().signal) =>
    terminalOf(output, output, {}, signal, () => stdin).input(10);

  it('is read whole, unless somebody would have to type it', async () => {
    expect(await reading(Readable.from([Buffer.from('abc'), Buffer.from('de')]))).toEqual(
      Buffer.from('abcde'),
    );
    expect(await reading(undefined)).toBeUndefined();
    expect(await reading(Object.assign(new PassThrough(), { isTTY: true }))).toBeUndefined();
  });

  it('is refused where it does not end, and given up at Ctrl-C', async () => {
    const endless = Readable.from(
      (function* () {
        for (;;) yield Buffer.from('abc');
      })(),
    );
    await expect(reading(endless)).rejects.toThrow('the standard input may have up to 10 bytes, got more');
    expect(endless.destroyed).toBe(true);
    const silent = new PassThrough();
    const stop = new AbortController();
    const read = reading(silent, stop.signal);
    stop.abort(new Error('enough'));
    await expect(read).rejects.toThrow('enough');
    expect(silent.destroyed).toBe(true);
  });
});
