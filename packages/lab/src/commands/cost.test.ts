import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { freelunch, workFolder } from '../testing/cli.js';

const { folder } = workFolder();
const run = (args: string) => freelunch(args.split(' '));
const json = async (args: string) => JSON.parse((await run(`${args} --json`)).stdout);

writeFileSync(join(folder, 'broken.json'), '{');
writeFileSync(join(folder, 'list.json'), '[]');
writeFileSync(join(folder, 'own.json'), '{"vocabSize":64,"dModel":8,"nLayers":1,"mixer":{"type":"mamba"}}');
writeFileSync(
  join(folder, 'config.json'),
  '{"model_type":"mamba","vocab_size":50280,"hidden_size":768,"num_hidden_layers":24,"time_step_max":Infinity}',
);

describe('bad input', () => {
  it.each([
    ['cost', 'takes 1 config, got 0'],
    ['cost toString', "unknown model 'toString'"],
    ['cost missing.json', 'missing.json does not exist'],
    ['cost broken.json', 'broken.json: file must be JSON'],
    ['cost list.json', 'list.json: file must hold an object'],
    ['cost gpt2 --mode fly', '--mode must be one of train, prefill, decode, generate'],
    ['cost gpt2 --prompt 0', '--prompt must be a whole number from 1'],
    ['cost gpt2 --dtype int3', '--dtype must be one of float64'],
    ['compare gpt2', 'takes 2 to 100 configs, got 1'],
    ['compare gpt2 own.json --figure price', '--figure must be one of params'],
    ['compare gpt2 own.json --lengths 1,x', '--lengths must be whole numbers'],
    ['compare gpt2 own.json --kind kernels', '--kind must be one of algorithm, kernel'],
    [
      'compare gpt2 own.json --kind kernel --lengths 65537',
      '--lengths must be whole numbers from 1 to 65536',
    ],
    [
      'crossover gpt2 own.json --kind kernel --along dState',
      'along must be seqLen or batch to count what kernels execute',
    ],
    ['cost gpt2 --kind kernel --mode generate --new 65537', '--new must be a whole number from 0 to 65536'],
    ['crossover', 'takes 1 to 2 configs, got 0'],
    ['crossover gpt2 gpt2 gpt2', 'takes 1 to 2 configs, got 3'],
    ['table --T 10 --m 11', '--m must be a whole number from 1 to 10'],
    ['measure gpt2', 'takes no config, or 2 or more'],
    ['measure --lengths 1,2,3', '--lengths must be four different ones'],
    ['measure --lengths 1,2,3,25', '--lengths must reach far enough'],
  ])('freelunch %s', async (args, message) => {
    const { status, stderr, stdout } = await run(args);
    const lines = stderr.trim().split('\n');
    expect(lines.at(-1)).toContain(message);
    expect([status, stdout, lines.length]).toEqual([2, '', 1]);
  });
});

