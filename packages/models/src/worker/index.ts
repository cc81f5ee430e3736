/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Models in a worker, `@freelunch/models/worker`: a page stays responsive while they load, train and generate. The
 * functions are those of models in the same thread, and give promises; what they are given is sent, so it must be data.
 */
import type { ModelConfig, ResolvedConfig } from '@freelunch/config';
import { ArgumentError, checkOptions, FreelunchError, show, UnsupportedError } from '@freelunch/errors';
import type { LoadOptions, Variant } from '@freelunch/kernels';
import { checkFunction, checkSignal } from '../check.js';
import type { LoadPretrainedOptions } from '../checkpoints/checkpoint.js';
import type { FolderSource } from '../checkpoints/folder.js';
import type { EvaluateOptions, Evaluation } from '../evaluate.js';
import { type GenerateOptions, generateOptionNames } from '../generate.js';
import type { BatchSource } from '../training/batches.js';
import type { StepMetrics, TrainOptions } from '../training/options.js';
import { Channel } from './channel.js';
import type { Endpoint, Reply, Request } from './protocol.js';

export interface WorkerOptions extends Omit<LoadOptions, 'source'> {
  /** A worker that runs `@freelunch/models/worker/thread.js`, for bundlers that do not make one by themselves. */
  worker?: Worker;
}

/** As in `train`; `evaluate` and `checkpoints.save`, which are functions, are not to be had. */
export interface RemoteTrainOptions extends Omit<
  TrainOptions<never>,
  'evaluate' | 'learningRate' | 'checkpoints' | 'onWarning'
> {
  learningRate?: number;
  checkpoints?: { every: number; folder: string; keep?: number };
  onWarning?: (message: string) => void;
}

type Row = readonly number[] | Int32Array;

/** A model in a worker. */
export interface RemoteModel extends AsyncDisposable {
  readonly config: ResolvedConfig;
  readonly parameterCount: number;
  /** As `train(model, batches, options)`: batches are made on this side, and sent as they are needed. */
  train<State>(
    batches: BatchSource<State>,
    options: RemoteTrainOptions,
  ): AsyncGenerator<StepMetrics<never>, void, undefined>;
  /** As `model.generate`, without `processLogits`. */
  generate(
    prompt: Row,
    options?: Omit<GenerateOptions, 'processLogits'>,
  ): AsyncGenerator<number, void, undefined>;
  /** As `evaluate(model, tokens, options)`. */
  evaluate(tokens: Row, options?: Omit<EvaluateOptions, 'onProgress'>): Promise<Evaluation>;
  /** All weights, as a file of safetensors. */
  save(): Promise<Uint8Array>;
  /** Frees the weights. */
  dispose(): Promise<void>;
}

/** A worker with kernels. */
export interface ModelWorker extends Disposable {
  readonly variant: Variant;
  /** Threads that compute, the worker among them. */
  readonly threads: number;
  createModel(config: ModelConfig): Promise<RemoteModel>;
  /** As `loadPretrained(k, source, options)`; a relative path is taken from the page, not from the worker. */
  loadPretrained(source: FolderSource | Blob, options?: LoadPretrainedOptions): Promise<RemoteModel>;
  /** Ends it at once: all that is still awaited fails with a DisposedError. */
  terminate(): void;
}

/** Longer than any start takes: a worker that a page's policy blocks silently would be waited for forever. */
const START_MS = 60_000;

/**
 * Starts a worker and loads its kernels.
 *
 *   const worker = await startWorker();
 *   const model = await worker.createModel({ vocabSize: 256, dModel: 64, nLayers: 2, mixer: { type: 'mamba' } });
 *   for await (const { step, loss } of model.train(batches, { steps: 100 })) progress.value = step;
 *   for await (const token of model.generate([1, 2, 3], { maxTokens: 20, signal })) ...
 *
 * @param options  as `loadKernels` takes them, without `source`; and `worker`
 * @throws what `loadKernels` throws; UnsupportedError if no worker starts
 */
export async function startWorker(options: WorkerOptions = {}): Promise<ModelWorker> {
  checkOptions('startWorker', options, [
    'variant',
    'baseUrl',
    'maximumBytes',
    'threads',
    'workerUrl',
    'guard',
    'worker',
  ]);
  const { worker, baseUrl, workerUrl, ...others } = options;
  const { endpoint, terminate, onEnd } = worker === undefined ? await ownThread() : pageEndpoint(worker);
  const channel = new Channel(endpoint);
  onEnd((why) => channel.end(`worker: it has ended: ${why}`));
  const timer = setTimeout(() => channel.end(`worker: it did not answer for ${START_MS / 1000} s`), START_MS);
  const address = (url: string | URL | undefined) => (url === undefined ? undefined : String(url));
  let kernels: { variant: Variant; threads: number };
  try {
    const sent = { ...others, baseUrl: address(baseUrl), workerUrl: address(workerUrl) };
    kernels = await channel.call('start', [sent]);
  } catch (error) {
    terminate();
    throw error;
  } finally {
    clearTimeout(timer);
  }
  const end = () => {
    terminate();
    channel.end('worker: it was terminated');
  };
  return {
    ...kernels,
    createModel: async (config) => remote(channel, await channel.call('createModel', [config])),
    async loadPretrained(source, given = {}) {
      const { signal, onProgress, onWarning, ...data } = given;
      checkSignal('loadPretrained', signal);
      checkFunction('loadPretrained', 'onProgress', onProgress);
      checkFunction('loadPretrained', 'onWarning', onWarning);
      signal?.throwIfAborted();
      const calls = { signal, onProgress, onWarning };
      return remote(channel, await channel.call('loadPretrained', [fromPage(source), data], calls));
    },
    terminate: end,
    [Symbol.dispose]: end,
  };
}

