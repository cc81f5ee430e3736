import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cost } from '@freelunch/complexity';
import { beforeAll, describe, expect, it } from 'vitest';
import { tinyConfig, writeCheckpoint } from '../testing/checkpoints.js';
import { freelunch, workFolder } from '../testing/cli.js';

workFolder();
const run = (args: string, columns = 80) => freelunch(['inspect', ...args.split(' ')], { columns });
const json = async (args: string) => {
  const { stdout, stderr, status } = await run(`${args} --json`);
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout);
};

beforeAll(async () => {
  await writeCheckpoint('tiny');
  writeFileSync('tiny/generation_config.json', '{"eos_token_id": 3}');
  mkdirSync('bare');
  writeFileSync('bare/config.json', '{"model_type": "mixtral", "num_hidden_layers": 4}');
  mkdirSync('retnet');
  writeFileSync('retnet/config.json', '{"model_type": "retnet"}');
  writeFileSync('not.json', '[1]');
});

describe('freelunch inspect', () => {
  it('tells what a checkpoint holds, and what its model costs', async () => {
    const about = await json('tiny --lengths 10,1000');
    const at = (promptLength: number) => cost(tinyConfig, { mode: 'decode', promptLength });
    expect(about).toMatchObject({
      model: 'tiny',
      architecture: 'freelunch',
      format: 'safetensors',
      layers: '2 x mamba + 1 x softmax-attention',
      params: at(1).params,
      hasTokenizer: true,
      endTokens: [3],
      loads: true,
    });
    expect(about.weightBytes.float32).toBe(4 * at(1).params);
    expect(about.costs).toEqual(
      [10, 1000].map((length) => ({
        length,
        stateBytes: at(length).stateBytes,
        flopsPerToken: at(length).flops,
        promptFlops: cost(tinyConfig, { mode: 'prefill', promptLength: length }).flops,
      })),
    );
    const sizes = about.tensors.map(({ shape }: { shape: number[] }) => shape.reduce((a, b) => a * b, 1));
    expect(sizes.reduce((a: number, b: number) => a + b, 0)).toBe(about.params);
    expect(about.fileBytes).toBe(readFileSync('tiny/model.safetensors').length);
  });

  it('puts tensors of the same kind together, or lists them', async () => {
    expect((await run('tiny')).stdout).toMatch(
      /^backbone\.layers\.\*\.mixer\.A_log +2 +BF16 +\[64, 4\] +1\.024 kB$/m,
    );
    const { stdout } = await run('tiny --tensors', 100);
    expect(stdout).toMatch(/^backbone\.layers\.2\.mixer\.A_log +BF16 +\[64, 4\] +512$/m);
    expect(stdout).not.toContain('*');
  });

  it('reads no weights: of a file on a server its header', async () => {
    const weights = readFileSync('tiny/model.safetensors');
    const header = 8 + Number(weights.readBigUInt64LE(0));
    const server = createServer(({ url }, response) => {
      if (url === '/m/config.json') response.end(readFileSync('tiny/config.json'));
      else if (url === '/m/model.safetensors')
        response.writeHead(200, { 'content-length': weights.length }).write(weights.subarray(0, header));
      else response.writeHead(404).end();
    });
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
    try {
      const about = await json(`http://127.0.0.1:${(server.address() as AddressInfo).port}/m`);
      expect(about).toMatchObject({
        model: 'm',
        fileBytes: weights.length,
        hasTokenizer: false,
        loads: true,
      });
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it('takes configs alone, and those of models that it cannot compute, and says so', async () => {
    expect(await json('tiny/config.json')).toMatchObject({ params: cost(tinyConfig, { mode: 'decode', promptLength: 1 }).params, tensors: [], loads: true }); // prettier-ignore
    expect(await json('mamba-130m')).toMatchObject({ params: 129135360, layers: '24 x mamba' });
    const { stdout, status } = await run('bare');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^layers +4 x softmax-attention, each with swiglu \(2 of 8 experts\)$/m);
    expect(stdout.replace(/\s+/g, ' ')).toContain('loads no: config.json: mlp.experts must be 1, got 8');
  });

  it('gives what the README shows', async () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    expect(readme).toContain(`\`\`\`\n${(await run('mamba-130m')).stdout}\`\`\`\n`);
  });

  it('costs learned positions no further than they reach', async () => {
    const { costs } = await json('gpt2');
    expect(costs.map(({ length }: { length: number }) => length)).toEqual([1024]);
  });

  it.each([30, 40, 80])('fits a terminal of %i columns', async (columns) => {
    const { stdout } = await run('tiny', columns);
    const long = stdout.split('\n').filter((line) => line.length > columns && line.trim().includes(' '));
    expect(long).toEqual([]);
  });

  it.each([
    ['', 'the name of the model is empty'],
    ['tiny bare', 'takes one model, got 2'],
    ['missing', "'missing' does not exist"],
    ['missing.json', 'missing.json does not exist'],
    ['not.json', 'not.json: file must hold an object'],
    ['retnet', 'model_type must be one of'],
    ['retnet', "got 'retnet'"],
    ['.', 'must hold config.json, got no such file'],
    ['tiny --lengths 0', '--lengths must be whole numbers from 1'],
  ])('refuses %j in one line', async (args, message) => {
    const { status, stdout, stderr } = await run(args);
    expect(stderr).toContain(message);
    expect([status, stdout, stderr.trimEnd().split('\n').length]).toEqual([2, '', 1]);
  });
});
