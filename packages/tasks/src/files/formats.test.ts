import { createHash } from 'node:crypto';
import { array, assert, asyncProperty, nat } from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  arithmetic,
  copy,
  createTask,
  defineDp,
  factories,
  lis,
  type Manifest,
  mqar,
  readJsonLines,
  readSafetensors,
  rewriteJsonLines,
  rewriteSafetensors,
  type Sample,
  type Task,
  TaskError,
  taskOf,
  writeJsonLines,
  writeSafetensors,
} from '../index.js';

const names = Object.keys(factories);

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

function joined(parts: Iterable<Uint8Array>): Uint8Array {
  return new Uint8Array(Buffer.concat([...parts]));
}

/** Cut at arbitrary places, inside of characters and numbers as well. */
function* cut(bytes: Uint8Array, sizes: number[]): Generator<Uint8Array> {
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = 1 + sizes[i % sizes.length];
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

describe.each(names)('%s', (name) => {
  const task = createTask(name);

  it('comes back from JSON lines as it was written, and the manifest makes the same file', async () => {
    const text = [...writeJsonLines(task, { count: 5, seed: 7, start: 3 })].join('');
    const { manifest, samples } = await readJsonLines(text);
    expect(manifest).toMatchObject({
      task: name,
      version: 1,
      seed: 7,
      start: 3,
      count: 5,
      options: task.options,
    });
    expect(await all(samples)).toEqual(
      task.batches({ batchSize: 5, state: { seed: 7, position: 3 } }).next().value.samples,
    );
    expect([...rewriteJsonLines(manifest)].join('')).toBe(text);
  });

  it('comes back from safetensors as it was written, and the manifest makes the same file', async () => {
    const file = joined(writeSafetensors(task, { count: 5, seed: 7 }));
    const read = await readSafetensors(file);
    const batch = task.batches({ batchSize: 5, seed: 7 }).next().value;
    expect(read.seqLen).toBe(batch.seqLen);
    for (const field of ['inputs', 'targets', 'lossMask', 'lengths'] as const) {
      expect(read[field]).toEqual(batch[field]);
    }
    expect(joined(rewriteSafetensors(read.manifest))).toEqual(file);
  });

  it('judges samples that were read as those that were drawn', async () => {
    const text = [...writeJsonLines(task, { count: 2 })].join('');
    for (const sample of await all((await readJsonLines(text)).samples)) {
      const output = task.alignment === 'same' ? sample.answer : sample.tokens.slice(sample.prompt.length);
      expect(taskOf((await readJsonLines(text)).manifest).check(sample, output).correct).toBe(true);
    }
  });
});

it('keeps the bytes that it writes', () => {
  // A change here is a change of what seeds mean: raise the version of the task.
  const digest = createHash('sha256');
  for (const name of names)
    for (const line of writeJsonLines(createTask(name), { count: 20 })) digest.update(line);
  expect(digest.digest('hex').slice(0, 16)).toMatchInlineSnapshot(`"43bcb848508089f4"`);
});

describe('JSON lines', () => {
  const task = copy({ vocabSize: 30, length: [1, 5] });
  const text = [...writeJsonLines(task, { count: 6 })].join('');
  const bytes = new TextEncoder().encode(text);

  it('reads what comes in parts, cut anywhere, as text, bytes or a stream', async () => {
    const whole = await all((await readJsonLines(text)).samples);
    await assert(
      asyncProperty(array(nat(50), { minLength: 1, maxLength: 9 }), async (sizes) => {
        expect(await all((await readJsonLines(cut(bytes, sizes))).samples)).toEqual(whole);
      }),
      { numRuns: 20 },
    );
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const part of cut(bytes, [10])) controller.enqueue(part);
        controller.close();
      },
    });
    expect(await all((await readJsonLines(stream)).samples)).toEqual(whole);
    expect(await all((await readJsonLines(text.split(/(?<=\n)/))).samples)).toEqual(whole);
    expect(await all((await readJsonLines(text.trimEnd())).samples)).toEqual(whole);
  });

  it('reads letters beyond ASCII that are cut in two', async () => {
    const words = defineDp<{ word: string }>({
      name: 'größe',
      symbols: ['ä', '€', 1],
      size: 1,
      random: (rng) => ({ word: rng.integer(2) === 0 ? 'ä' : '€' }),
      input: ({ word }) => [word],
      states: () => [0],
      deps: () => [],
      step: () => 1,
      aggregate: (_, [value]) => value,
    });
    const file = new TextEncoder().encode([...writeJsonLines(words, { count: 3 })].join(''));
    const { manifest, samples } = await readJsonLines(cut(file, [0]));
    expect(manifest.task).toBe('größe');
    expect((await all(samples)).map(({ problem }) => problem)).toHaveLength(3);
    expect(() => taskOf(manifest)).toThrow(/createTask: name must be one of/);
    expect([...rewriteJsonLines(manifest, { größe: () => words as Task })].join('')).toBe(
      new TextDecoder().decode(file),
    );
  });

  const lines = text.split('\n');
  const change = (number: number, field: string, value: unknown) =>
    lines
      .map((line, i) => (i === number - 1 ? JSON.stringify({ ...JSON.parse(line), [field]: value }) : line))
      .join('\n');
  it.each<[string, string, RegExp]>([
    ['an empty file', '', /line 1 must be a JSON object, got ''/],
    ['no manifest', lines.slice(1).join('\n'), /line 1: manifest must be an object, got undefined/],
    ['a line that is no JSON', lines.with(2, '{"tokens":[').join('\n'), /line 3 must be a JSON object/],
    ['a missing sample', lines.toSpliced(2, 1).join('\n'), /must hold the 6 samples of its manifest, got 5/],
    ['a sample too many', [lines[0], lines[1], ...lines.slice(1)].join('\n'), /the 6 samples .*, got 7/],
    ['tokens that are no ids', change(3, 'tokens', [1.5]), /line 3: tokens must be whole numbers/],
    ['a mask of another length', change(3, 'lossMask', [1]), /line 3: lossMask must be \d+ times 0 or 1/],
    ['a prompt that is too long', change(4, 'promptLength', 99), /line 4: promptLength must be at most/],
    ['steps that are no lists', change(2, 'steps', 5), /line 2: steps must be lists/],
    [
      'another format',
      text.replace('json-lines', 'safetensors'),
      /format must be 'json-lines', got 'safetensors'/,
    ],
    ['a manifest without a seed', text.replace('"seed":0,', ''), /manifest.seed must be a whole number/],
  ])('names what is wrong: %s', async (_, file, message) => {
    const read = async () => all((await readJsonLines(file)).samples);
    await expect(read()).rejects.toThrow(TaskError);
    await expect(read()).rejects.toThrow(message);
  });

  it('refuses bytes that are not UTF-8', async () => {
    await expect(readJsonLines(new Uint8Array([0x7b, 0xff, 0xfe]))).rejects.toThrow(/must be UTF-8/);
  });
});

