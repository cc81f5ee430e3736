/** llama.cpp, where `npm run llama-cpp` has installed it. */

interface Next {
  next: { probabilities: Map<number, number> };
}

interface Sequence {
  controlledEvaluate(input: unknown[]): Promise<(Next | undefined)[]>;
}

interface Context {
  getSequence(): Sequence;
  dispose(): Promise<void>;
}

export interface LlamaModel {
  createContext(options: object): Promise<Context>;
  readonly tokens: { bos: number | null; shouldPrependBosToken: boolean };
  tokenize(text: string, specialTokens?: boolean): number[];
  detokenize(tokens: readonly number[], specialTokens?: boolean): string;
  dispose(): Promise<void>;
}

export interface Llama {
  loadModel(options: object): Promise<LlamaModel>;
  dispose(): Promise<void>;
}

/** @returns why it is not there, if it is not */
export async function findLlama(): Promise<Llama | string> {
  const name = 'node-llama-cpp'; // of a package that few have: neither the compiler nor the bundler look for it
  try {
    const { getLlama } = (await import(/* @vite-ignore */ name)) as {
      getLlama(options: object): Promise<Llama>;
    };
    return await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error' });
  } catch (error) {
    return (error as Error).message.split(/\n| imported from/)[0];
  }
}

/** For the title of tests that are skipped. */
export const whyMissing = (llama: Llama | string): string =>
  typeof llama === 'string' ? ` is not installed, npm run llama-cpp does it: ${llama}` : '';

/** Logarithms of the probabilities of each token after each of `tokens`. One thread, caches of float32. */
export async function logProbabilities(model: LlamaModel, tokens: readonly number[]): Promise<number[][]> {
  const context = await model.createContext({
    contextSize: 64,
    threads: 1,
    flashAttention: false,
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
  });
  const options = { temperature: 1, topK: 0, topP: 1, minP: 0 };
  const input = tokens.map((token) => [token, { generateNext: { probabilities: true, options } }]);
  const results = await context.getSequence().controlledEvaluate(input);
  await context.dispose();
  return results.map((result) => {
    const { probabilities } = result!.next;
    return Array.from({ length: probabilities.size }, (_, token) => Math.log(probabilities.get(token)!));
  });
}
