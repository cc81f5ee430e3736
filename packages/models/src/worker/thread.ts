/** The worker: makes models and runs what it is asked for. Its address is that of this module. */
import { DisposedError, FreelunchError } from '@freelunch/errors';
import { type Kernels, loadKernels } from '@freelunch/kernels';
import { loadPretrained } from '../checkpoints/checkpoint.js';
import { encodeSafetensors } from '../checkpoints/safetensors.js';
import { evaluate } from '../evaluate.js';
import { createModel, type LanguageModel } from '../language-model.js';
import { train } from '../train.js';
import type { Batches, TrainingBatch } from '../training/batches.js';
import { type Endpoint, type Reply, type Request, received, sent } from './protocol.js';

type Options = Record<string, unknown>;
type Stream = AsyncGenerator<unknown, void, undefined>;

interface Call {
  abort: AbortController;
  stream?: Stream;
  /** Who waits for a batch. */
  batch?: { resolve: (batch: TrainingBatch | undefined) => void; reject: (error: unknown) => void };
  /** Where the stream of batches stands, as its owner says. */
  state?: unknown;
}

/** Answers requests until the worker ends. */
export function serve({ post, listen }: Endpoint<Reply, Request>): void {
  const calls = new Map<number, Call>();
  const models = new Map<number, LanguageModel>();
  let nextModel = 1;
  let k: Kernels | undefined;

  const modelOf = (number: number | undefined): LanguageModel => {
    const model = models.get(number!);
    if (model === undefined) throw new DisposedError('the model was disposed of');
    return model;
  };

  const added = (model: LanguageModel) => {
    models.set(nextModel, model);
    const { config, parameterCount } = model;
    return { model: nextModel++, config, parameterCount };
  };

  const run = async (id: number, call: Call, { method, model, args }: Request & { type: 'call' }) => {
    const { signal } = call.abort;
    const [first, second] = args;
    switch (method) {
      case 'start':
        k = await loadKernels(first as object);
        return { variant: k.variant, threads: k.threads };
      case 'createModel':
        return added(createModel(k!, first as never));
      case 'loadPretrained': {
        const onProgress = (value: unknown) => post({ id, type: 'event', name: 'progress', value });
        const onWarning = (value: unknown) => post({ id, type: 'event', name: 'warning', value });
        return added(
          await loadPretrained(k!, first as string, {
            ...(second as Options),
            onProgress,
            onWarning,
            signal,
          }),
        );
      }
      case 'evaluate':
        return evaluate(modelOf(model), first as never, { ...(second as Options), signal } as never);
      case 'save': {
        const bytes = encodeSafetensors(modelOf(model).parameters());
        return bytes;
      }
      case 'dispose':
        models.get(model!)?.dispose();
        models.delete(model!);
        return undefined;
      case 'generate':
        call.stream = modelOf(model).generate(first as number[], { ...(second as Options), signal });
        return undefined;
      case 'train': {
        const onWarning = (value: unknown) => post({ id, type: 'event', name: 'warning', value });
        const open = (state: unknown) => batchesOf(id, call, state);
        const options = { ...(second as Options), signal, onWarning } as never;
        call.stream = train(modelOf(model), first === 'function' ? open : open(undefined), options);
        return undefined;
      }
      default:
        throw new FreelunchError(`worker: unknown method ${method}`);
    }
  };

  /** Batches that the other side has, asked for one by one. */
  const batchesOf = (id: number, call: Call, from: unknown): Batches => {
    let open = true;
    return {
      [Symbol.asyncIterator]: () => ({
        get state() {
          return call.state;
        },
        async next(): Promise<IteratorResult<TrainingBatch>> {
          const batch = await new Promise<TrainingBatch | undefined>((resolve, reject) => {
            call.batch = { resolve, reject };
            post({ id, type: 'batch', open, state: open ? from : undefined });
            open = false;
          });
          return batch === undefined ? { done: true, value: undefined } : { done: false, value: batch };
        },
      }),
    };
  };

  const end = (id: number) => void calls.delete(id);

  listen(async (request) => {
    const { id } = request;
    if (request.type === 'call') calls.set(id, { abort: new AbortController() });
    const call = calls.get(id);
    if (call === undefined) return; // it has ended
    try {
      switch (request.type) {
        case 'call': {
          const value = await run(id, call, request);
          post({ id, type: 'value', value });
          if (call.stream === undefined) end(id);
          break;
        }
        case 'next': {
          const { done = false, value } = await call.stream!.next();
          if (done) end(id);
          post({ id, type: 'value', value, done });
          break;
        }
        case 'return':
          end(id);
          call.batch?.resolve(undefined);
          await call.stream?.return();
          post({ id, type: 'value', done: true });
          break;
        case 'abort':
          call.abort.abort();
          break;
        case 'batch': {
          const { batch, state, error } = request;
          call.state = state;
          if (error === undefined) call.batch?.resolve(batch);
          else call.batch?.reject(received(error));
        }
      }
    } catch (error) {
      end(id);
      post({ id, type: 'error', error: sent(error) });
    }
  });
}

type NodeThreads = typeof import('node:worker_threads');
const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
const port = (process?.getBuiltinModule?.('node:worker_threads') as NodeThreads | undefined)?.parentPort;
if (port) {
  serve({
    post: (message, transfer) => port.postMessage(message, transfer as never),
    listen: (receive) => void port.on('message', receive),
  });
} else {
  const scope = globalThis as unknown as Worker;
  serve({
    post: (message, transfer = []) => scope.postMessage(message, transfer),
    listen: (receive) =>
      scope.addEventListener('message', ({ data }: MessageEvent<Request>) => receive(data)),
  });
}