describe('manifest', () => {
  it('names the side of a split', async () => {
    const { test } = lis({ length: 6 }).split({ test: 0.2, seed: 5 });
    const text = [...writeJsonLines(test, { count: 4 })].join('');
    const { manifest } = await readJsonLines(text);
    expect(manifest.part).toEqual({ side: 'test', test: 0.2, seed: 5 });
    expect([...rewriteJsonLines(manifest)].join('')).toBe(text);
  });

  it('writes a file in parts', () => {
    const task = arithmetic();
    const [, ...whole] = writeJsonLines(task, { count: 6 });
    const [, ...first] = writeJsonLines(task, { count: 2 });
    const [, ...second] = writeJsonLines(task, { count: 4, start: 2 });
    expect([...first, ...second]).toEqual(whole);
  });

  it('is refused where the generator has changed, or is no manifest', () => {
    const manifest: Manifest = {
      format: 'json-lines',
      task: 'copy',
      version: 99,
      options: {},
      seed: 0,
      start: 0,
      count: 1,
    };
    expect(() => taskOf(manifest)).toThrow(/copy must be of version 99, which made the file, got version 1/);
    expect(() => taskOf({ ...manifest, version: 1, options: { size: 3 } })).toThrow(
      /'size' is not an option/,
    );
    expect(() => taskOf(undefined as never)).toThrow(/manifest must be an object/);
    expect(() => writeJsonLines(copy(), { count: -1 })).toThrow(/writeJsonLines: count must be/);
  });
});

