import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { loadKernels } from '@freelunch/kernels';
import { loadPretrained } from '@freelunch/models';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { writeCheckpoint } from '../testing/checkpoints.js';
import { cli, freelunch, workFolder } from '../testing/cli.js';

const { folder } = workFolder();
const json = async (args: readonly string[], stdin?: string) => {
  const { stdout, stderr, status } = await freelunch(['generate', ...args, '--json', '--threads', '1'], {
    stdin,
  });
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout);
};
/** What the model of a folder says next, by the library. */
async function expected(name: string, prompt: number[], options: object): Promise<number[]> {
  using k = await loadKernels({ variant: 'simd' });
  using model = await loadPretrained(k, name, { dtype: 'auto' });
  const ids: number[] = [];
  for await (const id of model.generate(prompt, options)) ids.push(id);
  return ids;
}

beforeAll(async () => {
  await writeCheckpoint('text');
  await writeCheckpoint('ids', { tokenizer: false, dtype: 'F32' });
  for (const name of ['broken', 'retnet']) mkdirSync(name);
  copyFileSync('ids/model.safetensors', 'broken/model.safetensors');
  writeFileSync('broken/config.json', '{"model_type": "mamba", "num_hidden_layers": 1}');
  writeFileSync('retnet/config.json', '{"model_type": "retnet"}');
});
afterEach(() => void vi.unstubAllEnvs());

