/** Files of others: whatever their bytes, they are read or refused by name. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adamW } from '@freelunch/autograd';
import { cost, type ModelConfig as CostedConfig } from '@freelunch/complexity';
import { FreelunchError } from '@freelunch/errors';
import { loadKernels, type Tensor } from '@freelunch/kernels';
import {
  bytesSource,
  createModel,
  encodeSafetensors,
  loadPretrained,
  loadSafetensors,
} from '@freelunch/models';
import { random } from '@freelunch/random';
import {
  copy,
  lis,
  mqar,
  readJsonLines,
  readSafetensors,
  taskOf,
  writeJsonLines,
  writeSafetensors,
} from '@freelunch/tasks';
import { afterAll, describe, expect, it } from 'vitest';
import { shaped } from '../../packages/lab/dist/files/shape.js';
import { finishedShape } from '../../packages/lab/dist/report/finished.js';
import { reportPage } from '../../packages/lab/dist/report/findings-page.js';
import { RowFile } from '../../packages/lab/dist/running/rows.js';
import {
  encodeCheckpoint,
  restoreCheckpoint,
} from '../../packages/models/dist/checkpoints/training-checkpoint.js';
import { configOf, sampleOf } from '../../packages/models/tests/gguf-samples.ts';
import { vocabularyOf, writeGguf } from '../../packages/models/tests/gguf-writer.ts';
import { fuzz } from './fuzz.ts';
import { mutateBytes, mutateJson } from './mutate.ts';

/** Little memory: a model that fills it draws its weights within seconds. */
const k = await loadKernels({ variant: 'simd', maximumBytes: 2 ** 24 });
const text = (value: unknown) => JSON.stringify(value);
const bytesOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const joined = (parts: Iterable<string | Uint8Array>) =>
  new Uint8Array(Buffer.concat(Array.from(parts, (part) => Buffer.from(part as string))));

/** Frees what a file gave, and holds that a refused one left nothing behind. */
async function leavingNothing(fn: () => unknown): Promise<void> {
  const before = k.memory;
  await fn();
  const { usedBytes, tensors } = k.memory;
  if (usedBytes !== before.usedBytes || tensors !== before.tensors)
    throw new Error(`left ${tensors - before.tensors} tensors of ${usedBytes - before.usedBytes} bytes`);
}

/** A refusal that also leaves nothing behind is still a refusal. */
const either = (fn: () => Promise<unknown>) => async () => {
  let refusal: unknown;
  await leavingNothing(async () => {
    try {
      await fn();
    } catch (error) {
      refusal = error;
    }
  });
  if (refusal !== undefined) throw refusal;
};

const found = async (target: Parameters<typeof fuzz<never>>[0]) => {
  const tried = await fuzz(target);
  expect(tried.taken, 'inputs that were taken').toBeGreaterThan(0);
  expect(tried.refused, 'inputs that were refused').toBeGreaterThan(0);
};
const target = <Input>(of: Parameters<typeof fuzz<Input>>[0]) => of as never;

describe('safetensors', () => {
  const tensors = new Map<string, Tensor>([
    ['a', k.tensor([1, 2, 3, 4, 5, 6], [2, 3])],
    ['b.weight', k.tensor([7], [1])],
    ['ids', k.tensor([1, 2], [2], 'int32')],
  ]);
  const samples = [
    encodeSafetensors(tensors),
    encodeSafetensors(tensors, { metadata: { format: 'pt', note: 'x"\\' } }),
    encodeSafetensors(tensors, { dtype: 'F16' }),
  ];

  it('of any bytes are read or refused', () =>
    found(
      target<Uint8Array>({
        name: 'safetensors bytes',
        cases: [new Uint8Array(), new Uint8Array(8), new Uint8Array(8).fill(255)],
        make: (rng) => mutateBytes(rng, samples),
        show: bytesOf,
        run: (bytes) =>
          either(async () => {
            const file = await loadSafetensors(k, bytesSource(bytes));
            for (const tensor of file.tensors.values()) tensor.dispose();
          })(),
      }),
    ));

  it('with any header are read or refused', () => {
    const headers = samples.map((bytes) => {
      const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
      return JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as unknown;
    });
    return found(
      target<unknown>({
        name: 'safetensors headers',
        make: (rng) => mutateJson(rng, headers),
        show: text,
        run: (header) =>
          either(async () => {
            const json = new TextEncoder().encode(text(header) ?? '');
            const bytes = new Uint8Array(8 + json.length + 64);
            new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
            bytes.set(json, 8);
            const file = await loadSafetensors(k, bytesSource(bytes.subarray(0, 8 + json.length + 36)));
            for (const tensor of file.tensors.values()) tensor.dispose();
          })(),
      }),
    );
  });
});