describe('safetensors', () => {
  const task = mqar({ vocabSize: 32, seqLen: 16, pairs: 3 });
  const file = joined(writeSafetensors(task, { count: 300, seqLen: 20, padding: 'left', padToken: 1 }));

  it('is laid out as the format has it', () => {
    const view = new DataView(file.buffer);
    const length = Number(view.getBigUint64(0, true));
    expect(length % 8).toBe(0);
    const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
    expect(header.inputs).toEqual({ dtype: 'I32', shape: [300, 20], data_offsets: [0, 24000] });
    expect(header.loss_mask).toEqual({ dtype: 'BOOL', shape: [300, 20], data_offsets: [49200, 55200] });
    expect(file.length).toBe(8 + length + 55200);
    expect(view.getInt32(8 + length, true)).toBe(1); // padding on the left
  });

  it('comes back through parts cut anywhere', async () => {
    const whole = await readSafetensors(file);
    expect(await readSafetensors(cut(file, [1000, 3]))).toEqual(whole);
    expect(whole).toMatchObject({ count: 300, seqLen: 20 });
    expect(whole.manifest).toMatchObject({ padding: 'left', padToken: 1, seqLen: 20 });
  });

  it('names what is wrong', async () => {
    const edit = (from: string, to: string) => {
      const text = Buffer.from(file).toString('latin1').replace(from, to);
      return new Uint8Array(Buffer.from(text, 'latin1'));
    };
    const bad = new Uint8Array(file);
    bad[bad.length - 1] = 7;
    const long = new Uint8Array(file);
    long.set([255, 255, 255, 255, 255, 255, 255, 255]);
    const cases: [Uint8Array, RegExp][] = [
      [new Uint8Array(3), /the file must be at least 8 bytes, got 3/],
      [long, /the header must be at most/],
      [file.slice(0, -1), /the file must be at least \d+ bytes/],
      [joined([file, new Uint8Array(4)]), /the file must be \d+ bytes/],
      [edit('"I32"', '"F32"'), /inputs.dtype must be 'I32', got 'F32'/],
      [edit('[300,20]', '[20,300]'), /inputs.shape must be \[300,20\], got \[20,300\]/],
      [edit('"lengths"', '"lenghts"'), /lengths.dtype must be 'I32', got undefined/],
      [edit('__metadata__', '__metadata_x'), /manifest must be an object, got undefined/],
      [edit('{"__metadata__', '["__metadata__'), /the header must be a JSON object/],
      [bad, /loss_mask must be 0 or 1, got 7/],
    ];
    for (const [bytes, message] of cases) {
      await expect(readSafetensors(bytes)).rejects.toThrow(TaskError);
      await expect(readSafetensors(bytes)).rejects.toThrow(message);
    }
    await expect(readSafetensors(['text'])).rejects.toThrow(/source must give bytes, got text/);
  });

  it('holds no samples, if none are asked for', async () => {
    const empty = joined(writeSafetensors(copy() as Task, { count: 0 }));
    expect(await readSafetensors(empty)).toMatchObject({ count: 0, seqLen: 1 });
    const none: Sample[] = await all((await readJsonLines(writeJsonLines(copy(), { count: 0 }))).samples);
    expect(none).toEqual([]);
  });
});
