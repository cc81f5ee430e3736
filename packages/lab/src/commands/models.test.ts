import { publishedModels } from '@freelunch/config';
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

  it.each([40, 80])('fits a terminal of %i columns', async (columns) => {
    const { stdout, status } = await run('models', columns);
    expect(status).toBe(0);
    expect(Math.max(...stdout.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(columns);
  });

  it.each([
    ['models mamba-131m', "unknown model 'mamba-131m'; did you mean 'mamba-130m'?"],
    ['models --all', "unknown option '--all'"],
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