describe('GGUF', () => {
  const files = (['mamba', 'gpt2'] as const).map((architecture) => {
    const config = { ...configOf(architecture), vocabSize: 3, nLayers: 1 };
    const { model, ...file } = sampleOf(k, architecture, 'Q8_0', config);
    model.dispose();
    const entries = [...file.entries, ...vocabularyOf(['a', 'b', 'ab'], ['a b'])];
    const bytes = writeGguf({ ...file, entries });
    const dataBytes = file.tensors.reduce((sum, tensor) => sum + Math.ceil(tensor.bytes.length / 32) * 32, 0);
    const header = bytes.length - dataBytes;
    return { header: bytes.slice(0, header), data: bytes.slice(header) };
  });

  // Changes to weights are not looked for: all bytes are weights.
  it('of any bytes are read or refused', () =>
    found(
      target<[header: Uint8Array, data: Uint8Array]>({
        name: 'GGUF bytes',
        make(rng) {
          const { header, data } = files[rng.integer(files.length)];
          return [mutateBytes(rng, [header]), data];
        },
        share: 0.1, // each makes a model
        show: ([header]) => bytesOf(header),
        run: (parts) =>
          either(async () => {
            const model = await loadPretrained(k, bytesSource(joined(parts)));
            model.dispose();
          })(),
      }),
    ));
});

describe('configs', () => {
  const small = { vocabSize: 11, dModel: 8, nLayers: 2 };
  const samples = [
    { ...small, mixer: { type: 'mamba', dState: 4, dConv: 3, expand: 2, dtRank: 2, bias: true } },
    {
      ...small,
      mixer: { type: 'mamba2', dState: 8, headDim: 4, nGroups: 2, chunkSize: 16, dtLimit: [0, 1] },
    },
    {
      ...small,
      mixer: { type: 'mamba3', dState: 8, headDim: 4, nAngles: 3, mimo: true, nRanks: 2, outputNorm: true },
    },
    { ...small, mixer: { type: 'softmax-attention', nHeads: 2, nKvHeads: 1, window: 4 }, position: 'rope' },
    {
      ...small,
      mixer: [
        { type: 'linear-attention', nHeads: 2, featureMap: 'elu1', forget: 'token' },
        { type: 'delta-rule', nHeads: 2, gated: true },
      ],
      mlp: { type: 'swiglu', dHidden: 8 },
      norm: { type: 'layer', eps: 1e-6 },
      position: { type: 'learned', maxLength: 16 },
      tieEmbeddings: false,
      seed: 3,
    },
  ];

  it('of any fields make a model that runs, or are refused', () =>
    found(
      target<never>({
        name: 'model configs',
        make: (rng) => mutateJson(rng, samples) as never,
        share: 0.2, // each makes a model
        show: text,
        run: (config) =>
          either(async () => {
            const model = createModel(k, config);
            try {
              model.forward([[0, 0, 0, 0, 0]]).dispose();
            } finally {
              model.dispose();
            }
          })(),
      }),
    ));

  it('of any fields have a cost, or are refused', () =>
    found(
      target<CostedConfig>({
        name: 'configs to be costed',
        make: (rng) => mutateJson(rng, samples) as CostedConfig,
        share: 0.5,
        show: text,
        run(config) {
          const { params } = cost(config, { mode: 'prefill', promptLength: 7 });
          if (!(Number.isFinite(params) && params > 0)) throw new Error(`params are ${params}`);
        },
      }),
    ));
});

describe('training checkpoints', () => {
  const model = createModel(k, {
    vocabSize: 5,
    dModel: 4,
    nLayers: 1,
    mixer: { type: 'linear-attention', nHeads: 1 },
  });
  const optimizer = adamW(k, { parameters: model.parameters() });
  const progress = {
    step: 2,
    batches: 4,
    accumulate: 2,
    stream: { seed: 1, position: 8 },
    optimizer: 'adamw' as const,
  };
  const restored = (bytes: Uint8Array) =>
    either(async () => void (await restoreCheckpoint(bytes, model, optimizer, { kind: 'adamw' })))();

  it('of any bytes are refused, unless nothing that counts was changed', async () => {
    const sample = encodeCheckpoint(model, optimizer, progress);
    let taken = 0;
    const { inputs } = await fuzz<Uint8Array>({
      name: 'checkpoint bytes',
      make: (rng) => mutateBytes(rng, [sample]),
      show: bytesOf,
      share: 0.5,
      async run(bytes) {
        await restored(bytes);
        if (Buffer.compare(bytes, sample) !== 0) throw new Error('changed bytes were taken');
        taken++;
      },
    });
    expect(taken).toBeLessThan(inputs / 20); // a change that another takes back
    await restored(sample);
  });

  it('with any progress are taken or refused', () =>
    found(
      target<unknown>({
        name: 'checkpoint progress',
        make: (rng) => ({ ...progress, ...(mutateJson(rng, [progress]) as object) }),
        show: text,
        share: 0.1,
        run: (value) => restored(encodeCheckpoint(model, optimizer, value as never)),
      }),
    ));
});