/** A worker has an address other than its page's. */
function fromPage(source: FolderSource | Blob): unknown {
  if (source instanceof URL) return source.href;
  const { document } = globalThis as { document?: { baseURI: string } };
  const isRelative = typeof source === 'string' && !/^(hf:|[a-z][a-z\d+.-]*:\/\/)/i.test(source);
  if (isRelative && document !== undefined) return new URL(source, document.baseURI).href;
  return typeof source === 'string' || source instanceof Blob ? source : Array.from(source);
}

interface Made {
  model: number;
  config: ResolvedConfig;
  parameterCount: number;
}

function remote(channel: Channel, { model, config, parameterCount }: Made): RemoteModel {
  const dispose = () => channel.call<void>('dispose', [], { model });
  return {
    config,
    parameterCount,
    train(batches, options) {
      if (typeof batches !== 'function' && (typeof batches !== 'object' || batches === null))
        throw new ArgumentError(
          `train: batches must be a stream or a function that gives one, got ${show(batches)}`,
        );
      if (typeof options !== 'object' || options === null)
        throw new ArgumentError(`train: options must be an object, got ${show(options)}`);
      const { signal, onWarning, ...data } = options;
      checkSignal('train', signal);
      checkFunction('train', 'onWarning', onWarning);
      const kind = typeof batches === 'function' ? 'function' : 'stream';
      const calls = { model, signal, onWarning, batches: batches as BatchSource<unknown> };
      return channel.stream('train', [kind, data], calls);
    },
    generate(prompt, options = {}) {
      checkOptions(
        'generate',
        options,
        generateOptionNames.filter((name) => name !== 'processLogits'),
      );
      const { signal, ...data } = options;
      checkSignal('generate', signal);
      return channel.stream('generate', [prompt, data], { model, signal });
    },
    evaluate(tokens, options = {}) {
      const { signal, ...data } = options;
      checkSignal('evaluate', signal);
      return channel.call('evaluate', [tokens, data], { model, signal });
    },
    save: () => channel.call('save', [], { model }),
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}

interface Thread {
  endpoint: Endpoint<Request, Reply>;
  terminate: () => void;
  /** What is told when it ends by itself. */
  onEnd: (ended: (why: string) => void) => void;
}

type NodeThreads = typeof import('node:worker_threads');

/** @throws UnsupportedError where no worker can be made */
async function ownThread(): Promise<Thread> {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  const threads = process?.getBuiltinModule?.('node:worker_threads') as NodeThreads | undefined;
  try {
    if (threads === undefined || typeof Worker === 'function')
      // Bundlers find workers by this very form.
      return pageEndpoint(new Worker(new URL('./thread.js', import.meta.url), { type: 'module' }));
    // Flags of this process, such as --input-type, may not fit a file.
    const worker = new threads.Worker(new URL('./thread.js', import.meta.url), { execArgv: [] });
    return {
      endpoint: {
        post: (message, transfer) => worker.postMessage(message, transfer as never),
        listen: (receive) => void worker.on('message', receive),
      },
      terminate: () => void worker.terminate(),
      onEnd: (ended) => {
        worker.on('error', (error) => ended(error.message));
        worker.on('exit', () => ended('it has exited'));
      },
    };
  } catch (cause) {
    if (cause instanceof FreelunchError) throw cause;
    throw new UnsupportedError(`startWorker: no worker can be made: ${(cause as Error).message}`, { cause });
  }
}

function pageEndpoint(worker: Worker): Thread {
  if (typeof worker?.postMessage !== 'function')
    throw new ArgumentError(`startWorker: worker must be a Worker, got ${show(worker)}`);
  return {
    endpoint: {
      post: (message, transfer = []) => worker.postMessage(message, transfer),
      listen: (receive) =>
        worker.addEventListener('message', ({ data }: MessageEvent<Reply>) => receive(data)),
    },
    terminate: () => worker.terminate(),
    onEnd: (ended) =>
      worker.addEventListener('error', (event) => ended(event.message ?? 'it could not be loaded')),
  };
}