describe('hf:owner/name', () => {
  afterEach(() => void vi.unstubAllEnvs());

  /** A hub of this machine. */
  async function hub(answer: (path: string, response: ServerResponse, request: IncomingMessage) => void) {
    const server = createServer((request, response) => answer(request.url!, response, request));
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
    vi.stubEnv('HF_ENDPOINT', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    return { [Symbol.dispose]: () => void (server.closeAllConnections(), server.close()) };
  }

  it('is read from HF_ENDPOINT with HF_TOKEN', async () => {
    const config = readFileSync(join(folder, 'config.json'));
    using _hub = await hub((path, response, request) => {
      if (request.headers.authorization !== 'Bearer hf_x') response.writeHead(401).end();
      else if (path === '/owner/name/resolve/v1/config.json') response.end(config);
      else response.writeHead(404).end();
    });
    vi.stubEnv('HF_TOKEN', 'hf_x');
    expect((await json('cost hf:owner/name@v1')).params).toBe(129135360);
    vi.stubEnv('HF_TOKEN', '');
    const { status, stderr } = await run('cost hf:owner/name@v1');
    expect([status, stderr]).toEqual([
      2,
      'freelunch cost: hf:owner/name@v1 has no config.json that may be read; for a gated or private repository, set HF_TOKEN\n',
    ]);
  });

  it.each<[string, string, (response: ServerResponse) => void]>([
    ['hf:owner', 'a repository is named as in hf:OWNER/NAME', (response) => void response.end()],
    ['hf:owner/name', 'file must be JSON', (response) => void response.end('{')],
    ['hf:owner/name', 'more than 1048576 bytes', (response) => void response.end(' '.repeat(2 ** 20 + 1))],
    [
      'hf:owner/name',
      'must be a file, got HTTP status 400',
      (response) => void response.writeHead(400).end(),
    ],
  ])('%s is bad input, in one line: %s', async (source, message, answer) => {
    using _hub = await hub((_path, response) => answer(response));
    const { status, stdout, stderr } = await run(`cost ${source}`);
    expect(stderr).toContain(message);
    expect([status, stdout, stderr.trim().split('\n').length]).toEqual([2, '', 1]);
  });

  it('is given up at Ctrl-C', async () => {
    using _hub = await hub(() => {});
    const stop = AbortSignal.timeout(200);
    const { status, stderr } = await freelunch(['cost', 'hf:owner/name'], { signal: stop });
    expect([status, stderr]).toEqual([undefined, 'Interrupted.\n']);
  });
});

it('reads configs of its own and of the hub', async () => {
  expect((await json('cost config.json')).params).toBe(129135360);
  expect((await json('cost mamba-130m')).params).toBe(129135360);
  expect((await json('cost gpt2')).params).toBe(124439808);
  expect((await json('cost own.json --mode decode')).children).toHaveLength(3);
});

it('shows a tree, formulas, and fits any terminal', async () => {
  const { stdout, status } = await run('cost mamba-small --formulas');
  expect(status).toBe(0);
  expect(stdout).toContain('layers.0 to 1, each');
  expect(stdout).toMatch(/^stateBytes = .* = 38912$/m);
});

it('compares, and finds where one becomes cheaper', async () => {
  expect((await run('compare mamba-130m gpt2 --mode decode --out page')).status).toBe(0);
  expect(readdirSync(join(folder, 'page')).sort()).toEqual([
    '.freelunch.json',
    'compare.csv',
    'compare.json',
    'index.html',
  ]);
  expect(readFileSync(join(folder, 'page/index.html'), 'utf8')).toContain('<svg');
  const { rows } = JSON.parse(readFileSync(join(folder, 'page/compare.json'), 'utf8'));
  expect(rows.map(({ order }: { order: string }) => order)).toEqual(['O(1)', 'O(position)']);
  expect(await json('crossover mamba-130m gpt2 --mode decode')).toMatchObject({ at: 356, cheaper: 'first' });
  const own = 'crossover mamba-130m --mode decode --figure stateBytes';
  expect(await json(own)).toMatchObject({ second: 'a Transformer of its size', at: 152, cheaper: 'first' });
  expect((await run(own)).stdout).toBe('stateBytes, decode: mamba-130m is cheaper from position 152 on\n');
});

it('prints the table with what each entry rests on', async () => {
  const { entries } = await json('table --T 256 --m 8');
  expect(entries).toHaveLength(21);
  for (const { theorem, total } of entries)
    expect([theorem.length > 0, total.value > 0]).toEqual([true, true]);
});

it('compares what kernels execute, if asked to', { timeout: 60_000 }, async () => {
  const models = 'mamba-small softmax-small';
  const [mamba, softmax] = (await json(`compare ${models} --mode decode --kind kernel --lengths 100`)).rows;
  for (const { name, values } of [mamba, softmax])
    expect(values).toEqual([(await json(`cost ${name} --mode decode --prompt 100 --kind kernel`)).flops]);
  const crossover = 'crossover mamba-small softmax-bare --mode decode --kind';
  const [algorithm, kernel] = [await json(`${crossover} algorithm`), await json(`${crossover} kernel`)];
  expect([algorithm.kind, kernel.kind]).toEqual(['algorithm', 'kernel']);
  expect(kernel.at).not.toBe(algorithm.at);
  expect((await run(`compare ${models} --kind kernel`)).stdout).toContain('flops, prefill by the kernels');
});

describe('measure', () => {
  const args = 'measure softmax-bare mamba-small --lengths 16,32,40,64 --passes 1';

  it('fits to some models, predicts others, and says which', { timeout: 120_000 }, async () => {
    const { stdout, status } = await run(`${args} --out measured`);
    expect(status).toBe(0);
    expect(stdout).toContain(
      'Fitted to 16 models (softmax, softmax+mlp, window+mlp, mamba, each of width 64',
    );
    expect(stdout).toMatch(/^scan, decode /m);
    expect(stdout).toMatch(/pairs and modes|No pair has/);
    expect(readdirSync(join(folder, 'measured')).sort()).toEqual([
      '.freelunch.json',
      'measure.html',
      'measure.json',
    ]);
    const { calibration, curves, crossovers, lengths } = JSON.parse(
      readFileSync(join(folder, 'measured/measure.json'), 'utf8'),
    );
    expect(calibration.lengths).toEqual([12, 24, 48]);
    expect(calibration.lengths.filter((length: number) => lengths.includes(length))).toEqual([]);
    expect(calibration.models).toContain('mamba-96');
    expect(calibration.models).not.toContain('mamba2-96'); // no model has such a mixer
    const names = ['softmax-bare', 'mamba-small'];
    expect(curves.map(({ name }: { name: string }) => name)).toEqual(names.flatMap((name) => [name, name]));
    expect(calibration.models.filter((name: string) => names.includes(name))).toEqual([]);
    for (const { points } of curves)
      for (const { seconds, predicted } of points) expect([seconds > 0, predicted > 0]).toEqual([true, true]);
    expect(
      crossovers.map(({ first, second, mode }: Record<string, string>) => [first, second, mode]),
    ).toEqual(['prefill', 'decode'].map((mode) => ['softmax-bare', 'mamba-small', mode]));
    const page = readFileSync(join(folder, 'measured/measure.html'), 'utf8');
    expect(page.match(/<figure>/g)).toHaveLength(2);
    expect(page.match(/<path class="line"[^>]*d="M[^"]*L/g)!.length).toBeGreaterThanOrEqual(4); // a line per model and mode
    expect(page).not.toMatch(/NaN|undefined|(src|href)="(?!measure\.json)/);
  });
});