describe('freelunch generate', () => {
  it('gives the text of the tokens that the library gives, and figures on the standard error', async () => {
    const drawn = { maxTokens: 30, temperature: 1, topK: 100, topP: 0.9, seed: 7 };
    const ids = await expected('text', [...Buffer.from('Hé')], drawn);
    const text = new TextDecoder().decode(Uint8Array.from(ids));
    const args = ['text', 'Hé', '--max-tokens', '30', '--temperature', '1', '--top-k', '100', '--top-p', '0.9', '--seed', '7']; // prettier-ignore
    const { status, stdout, stderr } = await freelunch(['generate', ...args]);
    expect([status, stdout]).toEqual([0, `${text}\n`]);
    expect(stderr).toMatch(/^\nprompt {3}3 tokens, [\d.,]+ tokens\/s\ntext {5}30 tokens, [\d.,]+ tokens\/s, ended by --max-tokens\nstate {4}[\d,]+ bytes\nweights {2}[\d,]+ bytes, bfloat16 and float32\nthreads {2}\d+\n$/); // prettier-ignore
    const made = await json(args);
    expect(made).toMatchObject({ architecture: 'freelunch', promptIds: [...Buffer.from('Hé')], tokens: ids, text, newTokens: 30, end: 'length' }); // prettier-ignore
  });

  it('takes the prompt from a file or a pipe, without the end of its last line', async () => {
    writeFileSync('prompt.txt', 'a\nb\n');
    const few = ['text', '--max-tokens', '2'];
    expect((await json([...few, '--prompt-file', 'prompt.txt'])).prompt).toBe('a\nb');
    expect((await json(few, 'a\nb\r\n')).prompt).toBe('a\nb');
    expect((await json([...few, 'given'], 'not read')).prompt).toBe('given');
  });

  it('speaks in token ids where there is no tokenizer, or if asked to', async () => {
    const ids = await expected('ids', [1, 2, 3], { maxTokens: 4 });
    const { stdout, stderr } = await freelunch(['generate', 'ids', '1 2,3', '--max-tokens', '4']);
    expect(stdout).toBe(`${ids.join(' ')}\n`);
    expect(stderr).toMatch(/^There is no tokenizer: the prompt and the text are token ids\.\n/);
    const made = await json(['text', '72 105', '--ids', '--max-tokens', '4']);
    expect([made.promptIds, made.text]).toEqual([[72, 105], undefined]);
  });

  it('ends at a stop text, a stop token, and a token that the checkpoint names', async () => {
    const args = ['text', 'ab', '--max-tokens', '12', '--temperature', '1'];
    const { text } = await json(args);
    const stop = text.slice(5, 7);
    const ended = await json([...args, '--stop', 'never there', '--stop', stop]);
    expect([ended.text, ended.end]).toEqual([text.slice(0, text.indexOf(stop)), 'stop']);

    const idArgs = ['text', '97 98', '--max-tokens', '12', '--temperature', '1', '--ids'];
    const { tokens } = await json(idArgs);
    const by = tokens[4];
    const until = tokens.slice(0, tokens.indexOf(by) + 1);
    expect(await json([...idArgs, '--stop', `${by}`])).toMatchObject({ tokens: until, end: 'stop' });
    writeFileSync('text/generation_config.json', JSON.stringify({ eos_token_id: [by] }));
    const own = await json(args);
    expect(own).toMatchObject({ tokens: until, end: 'stop' });
    const shown = new TextDecoder().decode(Uint8Array.from(until.slice(0, -1)));
    expect(own.text).toBe(shown);
    writeFileSync('text/generation_config.json', '{}');
  });

  it.each(['float32', 'float16', 'bfloat16', 'int8', 'int4'])('keeps weights as %s', async (dtype) => {
    const { dtypes, weightBytes } = await json(['ids', '1', '--dtype', dtype, '--max-tokens', '1']);
    expect(dtypes).toEqual(dtype === 'float32' ? ['float32'] : [dtype, 'float32']);
    if (dtype === 'int8')
      expect(weightBytes).toBeLessThan((await json(['ids', '1', '--max-tokens', '1'])).weightBytes / 2);
  });

  it.each([
    [[], 'takes a model and a prompt, got none'],
    [['text'], 'a prompt is needed: as an argument, by --prompt-file, or through a pipe'],
    [['text', ''], 'the prompt must be one token or more, got none'],
    [['text', 'two', 'words'], 'quotes hold the words of a prompt together'],
    [['text', 'a', '--prompt-file', 'b'], 'takes a prompt or --prompt-file, got both'],
    [['missing', 'a'], "'missing' does not exist; a repository of Hugging Face is named hf:OWNER/NAME"],
    [['owner/name', 'a'], 'is named hf:owner/name'],
    [['text/config.json', 'a'], "'text/config.json' must be a folder or a .gguf file"],
    [['.', 'a'], "'.': directory: must hold config.json, got no such file"],
    [['ids', 'hello'], "the prompt must be token ids, such as '11 22 33', got 'hello'"],
    [['ids', '256'], 'prompt[0] must be a token from 0 to 255, got 256'],
    [['ids', '1', '--stop', 'x'], "--stop must be token ids, such as '11 22 33', got 'x'"],
    [['text', 'a', '--top-p', '0'], '--top-p must be above 0, got 0'],
    [['text', 'a', '--stop', ''], '--stop must not be empty'],
    [['text', 'a', '--prompt-fil', 'x'], "did you mean '--prompt-file'?"],
    [['text', '--prompt-file', 'no.txt'], 'no.txt does not exist'],
    [['broken', '1'], 'weights must fit config.json, got unexpected: '],
    [['retnet', 'a'], 'model_type must be one of'],
  ])('refuses %j in one line', async (args, message) => {
    const { status, stdout, stderr } = await freelunch(['generate', ...args]);
    const lines = stderr
      .trimEnd()
      .split('\n')
      .filter((line) => !line.startsWith('There is no tokenizer'));
    expect(lines.join('\n')).toContain(message);
    expect([status, stdout, lines.length]).toEqual([2, '', 1]);
  });

  it('refuses prompts that are no text', async () => {
    const { status, stderr } = await freelunch(['generate', 'text'], { stdin: Uint8Array.of(0xff) });
    expect([status, stderr]).toEqual([2, 'freelunch generate: the standard input must be UTF-8\n']);
  });

  it('keeps what there is at Ctrl-C', async () => {
    const stop = new AbortController();
    let pieces = 0;
    const onWrite = () => void (++pieces === 3 && stop.abort());
    const { status, stdout, stderr } = await freelunch(['generate', 'ids', '1', '--max-tokens', '1000000'], {
      signal: stop.signal,
      onWrite,
    });
    expect(status).toBeUndefined();
    const ids = await expected('ids', [1], { maxTokens: 10 });
    expect(ids.join(' ')).toContain(stdout.trim());
    expect(stdout).toMatch(/^\d+ \d+.*\n$/);
    expect(stderr).toMatch(/, interrupted\n[^]*\nInterrupted\.\n$/);
  });

  it('shows a terminal no control characters, and a pipe the text as it is', async () => {
    const loud = ['generate', 'text', 'ab', '--max-tokens', '200', '--temperature', '50'];
    const piped = (await freelunch(loud)).stdout;
    expect(piped).toMatch(/(?![\n\t])\p{Cc}/u);
    const shown = (await freelunch(loud, { colour: true })).stdout;
    expect(shown).not.toMatch(/(?![\n\t])\p{Cc}/u);
    expect(shown.length).toBeGreaterThan(piped.length);
  });
});