describe('tasks files', () => {
  const tasks = [
    copy({ vocabSize: 5, length: 3 }),
    lis({ length: 3 }),
    mqar({ seqLen: 16, vocabSize: 16, pairs: 2 }),
  ];
  const lines = tasks.map((task) => joined(writeJsonLines(task, { count: 3, seed: 1 })));
  const binaries = tasks.map((task) => joined(writeSafetensors(task, { count: 3, seed: 1 })));

  it('of any lines are read or refused', () =>
    found(
      target<Uint8Array>({
        name: 'tasks as JSON lines',
        make: (rng) => mutateBytes(rng, lines),
        show: (bytes) => new TextDecoder().decode(bytes),
        async run(bytes) {
          const { manifest, samples } = await readJsonLines(bytes);
          for await (const _ of samples);
          taskOf(manifest);
        },
      }),
    ));

  it('of any bytes are read or refused', () =>
    found(
      target<Uint8Array>({
        name: 'tasks as safetensors',
        make: (rng) => mutateBytes(rng, binaries),
        show: bytesOf,
        async run(bytes) {
          const { manifest } = await readSafetensors(bytes);
          taskOf(manifest);
        },
      }),
    ));

  it('with any manifest make a task or are refused', () => {
    const manifests = lines.map(
      (bytes) => JSON.parse(new TextDecoder().decode(bytes).split('\n')[0]) as { manifest?: unknown },
    );
    return found(
      target<unknown>({
        name: 'manifests',
        make: (rng) => mutateJson(rng, manifests),
        show: text,
        run(line) {
          const task = taskOf((line as { manifest: never })?.manifest ?? (line as never));
          task.sample(random(1));
        },
      }),
    );
  });
});

describe('folders of runs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'freelunch-hostile-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('with any rows are read or refused', () => {
    const samples = [
      '{"piece":"a","rows":2,"x":1}\n{"piece":"a","rows":2,"x":2}\n',
      '{"piece":"b","rows":0}\n',
    ].map((line) => new TextEncoder().encode(line + line.replaceAll('"a"', '"b"').replaceAll('"b"', '"a"')));
    return found(
      target<Uint8Array>({
        name: 'rows',
        make: (rng) => mutateBytes(rng, samples),
        show: (bytes) => new TextDecoder().decode(bytes),
        share: 0.1, // each is written to the disk and flushed
        async run(bytes) {
          writeFileSync(join(folder, 'rows.jsonl'), bytes);
          const rows = await RowFile.open(folder, ['a', 'b']);
          rows.close();
        },
      }),
    );
  });

  it('with any findings make a page without scripts, or are refused', () => {
    const plot = {
      description: 'd',
      xLabel: 'x',
      yLabel: 'y',
      xTicks: [{ at: 0, label: '1' }],
      yTicks: [{ at: 1, label: '2' }],
      series: [
        {
          name: 's',
          colour: '#1b6ac9',
          shape: 'circle',
          points: [{ x: 0, y: 1, range: [0, 1], title: 't' }],
          line: [{ x: 0, y: 1 }],
        },
      ],
    };
    const findings = {
      text: ['a finding'],
      figures: [{ title: 't', caption: 'c', plot }],
      tables: [{ title: 't', columns: ['a', 'b'], rows: [['1', '2']] }],
      verdicts: [{ claim: 'C1', theory: 't', measured: 'm', agrees: true }],
    };
    const sample = { name: 'copy-exact', summary: 's', command: 'freelunch run', machine: 'm', findings };
    return found(
      target<unknown>({
        name: 'findings',
        make: (rng) => mutateJson(rng, [sample]),
        show: text,
        run(json) {
          const page = reportPage(
            [shaped(finishedShape, JSON.parse(text(json) ?? 'null'), 'findings.json')],
            [],
          );
          if (
            /<script(?! type="application\/json"| src)|\son\w+=|javascript:/i.test(
              page.replace(/<script>[^<]*<\/script>/, ''),
            )
          )
            throw new Error('a script came through');
        },
      }),
    );
  });
});

it('nothing has reached the prototype of all objects', () => {
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  expect(new FreelunchError('x')).toBeInstanceOf(Error);
});
