import { cost, crossover, transformerLike } from '@freelunch/complexity';
import { fromHuggingFace, publishedModels } from '@freelunch/config';
import { describe, expect, it } from 'vitest';
import { freelunch } from '../testing/cli.js';

const run = (args: string, columns = 80) => freelunch(args.split(' '), { columns });
const json = async (args: string) => JSON.parse((await run(`${args} --json`)).stdout);

describe('freelunch models', () => {
  it('lists all published models, and those that are made up', async () => {
    const list = await json('models');
    const names = list.map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining([...Object.keys(publishedModels), 'hybrid-small']));
    expect(list[0]).toEqual({ name: 'mamba-130m', repository: 'state-spaces/mamba-130m', layers: '24 x mamba', params: 129135360 }); // prettier-ignore
    const { stdout } = await run('models gpt2 jamba-v0.1', 120);
    expect(stdout).toMatch(
      /^jamba-v0\.1 +28 x mamba \+ 4 x softmax-attention +51,570,323,328 +ai21labs\/Jamba-v0\.1$/m,
    );
  });

  it('finds from which length on each is cheaper than a Transformer of its size', async () => {
    const { models } = await json('models mamba-130m --crossovers --at 1000');
    const config = fromHuggingFace(publishedModels['mamba-130m'].config);
    const like = transformerLike(config);
    const stateAt = (model: typeof config) => cost(model, { mode: 'decode', promptLength: 1000 }).stateBytes;
    expect(models).toEqual([
      {
        name: 'mamba-130m',
        params: 129135360,
        transformerParams: cost(like, { mode: 'decode', promptLength: 1 }).params,
        transformer: like,
        stateBytes: crossover(config, like, { mode: 'decode', figure: 'stateBytes' }),
        tokenFlops: crossover(config, like, { mode: 'decode', figure: 'flops' }),
        promptFlops: crossover(config, like, { mode: 'prefill', figure: 'flops' }),
        stateRatio: stateAt(like) / stateAt(config),
      },
    ]);
    expect(models[0].stateBytes.cheaper).toBe('first');
    // Until there the cache is the smaller one, from there on it is not.
    const { at } = models[0].stateBytes;
    const caches = [at - 1, at].map(
      (promptLength) => cost(like, { mode: 'decode', promptLength }).stateBytes,
    );
    expect(caches.map((bytes) => bytes > cost(config, { mode: 'decode', promptLength: 1 }).stateBytes)).toEqual([false, true]); // prettier-ignore
  });

  it.each([40, 80])('fits a terminal of %i columns', async (columns) => {
    for (const args of ['models', 'models mamba-130m --crossovers']) {
      const { stdout, status } = await run(args, columns);
      expect(status).toBe(0);
      expect(Math.max(...stdout.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(columns);
    }
  });

  it.each([
    ['models mamba-131m', "unknown model 'mamba-131m'; did you mean 'mamba-130m'?"],
    ['models --at 0', '--at must be a whole number from 1'],
  ])('refuses %s in one line', async (args, message) => {
    const { status, stdout, stderr } = await run(args);
    expect(stderr).toContain(message);
    expect([status, stdout, stderr.trimEnd().split('\n').length]).toEqual([2, '', 1]);
  });
});

describe('short names', () => {
  it('are what the commands on costs take, with commas between them too', async () => {
    expect((await json('cost llama-3.2-1b')).params).toBe(1235814400);
    const { rows } = await json('compare llama-3.2-1b,falcon-mamba-7b --mode decode --lengths 10');
    expect(rows.map(({ name }: { name: string }) => name)).toEqual(['llama-3.2-1b', 'falcon-mamba-7b']);
    expect((await run('compare llama-3.2-1b,nothing')).stderr).toContain("unknown model 'nothing'");
  });
});