describe('from a server', () => {
  /** One that has a folder's files, for those who have a token. @param slowMs  before each piece of the weights */
  async function hub(slowMs = 0) {
    const asked: string[] = [];
    const server = createServer((request: IncomingMessage, response: ServerResponse) => {
      const path = request.url!;
      asked.push(`${request.headers.authorization ?? 'nobody'} ${path}`);
      const file = join(folder, 'text', path.replace(/^.*\//, ''));
      if (path.startsWith('/gated') && request.headers.authorization !== 'Bearer hf_secret')
        return void response.writeHead(401).end();
      if (!existsSync(file)) return void response.writeHead(404).end();
      const bytes = readFileSync(file);
      response.writeHead(200, { 'content-length': bytes.length, etag: '"1"' });
      if (slowMs === 0 || !file.endsWith('.safetensors')) return void response.end(bytes);
      response.write(bytes.subarray(0, 5000));
      setTimeout(() => response.end(bytes.subarray(5000)), slowMs).unref();
    });
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    vi.stubEnv('HF_ENDPOINT', url);
    return { url, asked, [Symbol.dispose]: () => void (server.closeAllConnections(), server.close()) };
  }
  const few = ['ab', '--max-tokens', '3'];

  it('loads a URL and hf:owner/name, with the token of --token or HF_TOKEN', async () => {
    const { text } = await json(['text', ...few]);
    using server = await hub();
    expect((await json([`${server.url}/free`, ...few])).text).toBe(text);
    expect((await json(['hf:gated/name', ...few, '--token', 'hf_secret'])).text).toBe(text);
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    expect((await json(['hf:gated/name@v1', ...few])).text).toBe(text);
    expect(server.asked).toContain('Bearer hf_secret /gated/name/resolve/v1/model.safetensors');
  });

  it('sends HF_TOKEN to no other server than that of hf:, and shows a token to nobody', async () => {
    using server = await hub();
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    await json([`${server.url}/free`, ...few]);
    expect(server.asked.filter((request) => !request.startsWith('nobody'))).toEqual([]);
    vi.stubEnv('HF_TOKEN', '');
    for (const token of ['hf_wrong', 'hf wrong', 'hf_\u00e9']) {
      const args = ['generate', 'hf:gated/name', ...few, '--token', token];
      const { status, stdout, stderr } = await freelunch(args);
      expect([status, stdout, stderr.trim().split('\n').length]).toEqual([2, '', 1]);
      expect(stderr).not.toContain(token);
    }
  });

  it('keeps what it has loaded, if asked to', async () => {
    using server = await hub();
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
    vi.stubEnv('LOCALAPPDATA', join(folder, 'cache'));
    const commit = `hf:free/name@${'a'.repeat(40)}`;
    const first = await json([commit, ...few, '--cache']);
    const before = server.asked.length;
    expect((await json([commit, ...few, '--cache'])).text).toBe(first.text);
    expect(server.asked.slice(before).filter((request) => request.endsWith('model.safetensors'))).toEqual([]);
  });

  it('gives up at Ctrl-C while it loads', async () => {
    using server = await hub(60_000);
    const stop = AbortSignal.timeout(500);
    const { status, stdout, stderr } = await freelunch(['generate', `${server.url}/free`, ...few], {
      signal: stop,
    });
    expect([status, stdout, stderr]).toEqual([undefined, '', 'Interrupted.\n']);
  });
});

describe.skipIf(process.platform === 'win32')('as a process', () => {
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined };

  it('ends with 130 at Ctrl-C, its text whole', async () => {
    const child = spawn(process.execPath, [cli, 'generate', 'ids', '1', '--max-tokens', '1000000'], { env });
    let stdout = '';
    child.stdout.on('data', (data) => {
      if (stdout === '') child.kill('SIGINT');
      stdout += data;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).toBe(130);
    expect(stdout).toMatch(/^\d+( \d+)*\n$/);
  });

  it('ends quietly when its reader has seen enough, and reads a pipe', () => {
    const line = `printf '1 2' | '${process.execPath}' '${cli}' generate ids --max-tokens 1000000 | head -c 5`;
    const { stdout, stderr } = spawnSync('sh', ['-c', line], { encoding: 'utf8', env });
    expect(stdout).toMatch(/^[\d ]{5}$/);
    expect(stderr).toBe('There is no tokenizer: the prompt and the text are token ids.\n');
  });
});
